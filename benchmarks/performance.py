"""Writes docs/performance.md from the files of the other benchmarks, the newest line of each.

    python -m benchmarks.performance --output=docs

Measures nothing. A part whose file is missing says which command writes it.
"""

import pathlib
import sys

from absl import flags

from benchmarks import results
from hand_tf import command, manifest

FLAGS = flags.FlagValues()
flags.DEFINE_string("output", "docs", "Folder of the page and of the benchmarks' files.", flag_values=FLAGS)

GOAL = {"pipeline": 0.85, "build": 0.85, "train": 1.3, "help": 0.5, "step": 30}
PEERS = {"hand_landmark_full": "MediaPipe full", "hand_landmark_lite": "MediaPipe lite"}


def newest(folder, file, will_do=lambda head: True):
    """The newest line of FOLDER/FILE.jsonl whose headline will do, or None."""
    path = folder / f"{file}.jsonl"
    found = [line for line in (results.read(path) if path.is_file() else ()) if will_do(line["headline"])]
    return found[-1] if found else None


def _table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _source(line, arguments):
    machine = line["machine"]
    what = f"`python -m benchmarks.{arguments}`, {line['date']}, {machine['processor']}, {machine['cpus']} cores"
    return f"{what}, commit {line['commit']}."


def _missing(name):
    return f"Not measured yet: `python -m benchmarks.{name} --output=docs/{name}.jsonl`."


def _verdict(value, goal, better=lambda a, b: a >= b):
    return f"goal {goal:g}: {'reached' if better(value, goal) else 'missed'}"


# --- sections -------------------------------------------------------------------------------------------------------


def pipeline(folder):
    """Records to batches."""
    line = newest(folder, "input_pipeline")
    if not line:
        return _missing("input_pipeline")
    head = line["headline"]
    columns = ("triplets_per_second", "us_processor", "floor_ratio", "floor_ratio_processor")
    rows = [(row["name"], *(row[column] for column in columns)) for row in line["rows"]]
    by_name = {row["name"]: row for row in line["rows"]}
    own = by_name["tf INTEGER_ACCURATE"]["floor_ratio"]
    memory = ", ".join(f"{copies}x {peak:,} MB" for copies, peak in head["memory_mb"].items())
    return "\n\n".join(
        [
            f"From records of {head['crop_size']} px and {head['views']} views to ready uint8 batches, all cores. The "
            f"floor decodes the very JPEGs of those triplets and does nothing else; the fastest decoder here is "
            f"{head['floor']}.",
            _table(("", "triplets/s", "processor, us", "of the floor", "by processor time"), rows),
            f"**{head['floor_ratio']:.2f} of the floor** ({_verdict(head['floor_ratio'], GOAL['pipeline'])}), "
            f"{head['floor_ratio'] / own:.2f} of what TensorFlow's own decoder would give, which the pipeline uses. "
            f"The rest goes, by a profile, into TensorFlow's executor and allocator around the decoding and into "
            f"copying pictures together into batches; reading, checksums and drawing the triplets are "
            f"{by_name['its encoded triplets']['us_processor']:.0f} us. Augmentation (four warps and gains a triplet) "
            "is as dear as decoding again.",
            f"Peak memory of a process over 1, 20 and 100 times the data: {memory}. It grows until as many groups are "
            "open as are read side by side, and no further. Batches are a pure function of the seed (tested).",
            _source(line, "input_pipeline --data_dir=RECORDS"),
        ]
    )


def training(folder):
    """Steps beside PyTorch."""
    parts = []
    for sizes in ("demo", "full"):
        line = newest(folder, "train_step", lambda head, sizes=sizes: head["sizes"] == sizes and "peer_ratio" in head)
        if not line:
            continue
        names = ("regime", "samples_per_second", "gflops_per_second")
        rows = [
            [*(row[name] for name in names), *row["ms"].values(), row["peer_ratio"], row["cpu_ratio"]]
            for row in line["rows"]
        ]
        titles = ("regime", "samples/s", "GFLOP/s", "ours, ms", "PyTorch, ms", "PyTorch, channels last, ms")
        parts.append(f"**{sizes} sizes**, {line['headline']['threads']} threads, {line['headline']['precision']}:")
        parts.append(_table((*titles, "ratio", "by CPU time"), rows))
        reached = [row["regime"] for row in line["rows"] if row["peer_ratio"] >= GOAL["train"]]
        parts.append(f"Goal {GOAL['train']:g}: reached by {', '.join(reached) or 'none'}.")
        parts.append(_source(line, "train_step" + (" --full" if sizes == "full" else "")))
    line = newest(folder, "train_step", lambda head: "step_ms" in head)
    if line:
        total = line["rows"][-1]["ms"]
        stages = [(row["stage"].strip(), row["ms"], f"{row['ms'] / total:.0%}") for row in line["rows"]]
        parts += ["Where a step of `semi_supervised` goes (a stage contains those before it that it needs):"]
        parts += [_table(("stage", "ms", "of the step"), stages), _source(line, "train_step --profile")]
    return "\n\n".join([TRAINING, *(parts or [_missing("train_step")])])


TRAINING = """The same network in plain PyTorch, with the same weights, counted operations and losses over the first
steps, takes turns with ours, each side in a process of its own. The ratio is PyTorch's time over ours, against the
faster of its two memory layouts.

Most of a step is convolution in oneDNN, on both sides, so neither can be far ahead. What ours gains comes from batch
norm as one kernel where TensorFlow has one replica, the splat by broadcasting, and bytes normalised on the device."""


def building(folder):
    """Dumps to records."""
    line = newest(folder, "build")
    if not line:
        return _missing("build")
    head = line["headline"]
    rows = []
    for row in line["rows"]:
        seconds = sorted(each[0] for each in row["seconds_and_cpu"])
        cpu = sorted(each[1] for each in row["seconds_and_cpu"])
        rows.append((row["what"], f"{seconds[len(seconds) // 2]:.1f}", f"{cpu[len(cpu) // 2]:.1f}"))
    return "\n\n".join(
        [
            f"{head['crops']:,} crops of {head['crop_size']} px, two hands in every picture, out of 1080p "
            f"{head['video']['codec']} videos; the floor decodes the same videos to pictures on as many processes.",
            _table(("", "s", "CPU s"), rows),
            f"**{head['floor_ratio']:.2f} of the floor**, {head['cpu_ratio']:.2f} by CPU time "
            f"({_verdict(head['floor_ratio'], GOAL['build'])}), {head['crops_per_second']:.0f} crops/s. A frame costs "
            "what it costs to decode, of which a third is the conversion to BGR; what comes on top is two maps, two "
            "remaps and two JPEGs a crop (its background goes the same way) and, in short videos, the median.",
            _source(line, "build"),
        ]
    )


def _cost(rows, row):
    plain = next((r["n_mpjpe"] for r in rows if r["network"] == row["network"] and r["format"] == "savedmodel"), None)
    if row.get("n_mpjpe") is None or plain is None:
        return None
    return f"{row['n_mpjpe']:.2f} ({row['n_mpjpe'] - plain:+.2f})"


def inference(folder):
    """Exported models beside MediaPipe's."""
    parts = [INFERENCE]
    for scored in (False, True):
        line = newest(
            folder,
            "latency",
            lambda head, scored=scored: scored == any("n_mpjpe" in row for row in head["ratios_of_latency"].values()),
        )
        if not line:
            continue
        names = ("format", "ms", "ms_p90", "images_per_second", *(f"/ {peer}" for peer in PEERS))
        rows = [
            [PEERS.get(row["network"], row["network"]), *(row.get(name) for name in names), _cost(line["rows"], row)]
            for row in line["rows"]
        ]
        titles = ("network", "format", "ms", "p90", "images/s", "of full", "of lite", "N-MPJPE, mm")
        parts.append("**Trained on 64 px crops**:" if scored else "**Full size, 128 px, untrained**:")
        parts.append(_table(titles if scored else titles[:-1], rows if scored else [row[:-1] for row in rows]))
        parts.append(_source(line, "latency" + (" --runs=... --data_dir=RECORDS" if scored else "")))
    return "\n\n".join(parts if len(parts) > 1 else [*parts, _missing("latency")])


INFERENCE = """One image on one thread (ms), and images a second on all cores. MediaPipe's hand landmark models run on
the same runtime, at their own 224 px. An exported model takes uint8 and needs its runtime alone; 8-bit ranges are
calibrated on crops that the run was trained on."""


def startup(folder):
    """`--help` and the first step."""
    line = newest(folder, "startup")
    if not line:
        return _missing("startup")
    head = line["headline"]
    parts = [_table(("command", "--help, s"), list(head["help_seconds"].items()))]
    slowest = _verdict(head["slowest_help"], GOAL["help"], lambda a, b: a <= b)
    parts.append(f"The slowest takes {head['slowest_help']:.2f} s ({slowest}).")
    if "first_step_seconds" in head:
        rows = [(row["stage"], row["seconds"], row["cpu_seconds"]) for row in line["rows"]]
        parts.append(_table(("to the first step of the demo's pre-training", "s", "CPU s"), rows))
        first = _verdict(head["first_step_seconds"], GOAL["step"], lambda a, b: a <= b)
        parts.append(f"{head['first_step_seconds']:.1f} s in all ({first}).")
    return "\n\n".join([*parts, _source(line, "startup --data_dir=RECORDS")])


SECTIONS = {
    "Input pipeline": pipeline,
    "Training step": training,
    "Build": building,
    "Inference": inference,
    "Start-up": startup,
}
INTRODUCTION = """# Performance

Ratios are against a floor or a peer measured in the same run, medians of alternating rounds; the machine is shared and
its two cores share much, so milliseconds are what they happened to be. Every table says which command made it; the
dome's speed is in [dome.md](dome.md), what data cost at scale in [scale.md](scale.md). On a GPU nothing has been
measured yet: `benchmarks/gpu/` holds what is to be run."""


def page(folder):
    """The page's text, out of the files in `folder`."""
    parts = [f"## {title}\n\n{section(folder)}" for title, section in SECTIONS.items()]
    return "\n\n".join([INTRODUCTION, *parts]) + "\n"


def main(_):
    """Writes the page."""
    folder = pathlib.Path(FLAGS.output)
    manifest.write_text(folder / "performance.md", page(folder))
    print(f"{folder / 'performance.md'}: written")


if __name__ == "__main__":
    sys.exit(command.run(main, FLAGS))
