"""The tables of docs/scale.md: measured costs of single items, and what follows from them for whole data sets."""

import pathlib

from benchmarks import measurements
from benchmarks.measurements import markdown

# Which line of NAME.jsonl each cost is taken from.
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
    "100 × Panoptic": (100 * FRAMES * SIDES, VIEWS),
}
SIZES, CORES, RATES = (64, 128), (1, 16, 64), (100, 1000, 5000)
# `hand_tf.data.triplets` draws so many triplets from two records of VIEWS views before it reads the next two.
TRIPLETS = VIEWS + VIEWS % 2


def amount(value: float, units: list[tuple[float, str]]) -> str:
    """`value` in the first of `units` (factor, name), largest first, of which there is at least one."""
    factor, name = next((unit for unit in units if value >= unit[0]), units[-1])
    value /= factor
    return f"{value:.3g} {name}" if value < 999.5 else f"{value:,.0f} {name}"


def _bytes(value):
    return amount(value, [(1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")])


def _time(seconds):
    return amount(seconds, [(86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms")])


def _costs(docs):
    """Costs of single items (bytes, and seconds of one core) by name, and the lines that they are taken from.

    Raises ValueError for a measurement that is missing.
    """
    lines = {name: measurements.newest(docs, name, suitable) for name, suitable in NEEDED.items()}
    dome, own = lines["dome_speed"]["headline"]["command"], lines["scale"]["headline"]
    pipeline = {row["name"]: row for row in lines["input_pipeline"]["rows"]}
    costs = {
        "dome": dome["seconds"] * lines["dome_speed"]["machine"]["cpus"] / dome["crops"],
        "build": lines["build"]["headline"]["cpu_ms_per_crop"] / 1e3,
        "pipeline": pipeline["pipeline, augmented"]["us_processor"] / 1e6,
        "training": lines["train_step"]["headline"]["samples_per_second"]["pretrain"],
        "cores": lines["train_step"]["headline"]["threads"],
        "bytes": {int(size): value for size, value in own["record_bytes_per_view"].items()},
        "index": own["index_row"],
        "instant": own["instant_bytes"],
        "serial": own["serial_seconds_per_view"],
    }
    return costs, lines


def items(docs: pathlib.Path) -> str:
    """What single items cost, and where that was measured."""
    cost, lines = _costs(docs)
    rows = [
        ("dome: render a crop of 128 px", f"{1e3 * cost['dome']:.2f} ms on one core"),
        ("build: cut a crop of 128 px from 1080p video", f"{1e3 * cost['build']:.2f} ms on one core"),
        ("dome and build: write a view into its record", f"{1e3 * cost['serial']:.3f} ms in a single process"),
        *((f"record: crop and background of {size} px", _bytes(cost["bytes"][size])) for size in SIZES),
        ("input pipeline: an augmented triplet of 128 px", f"{1e3 * cost['pipeline']:.2f} ms on one core"),
        (f"training: demo sizes on {cost['cores']} cores", f"{cost['training']:.0f} triplets/s"),
        ("index: a record of 31 views, in memory", _bytes(cost["index"]["memory_bytes"])),
    ]
    measured = []
    for name, line in lines.items():
        machine = f"{line['machine']['cpus']} cores of {line['machine']['processor']}"
        measured.append(f"* `benchmarks.{name}`: {line['date']}, {machine}, commit {line['commit']}")
    return "\n\n".join([markdown(("", "cost"), rows), "Measured with:", "\n".join(measured)])


def growth(docs: pathlib.Path) -> str:
    """Size and time of data sets, one column per scale."""
    cost, _ = _costs(docs)
    crops = [records * views for records, views in SCALES.values()]
    rows = [("records (one hand at one instant)", *(f"{records:,}" for records, _ in SCALES.values()))]
    rows.append(("crops", *(f"{count:,}" for count in crops)))
    for size in SIZES:
        rows.append((f"records of {size} px", *(_bytes(count * cost["bytes"][size]) for count in crops)))
    for size in SIZES:
        each = (SHARD * views * cost["bytes"][size] for _, views in SCALES.values())
        rows.append((f"a shard of {SHARD} records of {size} px", *map(_bytes, each)))
    for cores in CORES:
        # The dome writes records while it renders others; build writes them after all crops are cut.
        seconds = (count * max(cost["dome"] / cores, cost["serial"]) for count in crops)
        rows.append((f"dome, 128 px, {cores} core{'s' if cores > 1 else ''}", *map(_time, seconds)))
    for cores in CORES:
        seconds = (count * ((cost["build"] - cost["serial"]) / cores + cost["serial"]) for count in crops)
        rows.append((f"build, 128 px from 1080p, {cores} core{'s' if cores > 1 else ''}", *map(_time, seconds)))
    return markdown(("", *SCALES), rows)


def reading(docs: pathlib.Path) -> str:
    """Bytes per second from the disk, and cores that decode and augment, for accelerators of several speeds."""
    cost, _ = _costs(docs)
    views = 2 * VIEWS / TRIPLETS
    rows = []
    for rate in RATES:
        read = (f"{_bytes(rate * views * cost['bytes'][size])}/s" for size in SIZES)
        rows.append((f"{rate:,}", *read, f"{rate * cost['pipeline']:.1f}"))
    titles = ("triplets/s", *(f"read from disk, {size} px" for size in SIZES), "cores to decode, 128 px")
    return markdown(titles, rows)


def memory(docs: pathlib.Path) -> str:
    """What takes more memory as the data grow."""
    cost, _ = _costs(docs)
    counts, row = [records for records, _ in SCALES.values()], cost["index"]
    rows = [
        ("index.csv on disk", *(_bytes(n * row["disk_bytes"]) for n in counts)),
        ("the index in memory", *(_bytes(n * row["memory_bytes"]) for n in counts)),
        ("time to read the index", *(_time(n * row["seconds"]) for n in counts)),
        ("all instants in memory (build)", *(_bytes(n * cost["instant"]) for n in counts)),
    ]
    return markdown(("", *SCALES), rows)


TABLES = {"scale_items": items, "scale_growth": growth, "scale_reading": reading, "scale_memory": memory}
