"""Reads text, JSON and tables; every error is one line that names the file, the field and what was expected."""

import csv
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import numpy as np


def read_text(path: str | os.PathLike) -> str:
    """The content of a UTF-8 text file. Raises OSError without it, ValueError if it is not UTF-8."""
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error})") from error


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file. Raises ValueError if it is cut short or not JSON."""
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


def read_table(path: str | os.PathLike, columns: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with their line numbers: [(line, {column: text})]. A cell that is missing is None.

    Raises ValueError unless the file has all `columns`.
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: columns {','.join(columns)} expected, missing: {','.join(missing)}")
        return [(reader.line_num, row) for row in reader]


def numbers(entry: dict, field: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """`entry[field]` as a finite float64 array of `shape`. Raises ValueError that starts with `where`."""
    try:
        values = np.asarray(entry[field], np.float64).reshape(shape)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{where}: field {field}: {shape} numbers expected") from None
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{where}: field {field}: finite numbers expected")
    return values
