"""Predictions as a table with one row per joint, for programs that read tables."""

import csv
import json
from collections.abc import Iterable
from typing import IO

from hand_tf.core import skeleton

COLUMNS = (
    *("file", "frame", "time_s", "hand", "track", "score", "joint"),
    *("x_mm", "y_mm", "z_mm", "u_px", "v_px"),
)


def write_csv(file: IO[str], lines: Iterable[str]) -> None:
    """Writes entries of predictions.json, one in each of `lines`, as CSV. What is not known is an empty cell."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in map(json.loads, lines):
        hand = [entry[name] for name in ("file", "frame", "time_s", "hand", "track", "score")]
        places = zip(skeleton.JOINT_NAMES, entry["pose_mm"], entry["joints_2d"], strict=True)
        writer.writerows([*hand, name, *(pose or [None] * 3), *(place or [None] * 2)] for name, pose, place in places)
