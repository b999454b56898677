"""The tables of docs/performance.md, each a function of the folder with the measurements."""

import functools
import pathlib
import statistics

from benchmarks import measurements
from benchmarks.measurements import markdown, newest

PIPELINE_ROWS = {
    "pipeline": "pipeline",
    "pipeline, augmented": "pipeline with the augmentation of `pretrain_aug`",
    "its encoded triplets": "reading and drawing triplets, without decoding",
    "tf INTEGER_FAST": "decoding alone: TensorFlow, `INTEGER_FAST`",
    "tf INTEGER_ACCURATE": "decoding alone: TensorFlow, `INTEGER_ACCURATE`",
    "cv2": "decoding alone: OpenCV",
    "simplejpeg": "decoding alone: simplejpeg",
}
BUILD_ROWS = {
    "build": "build",
    "opencv": "decoding alone: OpenCV, one thread per video",
    "opencv_threads": "decoding alone: OpenCV, its own choice of threads",
    "av": "decoding alone: PyAV",
    "av_planes": "decoding alone: PyAV, without conversion to BGR",
}
STEP_ROWS = {
    "  of which normalised bytes": "– of which normalising the bytes",
    "all, forward": "everything, forward",
    "all, forward and backward": "everything, forward and backward",
    "the step: and optimiser, metrics": "the whole step, with optimizer and metrics",
}
PEERS = {"hand_landmark_full": "MediaPipe full", "hand_landmark_lite": "MediaPipe lite"}


def _steps_beside_peer(docs, sizes):
    """The newest line of train_step.jsonl that compares steps of these sizes with PyTorch's."""
    return newest(
        docs,
        "train_step",
        lambda head: "peer_ratio" in head and (head["sizes"], head["precision"]) == (sizes, "float32"),
    )


def _latencies(docs, trained):
    """The newest line of latency.jsonl: of trained networks, with their scores, or of new ones."""
    return newest(
        docs,
        "latency",
        lambda head: trained == any("n_mpjpe" in ratios for ratios in head["ratios_of_latency"].values()),
    )


def summary(docs: pathlib.Path) -> str:
    """The main ratio of each part."""
    pipeline, built = newest(docs, "input_pipeline")["headline"], newest(docs, "build")["headline"]
    rows = [("input pipeline", PIPELINE_ROWS[pipeline["floor"]], f"{pipeline['floor_ratio']:.2f}")]
    for sizes in ("demo", "full"):
        ratio = _steps_beside_peer(docs, sizes)["headline"]["peer_ratio"]["pretrain"]
        rows.append((f"training step of `pretrain`, {sizes} sizes", "PyTorch", f"{ratio:.2f}"))
    rows.append(("build", BUILD_ROWS[built["floor"]], f"{built['floor_ratio']:.2f}"))
    times = _latencies(docs, trained=False)["headline"]["ratios_of_latency"]
    for kind, label in (("litert", "LiteRT"), ("litert_int8", "LiteRT with 8-bit integers")):
        speed = 1 / times[f"resnet18:64 {kind}"]["/ hand_landmark_full"]
        rows.append((f"one image through ResNet-18, {label}", PEERS["hand_landmark_full"], f"{speed:.2f}"))
    return markdown(("", "compared with", "relative speed"), rows)


def input_pipeline(docs: pathlib.Path) -> str:
    """Records to batches."""
    line = newest(docs, "input_pipeline")
    rows = [
        (
            PIPELINE_ROWS[row["name"]],
            f"{row['triplets_per_second']:,.0f}",
            f"{row['us_processor']:.0f}",
            f"{row['floor_ratio']:.3f}",
            f"{row['floor_ratio_processor']:.3f}",
        )
        for row in line["rows"]
    ]
    titles = ("", "triplets/s", "CPU time per triplet, µs", "relative speed", "by CPU time")
    return f"{markdown(titles, rows)}\n\n{measurements.source(line, 'input_pipeline', '--data_dir=RECORDS')}"


def input_memory(docs: pathlib.Path) -> str:
    """Peak memory of the input pipeline as the data set grows."""
    used = newest(docs, "input_pipeline")["headline"]["memory_mb"]
    return markdown(("size of the data set", "peak memory"), [(f"{n} ×", f"{peak:,} MB") for n, peak in used.items()])


def train_step(docs: pathlib.Path, sizes: str) -> str:
    """Training steps beside PyTorch's."""
    line = _steps_beside_peer(docs, sizes)
    rows = [
        [
            f"`{row['regime']}`",
            f"{row['samples_per_second']:.1f}",
            f"{row['gflops_per_second']:.0f}",
            *(f"{row['ms'][side]:.1f}" for side in ("ours", "channels first", "channels last")),
            f"{row['peer_ratio']:.2f}",
        ]
        for row in line["rows"]
    ]
    titles = ("regime", "samples/s", "GFLOP/s", "ms", "PyTorch, ms", "PyTorch, channels last, ms", "relative speed")
    head = line["headline"]
    setup = f"Batches of {head['batch_size']}, crops of {head['image_size']} px, {head['threads']} threads"
    parts = [f"{setup}, {head['precision']}:", markdown(titles, rows), measurements.source(line, "train_step")]
    return "\n\n".join(parts)


def train_step_stages(docs: pathlib.Path) -> str:
    """Where the time of a training step goes."""
    line = newest(docs, "train_step", lambda head: "step_ms" in head)
    total = line["headline"]["step_ms"]
    rows = [
        (STEP_ROWS.get(row["stage"], row["stage"]), f"{row['ms']:.1f}", f"{row['ms'] / total:.0%}")
        for row in line["rows"]
    ]
    table = markdown(("stage", "ms", "share of the step"), rows)
    return f"{table}\n\n{measurements.source(line, 'train_step')}"


def build(docs: pathlib.Path) -> str:
    """Dumps to records."""
    line = newest(docs, "build")
    head, times = line["headline"], {row["what"]: row["seconds_and_cpu"] for row in line["rows"]}
    rows = []
    for name, rounds in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
        pairs = list(zip(rounds, times["build"], strict=True))
        ratios = (statistics.median(one[which] / own[which] for one, own in pairs) for which in (0, 1))
        rows.append((BUILD_ROWS[name], f"{wall:.1f}", f"{cpu:.1f}", *(f"{ratio:.2f}" for ratio in ratios)))
    table = markdown(("", "s", "CPU s", "relative speed of the build", "by CPU time"), rows)
    amount = f"{head['crops']:,} crops of {head['crop_size']} px, {head['crops_per_second']:.0f} crops/s."
    return f"{table}\n\n{amount} {measurements.source(line, 'build')}"


def inference(docs: pathlib.Path, trained: bool) -> str:
    """Exported networks beside MediaPipe's; trained ones with their accuracy."""
    line = _latencies(docs, trained)
    plain = {row["network"]: row["n_mpjpe"] for row in line["rows"] if row["format"] == "savedmodel" and trained}
    titles = ["network", "format", "ms", "90th percentile", "images/s", "speed vs. full", "speed vs. lite"]
    rows = []
    for row in line["rows"]:
        times = (f"{row['ms']:.2f}", f"{row['ms_p90']:.2f}", f"{row['images_per_second']:.0f}")
        # The file has ratios of latencies; a page that calls speeds above 1 faster shows their inverse.
        speeds = (f"{1 / row[f'/ {peer}']:.2f}" if f"/ {peer}" in row else None for peer in PEERS)
        rows.append([PEERS.get(row["network"], f"`{row['network']}`"), row["format"], *times, *speeds])
        if trained:
            score = row.get("n_mpjpe")
            difference = None if score is None else score - plain[row["network"]]
            rows[-1].append(None if score is None else f"{score:.2f} ({difference:+.2f})")
    if trained:
        titles.append("N-MPJPE, mm")
    paths = ("--runs=RUN,RUN", "--data_dir=RECORDS") if trained else ()
    return f"{markdown(titles, rows)}\n\n{measurements.source(line, 'latency', *paths, '--mediapipe=WHEEL')}"


def startup_help(docs: pathlib.Path) -> str:
    """Seconds of each command's `--help`."""
    line = newest(docs, "startup")
    rows = [(f"`{name}`", f"{seconds:.2f}") for name, seconds in line["headline"]["help_seconds"].items()]
    return f"{markdown(('command', '`--help`, s'), rows)}\n\n{measurements.source(line, 'startup')}"


def startup_training(docs: pathlib.Path) -> str:
    """Seconds to the first training step."""
    line = newest(docs, "startup", lambda head: "first_step_seconds" in head)
    head, stages = line["headline"], [[row["stage"], row["seconds"], row["cpu_seconds"]] for row in line["rows"]]
    stages.append(["all", head["first_step_seconds"], head["first_step_cpu_seconds"]])
    rows = [(stage, f"{seconds:.2f}", f"{cpu:.2f}") for stage, seconds, cpu in stages]
    return f"{markdown(('stage', 's', 'CPU s'), rows)}\n\n{measurements.source(line, 'startup', '--data_dir=RECORDS')}"


TABLES = {
    "summary": summary,
    "input_pipeline": input_pipeline,
    "input_memory": input_memory,
    "train_step_demo": functools.partial(train_step, sizes="demo"),
    "train_step_full": functools.partial(train_step, sizes="full"),
    "train_step_stages": train_step_stages,
    "build": build,
    "inference_new": functools.partial(inference, trained=False),
    "inference_trained": functools.partial(inference, trained=True),
    "startup_help": startup_help,
    "startup_training": startup_training,
}
