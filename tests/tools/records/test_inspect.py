"""The contact sheet, the table and the checksums of a records folder."""

import collections

import cv2
import numpy as np
import pytest
import tiny_build
import tiny_dump

from hand_tf.core import command_line
from tfrecords_tools import build, inspect


@pytest.fixture
def records(tmp_path):
    """A records folder of four left hands seen by three cameras, 32 px."""
    tiny_dump.write(tmp_path / "pose1")
    changes = {"crop_size": 32, "hands": "left", "frame_stride": 2}
    build.build(tiny_build.settings(tmp_path / "pose1", tmp_path / "out", **changes))
    return tmp_path / "out"


def run(*arguments):
    return command_line.run(inspect.main, [str(argument) for argument in arguments])


def test_table_and_sheet(records, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    assert run(records, f"--output={sheet}", "--num_instants=3", "--num_views=2") == 0
    told = capsys.readouterr().out
    assert "4 records, 12 views of 32 px at 29.97 frames per second, 2 shards" in told
    assert "cameras of pose1: 00_00 00_01 00_02" in told and "All checksums agree." in told
    picture = cv2.imread(str(sheet))
    assert picture.shape[0] > 3 * 2 * 190 and 2 * 190 < picture.shape[1] < 3 * 190


def test_the_sheet_shows_joints_where_the_markers_are(records):
    """A joint is drawn over its marker: what is left of the markers' own colours is little."""
    ((_, record),) = list(tiny_build.records(records).items())[:1]
    sheet = inspect.sheet([record], num_views=1)
    factor = 6  # 32 px become about 192
    crop = np.repeat(np.repeat(record["crops"][0], factor, 0), factor, 1)
    changed = (sheet[34 : 34 + len(crop), 2 : 2 + len(crop)] != crop).any(-1)
    pixels = (tiny_build.joint_pixels(record, 0) + 0.5) * factor - 0.5
    assert all(changed[round(y), round(x)] for x, y in pixels)
    assert 0.01 < changed.mean() < 0.3
    background = np.repeat(np.repeat(record["backgrounds"][0], factor, 0), factor, 1)
    np.testing.assert_array_equal(sheet[34 + len(crop) : 34 + 2 * len(crop), 2 : 2 + len(crop)], background)


def test_a_changed_shard_is_named(records, capsys):
    shard = next(records.glob("*.tfrecord"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert run(records) == 1
    assert capsys.readouterr().err == f"error: {records}: checksum differs from the manifest's: {shard.name}\n"


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_one_folder_is_expected(arguments, capsys):
    assert run(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: one records folder expected, got {len(arguments)}")


def test_rows_are_sampled_evenly_from_all_groups():
    index = [{"sequence": "a", "subject": f"S{n % 3}", "side": "left", "frame": n} for n in range(30)]
    index = [row for row in index if row["subject"] != "S2" or row["frame"] < 4]  # one row of S2
    rows = inspect.sample_rows(index, 9, seed=0)
    assert collections.Counter(row["subject"] for row in rows) == {"S0": 4, "S1": 4, "S2": 1}
    assert len({row["frame"] for row in rows}) == 9
    assert inspect.sample_rows(index, 9, seed=0) == rows != inspect.sample_rows(index, 9, seed=1)
    assert len(inspect.sample_rows(index, 100, seed=0)) == len(index)
