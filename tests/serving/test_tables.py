"""The table of joints says the same in all formats."""

import csv
import io
import itertools
import json

import prediction_lines
import pyarrow
from pyarrow import parquet

from hand_tf.core import skeleton
from hand_tf.serving import tables


def lines(count=3):
    """Hands of a video, a frame without one, and a picture's hand, of which a joint and other things are unknown."""
    picture = prediction_lines.hand(0, side="left", file="a, 1.png", unknown=[3]).replace('"frame": 0', '"frame": null')
    picture = picture.replace('"time_s": 0.0', '"time_s": null').replace('"track": 0', '"track": null')
    frames = (prediction_lines.hand(frame, track=frame % 2) for frame in range(count))
    return itertools.chain(frames, [prediction_lines.none(count), picture])


def test_parquet_holds_the_rows_of_the_csv_with_types(monkeypatch):
    monkeypatch.setattr(tables, "_GROUP", 2)  # several row groups
    text, binary = io.StringIO(), io.BytesIO()
    tables.write_csv(text, lines())
    tables.write_parquet(binary, lines())
    table = parquet.read_table(binary)
    rows = list(csv.reader(io.StringIO(text.getvalue())))
    assert table.num_rows == len(rows) - 1 == 4 * skeleton.NUM_JOINTS and rows[0] == list(tables.COLUMNS)
    assert parquet.ParquetFile(binary).num_row_groups == 2
    kinds = {name: pyarrow.float64() for name in tables.COLUMNS}
    kinds |= {name: pyarrow.string() for name in ("file", "hand", "joint")}
    kinds |= {name: pyarrow.int64() for name in ("frame", "track")}
    assert dict(zip(table.column_names, table.schema.types, strict=True)) == kinds
    for row, found in zip(rows[1:], table.to_pylist(), strict=True):
        assert row == ["" if value is None else str(value) for value in found.values()]


def test_a_table_without_hands_has_its_columns():
    for content in ([], [prediction_lines.none(0)]):
        text, binary = io.StringIO(), io.BytesIO()
        tables.write_csv(text, content)
        tables.write_parquet(binary, content)
        table = parquet.read_table(binary)
        assert text.getvalue().split() == [",".join(tables.COLUMNS)] and table.num_rows == 0
        assert table.column_names == list(tables.COLUMNS)


def test_expected_errors_are_a_column_that_may_be_empty():
    unknown = json.loads(prediction_lines.hand(0)) | {"joint_error_mm": None}
    text = io.StringIO()
    tables.write_csv(text, [prediction_lines.hand(0, unknown=[2]), json.dumps(unknown)])
    errors = [row["error_mm"] for row in csv.DictReader(io.StringIO(text.getvalue()))]
    assert errors[:21] == ["" if joint == 2 else str(10.5 + joint) for joint in range(21)]
    assert errors[21:] == [""] * 21
