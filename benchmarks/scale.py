"""Writes docs/scale.md: what the data of a demo, of Panoptic and of a hundred Panoptics cost.

    python -m benchmarks.scale --output=docs --data_dir=RECORDS

Costs of one item come from the other benchmarks' files in OUTPUT, the newest line of each; what is not there is
measured now, briefly. Bytes of a record come from the folders --data_dir and, for the sizes that none of them has, from
a small dome. Everything else on the page is arithmetic.
"""

import csv
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import time
import tracemalloc

import numpy as np
from absl import flags

from benchmarks import results
from hand_tf import command, manifest, skeleton
from tfrecords_tools import panoptic

FLAGS = flags.FlagValues()
flags.DEFINE_string("output", "docs", "Folder of the page and of the benchmarks' files.", flag_values=FLAGS)
flags.DEFINE_multi_string("data_dir", [], "Folders of records to measure.", flag_values=FLAGS)

# name: (file, arguments of a short run, which of its lines will do)
SOURCES = {
    "dome_speed": ("dome_speed.jsonl", ["--rounds=1", "--instants=4"], lambda head: head["crop_size"] == 128),
    "build": ("build.jsonl", ["--rounds=1", "--frames=60"], lambda head: True),
    "input_pipeline": ("input_pipeline.jsonl", ["--rounds=1", "--batches=10", "--copies=1"], lambda head: True),
    "train_step": ("train_step.jsonl", ["--rounds=1", "--regimes=pretrain"], lambda head: head.get("sizes") == "demo"),
}
DEMO_VIEWS, VIEWS, SIDES, FRAMES = 8, 31, 2, 65_000
# name: (records, views of each)
SCALES = {
    "demo": (11 * 120, DEMO_VIEWS),
    "Panoptic": (FRAMES * SIDES, VIEWS),
    "100 x Panoptic": (100 * FRAMES * SIDES, VIEWS),
}
SIZES, CORES, GPU_RATES = (64, 128), (1, 16, 64, 256), (100, 1000, 5000)
INDEX_ROWS = 20_000


# --- costs of one item ----------------------------------------------------------------------------------------------


def _run(module, *arguments):
    """What a command printed last."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{module}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip().splitlines()[-1]


def headline(name, folder):
    """(headline, where it comes from) of a benchmark: its newest line that will do, or a short run."""
    file, arguments, will_do = SOURCES[name]
    path = folder / file
    fitting = [entry for entry in (results.read(path) if path.is_file() else ()) if will_do(entry["headline"])]
    if fitting:
        entry = fitting[-1]
        return entry["headline"], f"{file}, {entry['date']}, {entry['machine']['processor']}, commit {entry['commit']}"
    if name == "input_pipeline":
        if not FLAGS.data_dir:
            raise ValueError(f"{path}: not there, and without --data_dir it cannot be measured")
        arguments = [*arguments, f"--data_dir={FLAGS.data_dir[0]}"]
    print(f"measuring {name}", flush=True)
    return json.loads(_run(f"benchmarks.{name}", *arguments)), "a short run of it now"


def record_bytes():
    """{crop size: bytes of a record a view} of the folders given, and of a small dome for other sizes."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in (0, *SIZES):
            folders = FLAGS.data_dir if not size else [f"{folder}/{size}"] if size not in found else []
            for each in folders:
                if size:
                    print(f"measuring records of {size} px", flush=True)
                    _run("tfrecords_tools.dome", f"--records={each}", f"--crop_size={size}", "--frames=6")
                content = json.loads((pathlib.Path(each) / manifest.MANIFEST).read_text(encoding="utf-8"))
                report = content["report"]
                found[content["crop_size"]] = report["bytes"] / report["views"]
    return found


def index_cost():
    """Of a row of the index with 31 cameras: bytes on disk, bytes in memory, microseconds to read."""
    cameras = " ".join(f"00_{node:02d}" for node in range(VIEWS))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / manifest.INDEX
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(manifest.INDEX_FIELDS)
            for n in range(INDEX_ROWS):
                take = n // 1000
                shard = f"pose{take}.S{take}.right-00000-of-00001.tfrecord"
                key = f"pose{take}/S{take}/right/{n:08d}"
                writer.writerow([key, shard, f"pose{take}", f"S{take}", "right", n, cameras, 1])
        start = time.process_time()
        manifest.read_index(folder)
        seconds = time.process_time() - start
        tracemalloc.start()
        rows = manifest.read_index(folder)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return path.stat().st_size / len(rows), held / len(rows), 1e6 * seconds / len(rows)


def instant_cost():
    """Bytes of memory that an instant takes while records are built."""

    def make(frame):
        joints = np.full((skeleton.NUM_JOINTS, 3), float(frame))
        return panoptic.HandInstant(
            "pose1", "S0", 0, frame, "right", joints, joints[:, 0] > 0, joints.mean(0), float(frame), None
        )

    tracemalloc.start()
    instants = [make(frame + 1000) for frame in range(1000)]
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / len(instants)


# --- the page -------------------------------------------------------------------------------------------------------


def _amount(value, units):
    """A number with the largest of `units` [(factor, name)] that leaves at least 1."""
    factor, name = next((unit for unit in units if value >= unit[0]), units[-1])
    value /= factor
    return f"{value:.3g} {name}" if value < 1000 else f"{value:,.0f} {name}"


def _bytes(value):
    return _amount(value, [(1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")])


def _time(seconds):
    return _amount(seconds, [(86400 * 2, "days"), (3600, "h"), (60, "min"), (1, "s")])


def _table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)])


def _growth(cost):
    """The rows of the table of sizes, a column a scale."""
    scales = list(SCALES.values())
    rows = [("records (a hand at an instant)", *(f"{records:,}" for records, _ in scales))]
    rows.append(("crops", *(f"{records * views:,}" for records, views in scales)))
    for size in SIZES:
        total = [records * views * cost["bytes"][size] for records, views in scales]
        rows.append((f"records of {size} px", *map(_bytes, total)))
    shards = [math.ceil(records / 1000) for records, _ in scales]
    rows.append(("shards of 1000 records, at least", *(f"{count:,}" for count in shards)))
    for size in SIZES:
        each = [1000 * views * cost["bytes"][size] for _, views in scales]
        rows.append((f"a whole shard of {size} px", *map(_bytes, each)))
    for name, crop in (("dome, rendering", cost["dome"]), ("build from 1080p videos", cost["build"])):
        for cores in CORES:
            seconds = [records * views * crop / cores for records, views in scales]
            rows.append((f"{name}, {cores} core{'s' * (cores > 1)}", *map(_time, seconds)))
    return rows


def _memory(cost):
    """The rows of the table of what grows in memory with the data."""
    on_disk, held, micro = cost["index"]
    records = [records for records, _ in SCALES.values()]
    return [
        ("index.csv on disk", *(_bytes(n * on_disk) for n in records)),
        ("index in memory (train, evaluate: `read_index`)", *(_bytes(n * held) for n in records)),
        ("seconds to read it", *(_time(n * micro / 1e6) for n in records)),
    ]


def _feeding(cost):
    """Rows: triplets/s that an accelerator takes, bytes/s from disk, cores that decode and augment."""
    rows = []
    for rate in GPU_RATES:
        each = [rate * cost["read"] * cost["bytes"][size] for size in SIZES]
        rows.append((f"{rate:,}", *(f"{_bytes(value)}/s" for value in each), f"{rate / cost['pipeline']:.1f}"))
    return rows


PAGE = """# Scale

What the data cost, from the demo ({demo:,} crops) to Panoptic (65,000 frames x 31 views x 2 hands) and a hundred
times that. Costs of one item are measured, the rest is arithmetic; `python -m benchmarks.scale --output=docs` writes
this page.

## One item

{items}

{sources}

## From the demo to a hundred Panoptics

{growth}

The dome's work is split by instant and the build's by camera, so both grow with the cores as long as there are more
jobs than cores: a Panoptic sequence has 31 cameras, and several sequences are built side by side. Putting records
together is the work of one process, which copies bytes and hashes them. Disk needs twice the records' bytes while a
build runs (its spool). One build runs on one machine.

## What a training reads

Two records give as many triplets as they have views before the next two are read, so a triplet costs the bytes of
{read:.2g} views of a record, read in sequence, and four pictures to decode.

{feeding}

Each process of a training on several machines reads only the rows of its own batch, so these are figures a process.

## What grows in memory

Shuffle buffers do not: they hold a fixed number of encoded crops (`hand_tf.pipeline`), however long the data. Networks
and batches do not. These do, with the number of records:

{memory}

* `train` and `evaluate` hold one index at a time; the labels that a scenario may use lie in memory, still encoded (a
  few kB each: all 28,592 of the paper's largest scenario are about {labels} at 128 px).
* `manifest.json` has a line a shard, 0.2 kB: nothing.
* `build` holds all instants of all its sequences ({instant} each, {instants} for Panoptic), sends those of a sequence
  to each worker that reads one of its cameras, and holds one index.
* A background takes at most 64 pictures of the part that crops show, and 400 MB a worker at most.

So Panoptic fits into any machine, and ten million records are where one folder should end: the index of a hundred
Panoptics still loads, in the time above, but a build of that size wants to be cut by sequence.

## More than one machine

Keras on JAX, data parallel; the weights are the same everywhere, each process reads `batch_size / P` rows of its own
stream, and process 0 writes the workdir, which lies in a folder that all can see:

    KERAS_BACKEND=jax python -m hand_tf.train --flagfile=flags/pretrain.flags --data_dir=RECORDS --workdir=RUN \\
        --batch_size=256 --processes=8 --process_id=$RANK --coordinator=$HOST_OF_0:29400

Start it on every machine with its own `--process_id`, 0 to 7. On one machine with several GPUs no flag is needed on
TensorFlow (MirroredStrategy); on JAX one process uses all GPUs it sees once `--processes` is above 1.
`tests/test_two_processes.py` runs two processes over loopback and finds the loss and the weights of one process that
learns from both their rows. A run that is killed continues when all processes are started again.
"""


def costs(folder):
    """Costs of one item, and the lines that say where they come from."""
    heads, said = {}, []
    for name in SOURCES:
        heads[name], where = headline(name, folder)
        said.append(f"* `benchmarks.{name}`: {where}")
    build, pipe = heads["build"], heads["input_pipeline"]
    cores = results.facts()["machine"]["cpus"]
    return {
        "dome": 1 / heads["dome_speed"]["crops_per_second_per_core"],
        "build": build["cpu_ms_per_crop"] / 1e3,
        "bytes": record_bytes(),
        "pipeline": pipe["triplets_per_second_augmented"] / cores,
        "training": heads["train_step"]["samples_per_second"]["pretrain"],
        "index": index_cost(),
        "instant": instant_cost(),
    }, said


def main(_):
    """Measures what is missing and writes the page."""
    folder = pathlib.Path(FLAGS.output)
    cost, said = costs(folder)
    cost["read"] = 2 * VIEWS / (VIEWS + VIEWS % 2)  # `pipeline._draw_both`
    machine = results.facts()["machine"]
    items = [
        ("dome: render a crop (128 px, one core)", f"{1e3 * cost['dome']:.2f} ms"),
        ("build: a crop of 1080p video (128 px, one core)", f"{1e3 * cost['build']:.2f} ms"),
        *((f"record: crop and background of {size} px", _bytes(cost["bytes"][size])) for size in SIZES),
        ("pipeline: augmented triplets, one core", f"{cost['pipeline']:.0f} /s"),
        (f"training: triplets of the demo's size, {machine['cpus']} cores", f"{cost['training']:.0f} /s"),
        ("index: a record of 31 views in memory", _bytes(cost["index"][1])),
    ]
    records, views = SCALES["demo"]
    text = PAGE.format(
        demo=records * views,
        items=_table(("", "measured"), items),
        sources="\n".join(said),
        growth=_table(("", *SCALES), _growth(cost)),
        feeding=_table(("triplets/s", *(f"read, {size} px" for size in SIZES), "cores"), _feeding(cost)),
        memory=_table(("", *SCALES), _memory(cost)),
        read=cost["read"],
        labels=_bytes(28_592 * cost["bytes"][128] / 2),
        instant=_bytes(cost["instant"]),
        instants=_bytes(FRAMES * SIDES * cost["instant"]),
    )
    manifest.write_text(folder / "scale.md", text)
    print(text)
    results.publish({"cost": cost | {"bytes": {str(k): round(v) for k, v in cost["bytes"].items()}}}, [])


if __name__ == "__main__":
    sys.exit(command.run(main, FLAGS))
