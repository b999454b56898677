"""Writes files that appear whole or not at all: they are written beside, under a partial name, and then renamed."""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import IO, Any


@contextlib.contextmanager
def replacing(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """A file open for writing that becomes `path` when the block ends well; otherwise nothing is left of it.

    An OSError, such as that of a full disk, names the file.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    with renaming(path, f"{path}.partial") as partial, open(partial, mode, **text) as file:
        yield file


@contextlib.contextmanager
def renaming(path: str | os.PathLike, partial: str | os.PathLike | None = None) -> Iterator[pathlib.Path]:
    """As `replacing`, for writers that want a path: by default one that keeps the suffix of `path`."""
    path = pathlib.Path(path)
    partial = pathlib.Path(partial or path.with_name(f"partial.{path.name}"))
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes `text` to `path`."""
    with replacing(path) as file:
        file.write(text)


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes `content` to `path` as JSON, one field per line. Raises ValueError for numbers that are not finite."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False))


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
