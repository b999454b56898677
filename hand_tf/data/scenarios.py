"""Scenarios: which labels may be used. One label is one crop: one instant seen by one camera.

A scenario is written `SUBJECTS[:AMOUNT]`:

    S0            one crop of every labelled instant of S0 (the paper counts labels like this)
    S0:10%        a tenth of those            S0:64    exactly 64 of those
    S0..S4:10%    S0, S1, S2, S3 and S4       S0+S3    S0 and S3
    S0:all        every crop of every labelled instant
    *             every subject of the records

The choice is a hash of (instant, camera), the same on every machine and in every run, and nested: the labels of a
smaller amount are among those of any larger amount of the same subjects.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence

from hand_tf.core.errors import InputError

# The nine label sets of Table 1 in the paper, with the number of labels they have there.
TABLE_1 = {
    "S0..S8": 28592,
    "S0..S4": 18624,
    "S0..S2": 13136,
    "S0+S1": 9392,
    "S0": 6512,
    "S0:50%": 3248,
    "S0:10%": 640,
    "S0:5%": 320,
    "S0:1%": 64,
}


def expand_subjects(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """Names of the subjects in `text`, such as `S0..S6+S8`, `known` or not; `*` stands for all that are `known`."""
    if text == "*":
        return tuple(known)
    names = []
    for part in text.split("+"):
        ends = re.fullmatch(r"(\D*)(\d+)\.\.(\D*)(\d+)", part)
        if ends and ends[1] == ends[3] and int(ends[2]) <= int(ends[4]):
            names += [f"{ends[1]}{i}" for i in range(int(ends[2]), int(ends[4]) + 1)]
        else:
            names.append(part)
    return tuple(dict.fromkeys(names))


def in_words(names: Sequence[str]) -> str:
    """The shortest text that `expand_subjects` reads as `names`: S0..S6+S8."""
    parts = []  # [letters, first, last] of stretches, or a name as it is
    for name in names:
        found = re.fullmatch(r"(\D*)(0|[1-9]\d*)", name)
        if found and parts and parts[-1][0] == found[1] and parts[-1][2] == int(found[2]) - 1:
            parts[-1][2] += 1
        else:
            parts.append([found[1], int(found[2]), int(found[2])] if found else [name, None, None])
    return "+".join(
        letters if first is None else f"{letters}{first}" if first == last else f"{letters}{first}..{letters}{last}"
        for letters, first, last in parts
    )


def parse_subjects(text: str, known: Iterable[str]) -> tuple[str, ...]:
    """As `expand_subjects`; raises ValueError for a subject that is not `known`."""
    names = expand_subjects(text, known)
    missing = [name for name in names if name not in known]
    if missing:
        raise InputError(f"subjects {text!r}: no {', '.join(missing)} in the records, which have {', '.join(known)}")
    return names


def _amount(text, instants, crops):
    """How many crops the amount `text` means, given the number of labelled `instants` and of their `crops`."""
    if text == "all":
        return crops
    if re.fullmatch(r"\d+", text):
        return int(text)
    if re.fullmatch(r"\d+(\.\d+)?%", text) and 0 < float(text[:-1]) <= 100:
        return max(1, math.floor(instants * float(text[:-1]) / 100))
    raise InputError(f"scenario amount {text!r}: expected a count, a percentage such as 10%, or all")


def _ordered_crops(rows):
    """All crops (key, camera) of the index `rows` so that every instant comes once before any comes twice."""
    crops = []
    for row in rows:
        names = {camera: f"{row['key']}\n{camera}".encode() for camera in row["cameras"]}
        hashed = sorted((hashlib.blake2b(name, digest_size=8).digest(), camera) for camera, name in names.items())
        crops += [(round_, digest, row["key"], camera) for round_, (digest, camera) in enumerate(hashed)]
    return [(key, camera) for _, _, key, camera in sorted(crops)]


def choose_labels(scenario: str, index: Iterable[dict], subjects: Iterable[str]) -> list[tuple[str, str]]:
    """The labels of a scenario: a list of (record key, camera name), in a fixed order.

    Args:
        scenario: see the module's docstring.
        index: rows of `records_folder.read_index`.
        subjects: all subjects of the records.

    Raises:
        ValueError: for a malformed scenario, an unknown subject, one without labels or with fewer than asked for.
    """
    names, _, amount = scenario.strip().partition(":")
    chosen = parse_subjects(names, subjects)
    rows = [row for row in index if row["labelled"] and row["subject"] in chosen]
    if not rows:
        raise InputError(f"scenario {scenario!r}: the records hold no label of {', '.join(chosen)}")
    crops = _ordered_crops(rows)
    count = _amount(amount or "100%", len(rows), len(crops))
    if not 0 < count <= len(crops):
        raise InputError(f"scenario {scenario!r}: asks for {count} labels, the records have {len(crops)}")
    return crops[:count]
