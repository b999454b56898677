"""Reads text, JSON and tables; every error is one line that names the file, the field and what was expected."""

import contextlib
import csv
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np


def read_text(path: str | os.PathLike) -> str:
    """The content of a UTF-8 text file. Raises OSError without it, ValueError if it is not UTF-8."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error})") from error


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file. Raises OSError without it, ValueError if it is cut short or not JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error


def read_json_object(path: str | os.PathLike, fields: Iterable[str] = ()) -> dict:
    """The JSON object in a file. Raises ValueError if it is something else or one of `fields` is missing."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a JSON object expected")
    missing = [name for name in fields if name not in content]
    if missing:
        raise ValueError(f"{path}: field {missing[0]}: missing")
    return content


def read_table(path: str | os.PathLike, columns: Iterable[str]) -> list[tuple[int, dict[str, str | None]]]:
    """The rows of a CSV file with their line numbers: [(line, {column: text})]. A cell that is missing is None.

    Raises OSError without the file, ValueError unless it has all `columns` (others may stand beside them).
    """
    with _opened_table(path) as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: columns {','.join(columns)} expected, missing: {','.join(missing)}")
        return [(reader.line_num, row) for row in reader]


def read_rows(path: str | os.PathLike, columns: Sequence[str]) -> Iterator[list[str]]:
    """Yields the rows of a CSV file that has exactly these `columns`, each a list of texts; for large tables.

    Raises OSError without the file, ValueError for other columns or a row with fewer or more cells.
    """
    with _opened_table(path) as file:
        reader = csv.reader(file)
        found = next(reader, [])
        if found != list(columns):
            raise ValueError(f"{path}: columns {','.join(columns)} expected, found: {','.join(found) or 'none'}")
        for row in reader:
            if len(row) != len(found):
                raise ValueError(f"{path}: line {reader.line_num}: {len(found)} cells expected, found {len(row)}")
            yield row


@contextlib.contextmanager
def _opened_table(path):
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            yield file
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error})") from error
    except csv.Error as error:
        raise ValueError(f"{path}: not a table of comma-separated values ({error})") from error


def numbers(entry: dict, field: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """`entry[field]` as a finite float64 array of `shape`. Raises ValueError, which starts with `where`."""
    try:
        values = np.asarray(entry[field], np.float64).reshape(shape)
    except (KeyError, OverflowError, TypeError, ValueError):
        raise ValueError(f"{where}: field {field}: {_described(shape)} expected") from None
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{where}: field {field}: finite numbers expected")
    return values


def _described(shape):
    """(3, 3) as `3x3 numbers`, () as `a number`."""
    return f"{'x'.join(map(str, shape))} numbers" if shape else "a number"
