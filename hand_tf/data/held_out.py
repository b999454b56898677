"""Held-out stretches: parts of the training subjects' time whose labels are used for validation, not for training.

The time of each group (sequence, subject, side) is cut into two halves; each half gives one stretch, `share` of its
length, at a place that depends on the group's name alone. So a stretch holds instants that follow one another: single
frames chosen at random would have near twins among the training labels.
"""

import hashlib
from collections.abc import Iterable

HALVES = 2


def held_out_keys(index: Iterable[dict], share: float) -> set[str]:
    """Keys of the records in the held-out stretches.

    Args:
        index: rows of `records_folder.read_index`.
        share: of the time of each group, 0 to 1; 0 holds out nothing.
    """
    if not share:
        return set()
    groups: dict[tuple, list[dict]] = {}
    for row in index:
        groups.setdefault((row["sequence"], row["subject"], row["side"]), []).append(row)
    held = set()
    for name, rows in groups.items():
        first, last = min(row["frame"] for row in rows), max(row["frame"] for row in rows)
        length = (last - first + 1) / HALVES
        starts = [first + length * half + _place(name, half) * (1 - share) * length for half in range(HALVES)]
        held |= {row["key"] for row in rows if any(start <= row["frame"] < start + share * length for start in starts)}
    return held


def _place(name, half):
    """Where in its half a stretch lies, 0 to 1: the same on every machine and in every run."""
    digest = hashlib.blake2b(f"{'/'.join(name)} {half}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
