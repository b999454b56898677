"""Prediction: poses rotate and flip with the crops they come from, and wrong input is refused in one line."""

import csv
import itertools
import json
import pathlib
import shutil
import subprocess
import sys

import av
import crop_truth
import cv2
import ezc3d
import keras
import numpy as np
import pytest
import tiny_dump
from pyarrow import parquet

from hand_tf import predict
from hand_tf.core import atomic, command_line, crops, geometry, reading, skeleton, video
from hand_tf.serving import box_crops, boxes, intrinsics, one_euro, overlays, pictures, saved_model, tables
from hand_tf.serving.boxes import HandBox
from hand_tf.serving.estimator import PoseEstimator, load_exported
from hand_tf.serving.hand_detector import DetectedHand
from hand_tf.serving.pictures import InputPicture

if keras.backend.backend() != "tensorflow":
    pytest.skip("a SavedModel is TensorFlow's", allow_module_level=True)

SIZE = 32
WIDTH, HEIGHT = 160, 120
BOX = (40.0, 30.0, 50.0, 36.0)


@pytest.fixture(scope="module")
def estimator(model):
    return load_exported(model)


@pytest.fixture
def picture():
    """A smooth random picture, so that resampling twice is no other picture."""
    noise = np.random.default_rng(5).uniform(0, 255, (HEIGHT // 8, WIDTH // 8, 3)).astype(np.float32)
    return np.uint8(np.clip(cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), 0, 255))


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])
    return path


def predicted(model, output, *arguments):
    """The content of predictions.json."""
    arguments = [f"--model={model}", f"--output={output}", *map(str, arguments)]
    assert command_line.run(predict.main, arguments) == 0
    return json.loads((output / "predictions.json").read_text())


def error_of(capsys, *arguments, status=1):
    """The line that the command says about wrong `arguments`."""
    capsys.readouterr()
    assert command_line.run(predict.main, [*map(str, arguments)]) == status
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def pinhole(dist=(0, 0, 0, 0, 0), focal=150.0):
    K = np.array([[focal, 0, (WIDTH - 1) / 2], [0, focal, (HEIGHT - 1) / 2], [0, 0, 1]])
    return geometry.Camera("test", WIDTH, HEIGHT, K, np.array(dist, float), np.eye(3), np.zeros(3))


def write_intrinsics(path, camera, **changes):
    content = {"K": camera.K.tolist(), "distCoef": camera.dist.tolist(), "resolution": [camera.width, camera.height]}
    path.write_text(json.dumps({name: value for name, value in (content | changes).items() if value is not None}))
    return path


def box_text(box):
    return "--box=" + ",".join(map(str, box))


# --- poses ---------------------------------------------------------------------------------------------------------


def test_intrinsics_change_nothing_on_the_principal_axis(picture, estimator):
    box = ((WIDTH - 40) / 2, (HEIGHT - 30) / 2, 40.0, 30.0)
    shown = [InputPicture("x", None, picture, [HandBox(box, side)]) for side in ("right", "left")]
    plain, turned = (
        np.array([hand.pose_mm for (hand,) in estimator.predict_pictures(shown, camera)])
        for camera in (None, pinhole())
    )
    np.testing.assert_allclose(plain, turned, atol=0.02 * np.ptp(plain))
    assert not np.allclose(plain[0], plain[1], atol=1)


def test_off_centre_boxes_are_turned_as_geometry_says(picture, estimator, model, tmp_path):
    camera, box = pinhole((-0.2, 0.05, 0.001, -0.002, 0.0)), (5.0, 70.0, 40.0, 44.0)
    file, path = save(tmp_path / "a.png", picture), write_intrinsics(tmp_path / "k.json", camera)
    for hand in skeleton.SIDES:
        crop = crops.box_crop(camera, box, SIZE, 1.5, mirrored=hand == "left")
        view = cv2.remap(picture, *crops.crop_maps(crop), cv2.INTER_LINEAR)
        virtual = estimator.estimate(cv2.resize(view, (SIZE, SIZE))[None])[0]
        # World = camera frame: `pose_in_crop` is what a record would say of the predicted joints.
        content = predicted(model, tmp_path / hand, file, box_text(box), f"--intrinsics={path}", f"--hand={hand}")
        pose = np.array(content["predictions"][0]["pose_mm"])
        tolerance = 0.05 * np.ptp(virtual)  # the command averages 2 x 2 samples a pixel
        np.testing.assert_allclose(crop_truth.pose_in_crop(pose, crop) + virtual[0], virtual, atol=tolerance)
        assert content["pose_frame"] == "camera" and content["units"].startswith("mm")
        assert np.abs(crop.R_virtual - np.eye(3)).max() > 0.2


@pytest.mark.parametrize("with_camera", [False, True])
@pytest.mark.parametrize("side", skeleton.SIDES)
def test_a_turned_picture_has_a_turned_pose(picture, estimator, side, with_camera):
    """Crops that are turned with the hand are the same crops, so the pose turns with the picture, by 90 degrees."""
    square = picture[:, :HEIGHT]
    middle = (HEIGHT - 1) / 2
    K = np.array([[150.0, 0, middle], [0, 150.0, middle], [0, 0, 1]])
    camera = geometry.Camera("test", HEIGHT, HEIGHT, K, np.zeros(5), np.eye(3), np.zeros(3)) if with_camera else None
    angle, centre, size = 0.3, np.array([50.0, 70.0]), np.array([40.0, 30.0])
    turned = np.ascontiguousarray(np.rot90(square, -1))  # clockwise: x, y become 2 m - y, x
    centres = {0.0: centre, np.pi / 2: np.array([2 * middle - centre[1], centre[0]])}
    hands = [
        HandBox((1, 1, 9, 9), side, crop_box=(*(place - (size - 1) / 2), *size), angle=angle + more)
        for more, place in centres.items()
    ]
    shown = [InputPicture("x", None, image, [hand]) for image, hand in zip((square, turned), hands, strict=True)]
    (one,), (other,) = estimator.predict_pictures(shown, camera)
    quarter = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])  # rows: x becomes y, y becomes -x
    tolerance = (0.03 if with_camera else 0.01) * np.ptp(one.pose_mm)
    np.testing.assert_allclose(one.pose_mm @ quarter, other.pose_mm, atol=tolerance)
    expected = np.stack([2 * middle - one.joints_2d[:, 1], one.joints_2d[:, 0]], 1)
    np.testing.assert_allclose(expected, other.joints_2d, atol=1.0)


def test_a_left_hand_is_a_mirrored_right_hand(picture, model, tmp_path):
    x, y, width, height = BOX
    save(tmp_path / "a.png", picture)
    save(tmp_path / "b.png", picture[:, ::-1])
    right = predicted(model, tmp_path / "r", tmp_path / "a.png", box_text(BOX))["predictions"][0]
    flipped = box_text((WIDTH - x - width, y, width, height))
    left = predicted(model, tmp_path / "l", tmp_path / "b.png", flipped, "--hand=left")["predictions"][0]
    tolerance = 0.01 * np.ptp(right["pose_mm"])
    np.testing.assert_allclose(np.array(left["pose_mm"]) * [-1, 1, 1], right["pose_mm"], atol=tolerance)
    mirrored = np.array(left["joints_2d"]) * [-1, 1] + [WIDTH - 1, 0]
    np.testing.assert_allclose(mirrored, right["joints_2d"], atol=1.0)
    assert (right["hand"], left["hand"]) == ("right", "left")


# --- what is written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_camera", [False, True])
def test_the_skeleton_is_drawn_where_the_model_sees_the_joints(picture, model, tmp_path, with_camera):
    file, output = save(tmp_path / "in" / "a.png", np.zeros_like(picture)), tmp_path / "out"
    camera = pinhole((-0.2, 0.1, 0, 0, 0)) if with_camera else None
    flags = [f"--intrinsics={write_intrinsics(tmp_path / 'k.json', camera)}"] if with_camera else []
    content = predicted(model, output, file, box_text(BOX), *flags)
    joints = np.array(content["predictions"][0]["joints_2d"])
    black = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    places = saved_model.SavedModel(model)(black)["joints_2d"][0].astype(float)
    np.testing.assert_allclose(joints, box_crops.to_picture(places, BOX, SIZE, 1.5, camera), atol=0.02)
    low, high = joints.min(0), joints.max(0)
    drawn = cv2.imread(str(output / "overlays" / "a.png"))
    assert drawn.shape == picture.shape
    # Coloured pixels are skeleton, white ones the box and the wrist.
    rows, columns = np.nonzero(np.ptp(drawn.astype(int), axis=-1) > 60)
    assert np.abs(np.array([columns.min(), rows.min(), columns.max(), rows.max()]) - [*low, *high]).max() < 4
    for edge in (drawn[30, 40:90], drawn[65, 40:90], drawn[30:66, 40], drawn[30:66, 89]):
        assert (edge > 200).all(-1).mean() > 0.7  # the rest lies under the skeleton
    assert not list(output.rglob("*partial*"))


@pytest.mark.parametrize("camera", [None, pinhole((-0.2, 0.1, 0, 0, 0))], ids=["plain", "camera"])
def test_a_model_that_does_not_know_the_places_has_its_pose_laid_over_the_box(picture, estimator, camera):
    """Models of version 0.2.0."""
    older = PoseEstimator(lambda crops: {"pose": estimator.estimate(crops)}, SIZE, 1.5)
    ((hand,),) = older.predict_pictures([InputPicture("x", None, picture, [HandBox(BOX, "right")])], camera)
    low, high = hand.joints_2d.min(0), hand.joints_2d.max(0)
    np.testing.assert_allclose((low + high) / 2, [40 + 49 / 2, 30 + 35 / 2], atol=0.02)
    assert (high - low).max() == pytest.approx(49, abs=0.02)


def test_joints_that_no_label_had_are_null(picture, model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    path = tmp_path / "model" / "hand_tf.json"
    atomic.write_sealed_json(path, reading.read_json_object(path) | {"unlabelled_joints": [3, 20]})
    photo = save(tmp_path / "photo.png", picture)
    entries = []
    for each in (model, tmp_path / "model"):
        flags = [f"--box={','.join(map(str, BOX))}", photo]
        (entry,) = predicted(each, tmp_path / f"out{len(entries)}", *flags)["predictions"]
        entries.append(entry)
    for name in ("pose_mm", "joints_2d"):
        for joint, (known, found) in enumerate(zip(*(entry[name] for entry in entries), strict=True)):
            assert found == (None if joint in (3, 20) else known)
    assert cv2.imread(str(tmp_path / "out1" / "overlays" / "photo.png")) is not None


def test_a_table_has_a_row_per_joint(picture, model, tmp_path):
    shutil.copytree(model, tmp_path / "model")
    path = tmp_path / "model" / "hand_tf.json"
    atomic.write_sealed_json(path, reading.read_json_object(path) | {"unlabelled_joints": [3]})
    files = [save(tmp_path / f"{name}, 1.png", picture) for name in "ab"]
    flags = [*files, box_text(BOX), "--hand=left", "--format=json,csv"]
    entries = predicted(tmp_path / "model", tmp_path / "out", *flags)["predictions"]
    with open(tmp_path / "out" / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 21 and rows[0].keys() == set(tables.COLUMNS)
    for entry, part in zip(entries, (rows[:21], rows[21:]), strict=True):
        for joint, row in enumerate(part):
            assert (row["file"], row["frame"], row["hand"]) == (entry["file"], "", "left")
            assert row["joint"] == skeleton.JOINT_NAMES[joint]
            known = entry["pose_mm"][joint], entry["joints_2d"][joint]
            expected = ["", "", ""], ["", ""]
            if joint != 3:
                expected = tuple([str(value) for value in values] for values in known)
            assert ([row[f"{axis}_mm"] for axis in "xyz"], [row["u_px"], row["v_px"]]) == expected


def test_folders_tables_and_damaged_files(picture, model, tmp_path, capsys):
    folder = tmp_path / "in"
    for name in ("a.png", "b.jpg", "sub/c.JPG"):
        save(folder / name, picture)
    (folder / "cut.jpg").write_bytes((folder / "b.jpg").read_bytes()[:-100])
    (folder / "notes.txt").write_text("no picture")
    content = predicted(model, tmp_path / "all", folder, folder / "sub" / "c.JPG", "--centre", "--batch_size=2")
    assert [hand["file"].split("in/")[-1] for hand in content["predictions"]] == ["a.png", "b.jpg", "sub/c.JPG"]
    assert content["pose_frame"] == "virtual camera" and "the square in the centre" in content["boxes"]
    output = capsys.readouterr()
    assert "cut.jpg" in output.err and "3 of 4 hands in 3 pictures, 1 warning\n" in output.out
    assert (tmp_path / "all" / "overlays" / "sub" / "c.JPG").is_file()

    lines = [
        ["file", *boxes.FIELDS, "hand"],
        ["a.png", *BOX, ""],
        ["sub/../a.png", 60, 50, 30, 30, "left"],
    ]
    with open(folder / "boxes.csv", "w", newline="") as file:
        csv.writer(file).writerows([*lines, ["sub/c.JPG", *BOX, "right"]])
    table = f"--boxes={folder / 'boxes.csv'}"
    every = predicted(model, tmp_path / "table", table)["predictions"]
    assert [(hand["file"].split("in/")[-1], hand["hand"]) for hand in every] == [
        ("a.png", "right"),
        ("a.png", "left"),
        ("sub/c.JPG", "right"),
    ]
    capsys.readouterr()
    some = predicted(model, tmp_path / "some", table, folder)["predictions"]
    assert some == every[:2] and "b.jpg: no row" in capsys.readouterr().err


def test_what_cannot_be_used_costs_no_other_hand(picture, model, tmp_path, capsys):
    """Of seven rows and a file without one, three hands can be predicted; names of links count as they are given."""
    folder = tmp_path / "in"
    save(tmp_path / "store" / "1234.png", picture)
    folder.mkdir()
    (folder / "a.png").symlink_to(tmp_path / "store" / "1234.png")
    (folder / "b.png").symlink_to(tmp_path / "store" / "1234.png")
    (folder / "damaged.png").write_bytes(b"x")
    rows = ["a.png,40,30,50,36", "a.png,400,30,50,36", "a.png,4,x,5,3", "b.png,20,30,50,36", "none.png,1,1,9,9"]
    rows += ['b.png,"20,30,50,36', "damaged.png,1,1,9,9", "b.png,60,40,30,30"]
    (folder / "boxes.csv").write_text("\n".join(["file,x,y,width,height", *rows]))
    content = predicted(model, tmp_path / "out", f"--boxes={folder / 'boxes.csv'}")
    assert [(hand["file"], hand["box"][0]) for hand in content["predictions"]] == [
        (str(folder / "a.png"), 40),
        (str(folder / "b.png"), 20),
        (str(folder / "b.png"), 60),
    ]
    assert content["complete"] is True and not (tmp_path / "out" / "predictions.partial.jsonl").exists()
    assert sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir()) == ["a.png", "b.png"]
    output = capsys.readouterr()
    assert "3 of 8 hands in 2 pictures, 5 warnings" in output.out
    for problem in (
        "boxes.csv: line 4",
        "boxes.csv: line 7",
        "none.png: no such",
        "lies outside",
        "damaged.png: not an",
    ):
        assert problem in output.err
    # A row that names the picture behind a link is found as well.
    (folder / "boxes.csv").write_text("file,x,y,width,height\n../store/1234.png,1,1,9,9")
    (hand,) = predicted(model, tmp_path / "b", f"--boxes={folder / 'boxes.csv'}", folder / "b.png")["predictions"]
    assert hand["file"] == str(folder / "b.png")


def test_what_was_predicted_before_a_stop_is_kept(picture, model, tmp_path, monkeypatch, capsys):
    files = [save(tmp_path / f"{name}.png", picture) for name in "abc"]
    read = pictures.images.read_image

    def stop_at_c(path, *rest):
        if path.name == "c.png":
            raise KeyboardInterrupt
        return read(path, *rest)

    monkeypatch.setattr(pictures.images, "read_image", stop_at_c)
    flags = [f"--model={model}", f"--output={tmp_path / 'out'}", "--batch_size=1", "--centre", *map(str, files)]
    assert command_line.run(predict.main, flags) == 130
    assert capsys.readouterr().err == "stopped; what had finished is kept\n"
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert content["complete"] is False
    assert [pathlib.Path(hand["file"]).name for hand in content["predictions"]] == ["a.png", "b.png"]
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []


def test_pictures_of_too_many_pixels_are_left_out(model, tmp_path, capsys):
    file = save(tmp_path / "a.png", np.zeros((400, 500, 3), np.uint8))
    flags = [f"--model={model}", f"--output={tmp_path / 'out'}", file, "--max_pixels=199999"]
    assert "a.png: 0.2 million pixels, at most 0.199999 million expected" in error_of(capsys, *flags)


def test_without_boxes_hands_are_found(picture, model, tmp_path, monkeypatch, capsys):
    """Two hands in the one picture, of which one lies outside, and none in the other, which is said and not guessed."""
    save(tmp_path / "in" / "a.png", picture)
    save(tmp_path / "in" / "b.png", np.zeros_like(picture))

    class Detector:
        def detect(self, image):
            boxes = [(*BOX, "left"), (400.0, 3.0, 20.0, 20.0, "right")] if image.any() else []
            return [DetectedHand(tuple(box), side, 0.75, np.zeros((21, 2))) for *box, side in boxes]

    asked = []
    monkeypatch.setattr(
        predict.detector_files, "load_detector", lambda *sizes, threads: asked.append(sizes) or Detector()
    )
    flags = [tmp_path / "in", "--tiles=2", "--min_score=0.7", "--noupright"]
    content = predicted(model, tmp_path / "out", *flags)
    assert asked == [(0.7, 2)] and content["boxes"] == "found by the hand detector"
    (hand,) = content["predictions"]
    assert (hand["hand"], hand["score"], hand["track"], hand["box"]) == ("left", 0.75, None, list(BOX))
    (given,) = predicted(model, tmp_path / "given", tmp_path / "in" / "a.png", box_text(BOX), "--hand=left")[
        "predictions"
    ]
    assert hand["pose_mm"] == given["pose_mm"] and given["score"] is None
    capsys.readouterr()
    content = predicted(model, tmp_path / "none", tmp_path / "in" / "b.png")
    assert content["predictions"] == [] and content["complete"] is True
    output = capsys.readouterr()
    assert "0 hands in 1 picture, 1 warning" in output.out and "b.png: no hand found" in output.err
    assert not (tmp_path / "none" / "overlays").exists()


def test_the_centre_square_of_a_picture(picture, model, tmp_path):
    file = save(tmp_path / "a.png", picture)
    square = picture[:, (WIDTH - HEIGHT) // 2 : (WIDTH + HEIGHT) // 2]
    (whole,) = predicted(model, tmp_path / "whole", file, "--centre")["predictions"]
    (cut,) = predicted(model, tmp_path / "cut", save(tmp_path / "b.png", square), "--centre")["predictions"]
    np.testing.assert_allclose(whole["pose_mm"], cut["pose_mm"], atol=0.01 * np.ptp(whole["pose_mm"]))


def test_videos_frame_by_frame(model, tmp_path):
    pictures = [tiny_dump.picture(tiny_dump.cameras()[1], [tiny_dump.joints_at(f, "right")]) for f in range(5)]
    tiny_dump.write_video(tmp_path / "clip.mp4", pictures)
    arguments = ["--box=250,90,120,120", "--frame_stride=2", "--batch_size=2", tmp_path / "clip.mp4"]
    hands = predicted(model, tmp_path / "out", *arguments)["predictions"]
    assert [(hand["frame"], round(hand["time_s"] * tiny_dump.FPS)) for hand in hands] == [(0, 0), (2, 2), (4, 4)]
    assert not np.allclose(hands[0]["pose_mm"], hands[1]["pose_mm"], atol=0.1)  # the hand moves
    (path,) = (tmp_path / "out" / "overlays").iterdir()
    clock, frames = video.read_clock(path), [frame.whole() for frame in video.read_frames(path)]
    assert (path.name, len(frames), frames[0].shape) == ("clip.mp4", 3, pictures[0].shape)
    assert clock.frames_per_second == pytest.approx(tiny_dump.FPS / 2)
    for hand, frame in zip(hands, frames, strict=True):  # the box is drawn on each frame
        assert frame[92:208, 250].mean() > 200 and hand["box"] == [250.0, 90.0, 120.0, 120.0]


def write_clip(path, num_frames=6):
    tiny_dump.write_video(
        path,
        [tiny_dump.picture(tiny_dump.cameras()[1], [tiny_dump.joints_at(f, "right")]) for f in range(num_frames)],
    )
    return path


def test_a_video_in_all_formats_says_where_hands_were_not_found(model, tmp_path, monkeypatch, capsys):
    """A left hand in frames 1, 2 and 4 of 6; in the formats of trajectories frame 3 is a gap or another track."""
    clip, number = write_clip(tmp_path / "clip.mp4"), itertools.count()
    tracks = {1: 0, 2: 0, 4: 0, 5: 1}

    def find(picture):
        track = tracks.get(next(number))
        return [] if track is None else [HandBox((250.0, 90.0, 120.0, 120.0), "left", 0.8, track)]

    monkeypatch.setattr(predict.detector_files, "load_detector", lambda *sizes, threads: None)
    monkeypatch.setattr(predict.hand_finder, "HandFinder", lambda *rest: find)
    content = predicted(model, tmp_path / "out", clip, f"--format={','.join(predict.prediction_files.FORMATS)}")
    (file,) = content["files"]
    assert file == {"file": str(clip), "frames_read": 6, "without_hand": [[0, 0], [3, 3]]}
    assert [(entry["frame"], entry["track"]) for entry in content["predictions"]] == list(tracks.items())
    assert content["smoothing"] is None and content["frame_stride"] == 1
    out = tmp_path / "out"
    table = parquet.read_table(out / "predictions.parquet").to_pylist()
    with open(out / "predictions.csv", newline="") as csv_file:
        assert len(list(csv.DictReader(csv_file))) == len(table) == 4 * 21
    for kind in ("trc", "c3d"):
        names = sorted(path.name for path in (out / kind / "clip.mp4").iterdir())
        assert names == [f"left_0.{kind}", f"left_1.{kind}"]
    points = ezc3d.c3d(str(out / "c3d" / "clip.mp4" / "left_0.c3d"))["data"]["points"][:3].transpose(2, 1, 0)
    assert np.isnan(points[2]).all() and len(points) == 4
    for row, entry in zip((0, 1, 3), content["predictions"], strict=False):
        np.testing.assert_allclose(points[row], entry["pose_mm"], atol=1e-3)
    output = capsys.readouterr().out
    assert "4 hands in 6 pictures of 1 file" in output and "c3d: the trajectories of hands" in output


def test_smoothing_changes_what_is_written_and_drawn_and_leaves_pictures(picture, model, tmp_path, monkeypatch):
    clip, photo = write_clip(tmp_path / "clip.mp4"), save(tmp_path / "photo.png", picture)
    drawn = []
    draw = overlays.draw

    def record(image, entries):
        drawn.append([entry["joints_2d"] for entry in entries])
        return draw(image, entries)

    monkeypatch.setattr(overlays, "draw", record)
    flags = [clip, photo, "--box=60,30,80,80", "--smooth_cutoff=0.7", "--smooth_beta=0.001", "--batch_size=2"]
    raw = predicted(model, tmp_path / "raw", clip, photo, "--box=60,30,80,80")["predictions"]
    drawn.clear()
    content = predicted(model, tmp_path / "out", *flags, "--smooth")
    smoothing = {"filter": "one-euro", "min_cutoff_hz": 0.7, "beta_hz_per_mm_s": 0.001}
    assert content["smoothing"] == smoothing
    found, poses, places = content["predictions"], one_euro.OneEuro(0.7, 0.001), one_euro.OneEuro(0.7, 0.001)
    for entry, plain in zip(found[:6], raw[:6], strict=True):
        assert (entry["frame"], entry["time_s"], entry["track"]) == (plain["frame"], plain["time_s"], 0)
        expected = poses(np.array(plain["pose_mm"]), plain["time_s"])
        np.testing.assert_allclose(entry["pose_mm"], expected, atol=2e-3)  # both are rounded
        expected = places(np.array(plain["joints_2d"]), plain["time_s"], 150 / 80)
        np.testing.assert_allclose(entry["joints_2d"], expected, atol=2e-2)
    assert np.abs(np.array(found[5]["pose_mm"]) - raw[5]["pose_mm"]).max() > 0.1
    assert found[6] == raw[6] and found[6]["track"] is None
    assert drawn == [[entry["joints_2d"]] for entry in found]


def test_videos_of_one_name_keep_their_overlays_apart_and_an_empty_one_is_said(model, tmp_path, capsys):
    for name in ("clip.mp4", "clip.avi"):
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter_fourcc(*"MJPG"), 10, (WIDTH, HEIGHT))
        for _ in range(2):
            writer.write(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        writer.release()
    with av.open(str(tmp_path / "empty.mkv"), "w") as container:  # a head without a frame
        container.add_stream("libx264", rate=10).width = WIDTH
        container.start_encoding()
    files = [tmp_path / name for name in ("clip.mp4", "clip.avi", "empty.mkv")]
    hands = predicted(model, tmp_path / "out", "--centre", *files)["predictions"]
    assert [hand["time_s"] for hand in hands] == [0.0, 0.1, None, None]  # AVI has no presentation times
    assert sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir()) == ["clip.avi.mp4", "clip.mp4"]
    output = capsys.readouterr()
    assert "4 of 5 hands" in output.out and "empty.mkv: " in output.err


def test_a_damaged_video_is_read_up_to_the_damage(model, tmp_path, capsys):
    path, random = tmp_path / "clip.mp4", np.random.default_rng(0)
    tiny_dump.write_video(path, [random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(12)])
    content = path.read_bytes()
    start, length = len(content) // 2, len(content) // 5
    path.write_bytes(content[:start] + bytes(length) + content[start + length :])
    hands = predicted(model, tmp_path / "out", "--nooverlays", "--centre", path)["predictions"]
    assert 0 < len(hands) < 12 and [hand["frame"] for hand in hands] == list(range(len(hands)))
    output = capsys.readouterr()
    assert f"clip.mp4: only the first {len(hands)} of 12 frames can be read" in output.err and "1 warning" in output.out


def test_panoptic_calibration_files_give_intrinsics(tmp_path):
    rig = tiny_dump.cameras()
    path = tiny_dump.write_calibration(tmp_path / "s", [tiny_dump.calibration_entry(camera) for camera in rig])
    camera = intrinsics.read_camera(path, "00_02")
    np.testing.assert_allclose(camera.K, rig[2].K)
    np.testing.assert_allclose(camera.dist, rig[2].dist)
    np.testing.assert_array_equal(camera.R, np.eye(3))
    single = intrinsics.read_camera(write_intrinsics(tmp_path / "k.json", pinhole(), distCoef=None))
    assert not single.dist.any() and (single.width, single.height) == (WIDTH, HEIGHT)


# --- bad input ------------------------------------------------------------------------------------------------------


def test_wrong_models_are_refused_with_one_line(model, picture, tmp_path, capsys):
    file = save(tmp_path / "a.png", picture)
    assert "no such folder" in error_of(capsys, f"--model={tmp_path / 'none'}", file)
    expected = "expected a folder with hand_tf.json and saved_model.pb or model.tflite"
    assert expected in error_of(capsys, f"--model={tmp_path}", file)
    assert expected in error_of(capsys, f"--model={file}", file)
    for name, content, message in (
        ("hand_tf.json", b"{", "not valid JSON"),
        ("hand_tf.json", b'{"image_size": 32}', "field box_margin"),
        ("saved_model.pb", b"x" * 50, "saved_model.pb: damaged, or not the file that was exported"),
        ("variables/variables.index", b"x" * 50, "variables.index: damaged, or not the file that was exported"),
    ):
        broken = tmp_path / "broken"
        shutil.copytree(model, broken, dirs_exist_ok=True)
        (broken / name).write_bytes(content)
        assert message in error_of(capsys, f"--model={broken}", f"--output={tmp_path / 'out'}", file)
    (broken / "variables" / "variables.index").unlink()
    shutil.copy(model / "saved_model.pb", broken)
    assert "variables.index: missing" in error_of(capsys, f"--model={broken}", f"--output={tmp_path / 'out'}", file)
    assert not (tmp_path / "out").exists()


def test_models_of_version_0_2_0_are_read_without_hashes(model, picture, tmp_path, capsys):
    file = save(tmp_path / "a.png", picture)
    older = tmp_path / "older"
    shutil.copytree(model, older)
    described = reading.read_json_object(older / "hand_tf.json")
    (older / "hand_tf.json").write_text(json.dumps({name: each for name, each in described.items() if name != "files"}))
    predicted(older, tmp_path / "out", file)
    assert capsys.readouterr().err.startswith(f"note: {older / 'hand_tf.json'}: older than the hash")
    flags = [f"--model={tmp_path / 'broken'}", f"--output={tmp_path / 'out2'}", str(file)]
    for name, content, message in (
        ("hand_tf.json", b'{"image_size": 64, "box_margin": 1.5, "scale": ""}', "image_size 64"),
        ("saved_model.pb", b"x" * 50, "this SavedModel cannot be used"),
        ("variables/variables.index", b"x" * 50, "this SavedModel cannot be used"),
    ):
        broken = tmp_path / "broken"
        shutil.copytree(older, broken, dirs_exist_ok=True)
        (broken / name).write_bytes(content)
        assert command_line.run(predict.main, flags) == 1
        assert message in capsys.readouterr().err


def test_wrong_inputs_are_refused_with_one_line(model, picture, tmp_path, capsys):
    file, common = save(tmp_path / "a.png", picture), (f"--model={model}", f"--output={tmp_path / 'out'}")
    (tmp_path / "empty").mkdir()
    (tmp_path / "b.txt").touch()
    (tmp_path / "broken.png").write_bytes(b"x")
    (tmp_path / "broken.mp4").write_bytes(b"x")
    for message, *arguments in (
        ("none.png: no such file", tmp_path / "none.png"),
        ("empty: a folder without images", tmp_path / "empty"),
        ("b.txt: neither an image", tmp_path / "b.txt"),
        ("broken.png: not an image", tmp_path / "broken.png"),
        ("broken.mp4: not a video", tmp_path / "broken.mp4"),
        ("a.png: the box (200.0, 2.0, 9.0, 9.0) lies outside the picture (160x120 px)", "--box=200,2,9,9", file),
        ("x.csv", "--boxes=x.csv", file),
        ("--format=trc,c3d: trajectories of hands in videos", "--format=json,trc,c3d", "--centre", file),
    ):
        assert message in error_of(capsys, *common, *arguments)
    for message, *arguments in (
        ("nothing to do",),
        ("--box=1,2,3: expected 4 numbers", "--box=1,2,3", file),
        ("--box=1,2,x,4: expected 4 numbers", "--box=1,2,x,4", file),
        ("--box=1.0,2.0,nan,4.0: expected a finite number", "--box=1,2,nan,4", file),
        ("--box=1,2,0,4: expected width and height above 0", "--box=1,2,0,4", file),
        ("pass one of them", "--box=1,2,3,4", "--boxes=x.csv", file),
        ("pass the calibration file", "--camera=00_01", file),
        ("--hand", "--hand=both", file),
        ("--format=xml: expected one of json, csv", "--format=xml", file),
        ("--box_margin=0.0: expected at least 0.1", "--box_margin=0", file),
        ("--smooth_cutoff and --smooth_beta: pass --smooth", "--smooth_beta=0.1", file),
        ("--smooth_cutoff=0.0: expected above 0", "--smooth", "--smooth_cutoff=0", file),
    ):
        assert message in error_of(capsys, *common, *arguments, status=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "ezc3d", None)  # as if it were not installed
        patch.setattr(predict.estimator, "load_exported", None)  # no prediction is tried
        assert "pip install 'hand_tf[formats]'" in error_of(capsys, *common, "--format=c3d", file)
    assert not (tmp_path / "out" / "predictions.json").exists()
    predicted(model, tmp_path / "out", file, "--nooverlays")
    assert not (tmp_path / "out" / "overlays").exists()
    assert "holds predictions already" in error_of(capsys, *common, file)
    predicted(model, tmp_path / "out", file, "--overwrite")


def test_wrong_tables_are_refused_with_one_line(model, picture, tmp_path, capsys):
    save(tmp_path / "a.png", picture)
    other = save(tmp_path / "other.png", picture)
    table = tmp_path / "boxes.csv"
    header = "file,x,y,width,height,hand\n"
    for message, text, *arguments in (
        ("boxes.csv: columns file,x,y,width,height expected, missing: height", "file,x,y,width\n"),
        ("boxes.csv: no boxes", header),
        ("boxes.csv: line 2: 6 cells expected", header + "a.png,1,2,3,4\n"),
        ("boxes.csv: line 3: 6 cells expected", header + "\na.png,1,2,3,4,left,7\n"),
        ("boxes.csv: line 2: four numbers", header + "a.png,1,2,x,4,left\n"),
        ("boxes.csv: line 2: numbers of px up to 1,000,000", header + "a.png,1,2,3e9,4,left\n"),
        ("boxes.csv: line 2: width and height", header + "a.png,1,2,3,-4,left\n"),
        ("boxes.csv: line 2: field hand: 'both'", header + "a.png,1,2,3,4,both\n"),
        ("none.png: no such file", header + "none.png,1,2,3,4,left\n"),
        ("no row is about any of the 1 inputs", header + "a.png,1,2,3,4,left\n", other),
        ("a.png: the box", header + "a.png,-20,2,3,4,left\n"),
    ):
        table.write_text(text)
        assert message in error_of(
            capsys, f"--model={model}", f"--output={tmp_path / 'out'}", f"--boxes={table}", *arguments
        )


def test_wrong_intrinsics_are_refused_with_one_line(model, picture, tmp_path, capsys):
    file, path = save(tmp_path / "a.png", picture), tmp_path / "k.json"
    calibration = {"cameras": [tiny_dump.calibration_entry(camera) for camera in tiny_dump.cameras()]}
    for message, changes, *arguments in (
        ("k.json: field K: 3x3 numbers expected", {"K": [1, 2]}),
        ("k.json: field K: 3x3 numbers expected", {"K": None}),
        ("k.json: field K: [[fx, 0, cx]", {"K": np.zeros((3, 3)).tolist()}),
        ("k.json: field resolution", {"resolution": None}),
        ("k.json: field distCoef: finite", {"distCoef": [0, 0, 0, 0, float("nan")]}),
        ("a.png: 160x120 px, the intrinsics are for 320x240", {"resolution": [320, 240]}),
        ("a.png: the box (0.0, 0.0, 9.0, 9.0) lies where", {"distCoef": [-3, 0, 0, 0, 0]}, "--box=0,0,9,9"),
        ("not a calibration file", {}, "--camera=00_01"),
        ("--camera=None: expected one of the 3 names there, such as 00_00", calibration),
        ("--camera=00_09: expected one of the 3", calibration, "--camera=00_09"),
    ):
        write_intrinsics(path, pinhole(), **changes)
        arguments = arguments or [box_text(BOX)]
        assert message in error_of(
            capsys, f"--model={model}", f"--output={tmp_path / 'out'}", f"--intrinsics={path}", file, *arguments
        )
    path.write_text("{")
    assert "k.json: not valid JSON" in error_of(capsys, f"--model={model}", f"--intrinsics={path}", file)
    path.unlink()
    assert "k.json" in error_of(capsys, f"--model={model}", f"--intrinsics={path}", file)


def test_help_and_wrong_flags_do_not_wait_for_tensorflow():
    script = (
        "import sys; from hand_tf import predict, export; from hand_tf.core import command_line\n"
        "status = [command_line.run(module.main, ['--help']) for module in (predict, export)]\n"
        "status += [command_line.run(predict.main, ['--model=x', '--box=1,2', 'a.jpg'])]\n"
        "print([name for name in ('tensorflow', 'keras', 'jax') if name in sys.modules], status)"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "[] [0, 0, 2]" and "--box_margin" in output
