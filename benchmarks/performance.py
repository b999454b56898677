"""Writes docs/performance.md from the files of the other benchmarks, the newest line of each.

    python -m benchmarks.performance --output=docs

Measures nothing. A part whose file is missing says so.
"""

import operator
import pathlib
import statistics
import sys

from absl import flags

from benchmarks import results
from hand_tf.core import atomic, command_line

FLAGS = flags.FlagValues()
flags.DEFINE_string("output", "docs", "Folder of the page and of the benchmarks' files.", flag_values=FLAGS)

GOAL = {"pipeline": 0.85, "build": 0.85, "train": 1.3, "help": 0.5, "step": 30}
PEERS = {"hand_landmark_full": "MediaPipe full", "hand_landmark_lite": "MediaPipe lite"}
MISSING = "Not measured yet."


def _source(line, name, *paths):
    """The command of a line, with the `paths` that it needs besides; when, where and at which commit it ran."""
    machine, typed = line["machine"], " ".join([f"python -m benchmarks.{name}", *line["arguments"], *paths])
    what = f"`{typed}`, {line['date']}, {machine['processor']}, {machine['cpus']} cores"
    return f"{what}, commit {line['commit']}."


def _verdict(value, goal, meets=operator.ge):
    return f"goal {goal:g}: {'reached' if meets(value, goal) else 'missed'}"


# --- sections -------------------------------------------------------------------------------------------------------


def pipeline(folder):
    """Records to batches."""
    line = results.newest(folder / "input_pipeline.jsonl")
    if not line:
        return MISSING
    head, by_name = line["headline"], {row["name"]: row for row in line["rows"]}
    columns = ("name", "triplets_per_second", "us_processor", "floor_ratio", "floor_ratio_processor")
    titles = ("", "triplets/s", "processor, us", "of the floor", "by processor time")
    own = head["floor_ratio"] / by_name["tf INTEGER_ACCURATE"]["floor_ratio"]
    memory = ", ".join(f"{copies} times: {peak:,} MB" for copies, peak in head["memory_mb"].items())
    return "\n\n".join(
        [
            f"From records of {head['crop_size']} px and {head['views']} views to ready uint8 batches, on all cores. "
            f"The floor decodes the very JPEGs of those triplets and does nothing else, with the fastest decoder at "
            f"hand ({head['floor']}).",
            results.table(titles, [[row[column] for column in columns] for row in line["rows"]]),
            f"**{head['floor_ratio']:.3f} of the floor** ({_verdict(head['floor_ratio'], GOAL['pipeline'])}); "
            f"{own:.3f} of what TensorFlow's decoder gives alone, which the pipeline uses. "
            f"Reading, checksums and drawing the triplets are the line `its encoded triplets`; the rest of the "
            "difference is TensorFlow's work around a decoder's call, and copying pictures together into batches.",
            f"Peak memory of a process that reads all of so many times the data: {memory}.",
            _source(line, "input_pipeline", "--data_dir=RECORDS"),
        ]
    )


def _steps(line):
    names = ("regime", "samples_per_second", "gflops_per_second")
    sides = ("ours", "channels first", "channels last")
    rows = [
        [*(row[name] for name in names), *(row["ms"][side] for side in sides), row["peer_ratio"]]
        for row in line["rows"]
    ]
    titles = ("regime", "samples/s", "GFLOP/s", "ours, ms", "PyTorch, ms", "PyTorch, channels last, ms", "ratio")
    reached = [row["regime"] for row in line["rows"] if row["peer_ratio"] >= GOAL["train"]]
    head = line["headline"]
    return [
        f"**{head['sizes'].capitalize()} sizes**, {head['threads']} threads, {head['precision']}:",
        results.table(titles, rows),
        f"Goal {GOAL['train']:g}: reached by {', '.join(reached) or 'none'}.",
        _source(line, "train_step"),
    ]


def training(folder):
    """Steps beside PyTorch."""
    path, parts = folder / "train_step.jsonl", []
    for sizes in ("demo", "full"):
        line = results.newest(
            path,
            lambda head, sizes=sizes: "peer_ratio" in head and (head["sizes"], head["precision"]) == (sizes, "float32"),
        )
        parts += _steps(line) if line else []
    line = results.newest(path, lambda head: "step_ms" in head)
    if line:
        total = line["rows"][-1]["ms"]
        stages = [(row["stage"].strip(), row["ms"], f"{row['ms'] / total:.0%}") for row in line["rows"]]
        parts += ["Where a step of `semi_supervised` goes:", results.table(("stage", "ms", "of the step"), stages)]
        parts += [_source(line, "train_step")]
    return "\n\n".join([TRAINING, *(parts or [MISSING])])


TRAINING = """The same network in plain PyTorch, with the same weights, counted operations and losses over the first
steps, takes turns with ours, each side in a process of its own. The ratio is PyTorch's time over ours, against the
faster of its two memory layouts."""


def building(folder):
    """Dumps to records."""
    line = results.newest(folder / "build.jsonl")
    if not line:
        return MISSING
    head, rows = line["headline"], []
    for row in line["rows"]:
        wall, cpu = (statistics.median(column) for column in zip(*row["seconds_and_cpu"], strict=True))
        rows.append((row["what"], f"{wall:.1f}", f"{cpu:.1f}"))
    return "\n\n".join(
        [
            f"{head['crops']:,} crops of {head['crop_size']} px out of 1080p videos, two "
            f"hands in every picture. The floor decodes the same videos to BGR pictures on as many processes (the "
            f"fastest: {head['floor']}); the build itself turns only the parts that crops need into BGR.",
            results.table(("", "s", "CPU s"), rows),
            f"**{head['floor_ratio']:.3f} of the floor** ({_verdict(head['floor_ratio'], GOAL['build'])}), "
            f"{head['cpu_ratio']:.3f} by CPU time; {head['planes_ratio']:.3f} of decoding without any pictures. "
            f"{head['crops_per_second']:.0f} crops/s. On top of decoding come, for every crop and its background, a "
            "map, two warps and two JPEGs, and once a camera the median.",
            _source(line, "build"),
        ]
    )


def _cost(rows, row):
    plain = next((r["n_mpjpe"] for r in rows if r["network"] == row["network"] and r["format"] == "savedmodel"), None)
    if row.get("n_mpjpe") is None or plain is None:
        return None
    return f"{row['n_mpjpe']:.2f} ({row['n_mpjpe'] - plain:+.2f})"


def _models(line, scored):
    names = ("format", "ms", "ms_p90", "images_per_second", *(f"/ {peer}" for peer in PEERS))
    rows = [
        [PEERS.get(row["network"], row["network"]), *(row.get(name) for name in names), _cost(line["rows"], row)]
        for row in line["rows"]
    ]
    titles = ("network", "format", "ms", "p90", "images/s", "ms / full's", "ms / lite's", "N-MPJPE, mm")
    size = line["headline"]["image_size"]
    if scored:
        return [
            f"**Trained**, {size} px crops. N-MPJPE is of unseen people, in brackets what the format costs:",
            TRAINED,
            results.table(titles, rows),
            _source(line, "latency", "--runs=RUN,RUN", "--data_dir=RECORDS", "--mediapipe=WHEEL"),
        ]
    return [
        f"**Full size**, {size} px crops, new networks:",
        results.table(titles[:-1], [row[:-1] for row in rows]),
        _source(line, "latency", "--mediapipe=WHEEL"),
    ]


def inference(folder):
    """Exported models beside MediaPipe's."""
    parts = []
    for scored in (False, True):
        line = results.newest(
            folder / "latency.jsonl",
            lambda head, scored=scored: scored == any("n_mpjpe" in row for row in head["ratios_of_latency"].values()),
        )
        parts += _models(line, scored) if line else []
    return "\n\n".join([INFERENCE, *(parts or [MISSING])])


INFERENCE = """One image on one thread (ms), and images a second on all cores. MediaPipe's hand landmark models run on
the same runtime, at their own 224 px; ratios of time below 1 are faster than they. An exported model takes uint8 and
needs its runtime alone. A network is `encoder:width`."""


TRAINED = """    python -m benchmarks.dome_subjects --folder=subjects
    python -m hand_tf.train --flagfile=flags/supervised.flags --flagfile=flags/subjects.flags --epochs=10 \\
        --data_dir=subjects/records --scenario=S0..S31:1024 --encoder=resnet18 --encoder_width=32 --workdir=RUN
    (the other with --encoder=mobile --encoder_width=64)"""


def startup(folder):
    """`--help` and the first step."""
    line = results.newest(folder / "startup.jsonl")
    if not line:
        return MISSING
    head = line["headline"]
    parts = [results.table(("command", "--help, s"), list(head["help_seconds"].items()))]
    predict = head["help_seconds"]["hand_tf.predict"]
    parts.append(f"`hand_tf.predict` takes {predict:.2f} s ({_verdict(predict, GOAL['help'], operator.le)}).")
    if "first_step_seconds" not in head:
        return "\n\n".join([*parts, _source(line, "startup")])
    rows = [(row["stage"], row["seconds"], row["cpu_seconds"]) for row in line["rows"]]
    parts.append(results.table(("to the first step of the demo's pre-training", "s", "CPU s"), rows))
    first = head["first_step_seconds"]
    parts.append(f"{first:.1f} s in all ({_verdict(first, GOAL['step'], operator.le)}).")
    return "\n\n".join([*parts, _source(line, "startup", "--data_dir=RECORDS")])


SECTIONS = {
    "Input pipeline": pipeline,
    "Training step": training,
    "Build": building,
    "Inference": inference,
    "Start-up": startup,
}
INTRODUCTION = """# Performance

Ratios are against a floor or a peer measured in the same run, medians of alternating rounds; the machine is shared, so
milliseconds are what they happened to be. Below every table stands the command that measured it. The dome's speed is in
[dome.md](dome.md), what data cost at scale in [scale.md](scale.md). On a GPU nothing has been measured yet:
`benchmarks/gpu/` holds what is to be run."""


def page(folder):
    """The page's text, out of the files in `folder`."""
    parts = [f"## {title}\n\n{section(folder)}" for title, section in SECTIONS.items()]
    return "\n\n".join([INTRODUCTION, *parts]) + "\n"


def main(_):
    """Writes the page."""
    folder = pathlib.Path(FLAGS.output)
    atomic.write_text(folder / "performance.md", page(folder))
    print(f"{folder / 'performance.md'}: written")


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
