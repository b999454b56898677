"""Writes docs/scale.md: what the data of a demo, of Panoptic and of a hundred Panoptics cost.

    python -m benchmarks.scale --output=docs
    python -m benchmarks.scale --output=docs --nomeasure

Measures what no other benchmark does (bytes of records, of the index and of instants, the serial end of a build) and
appends it to OUTPUT/scale.jsonl; then writes the page out of that file and those of `dome_speed`, `build`,
`input_pipeline` and `train_step`, the newest line of each. Everything else on the page is arithmetic.
"""

import csv
import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import tracemalloc

import numpy as np
from absl import flags

from benchmarks import results
from hand_tf.core import atomic, command_line, records_folder, skeleton
from tfrecords_tools.dome import capture
from tfrecords_tools.dump import panoptic

FLAGS = flags.FlagValues()
flags.DEFINE_string("output", "docs", "Folder of the page and of the benchmarks' files.", flag_values=FLAGS)
flags.DEFINE_bool("measure", True, "Measure, too; otherwise only write the page.", flag_values=FLAGS)

# Of the other benchmarks: which line of NAME.jsonl will do.
NEEDED = {
    "dome_speed": lambda head: head["crop_size"] == 128 and head["rig"] == "ring8" and "command" in head,
    "build": lambda head: head["crop_size"] == 128,
    "input_pipeline": lambda head: head["crop_size"] == 128,
    "train_step": lambda head: (
        "pretrain" in head.get("samples_per_second", {}) and (head["sizes"], head["precision"]) == ("demo", "float32")
    ),
    "scale": lambda head: True,
}
DEMO_VIEWS, VIEWS, SIDES, FRAMES, SHARD = 8, 31, 2, 65_000, 1000
# name: (records, views of each)
SCALES = {
    "demo": (11 * 120, DEMO_VIEWS),
    "Panoptic": (FRAMES * SIDES, VIEWS),
    "100 x Panoptic": (100 * FRAMES * SIDES, VIEWS),
}
SIZES, CORES, RATES = (64, 128), (1, 16, 64), (100, 1000, 5000)
INDEX_ROWS, SERIAL_RECORDS = 20_000, 200


# --- what is measured here ------------------------------------------------------------------------------------------


def record_bytes():
    """{crop size: bytes of a record a view} of a small dome."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            arguments = [f"--records={folder}/{size}", f"--crop_size={size}", "--frames=6"]
            dome = [sys.executable, "-m", "tfrecords_tools.dome", *arguments]
            done = subprocess.run(dome, capture_output=True, text=True, check=False)
            if done.returncode:
                raise ValueError(f"the dome ended with: {done.stderr.strip()[-300:]}")
            report = json.loads((pathlib.Path(folder) / str(size) / records_folder.MANIFEST).read_text())["report"]
            found[size] = report["bytes"] / report["views"]
    return found


def index_cost():
    """Of a row of the index with 31 cameras: bytes on disk, bytes in memory, seconds to read it."""
    cameras = " ".join(f"00_{node:02d}" for node in range(VIEWS))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / records_folder.INDEX
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(records_folder.INDEX_FIELDS)
            for n in range(INDEX_ROWS):
                take = n // SHARD
                shard, key = f"pose{take}.S{take}.right-00000-of-00001.tfrecord", f"pose{take}/S{take}/right/{n:08d}"
                writer.writerow([key, shard, f"pose{take}", f"S{take}", "right", n, cameras, 1])
        start = time.process_time()
        records_folder.read_index(folder)
        seconds = time.process_time() - start
        tracemalloc.start()
        rows = records_folder.read_index(folder)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return path.stat().st_size / len(rows), held / len(rows), seconds / len(rows)


def _instants(count):
    joints = [np.full((skeleton.NUM_JOINTS, 3), float(n)) for n in range(count)]
    return [
        panoptic.HandInstant("pose1", "S0", 1000 + n, 0, "right", each, each[:, 0] >= 0, each.mean(0), 100.0 + n)
        for n, each in enumerate(joints)
    ]


def instant_cost():
    """Bytes of memory that an instant takes while records are built."""
    tracemalloc.start()
    instants = _instants(1000)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / len(instants)


@dataclasses.dataclass(frozen=True)
class _Views:
    """What `shards.write_group` asks for, with pictures of random bytes."""

    instants: list
    cameras: list
    picture: bytes

    def cameras_of(self, _):
        return self.cameras

    def pictures(self, positions):
        for _ in positions:
            yield [(self.picture, self.picture)] * len(self.cameras)


def serial_cost(size):
    """Seconds a view of what one process does at the end of a build: to serialise, write and hash records."""
    from tqdm import tqdm

    from tfrecords_tools.dome import records
    from tfrecords_tools.records import shards

    (sequence,) = capture.plan(subjects=1, frames=2, fps=2.0, rig="panoptic31")
    cameras = [capture.make_view(sequence, node).camera for node in range(VIEWS)]
    random = np.random.default_rng(0).bytes(round(size / 2))
    views = _Views(_instants(SERIAL_RECORDS), cameras, random)
    with tempfile.TemporaryDirectory() as folder:
        options = records.Options(pathlib.Path(folder), 128)
        start = time.perf_counter()
        with tqdm(disable=True) as progress:
            shards.write_group(views, ("pose1", "S0", "right"), range(SERIAL_RECORDS), options, progress)
        return (time.perf_counter() - start) / SERIAL_RECORDS / VIEWS


def measure():
    """The headline: costs of one item, in bytes and seconds."""
    found = record_bytes()
    on_disk, in_memory, seconds = index_cost()
    return {
        "record_bytes_per_view": {str(size): round(value) for size, value in found.items()},
        "index_row": {"disk_bytes": round(on_disk), "memory_bytes": round(in_memory), "seconds": round(seconds, 7)},
        "instant_bytes": round(instant_cost()),
        "serial_seconds_per_view": round(serial_cost(found[128]), 7),
    }


# --- the page -------------------------------------------------------------------------------------------------------


def amount(value, units):
    """A number with the first of `units` (factor, name), largest first, of which there is at least one."""
    factor, name = next((unit for unit in units if value >= unit[0]), units[-1])
    value /= factor
    return f"{value:.3g} {name}" if value < 999.5 else f"{value:,.0f} {name}"


def _bytes(value):
    return amount(value, [(1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")])


def _time(seconds):
    return amount(seconds, [(86400, "d"), (3600, "h"), (60, "min"), (1, "s")])


def costs(folder):
    """Costs of one item out of the files in `folder`, in seconds of a core and bytes; and where they come from.

    Raises ValueError for a file that is not there.
    """
    lines, said = {}, []
    for name, will_do in NEEDED.items():
        path = folder / f"{name}.jsonl"
        lines[name] = line = results.newest(path, will_do)
        if not line:
            raise ValueError(f"{path}: no measurement that will do; run python -m benchmarks.{name} --output={path}")
        machine = f"{line['machine']['cpus']} cores of {line['machine']['processor']}"
        said.append(f"* `benchmarks.{name}`: {line['date']}, {machine}, commit {line['commit']}")
    rows = {name: {row.get("name"): row for row in line["rows"]} for name, line in lines.items()}
    dome, own = lines["dome_speed"]["headline"]["command"], lines["scale"]["headline"]
    return {
        "dome": dome["seconds"] * lines["dome_speed"]["machine"]["cpus"] / dome["crops"],
        "build": lines["build"]["headline"]["cpu_ms_per_crop"] / 1e3,
        "pipeline": rows["input_pipeline"]["pipeline, augmented"]["us_processor"] / 1e6,
        "training": lines["train_step"]["headline"]["samples_per_second"]["pretrain"],
        "cores": lines["train_step"]["headline"]["threads"],
        "bytes": {int(size): value for size, value in own["record_bytes_per_view"].items()},
        "index": own["index_row"],
        "instant": own["instant_bytes"],
        "serial": own["serial_seconds_per_view"],
    }, said


def _items(cost):
    return [
        ("dome: a crop of 128 px, by the command", f"{1e3 * cost['dome']:.2f} ms of a core"),
        ("build: a crop of 128 px out of 1080p video", f"{1e3 * cost['build']:.2f} ms of a core"),
        ("either: putting a view into its record", f"{1e3 * cost['serial']:.3f} ms of one process"),
        *((f"record: crop and background of {size} px", _bytes(cost["bytes"][size])) for size in SIZES),
        ("pipeline: an augmented triplet of 128 px", f"{1e3 * cost['pipeline']:.2f} ms of a core"),
        (f"training: triplets of the demo's size, {cost['cores']} cores", f"{cost['training']:.0f} /s"),
        ("index: a record of 31 views in memory", _bytes(cost["index"]["memory_bytes"])),
    ]


def _growth(cost):
    """The rows of the table of sizes, a column a scale."""
    crops = [records * views for records, views in SCALES.values()]
    rows = [("records (a hand at an instant)", *(f"{records:,}" for records, _ in SCALES.values()))]
    rows.append(("crops", *(f"{count:,}" for count in crops)))
    for size in SIZES:
        rows.append((f"records of {size} px", *(_bytes(count * cost["bytes"][size]) for count in crops)))
    for size in SIZES:
        each = (SHARD * views * cost["bytes"][size] for _, views in SCALES.values())
        rows.append((f"a shard of {SHARD} records of {size} px", *map(_bytes, each)))
    for cores in CORES:
        # The dome's records are written while others are drawn, the build's after all crops are cut.
        seconds = (count * max(cost["dome"] / cores, cost["serial"]) for count in crops)
        rows.append((f"dome, 128 px, {cores} core{'s' * (cores > 1)}", *map(_time, seconds)))
    for cores in CORES:
        seconds = (count * ((cost["build"] - cost["serial"]) / cores + cost["serial"]) for count in crops)
        rows.append((f"build from 1080p videos, 128 px, {cores} core{'s' * (cores > 1)}", *map(_time, seconds)))
    return rows


def _memory(cost):
    """The rows of the table of what grows in memory with the data."""
    records, row = [records for records, _ in SCALES.values()], cost["index"]
    return [
        ("index.csv on disk", *(_bytes(n * row["disk_bytes"]) for n in records)),
        ("the index in memory, all cameras seeing all", *(_bytes(n * row["memory_bytes"]) for n in records)),
        ("time to read it", *(_time(n * row["seconds"]) for n in records)),
        ("all instants in memory (build)", *(_bytes(n * cost["instant"]) for n in records)),
    ]


def _feeding(cost, read):
    """Rows: triplets/s that an accelerator takes, bytes/s from disk, cores that decode and augment."""
    sizes = [[f"{_bytes(rate * read * cost['bytes'][size])}/s" for size in SIZES] for rate in RATES]
    return [(f"{rate:,}", *each, f"{rate * cost['pipeline']:.1f}") for rate, each in zip(RATES, sizes, strict=True)]


PAGE = """# Scale

What the data cost, from as many crops as the demo's ({demo:,}) to Panoptic (65,000 frames x 31 views x 2 hands) and a
hundred times that. Costs of one item are measured, on the synthetic dome; the rest is arithmetic.
`python -m benchmarks.scale` writes this page.

## One item

{items}

{sources}

## From the demo to a hundred Panoptics

{growth}

The dome's work is split by instant and the build's by camera, so both grow with the cores as long as there are more
jobs than cores: a sequence of Panoptic has 31 cameras, and all sequences of a build are cut side by side. One process
puts the records together, so the last lines are at best. Views that a camera does not show are left out, so all figures
are at most. The cost of a crop is that of two hands in every picture; of a single one the decoding is twice as dear. A
build needs the records' room twice while it runs (its crops wait in a spool), and runs on one machine.

## What a training reads

Two records of {views} views give {triplets} triplets before the next two are read, so a triplet costs the bytes of
{read:.2g} views of a record, read in sequence, and up to four pictures to decode. For an accelerator that takes so
many:

{feeding}

Of a training on several machines each process reads its own rows alone, so these are figures a process.

## What grows in memory

Shuffle buffers do not: they hold a fixed number of encoded crops, however long the data (the peaks of memory in
[performance.md](performance.md)). These do:

{memory}

`train` and `evaluate` hold the index while they choose groups and labels; the labels that a scenario may use stay,
still encoded. `build` holds the instants of all its sequences, and sends those of one to every worker that reads a
camera of it.

## More than one machine

Keras on JAX, data parallel; the weights are the same everywhere, each of P processes reads `batch_size / P` rows of its
own stream, and process 0 writes the workdir, which lies in a folder that all can see:

    KERAS_BACKEND=jax python -m hand_tf.train --flagfile=flags/pretrain.flags --data_dir=RECORDS --workdir=RUN \\
        --batch_size=256 --processes=8 --process_id=$RANK --coordinator=$HOST_OF_0:29400

Start it on every machine with its own `--process_id`, 0 to 7. On one machine with several GPUs no flag is needed on
TensorFlow (MirroredStrategy). `tests/test_two_processes.py` runs two processes over loopback and finds the loss and the
weights of one process that learns from both their rows. A run that was killed continues when all are started again.
"""


def page(folder):
    """The page's text, out of the files in `folder`. Raises ValueError if one is missing."""
    cost, said = costs(folder)
    records, views = SCALES["demo"]
    triplets = VIEWS + VIEWS % 2  # `pipeline._draw_both`
    return PAGE.format(
        demo=records * views,
        items=results.table(("", "measured"), _items(cost)),
        sources="\n".join(said),
        growth=results.table(("", *SCALES), _growth(cost)),
        feeding=results.table(
            ("triplets/s", *(f"read, {size} px" for size in SIZES), "cores, 128 px"),
            _feeding(cost, 2 * VIEWS / triplets),
        ),
        memory=results.table(("", *SCALES), _memory(cost)),
        views=VIEWS,
        triplets=triplets,
        read=2 * VIEWS / triplets,
    )


def main(_):
    """Measures, unless told not to, and writes the page."""
    folder = pathlib.Path(FLAGS.output)
    if FLAGS.measure:
        results.publish(measure(), [], folder / "scale.jsonl")  # prints the last line
    atomic.write_text(folder / "scale.md", page(folder))


if __name__ == "__main__":
    sys.exit(command_line.old_run(main, FLAGS))
