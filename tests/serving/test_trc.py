"""TRC files, read back by a parser of the format's description, not by ours."""

import io

import numpy as np
import prediction_lines
import pytest
from prediction_lines import hand, none

from hand_tf.core import skeleton
from hand_tf.serving import trajectories, trc


def read(text):
    """(fields of the header, marker names, frame numbers, times, joints [frames, markers, 3]), NaN for empty cells."""
    lines = text.split("\n")
    assert lines[0].split("\t")[:3] == ["PathFileType", "4", "(X/Y/Z)"] and lines[5] == "" and lines[-1] == ""
    fields = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    names = lines[3].split("\t")
    assert names[:2] == ["Frame#", "Time"] and not any(names[3::3]) and not any(names[4::3])
    axes = [f"{axis}{marker + 1}" for marker in range(int(fields["NumMarkers"])) for axis in "XYZ"]
    assert lines[4].split("\t") == ["", "", *axes]
    rows = [line.split("\t") for line in lines[6:-1]]
    assert {len(row) for row in rows} == {2 + len(axes)}
    numbers = np.array([[float(cell or "nan") for cell in row] for row in rows])
    return fields, names[2::3], numbers[:, 0], numbers[:, 1], numbers[:, 2:].reshape(len(rows), -1, 3)


def test_a_trajectory_is_read_back_with_its_gaps(tmp_path):
    lines = [none(0), hand(1, 2), hand(2, 2, unknown=[5]), none(3), hand(4, 2), none(5)]
    ((_, found),) = [(video, list(each)) for video, each in trajectories.of_videos(lines, 1, tmp_path)]
    file = io.StringIO()
    trc.write(file, found[0])
    fields, names, numbers, times, joints = read(file.getvalue())
    assert names == list(skeleton.JOINT_NAMES)
    rates = [float(fields[name]) for name in ("DataRate", "CameraRate", "OrigDataRate")]
    assert rates == pytest.approx([prediction_lines.FPS] * 3)
    assert (fields["Units"], fields["NumFrames"], fields["OrigDataStartFrame"]) == ("mm", "4", "2")
    np.testing.assert_array_equal(numbers, [2, 3, 4, 5])
    np.testing.assert_allclose(times, np.arange(1, 5) / prediction_lines.FPS, atol=1e-6)
    expected = np.array([prediction_lines.pose(frame, 2) for frame in range(1, 5)])
    expected[1, 5], expected[2] = np.nan, np.nan
    np.testing.assert_array_equal(joints, expected)
