"""A capture as a dump: its layout, its pictures, and that a stopped one continues."""

import csv
import dataclasses
import json
import shutil

import cv2
import full_disk
import numpy as np
import pytest
from small_capture import DUMP_SETTINGS, SETTINGS, digest

from hand_tf.core import skeleton
from tfrecords_tools.dome import capture, dump
from tfrecords_tools.dome.studio import scenes


def test_workers_do_not_change_a_byte(dumped, tmp_path):
    output, sequences = dumped
    dump.write(tmp_path, sequences, DUMP_SETTINGS, processes=2)
    assert digest(tmp_path) == digest(output)


def test_seed_changes_the_dump(dumped, tmp_path):
    output, _ = dumped
    dump.write(tmp_path, capture.plan(subjects=1, **(SETTINGS | {"seed": 6, "frames": 1})))
    name = "dome_pose1/hdHand3d/handRecon3D_hd00000100.json"
    assert (tmp_path / name).read_text() != (output / name).read_text()


def test_dump_has_panoptics_layout(dumped):
    output, _ = dumped
    calibration = json.loads((output / "dome_pose1/calibration_dome_pose1.json").read_text())
    assert [entry["type"] for entry in calibration["cameras"]] == ["vga", "vga", "hd", "hd"]
    for entry in calibration["cameras"]:
        R, t = np.array(entry["R"]), np.array(entry["t"])
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)
        assert t.shape == (3, 1) and 100 < np.linalg.norm(t) < 400 and len(entry["distCoef"]) == 5
        assert np.shape(entry["K"]) == (3, 3) and entry["name"] == f"{entry['panel']:02d}_{entry['node']:02d}"
    assert len(list((output / "dome_pose1/hdImgs/00_01").iterdir())) == 15
    image = cv2.imread(str(output / "dome_pose1/hdImgs/00_01/00_01_00000100.jpg"))
    assert image.shape == (64, 64, 3)
    for number in (100, 114):
        content = json.loads((output / f"dome_pose1/hdHand3d/handRecon3D_hd{number:08d}.json").read_text())
        assert content["version"] == 0.5 and "left_hand" not in content["people"][0]
        hand = content["people"][0]["right_hand"]
        lengths = {"landmarks": 63, "averageScore": 21, "averageReproError": 21, "validity": 21, "visibility": 21}
        assert {key: len(value) for key, value in hand.items()} == lengths
        joints = np.reshape(hand["landmarks"], (21, 3))
        assert 6.5 < np.linalg.norm(joints[skeleton.MIDDLE_KNUCKLE] - joints[0]) < 12  # centimetres
        assert all(set(views) <= {0, 1} for views in hand["visibility"])


def test_subjects_table(dumped):
    output, _ = dumped
    with open(output / "subjects.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["subject"] for row in rows] == [f"S{k}" for k in range(6)]
    assert [row["sequence"] for row in rows] == ["dome_pose1"] * 5 + ["dome_pose2"]
    for row in rows:
        for number in (int(row["first_frame"]), int(row["last_frame"])):
            path = output / row["sequence"] / "hdHand3d" / f"handRecon3D_hd{number:08d}.json"
            assert json.loads(path.read_text())["people"][0]["id"] == int(row["person_id"])


def test_a_stopped_dump_continues(dumped, tmp_path, monkeypatch):
    output, sequences = dumped
    made, draw = [], dump.render.draw

    def stop(view, *arguments):
        if len(made) == 7:
            raise KeyboardInterrupt
        made.append(view)
        return draw(view, *arguments)

    monkeypatch.setattr(dump, "CHUNK", 2)
    monkeypatch.setattr(dump.render, "draw", stop)
    with pytest.raises(KeyboardInterrupt):
        dump.write(tmp_path, sequences, DUMP_SETTINGS)
    assert (tmp_path / "dome_pose1.partial").is_dir() and not (tmp_path / "subjects.csv").exists()
    monkeypatch.setattr(dump.render, "draw", draw)
    assert dump.write(tmp_path, sequences, DUMP_SETTINGS) == 6 * 3 * 2 - 4  # one job of two instants had finished
    assert digest(tmp_path) == digest(output)


def test_fewer_subjects_later_leave_the_table_whole(dumped, tmp_path):
    output, sequences = dumped
    shutil.copytree(output, tmp_path / "copy")
    assert dump.write(tmp_path / "copy", sequences[:1], DUMP_SETTINGS) == 0
    assert digest(tmp_path / "copy") == digest(output)


@pytest.mark.parametrize("form", ["videos", "images"])
def test_a_full_disk_is_said_and_leaves_no_sequence(tmp_path, form, monkeypatch):
    (sequence,) = capture.plan(subjects=1, **(SETTINGS | {"frames": 2, "width": 128, "height": 128}))
    monkeypatch.setattr(scenes, "_SPARE", 2)  # so that the video is the largest file
    with full_disk.limit(52_000 if form == "videos" else 40_000), pytest.raises(OSError, match="dome_pose1"):
        dump.write(tmp_path, [sequence], dump.DumpSettings(form))
    assert not (tmp_path / "dome_pose1").exists()
    assert dump.write(tmp_path, [sequence], dump.DumpSettings(form)) > 0


def test_complete_sequences_are_kept_and_other_settings_refused(dumped):
    output, sequences = dumped
    before = digest(output)
    assert dump.write(output, sequences, DUMP_SETTINGS) == 0
    assert digest(output) == before
    with pytest.raises(ValueError, match="jpeg_quality is 90, but 80 is asked for"):
        dump.write(output, sequences, dataclasses.replace(DUMP_SETTINGS, jpeg_quality=80))
    with pytest.raises(ValueError, match="clutter is 3, but 4 is asked for"):
        dump.write(output, [dataclasses.replace(sequences[0], clutter=4)], DUMP_SETTINGS)
    assert digest(output) == before


def test_masks_are_what_the_hand_changes(dumped):
    """Without the rest of the person, pixels outside of the mask show the empty scene."""
    output, _ = dumped
    quiet = dict(SETTINGS, distractor=False, frames=2)
    (sequence,) = capture.plan(subjects=1, **quiet)
    view = capture.make_view(sequence, 0)
    for frame in sequence.frame_numbers:
        instant = capture.instant(sequence, frame)
        picture = dump.render.draw(view, instant.mesh).astype(int)
        mask = dump.hand_mask(view, instant)
        changed = np.abs(picture - view.scene).max(2) > 12
        grown = cv2.dilate((mask > 0).astype(np.uint8), np.ones((7, 7))) > 0
        assert 0.03 < np.mean(mask > 0) < 0.6 and not np.any(changed & ~grown)
        assert np.mean(changed[mask == 255]) > 0.7
    truth = cv2.imread(str(output / "dome_pose1/truth/scenes/00_00.png"))
    (first, *_) = capture.plan(subjects=6, **SETTINGS)
    assert np.array_equal(truth[..., ::-1], capture.make_view(first, 0).scene)


def test_videos_number_frames_like_the_annotations(tmp_path):
    (sequence,) = capture.plan(subjects=1, **(SETTINGS | {"frames": 2, "distractor": False}))
    dump.write(tmp_path, [sequence], dump.DumpSettings("videos"))
    video = cv2.VideoCapture(str(tmp_path / "dome_pose1/hdVideos/hd_00_01.mp4"))
    pictures = []
    while (item := video.read())[0]:
        pictures.append(item[1][..., ::-1].astype(int))
    assert len(pictures) == capture.FIRST_FRAME + 2
    view = capture.make_view(sequence, 1)
    changes = [np.mean(np.abs(picture - view.scene).max(2) > 40) for picture in pictures]
    assert max(changes[: capture.FIRST_FRAME]) < 0.5 * min(changes[capture.FIRST_FRAME :])
    assert sorted(path.name for path in (tmp_path / "dome_pose1/hdHand3d").iterdir())[0].endswith("00000100.json")


def test_videos_have_even_sizes(tmp_path):
    with pytest.raises(ValueError, match="even width and height"):
        dump.write(tmp_path, capture.plan(subjects=1, **(SETTINGS | {"width": 65})), dump.DumpSettings("videos"))
