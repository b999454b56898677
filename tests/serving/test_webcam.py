"""A webcam, played by a video file that the same class of OpenCV opens."""

import itertools
import json
import pathlib
import signal

import cv2
import keras
import numpy as np
import pytest
import tiny_dump

from hand_tf import predict
from hand_tf.core import command_line, video
from hand_tf.core.errors import InputError
from hand_tf.serving import webcam
from hand_tf.serving.boxes import HandBox
from hand_tf.serving.left_out import LeftOut

NUM_FRAMES = 6
HAND = HandBox((250.0, 90.0, 120.0, 120.0), "left")


@pytest.fixture
def camera(tmp_path, monkeypatch):
    """Makes webcam 3 one that shows a video of `NUM_FRAMES` frames, once."""
    frames = [tiny_dump.picture(tiny_dump.cameras()[1], [tiny_dump.joints_at(f, "right")]) for f in range(NUM_FRAMES)]
    tiny_dump.write_video(tmp_path / "seen.mp4", frames)
    files = {3: str(tmp_path / "seen.mp4")}
    monkeypatch.setattr(webcam, "_capture", lambda number: cv2.VideoCapture(files[number]))
    return frames


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by 0.3 s whenever it is read."""
    ticks = (100 + 0.3 * tick for tick in itertools.count())
    monkeypatch.setattr(webcam.time, "monotonic", lambda: next(ticks))


def read(left_out, stop=lambda: False, seconds=None):
    with webcam.opened(3) as capture:
        return list(webcam.read_pictures(capture, webcam.name_of(3), [HAND], left_out, stop, seconds))


def test_pictures_come_with_the_time_at_which_they_were_taken(camera, clock):
    left_out = LeftOut()
    pictures = read(left_out)
    assert [picture.frame for picture in pictures] == list(range(NUM_FRAMES))
    assert [picture.time_s for picture in pictures] == pytest.approx(0.3 * np.arange(NUM_FRAMES))
    for picture, expected in zip(pictures, camera, strict=True):
        assert (picture.file, picture.live) == (pathlib.Path("webcam_3"), True)
        assert [(hand.box, hand.side, hand.track) for hand in picture.hands] == [(HAND.box, "left", 0)]
        assert np.abs(picture.image.astype(int) - expected).mean() < 5  # RGB; the video loses some
    assert left_out.problems == ["webcam_3: the camera gave no more pictures after 6"]


def test_it_ends_when_asked_and_after_its_time(camera, clock):
    left_out, answers = LeftOut(), iter([False, False, True])
    assert len(read(left_out, stop=lambda: next(answers))) == 2
    assert len(read(left_out, seconds=0.8)) == 3  # at 0, 0.3 and 0.6 s
    assert left_out.problems == []
    assert read(left_out, stop=lambda: True) == []
    assert left_out.problems == ["webcam_3: stopped before the first picture"]


def test_a_camera_that_is_not_there_is_said_in_one_line(capfd):
    with pytest.raises(InputError, match="--webcam=987: there is no such camera"), webcam.opened(987):
        pass
    assert capfd.readouterr().err == ""


# --- the command ----------------------------------------------------------------------------------------------------

if keras.backend.backend() != "tensorflow":
    pytest.skip("a SavedModel is TensorFlow's", allow_module_level=True)


def recorded(model, output, *flags):
    flags = [f"--model={model}", f"--output={output}", "--webcam=3", "--box=250,90,120,120", *flags]
    assert command_line.run(predict.main, flags) == 0
    return json.loads((output / "predictions.json").read_text())


def test_a_recording_has_its_own_times_in_all_results(model, camera, clock, tmp_path, capsys):
    content = recorded(model, tmp_path / "out", "--format=json,csv,trc", "--seconds=1.3", "--smooth")
    found = [(entry["file"], entry["frame"], entry["time_s"], entry["track"]) for entry in content["predictions"]]
    assert found == [("webcam_3", frame, pytest.approx(0.3 * frame), 0) for frame in range(5)]
    assert content["complete"] is True
    assert content["files"] == [{"file": "webcam_3", "frames_read": 5, "without_hand": []}]
    frames = list(video.read_frames(tmp_path / "out" / "overlays" / "webcam_3.mp4"))
    assert [frame.time for frame in frames] == pytest.approx(0.3 * np.arange(5), abs=1e-3)
    for frame, expected in zip(frames, camera, strict=False):
        assert frame.size == expected.shape[1::-1]
    assert (
        (tmp_path / "out" / "trc" / "webcam_3" / "right_0.trc").read_text().split("\n")[2].startswith("3.333333333\t")
    )
    output = capsys.readouterr().out
    assert "webcam 3: Ctrl-C ends the recording" in output and "pictures per second" in output


def test_ctrl_c_ends_a_recording_with_complete_results(model, camera, tmp_path, monkeypatch):
    before, estimated = signal.getsignal(signal.SIGINT), []
    estimate = predict.estimator.PoseEstimator.predict_pictures

    def pressed(self, pictures, *rest):
        """Ctrl-C arrives while the third picture is predicted; each was predicted before the next one was taken."""
        assert [picture.frame for picture in pictures] == [len(estimated)]
        estimated.append(pictures)
        if len(estimated) == 3:
            signal.raise_signal(signal.SIGINT)
        return estimate(self, pictures, *rest)

    monkeypatch.setattr(predict.estimator.PoseEstimator, "predict_pictures", pressed)
    content = recorded(model, tmp_path / "out")
    assert content["complete"] is True and [entry["frame"] for entry in content["predictions"]] == [0, 1, 2]
    assert len(list(video.read_frames(tmp_path / "out" / "overlays" / "webcam_3.mp4"))) == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_flags_that_contradict_a_webcam_are_refused(model, capsys):
    for message, *flags in (
        ("without inputs, --boxes and --frame_stride", "--webcam=0", "a.png"),
        ("without inputs, --boxes and --frame_stride", "--webcam=0", "--boxes=a.csv"),
        ("without inputs, --boxes and --frame_stride", "--webcam=0", "--frame_stride=2"),
        ("--seconds=3: only for a --webcam", "--seconds=3", "a.png"),
        ("--webcam=-1: expected at least 0", "--webcam=-1"),
    ):
        assert command_line.run(predict.main, [f"--model={model}", *flags]) == 2
        assert message in capsys.readouterr().err


def test_a_webcam_that_is_not_there_leaves_nothing(model, tmp_path, capfd):
    flags = [f"--model={model}", f"--output={tmp_path / 'out'}", "--webcam=987", "--centre"]
    assert command_line.run(predict.main, flags) == 1
    assert capfd.readouterr().err.startswith("error: --webcam=987: there is no such camera")
    assert not (tmp_path / "out").exists()
