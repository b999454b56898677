"""Text, JSON and tables: what is read, and the one line that says what is wrong with a file."""

import numpy as np
import pytest

from hand_tf.core import reading


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "read",
    [
        reading.read_text,
        reading.read_json,
        reading.read_json_object,
        lambda path: reading.read_table(path, ["a"]),
        lambda path: list(reading.read_rows(path, ["a"])),
    ],
    ids=["text", "json", "object", "table", "rows"],
)
def test_every_reader_names_a_file_that_is_missing_or_not_text(tmp_path, read):
    with pytest.raises(FileNotFoundError, match="none"):
        read(tmp_path / "none")
    with pytest.raises(ValueError, match=r"binary: not UTF-8 text") as error:
        read(write(tmp_path / "binary", b"a\n\xff\xfe\x00"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["", "{", '{"a": 1', "a", "[" * 100_000, "9" * 5000])
def test_what_is_no_json_is_refused_by_name(tmp_path, content):
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON") as error:
        reading.read_json(write(tmp_path / "a.json", content))
    assert "\n" not in str(error.value)


def test_json_objects_have_their_fields(tmp_path):
    path = write(tmp_path / "a.json", '{"a": 1, "b": null}')
    assert reading.read_json_object(path, ["a", "b"]) == reading.read_json(path) == {"a": 1, "b": None}
    assert reading.read_json(write(tmp_path / "bom.json", '\ufeff{"a": 1}')) == {"a": 1}
    with pytest.raises(ValueError, match=r"a\.json: field c: missing"):
        reading.read_json_object(path, ["a", "c"])
    for content in ("[]", "3", "null"):
        with pytest.raises(ValueError, match=r"a\.json: a JSON object expected"):
            reading.read_json_object(write(path, content))


def test_tables_are_rows_with_their_line_numbers(tmp_path):
    path = write(tmp_path / "a.csv", '\ufeffb, a,c\n1, 2 ,3\n\n"x,y",5\n6,7,8,9\n')
    assert reading.read_table(path, ["a", "b"]) == [
        (2, {"b": "1", "a": "2", "c": "3"}),
        (4, {"b": "x,y", "a": "5", "c": None}),
        (5, {"b": "6", "a": "7", "c": "8", None: ["9"]}),
    ]
    with pytest.raises(ValueError, match=r"a\.csv: columns a,d,b,e expected, missing: d,e"):
        reading.read_table(path, ["a", "d", "b", "e"])
    with pytest.raises(ValueError, match="missing: a"):
        reading.read_table(write(path, ""), ["a"])


def test_tables_of_other_programs_are_read_alike(tmp_path):
    """Semicolons, tabs, capitals, quotes, the line ends of Windows and of old Macs."""
    expected = [(2, {"frame": "1", "x": "2.5", "Remark": "a, b"}), (3, {"frame": "2", "x": "", "Remark": None})]
    for text in (
        'frame,x,Remark\n1,2.5,"a, b"\n2,\n',
        "Frame;X;Remark\n1;2.5;a, b\n2;\n",
        "FRAME\tx\tRemark\n1\t2.5\ta, b\n2\t\n",
        '"frame","x","Remark"\r\n"1","2.5","a, b"\r\n"2",""\r\n',
        'frame, x, Remark\r1, 2.5, "a, b"\r2,\r',
    ):
        assert reading.read_table(write(tmp_path / "a.csv", text), ["frame", "x"]) == expected


def test_a_stray_quote_costs_its_own_line_only(tmp_path):
    path = write(tmp_path / "a.csv", 'a,b\n1,2\n"3,4\n5,"6"7\n8,9\n' + "x" * 200_000 + "\n10,11\n")
    found = {line: row["a"] for line, row in reading.read_table(path, ["a", "b"])}
    assert found == {2: "1", 3: None, 4: None, 5: "8", 6: None, 7: "10"}


def test_rows_have_exactly_their_columns(tmp_path):
    path = write(tmp_path / "a.csv", "a,b\n1,2\n3,4\n")
    assert list(reading.read_rows(path, ("a", "b"))) == [["1", "2"], ["3", "4"]]
    with pytest.raises(ValueError, match=r"a\.csv: columns b,a expected, found: a,b"):
        list(reading.read_rows(path, ["b", "a"]))
    for row in ("5", "5,6,7"):
        found = reading.read_rows(write(path, f"a,b\n1,2\n{row}\n"), ["a", "b"])
        assert next(found) == ["1", "2"]
        with pytest.raises(ValueError, match=r"a\.csv: line 3: 2 cells expected, found \d"):
            next(found)


def test_what_the_csv_module_refuses_is_one_line(tmp_path):
    path = write(tmp_path / "a.csv", "a\n" + "x" * 200_000)
    with pytest.raises(ValueError, match=r"a\.csv: not a table of comma-separated values"):
        list(reading.read_rows(path, ["a"]))


def test_numbers_have_their_shape_and_are_finite():
    entry = {"K": [[1, 2], [3, 4.5]], "n": 3, "text": "x", "nan": [1, float("nan")], "huge": 10**400}
    found = reading.numbers(entry, "K", (2, 2), "here")
    assert found.dtype == np.float64 and found.tolist() == [[1, 2], [3, 4.5]]
    assert reading.numbers(entry, "n", (), "here") == 3 and reading.numbers(entry, "K", (4,), "here").shape == (4,)
    for field, shape, message in (
        ("K", (3, 3), "here: field K: 3x3 numbers expected"),
        ("none", (2,), "here: field none: 2 numbers expected"),
        ("text", (), "here: field text: a number expected"),
        ("huge", (), "here: field huge: a number expected"),
        ("nan", (2,), "here: field nan: finite numbers expected"),
    ):
        with pytest.raises(ValueError) as error:
            reading.numbers(entry, field, shape, "here")
        assert str(error.value) == message
