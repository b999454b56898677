"""The folder of results: what was looked at, in all formats, and nothing of an earlier call."""

import json
import sys

import prediction_lines
import pytest
from prediction_lines import hand, none

from hand_tf.core.errors import InputError
from hand_tf.serving import prediction_files

HEAD = {"model": "m", "frame_stride": 1}


def write(output, lines, formats=("json",), overwrite=False, base=".", head=HEAD):
    """predictions.json of the pictures that `lines` are about."""
    with prediction_files.writing(output, head, overwrite, formats, base) as add:
        for line in lines:
            add([json.loads(line)])
    return json.loads((output / "predictions.json").read_text())


def test_frames_without_a_hand_are_told_from_those_that_were_not_looked_at(tmp_path):
    lines = [none(0), none(2), hand(4), hand(4, 1), none(6), hand(8), none(10), none(12)]
    lines += [none(None, "a.png"), hand(0, file="b.mp4"), none(0, "c.mp4"), none(2, "c.mp4")]
    content = write(tmp_path, lines, head=HEAD | {"frame_stride": 2})
    assert [(entry["file"], entry["frame"], entry["track"]) for entry in content["predictions"]] == [
        ("clip.mp4", 4, 0),
        ("clip.mp4", 4, 1),
        ("clip.mp4", 8, 0),
        ("b.mp4", 0, 0),
    ]
    assert content["files"] == [
        {"file": "clip.mp4", "frames_read": 7, "without_hand": [[0, 2], [6, 6], [10, 12]]},
        {"file": "a.png", "frames_read": 1, "without_hand": [[0, 0]]},
        {"file": "b.mp4", "frames_read": 1, "without_hand": []},
        {"file": "c.mp4", "frames_read": 2, "without_hand": [[0, 2]]},
    ]
    assert (content["frame_stride"], content["complete"], content["model"]) == (2, True, "m")


def test_what_has_come_is_on_the_disk_with_the_frames_without_a_hand(tmp_path):
    with pytest.raises(RuntimeError), prediction_files.writing(tmp_path, HEAD) as add:
        for line in (none(0), hand(1), none(2)):
            add([json.loads(line)])
        lines = (tmp_path / prediction_files.PARTIAL).read_text().splitlines()
        assert [json.loads(line)["hand"] for line in lines] == [None, "right", None]
        raise RuntimeError
    content = json.loads((tmp_path / "predictions.json").read_text())
    assert content["complete"] is False and len(content["predictions"]) == 1
    assert content["files"] == [{"file": "clip.mp4", "frames_read": 3, "without_hand": [[0, 0], [2, 2]]}]


def test_an_error_before_the_first_hand_leaves_no_results(tmp_path):
    with pytest.raises(RuntimeError), prediction_files.writing(tmp_path, HEAD, False, ("json", "csv", "trc")) as add:
        add([json.loads(none(0))])
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_trajectories_lie_under_the_names_of_their_videos(tmp_path):
    videos = [tmp_path / "in" / name for name in ("clip.mp4", "clip.avi", "sub/clip.mp4")]
    lines = [hand(0, track, side, file=str(video)) for video in videos for track, side in ((0, "left"), (1, "right"))]
    lines += [none(None, str(tmp_path / "in" / "a.png"))]
    write(tmp_path / "out", lines, ("json", "trc", "c3d"), base=tmp_path / "in")
    for name in ("trc", "c3d"):
        found = [path for path in (tmp_path / "out" / name).rglob("*") if path.is_file()]
        assert sorted(str(path.relative_to(tmp_path / "out" / name)) for path in found) == sorted(
            f"{video.relative_to(tmp_path / 'in')}/{each}.{name}" for video in videos for each in ("left_0", "right_1")
        )


def test_overwriting_removes_what_is_no_longer_true(tmp_path):
    every = prediction_files.FORMATS
    write(tmp_path, [hand(0, 0), hand(0, 1), hand(0, 0, file="other.mp4")], every)
    for name in ("trc", "c3d"):
        (tmp_path / name / f"mine.{name}").touch()
    write(tmp_path, [hand(0, 1)], ("json", "c3d"), overwrite=True)
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"predictions.json", "trc/mine.trc", "c3d/mine.c3d", "c3d/clip.mp4/right_1.c3d"}


@pytest.mark.parametrize(("name", "library"), [("parquet", "pyarrow"), ("c3d", "ezc3d")])
def test_a_missing_library_is_named_with_what_brings_it(monkeypatch, name, library):
    prediction_files.check_formats(prediction_files.FORMATS)
    monkeypatch.setitem(sys.modules, library, None)  # which makes its import fail
    prediction_files.check_formats([each for each in prediction_files.FORMATS if each != name])
    with pytest.raises(InputError, match=rf"--format={name} needs {library}, which `pip install 'hand_tf\[formats\]'"):
        prediction_files.check_formats(["json", name])


def test_lines_of_this_test_have_the_fields_of_real_ones():
    """`prediction_lines` writes what `predictions` does."""
    assert prediction_lines.pose(0).shape == (21, 3) and list(json.loads(hand(0))) == [
        *("file", "frame", "time_s", "hand", "track", "score", "box", "pose_mm", "joints_2d", "joint_error_mm")
    ]
