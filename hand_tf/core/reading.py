"""Reads text, JSON and tables; every error is one line that names the file, the field and what was expected.

One rule for all tables: UTF-8, with or without a byte order mark; one row per line; cells separated by commas,
semicolons or tabs, whichever the header has most of; cells may be quoted, and blanks around them mean nothing; names of
columns in upper or lower case. A line that is wrong, such as one with a stray quote, does not affect the others.
"""

import contextlib
import csv
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from hand_tf.core import atomic, remarks
from hand_tf.core.errors import InputError

SEPARATORS = (",", ";", "\t")


def read_text(path: str | os.PathLike) -> str:
    """The content of a UTF-8 text file, without a byte order mark. Raises OSError without it, ValueError if it is not
    UTF-8.
    """
    try:
        return pathlib.Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error


def _not_utf8(path, error):
    return InputError(f"{path}: not UTF-8 text ({error}); save it as UTF-8 (in Excel: CSV UTF-8)")


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file. Raises OSError without it, ValueError if it is cut short or not JSON."""
    try:
        return json.loads(read_text(path))
    except InputError:
        raise
    except ValueError as error:  # a JSONDecodeError, or a number of thousands of digits
        raise InputError(f"{path}: not valid JSON ({error})") from error
    except RecursionError as error:
        raise InputError(f"{path}: not valid JSON (nested too deeply)") from error


def read_json_object(path: str | os.PathLike, fields: Iterable[str] = (), sealed: bool = False) -> dict:
    """The JSON object in a file, without its seal (`atomic.write_sealed_json`), which is checked if it has one.

    Raises ValueError if it is something else, one of `fields` is missing, or it was changed after it was written. With
    `sealed`, a file without a seal, such as version 0.2.0 wrote, is remarked on.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: a JSON object expected")
    seal = content.pop(atomic.SEAL, None)
    if seal is not None and seal != _sha256_of(content):
        raise InputError(f"{path}: changed or damaged since it was written (it does not have its {atomic.SEAL})")
    missing = [name for name in fields if name not in content]
    if missing:
        raise InputError(f"{path}: field {missing[0]}: missing")
    if seal is None and sealed:
        remarks.remark(f"{path}: older than the hash that would tell whether it was changed; not checked")
    return content


def check(content: Any, schema: dict, path: str | os.PathLike) -> None:
    """Raises InputError, which names the field, unless JSON content of the file `path` is as a JSON Schema says."""
    import jsonschema  # takes longer to load than most commands need to find out that their flags are wrong

    wrong = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(content))
    if wrong:
        field, message = list(map(str, wrong.absolute_path)), f"{wrong.message:.120}"
        if wrong.validator == "required":
            field.append(next(name for name in wrong.validator_value if name not in wrong.instance))
            message = "missing"
        raise InputError(f"{path}: field {'.'.join(field) or '(all)'}: {message}")


def _sha256_of(content):
    try:
        return atomic.content_sha256(content)
    except ValueError:  # NaN, which is never written
        return None


def read_table(path: str | os.PathLike, columns: Iterable[str]) -> list[tuple[int, dict[str, str | None]]]:
    """The rows of a table with their line numbers: [(line, {column: text})].

    A cell that is missing is None, all of them in a line that is not cells; surplus cells are a list under None.
    Raises OSError without the file, ValueError unless it has all `columns` (others may stand beside them).
    """
    columns = tuple(columns)
    with _opened_table(path) as file:
        lines = ((number, line.rstrip("\n")) for number, line in enumerate(file, 1) if line.strip())
        header = next(lines, (1, ""))[1]
        separator = max(SEPARATORS, key=header.count)
        ours = {name.lower(): name for name in columns}
        names = [ours.get(name.lower(), name) for name in _cells(header, separator) or ()]
        missing = [name for name in columns if name not in names]
        if missing:
            raise InputError(f"{path}: columns {','.join(columns)} expected, missing: {','.join(missing)}")
        return [(number, _row(names, _cells(line, separator) or ())) for number, line in lines]


def _cells(line, separator):
    """The cells of a line; None if it is not a list of cells, because of a stray quote, for instance."""
    try:
        return [
            cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True))
        ]
    except csv.Error:
        return None


def _row(names, cells):
    row = dict(itertools.zip_longest(names, cells[: len(names)]))
    return row | ({None: cells[len(names) :]} if len(cells) > len(names) else {})


def read_rows(path: str | os.PathLike, columns: Sequence[str]) -> Iterator[list[str]]:
    """Yields the rows of a CSV file that has exactly these `columns`, each a list of texts; for large tables.

    Raises OSError without the file, ValueError for other columns or a row with fewer or more cells.
    """
    with _opened_table(path) as file:
        reader = csv.reader(file)
        found = next(reader, [])
        if found != list(columns):
            raise InputError(f"{path}: columns {','.join(columns)} expected, found: {','.join(found) or 'none'}")
        for row in reader:
            if len(row) != len(found):
                raise InputError(f"{path}: line {reader.line_num}: {len(found)} cells expected, found {len(row)}")
            yield row


@contextlib.contextmanager
def _opened_table(path):
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield file
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    except csv.Error as error:
        raise InputError(f"{path}: not a table of comma-separated values ({error})") from error


def numbers(entry: dict, field: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """`entry[field]` as a finite float64 array of `shape`. Raises ValueError, which starts with `where`."""
    try:
        values = np.asarray(entry[field], np.float64).reshape(shape)
    except (KeyError, OverflowError, TypeError, ValueError):
        raise InputError(f"{where}: field {field}: {_described(shape)} expected") from None
    if not np.all(np.isfinite(values)):
        raise InputError(f"{where}: field {field}: finite numbers expected")
    return values


def _described(shape):
    """(3, 3) as `3x3 numbers`, () as `a number`."""
    return f"{'x'.join(map(str, shape))} numbers" if shape else "a number"
