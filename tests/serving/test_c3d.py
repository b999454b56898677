"""C3D files, read back with ezc3d and by the bytes of the format's description."""

import struct

import ezc3d
import full_disk
import numpy as np
import prediction_lines
import pytest
from prediction_lines import hand, none

from hand_tf.core import skeleton
from hand_tf.serving import c3d, trajectories


def written(lines, folder, scratch):
    """The files that the trajectories in `lines` become, by name."""
    scratch.mkdir()
    folder.mkdir()
    for _, found in trajectories.of_videos(lines, 1, scratch):
        for trajectory in found:
            c3d.write(folder, trajectory)
    return {path.name: path for path in sorted(folder.iterdir())}


def test_a_trajectory_is_read_back_with_its_gaps(tmp_path):
    lines = [none(0), hand(1, 2), hand(2, 2, unknown=[5]), none(3), hand(4, 2), none(5)]
    files = written(lines, tmp_path / "out", tmp_path / "scratch")
    assert list(files) == ["right_2.c3d"]
    content = ezc3d.c3d(str(files["right_2.c3d"]))
    point = content["parameters"]["POINT"]
    assert point["LABELS"]["value"] == list(skeleton.JOINT_NAMES) and point["UNITS"]["value"] == ["mm"]
    assert point["RATE"]["value"][0] == content["header"]["points"]["frame_rate"] == pytest.approx(prediction_lines.FPS)
    header = content["header"]["points"]
    assert (header["first_frame"], header["last_frame"]) == (1, 4)  # ezc3d counts from 0
    expected = np.array([prediction_lines.pose(frame, 2) for frame in range(1, 5)])
    expected[1, 5], expected[2] = np.nan, np.nan
    np.testing.assert_allclose(content["data"]["points"][:3].transpose(2, 1, 0), expected, rtol=1e-6)
    residuals = content["data"]["meta_points"]["residuals"][0].T
    np.testing.assert_array_equal(residuals, np.where(np.isnan(expected[..., 0]), -1, 0))

    stored = files["right_2.c3d"].read_bytes()
    _, magic, markers, analog, first, last, _, scale, block, _, rate = struct.unpack("<BBHHHHHfHHf", stored[:24])
    assert (magic, markers, analog, first, last, rate) == (0x50, 21, 0, 2, 5, 25.0) and scale < 0  # floats
    values = np.frombuffer(stored, "<f4", 4 * 21 * 4, (block - 1) * 512).reshape(4, 21, 4)
    np.testing.assert_array_equal(values[..., 3], residuals)
    np.testing.assert_allclose(values[0, :, :3], expected[0], rtol=1e-6)


def test_what_lies_behind_the_numbers_of_the_format_goes_to_further_files(tmp_path, monkeypatch):
    monkeypatch.setattr(c3d, "LONGEST", 10)
    lines = [hand(frame) if frame >= 8 else none(frame) for frame in range(25)]
    files = written([*lines, hand(25, 1, "left")], tmp_path / "out", tmp_path / "scratch")
    assert list(files) == ["left_1_part3.c3d", "right_0.c3d", "right_0_part2.c3d", "right_0_part3.c3d"]
    places = {}
    for name, path in files.items():
        content = ezc3d.c3d(str(path))
        header, trial = content["header"]["points"], content["parameters"]["TRIAL"]
        start, end = (int(trial[f"ACTUAL_{each}_FIELD"]["value"] @ [1, 2**16]) for each in ("START", "END"))
        places[name] = header["first_frame"], header["last_frame"], start, end
        for row, frame in enumerate(range(start - 1, end)):
            expected = prediction_lines.pose(frame, int(name.startswith("left")))
            np.testing.assert_allclose(content["data"]["points"][:3, :, row].T, expected, rtol=1e-6)
    assert places == {
        "right_0.c3d": (8, 9, 9, 10),
        "right_0_part2.c3d": (0, 9, 11, 20),
        "right_0_part3.c3d": (0, 4, 21, 25),
        "left_1_part3.c3d": (5, 5, 26, 26),
    }


def test_numbers_beyond_16_bits(tmp_path):
    points = np.zeros((2, 21, 3), np.float32)
    for start in (65533, 70000):
        c3d._write(tmp_path / "a.c3d", points, 30.0, start)
        trial = ezc3d.c3d(str(tmp_path / "a.c3d"))["parameters"]["TRIAL"]
        words = [trial[f"ACTUAL_{name}_FIELD"]["value"] % 2**16 for name in ("START", "END")]  # without a sign
        assert [int(low + 2**16 * high) for low, high in words] == [start + 1, start + 2]
        assert b"ACTUAL_START_FIELD" in (tmp_path / "a.c3d").read_bytes()


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    for _, found in trajectories.of_videos(map(hand, range(30)), 1, tmp_path):
        for trajectory in found:
            with full_disk.limit(8_000), pytest.raises(OSError, match=r"right_0\.c3d"):
                c3d.write(tmp_path / "out", trajectory)
    assert not list((tmp_path / "out").iterdir())
