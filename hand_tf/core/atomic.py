"""Writes files that appear whole or not at all: under another name beside them first, then renamed."""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import IO, Any

SEAL = "content_sha256"  # the field of a sealed JSON file


@contextlib.contextmanager
def replacing(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """A file open for writing, UTF-8 text or with mode "wb" bytes, that becomes `path` when the block ends.

    After an error nothing is left of it, and an older `path` is as it was. An OSError, such as that of a full disk,
    names the file.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    with renaming(path, f"{path}.partial") as partial, open(partial, mode, **text) as file:
        yield file


@contextlib.contextmanager
def renaming(path: str | os.PathLike, partial: str | os.PathLike | None = None) -> Iterator[pathlib.Path]:
    """As `replacing`, for writers that take a path: the path to write to, by default with the suffix of `path`."""
    path = pathlib.Path(path)
    partial = pathlib.Path(partial or path.with_name(f"partial.{path.name}"))
    try:
        yield partial
        _sync(partial)  # after a power cut there must be no name without its content
        os.replace(partial, path)
    except OSError as error:
        # The kernel's errors do not always say which file. One that has a text of its own would lose it here.
        if error.errno is not None and not error.filename:
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def _sync(path):
    """Waits until a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes `text` to `path`."""
    with replacing(path) as file:
        file.write(text)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes `content` to `path` as JSON, one field per line. Raises ValueError for numbers that are not finite."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False))


def write_sealed_json(path: str | os.PathLike, content: dict) -> None:
    """As `write_json`, with the field `content_sha256`, by which `reading.read_json_object` finds changes."""
    write_json(path, content | {SEAL: content_sha256(content)})


def content_sha256(content: dict) -> str:
    """SHA-256 of an object of JSON, whatever the order of its fields and the blanks between them."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
