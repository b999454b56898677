"""A folder of records: its manifest and its index say what is in it, how it was made, and whether it is whole.

    RECORDS/manifest.json       schema version, crop size, fps, cameras, build flags, report, groups with their shards
    RECORDS/index.csv           one line a record: key, shard, sequence, subject, side, frame, cameras, labelled
    RECORDS/<shard>.tfrecord    the records of one group (sequence, subject, side), in a random order

The index lets a scenario choose labels without reading an image. `manifest.json` is written last: a folder without
one is unfinished.
"""

import csv
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable

from hand_tf.core import atomic, reading

SCHEMA_VERSION = 1  # of `manifest.json`, the index and the record (`schema`)
MANIFEST, INDEX = "manifest.json", "index.csv"
INDEX_FIELDS = ("key", "shard", "sequence", "subject", "side", "frame", "cameras", "labelled")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name in the folder, how many records and bytes it holds, and its SHA-256."""

    file: str
    num_records: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Group:
    """The records of one hand of one subject in one sequence.

    `num_crops` counts views, `num_labelled` records with a pose.
    """

    sequence: str
    subject: str
    side: str
    num_records: int
    num_crops: int
    num_labelled: int
    shards: tuple[Shard, ...]


# The JSON has plain words for the counts.
_COUNTS = {"records": "num_records", "crops": "num_crops", "labelled": "num_labelled"}


@dataclasses.dataclass(frozen=True)
class Manifest:
    """All that is known about a records folder. `fps` is frames per second; `cameras` maps sequence to names."""

    schema_version: int
    crop_size: int
    fps: float
    cameras: dict[str, list[str]]
    build_flags: dict
    report: dict
    index_sha256: str
    groups: tuple[Group, ...]

    @property
    def digest(self) -> str:
        """A hash of all shards: two folders with the same digest hold the same records."""
        return hashlib.sha256(" ".join(s.sha256 for g in self.groups for s in g.shards).encode()).hexdigest()

    @property
    def subjects(self) -> list[str]:
        """Names of all subjects, sorted (S2 before S10)."""
        return sorted({group.subject for group in self.groups}, key=lambda name: (len(name), name))


def describe_shard(path: str | os.PathLike, num_records: int) -> Shard:
    """The `Shard` entry of the finished file `path`."""
    return Shard(os.path.basename(path), num_records, os.path.getsize(path), atomic.sha256(path))


def write_manifest(folder: str | os.PathLike, manifest: Manifest, index: Iterable[dict]) -> None:
    """Writes the index (dicts with `INDEX_FIELDS`; `cameras` a list of names) and then the manifest.

    `manifest.index_sha256` is filled in here.
    """
    folder = pathlib.Path(folder)
    with atomic.replacing(folder / INDEX) as file:
        writer = csv.DictWriter(file, INDEX_FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"cameras": " ".join(row["cameras"]), "labelled": int(row["labelled"])} for row in index)
    manifest = dataclasses.replace(manifest, index_sha256=atomic.sha256(folder / INDEX))
    words = {name: word for word, name in _COUNTS.items()}
    content = dataclasses.asdict(manifest, dict_factory=lambda pairs: {words.get(name, name): v for name, v in pairs})
    atomic.write_text(folder / MANIFEST, json.dumps(content, indent=1))


def load_manifest(folder: str | os.PathLike) -> Manifest:
    """Reads a manifest and checks that it can be used and that no shard was cut short (by size, which is quick).

    Raises FileNotFoundError without a manifest or shard, ValueError for another schema version or wrong sizes.
    """
    path = pathlib.Path(folder) / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no manifest; is this a finished folder of `python -m tfrecords_tools.build`?")
    content = reading.read_json_object(path, ["schema_version"])
    found = content["schema_version"]
    if found != SCHEMA_VERSION:
        raise ValueError(f"{path}: schema_version is {found}, this code reads {SCHEMA_VERSION}; build again")
    try:
        manifest = Manifest(**content | {"groups": tuple(map(_group, content["groups"]))})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a manifest of this project ({error})") from error
    index = path.with_name(INDEX)
    if not index.is_file() or atomic.sha256(index) != manifest.index_sha256:
        raise ValueError(f"{index}: missing, cut short or changed (its SHA-256 is not the manifest's); build again")
    for group in manifest.groups:
        for shard in group.shards:
            check_size(pathlib.Path(folder) / shard.file, shard)
    return manifest


def _group(entry):
    """A group of the JSON as a `Group`."""
    shards = tuple(Shard(**_named(shard)) for shard in entry["shards"])
    return Group(**_named(entry) | {"shards": shards})


def _named(entry):
    return {_COUNTS.get(word, word): value for word, value in entry.items()}


def check_size(path: pathlib.Path, shard: Shard) -> None:
    """Raises FileNotFoundError or ValueError unless `path` is there with the size that its manifest entry states."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the manifest lists this shard, but it is not there")
    size = path.stat().st_size
    if size != shard.bytes:
        raise ValueError(f"{path}: {size} bytes, the manifest says {shard.bytes}; the shard is cut short or changed")


def damaged(folder: str | os.PathLike, manifest: Manifest) -> list[str]:
    """Names of the files whose SHA-256 differs from the manifest's (reads everything)."""
    expected = {shard.file: shard.sha256 for group in manifest.groups for shard in group.shards}
    expected[INDEX] = manifest.index_sha256
    return [name for name, digest in expected.items() if atomic.sha256(pathlib.Path(folder) / name) != digest]


def read_index(folder: str | os.PathLike) -> list[dict]:
    """The index as a list of dicts; `cameras` a tuple of names, `frame` an int, `labelled` a bool."""
    path = pathlib.Path(folder) / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the index is missing; build the records again")
    with open(path, newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        fields = tuple(next(lines, INDEX_FIELDS))
        if fields != INDEX_FIELDS:
            raise ValueError(f"{path}: columns {fields}, expected {INDEX_FIELDS}")
        # Rows share their names and lists of cameras: with a copy each they would take five times the memory.
        shared = functools.lru_cache(maxsize=1 << 16)(lambda text: text)
        cameras = functools.cache(lambda text: tuple(text.split()))
        return [_index_row(path, line, shared, cameras) for line in lines]


def _index_row(path, line, shared, cameras):
    if len(line) != len(INDEX_FIELDS):
        raise ValueError(f"{path}: a line has too few columns; the index is cut short or changed")
    key, shard, sequence, subject, side, frame, names, labelled = line
    return {
        "key": key,
        "shard": shared(shard),
        "sequence": shared(sequence),
        "subject": shared(subject),
        "side": shared(side),
        "frame": int(frame),
        "cameras": cameras(names),
        "labelled": labelled == "1",
    }


# --- everything at once ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """A finished folder of records. `open_records` makes it."""

    folder: pathlib.Path
    manifest: Manifest

    @functools.cached_property
    def index(self) -> list[dict]:
        """The rows of `read_index`, read when first asked for."""
        return read_index(self.folder)


def open_records(folder: str | os.PathLike) -> Records:
    """The records in `folder`. Raises FileNotFoundError or ValueError, see `load_manifest`."""
    return Records(pathlib.Path(folder), load_manifest(folder))
