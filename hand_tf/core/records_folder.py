"""A folder of records: its manifest and its index say what is in it, how it was made, and whether it is whole.

    RECORDS/manifest.json       schema version, crop size, fps, cameras, build flags, report, groups with their shards
    RECORDS/index.csv           one row per record: key, shard, sequence, subject, side, frame, cameras, labelled
    RECORDS/<shard>.tfrecord    the records of one group (sequence, subject, side), in a random order

The index lets a scenario choose labels without reading an image. `manifest.json` is written last: a folder without
one is unfinished.
"""

import csv
import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Iterable

from hand_tf.core import atomic, reading
from hand_tf.core.errors import InputError

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

    `num_crops` is the number of views in all records, `num_labelled` that of the records with a pose.
    """

    sequence: str
    subject: str
    side: str
    num_records: int
    num_crops: int
    num_labelled: int
    shards: tuple[Shard, ...]


# What the counts are called in the JSON.
_COUNTS = {"records": "num_records", "crops": "num_crops", "labelled": "num_labelled"}


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What `manifest.json` says of a records folder.

    Attributes:
        schema_version: of the manifest, the index and the records.
        crop_size: side of a crop, px.
        fps: frames per second of the video that was recorded.
        cameras: {sequence: names of its cameras}.
        build_flags: the settings of the command that wrote the records.
        report: what was kept and what was left out.
        index_sha256: SHA-256 of `index.csv`.
        groups: one per sequence, subject and side, with their shards.
    """

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
        """A hash of all shards: folders with the same digest hold the same records."""
        return hashlib.sha256(" ".join(s.sha256 for g in self.groups for s in g.shards).encode()).hexdigest()

    @property
    def subjects(self) -> list[str]:
        """Names of all subjects, sorted (S2 before S10)."""
        return sorted({group.subject for group in self.groups}, key=lambda name: (len(name), name))


def describe_shard(path: str | os.PathLike, num_records: int) -> Shard:
    """The `Shard` entry of the finished file `path`."""
    return Shard(os.path.basename(path), num_records, os.path.getsize(path), atomic.sha256(path))


def write_manifest(folder: str | os.PathLike, manifest: Manifest, index: Iterable[dict]) -> None:
    """Writes the index and then the manifest, whose `index_sha256` is filled in here.

    `index` holds one dict with the `INDEX_FIELDS` per record, `cameras` a list of names.
    """
    folder = pathlib.Path(folder)
    with atomic.replacing(folder / INDEX) as file:
        writer = csv.DictWriter(file, INDEX_FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"cameras": " ".join(row["cameras"]), "labelled": int(row["labelled"])} for row in index)
    manifest = dataclasses.replace(manifest, index_sha256=atomic.sha256(folder / INDEX))
    words = {name: word for word, name in _COUNTS.items()}
    content = dataclasses.asdict(
        manifest, dict_factory=lambda pairs: {words.get(name, name): value for name, value in pairs}
    )
    atomic.write_sealed_json(folder / MANIFEST, content)


def load_manifest(folder: str | os.PathLike) -> Manifest:
    """Reads a manifest and checks that it can be used and that no shard was cut short (by size, which is quick).

    Raises FileNotFoundError without a manifest or shard, ValueError for another schema version or wrong sizes.
    """
    folder = pathlib.Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no manifest; is this a finished folder of `hand-tf build`?")
    manifest = _read_manifest(path)
    index = folder / INDEX
    if not index.is_file() or atomic.sha256(index) != manifest.index_sha256:
        raise InputError(f"{index}: missing, cut short or changed (its SHA-256 is not the manifest's); build again")
    for group in manifest.groups:
        for shard in group.shards:
            check_size(folder / shard.file, shard)
    return manifest


_SHARD = {"properties": {"file": {"type": "string"}, "records": {"type": "integer"}, "bytes": {"type": "integer"}}}
_GROUP = {
    "properties": {
        **{key: {"type": "string"} for key in ("sequence", "subject", "side")},
        **{key: {"type": "integer"} for key in ("records", "crops", "labelled")},
        "shards": {"type": "array", "items": _SHARD | {"type": "object"}},
    }
}
_SCHEMA = {
    "properties": {
        "crop_size": {"type": "integer", "minimum": 1},
        "fps": {"type": "number", "exclusiveMinimum": 0},
        "cameras": {"additionalProperties": {"type": "array", "items": {"type": "string"}}, "type": "object"},
        "build_flags": {"type": "object"},
        "report": {"type": "object"},
        "index_sha256": {"type": "string"},
        "groups": {"type": "array", "items": _GROUP | {"type": "object"}},
    }
}


def _read_manifest(path):
    wrong = f"{path}: not a manifest of this project"
    try:
        content = reading.read_json_object(path, ["schema_version"], sealed=True)
    except ValueError as error:
        raise InputError(f"{wrong} ({str(error).removeprefix(f'{path}: ')})") from error
    found = content["schema_version"]
    if found != SCHEMA_VERSION:
        raise InputError(f"{path}: schema_version is {found}, this code reads {SCHEMA_VERSION}; build again")
    try:
        groups = tuple(
            _entry(Group, group | {"shards": tuple(_entry(Shard, shard) for shard in group["shards"])})
            for group in content["groups"]
        )
        manifest = _entry(Manifest, content | {"groups": groups})
    except KeyError as error:
        raise InputError(f"{wrong} (field {error.args[0]}: missing)") from error
    except (AttributeError, TypeError) as error:
        raise InputError(f"{wrong} (field groups: a list of objects with their shards expected)") from error
    except InputError as error:
        raise InputError(f"{wrong} ({error})") from error
    reading.check(content, _SCHEMA, path)
    return manifest


def _entry(kind, values):
    """An object of the JSON as the dataclass `kind`. Raises ValueError for a field that is missing or unknown."""
    values = {_COUNTS.get(word, word): value for word, value in values.items()}
    expected = {field.name for field in dataclasses.fields(kind)}
    for name in sorted(expected ^ values.keys()):
        raise InputError(f"field {name}: {'missing' if name in expected else 'unknown'}")
    return kind(**values)


def check_size(path: pathlib.Path, shard: Shard) -> None:
    """Raises FileNotFoundError or ValueError unless `path` exists and has the size that the manifest states."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the manifest lists this shard, but it is not there")
    size = path.stat().st_size
    if size != shard.bytes:
        raise InputError(f"{path}: {size} bytes, the manifest says {shard.bytes}; the shard is cut short or changed")


def damaged(folder: str | os.PathLike, manifest: Manifest) -> list[str]:
    """Names of the files whose SHA-256 is not the manifest's. Reads all of them."""
    expected = {shard.file: shard.sha256 for group in manifest.groups for shard in group.shards}
    expected[INDEX] = manifest.index_sha256
    return [name for name, digest in expected.items() if atomic.sha256(pathlib.Path(folder) / name) != digest]


def read_index(folder: str | os.PathLike) -> list[dict]:
    """The index as a list of dicts; `cameras` a tuple of names, `frame` an int, `labelled` a bool.

    Raises FileNotFoundError without it, ValueError if it is cut short or changed.
    """
    path = pathlib.Path(folder) / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"{path}: the index is missing; build the records again")
    # Rows share their names and tuples of cameras: with a copy each they would take five times the memory.
    shared = functools.lru_cache(maxsize=1 << 16)(lambda text: text)
    cameras = functools.cache(lambda text: tuple(text.split()))
    index = []
    for row in reading.read_rows(path, INDEX_FIELDS):
        key, shard, sequence, subject, side, frame, names, labelled = row
        if not frame.isdecimal():
            raise InputError(f"{path}: record {key}: frame {frame!r}: a whole number expected")
        index.append(
            {
                "key": key,
                "shard": shared(shard),
                "sequence": shared(sequence),
                "subject": shared(subject),
                "side": shared(side),
                "frame": int(frame),
                "cameras": cameras(names),
                "labelled": labelled == "1",
            }
        )
    return index


@dataclasses.dataclass(frozen=True, eq=False)
class Records:
    """A finished folder of records; made by `open_records`."""

    folder: pathlib.Path
    manifest: Manifest

    @functools.cached_property
    def index(self) -> list[dict]:
        """The rows of `read_index`, read once and only if needed."""
        return read_index(self.folder)


def open_records(folder: str | os.PathLike) -> Records:
    """The records in `folder`. Raises FileNotFoundError or ValueError, see `load_manifest`."""
    return Records(pathlib.Path(folder), load_manifest(folder))
