"""Measures costs of single items that no other benchmark measures; docs/scale.md multiplies them.

    python -m benchmarks.scale --output=docs/scale.jsonl

Bytes of records, of rows of the index and of instants in memory; and the time that the last, serial step of a build
takes per view: serialising, writing and hashing records.
"""

import csv
import dataclasses
import pathlib
import subprocess
import sys
import tempfile
import time
import tracemalloc

import numpy as np

from benchmarks import measurements
from benchmarks.scale_tables import SHARD, SIZES, VIEWS
from hand_tf.core import command_line, reading, records_folder, skeleton
from hand_tf.core.errors import InputError
from hand_tf.core.setting_fields import check, setting
from tfrecords_tools.dome import capture
from tfrecords_tools.dump import panoptic

INDEX_ROWS, SERIAL_RECORDS = 20_000, 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScaleSettings:
    """The flags of this command."""

    output: str | None = setting("JSON-lines file to append to.", None)

    def __post_init__(self):
        check(self)


def record_bytes(size: int) -> float:
    """Bytes per view of the records of a small dome with crops of `size` px."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"--records={folder}/records", f"--crop_size={size}", "--frames=6"]
        dome = [sys.executable, "-m", "tfrecords_tools.dome", *arguments]
        done = subprocess.run(dome, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f"the dome ended with: {done.stderr.strip()[-300:]}")
        report = reading.read_json(pathlib.Path(folder) / "records" / records_folder.MANIFEST)["report"]
        return report["bytes"] / report["views"]


def index_cost() -> tuple[float, float, float]:
    """Bytes on disk, bytes in memory and seconds to read, of one row of the index with 31 cameras."""
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
    """`count` instants of one hand, one frame apart."""
    joints = [np.full((skeleton.NUM_JOINTS, 3), float(n)) for n in range(count)]
    return [
        panoptic.HandInstant("pose1", "S0", 1000 + n, 0, "right", each, each[:, 0] >= 0, each.mean(0), 100.0 + n)
        for n, each in enumerate(joints)
    ]


def instant_cost() -> float:
    """Bytes of memory that one instant takes while records are built."""
    tracemalloc.start()
    instants = _instants(1000)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return held / len(instants)


@dataclasses.dataclass(frozen=True)
class _Views:
    """Stands in for the crops of a sequence that `shards.write_group` writes; the pictures are random bytes."""

    instants: list
    cameras: list
    picture: bytes

    def cameras_of(self, _):
        return self.cameras

    def pictures(self, positions):
        for _ in positions:
            yield [(self.picture, self.picture)] * len(self.cameras)


def serial_cost(size: float) -> float:
    """Seconds per view, of `size` bytes, that the end of a build takes in a single process."""
    from tqdm import tqdm

    from tfrecords_tools.records import shards
    from tfrecords_tools.records.settings import RecordsSettings

    (sequence,) = capture.plan(subjects=1, frames=2, fps=2.0, rig="panoptic31")
    cameras = [capture.make_view(sequence, node).camera for node in range(VIEWS)]
    random = np.random.default_rng(0).bytes(round(size / 2))
    views = _Views(_instants(SERIAL_RECORDS), cameras, random)
    with tempfile.TemporaryDirectory() as folder:
        settings = RecordsSettings(output=pathlib.Path(folder), crop_size=128)
        start = time.perf_counter()
        with tqdm(disable=True) as progress:
            shards.write_group(views, ("pose1", "S0", "right"), range(SERIAL_RECORDS), settings, progress)
        return (time.perf_counter() - start) / SERIAL_RECORDS / VIEWS


def main(settings: ScaleSettings) -> None:
    """Measures and prints the headline."""
    sizes = {size: record_bytes(size) for size in SIZES}
    on_disk, in_memory, seconds = index_cost()
    headline = {
        "record_bytes_per_view": {str(size): round(value) for size, value in sizes.items()},
        "index_row": {"disk_bytes": round(on_disk), "memory_bytes": round(in_memory), "seconds": round(seconds, 7)},
        "instant_bytes": round(instant_cost()),
        "serial_seconds_per_view": round(serial_cost(sizes[128]), 7),
    }
    measurements.publish(headline, [], settings.output)


if __name__ == "__main__":
    command_line.execute(main)
