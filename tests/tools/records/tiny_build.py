"""Builds records of `tiny_dump`, and reads them back."""

import pathlib

from hand_tf.core import crops, records_folder
from tfrecords_tools import build, inspect


def settings(dump, output, **changes):
    """Small crops and shards, and no processes besides this one."""
    defaults = {"crop_size": 64, "workers": 1, "records_per_shard": 3}
    return build.BuildSettings(input=(str(dump),), output=str(output), **defaults | changes)


def load(folder):
    """The manifest."""
    return records_folder.load_manifest(folder)


def records(folder):
    """{key: record}."""
    rows = records_folder.read_index(folder)
    return dict(zip([row["key"] for row in rows], inspect.read_records(folder, rows), strict=True))


def joint_pixels(record, view):
    """Where the joints of a record lie in one of its crops, [21, 2] px."""
    return crops.project(record["joints"], *(record[n][view] for n in ("rotations", "intrinsics", "camera_centres")))


def contents(folder):
    """The bytes of all shards and of the index."""
    folder = pathlib.Path(folder)
    return {path.name: path.read_bytes() for path in [*sorted(folder.glob("*.tfrecord")), folder / "index.csv"]}
