"""Predictions as a table with one row per joint, for programs that read tables: CSV and Parquet.

Both are written from lines of predictions.partial.jsonl, of which memory holds a few at a time.
"""

import csv
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import IO

from hand_tf.core import skeleton

_OF_THE_HAND = ("file", "frame", "time_s", "hand", "track", "score")
COLUMNS = (*_OF_THE_HAND, "joint", *("x_mm", "y_mm", "z_mm", "u_px", "v_px", "error_mm"))
_GROUP = 1000  # hands in a row group of a Parquet file


def _rows(lines: Iterable[str]) -> Iterator[tuple]:
    """The rows of the table; None for what is not known. Frames without a hand have none."""
    for entry in map(json.loads, lines):
        if entry["hand"] is None:
            continue
        hand = [entry[name] for name in _OF_THE_HAND]
        errors = entry["joint_error_mm"] or [None] * skeleton.NUM_JOINTS
        joints = zip(skeleton.JOINT_NAMES, entry["pose_mm"], entry["joints_2d"], errors, strict=True)
        for name, pose, place, error in joints:
            yield (*hand, name, *(pose or [None] * 3), *(place or [None] * 2), error)


def write_csv(file: IO[str], lines: Iterable[str]) -> None:
    """Writes the table as CSV. What is not known is an empty cell."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_rows(lines))


def write_parquet(file: IO[bytes], lines: Iterable[str]) -> None:
    """Writes the table as Parquet, with pyarrow. What is not known is null."""
    import pyarrow
    from pyarrow import parquet

    text, whole, real = pyarrow.string(), pyarrow.int64(), pyarrow.float64()
    kinds = dict.fromkeys(COLUMNS, real) | dict.fromkeys(("file", "hand", "joint"), text)
    kinds |= dict.fromkeys(("frame", "track"), whole)
    schema, rows = pyarrow.schema(kinds.items()), _rows(lines)
    with parquet.ParquetWriter(file, schema) as writer:
        while group := list(itertools.islice(rows, _GROUP * skeleton.NUM_JOINTS)):
            columns = zip(*group, strict=True)
            arrays = [pyarrow.array(column, kind) for column, kind in zip(columns, kinds.values(), strict=True)]
            writer.write_table(pyarrow.table(arrays, schema=schema))
