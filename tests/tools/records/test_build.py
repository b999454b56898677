"""From a dump to records: what is in them, what is left out, and what is said about an input that cannot be used."""

import dataclasses
import itertools
import json
import pathlib
import shutil

import crop_truth
import cv2
import numpy as np
import pytest
import tensorflow as tf
import tiny_dump
from tiny_build import joint_pixels, load, records, settings

from hand_tf.core import command_line, crops, geometry, records_folder, schema, skeleton
from tfrecords_tools import build
from tfrecords_tools.dump import boxes
from tfrecords_tools.records import backgrounds

RIG = pathlib.Path(__file__).resolve().parents[4] / "shared" / "data" / "two_view_rig"


def test_every_instant_is_one_record_with_its_poses_and_views(built):
    found = records(built)
    assert len(found) == 16
    rig = tiny_dump.cameras()
    for (frame, side), (i, camera) in itertools.product(itertools.product(range(8), skeleton.SIDES), enumerate(rig)):
        record, joints = found[f"pose1/pose1/{side}/{frame:08d}"], tiny_dump.joints_at(frame, side)
        crop = crops.virtual_crop(camera, joints.mean(0), 1.0, 64, mirrored=side == "left")
        pose = (record["joints"] - record["joints"][0]) @ record["rotations"][i].T
        np.testing.assert_allclose(pose, crop_truth.pose_in_crop(joints, crop), atol=1e-3)
        assert [name.decode() for name in record["cameras"]] == [camera.name for camera in rig]
        assert record["mirrored"] == (side == "left") and record["joint_validity"].all()


def test_markers_lie_where_a_record_says_its_joints_are(built):
    for record in records(built).values():
        for view, crop in enumerate(record["crops"]):
            pixels = joint_pixels(record, view).round().astype(int)
            assert ((pixels >= 0) & (pixels < 64)).all()
            for joint, colour in tiny_dump.MARKERS.items():
                seen = crop[pixels[joint][1], pixels[joint][0]].astype(int)
                assert np.abs(seen - colour).max() < 110, (record["key"], view, joint)


def test_backgrounds_are_the_empty_scene(built, tmp_path, dump):
    for camera in tiny_dump.cameras():
        image = cv2.imread(str(built / "work" / "backgrounds" / "pose1" / f"{camera.name}.png"))[..., ::-1]
        shown = image.any(-1)  # nothing is worked out where no crop ever looks
        assert 0.1 < shown.mean() < 1
        np.testing.assert_array_equal(image[shown], tiny_dump.scene(camera)[shown])
    for record in records(built).values():
        for view, background in enumerate(record["backgrounds"]):
            assert np.ptp(background.astype(int), axis=2).max() < 12  # grey: no marker left
            away = np.abs(record["crops"][view].astype(int) - background).max(-1) < 12
            assert 0.6 < away.mean() < 0.99


def test_manifest_and_index_describe_the_files(built):
    content = load(built)
    assert records_folder.damaged(built, content) == []
    assert {group.side: (group.num_records, group.num_crops, group.num_labelled) for group in content.groups} == {
        "left": (8, 24, 8),
        "right": (8, 24, 8),
    }
    assert [shard.num_records for shard in content.groups[0].shards] == [3, 3, 2]
    assert content.cameras == {"pose1": ["00_00", "00_01", "00_02"]} and content.fps == 29.97
    assert content.build_flags["crop_size"] == 64 and content.report["records"] == 16
    rows = records_folder.read_index(built)
    for shard in (shard for group in content.groups for shard in group.shards):
        keys = [schema.parse(r)["key"].numpy().decode() for r in tf.data.TFRecordDataset(str(built / shard.file))]
        assert keys == [row["key"] for row in rows if row["shard"] == shard.file]
    assert not (built / "work" / "spool").exists() and not list(built.rglob("*.partial"))


def test_records_come_in_a_seeded_random_order(built, dump, tmp_path):
    def order(folder):
        return [row["frame"] for row in records_folder.read_index(folder) if row["side"] == "right"]

    assert order(built) != sorted(order(built)) and sorted(order(built)) == list(range(8))
    build.build(settings(dump, tmp_path / "other", seed=1))
    assert order(tmp_path / "other") != order(built)


def test_a_video_gives_the_same_records_as_images(built, tmp_path):
    folder = tmp_path / "pose1"
    tiny_dump.write(folder, video=True)
    build.build(settings(folder, tmp_path / "out"))
    found, expected = records(tmp_path / "out"), records(built)
    assert found.keys() == expected.keys() and load(tmp_path / "out").fps == tiny_dump.FPS
    for key, record in found.items():
        np.testing.assert_array_equal(record["rotations"], expected[key]["rotations"])
        for one, other in zip(record["crops"], expected[key]["crops"], strict=True):
            assert np.abs(one.astype(float) - other).mean() < 6  # a frame off would move the hand


def test_bad_frames_and_cameras_are_left_out_and_counted(tmp_path):
    folder = tmp_path / "pose1"
    tiny_dump.write(folder, sides=("right",), extension="jpg")
    extra = dataclasses.replace(tiny_dump.cameras()[0], name="07_11")
    entries = [tiny_dump.calibration_entry(camera) for camera in [*tiny_dump.cameras(), extra]]
    tiny_dump.write_calibration(folder, entries)
    damaged = folder / "hdImgs" / "00_01" / "00_01_00000002.jpg"
    damaged.write_bytes(damaged.read_bytes()[:999])
    for name in ("00_00", "00_02"):
        (folder / "hdImgs" / name / f"{name}_00000005.jpg").unlink()
    tiny_dump.write_hands(folder, 40, [{"id": 0, "right_hand": tiny_dump.hand_json(tiny_dump.joints_at(1, "right"))}])
    report = build.build(settings(folder, tmp_path / "out"))
    assert report["records"] == 7 and report["views"] == 20 and report["instants"] == 9
    assert {reason: skip["count"] for reason, skip in report["skipped"].items()} == {
        "cameras: listed, but no video and no images": 1,
        "frames: damaged image": 1,
        "frames: no image of that number": 5,
        "views: picture missing": 6,
        "instants: fewer than 2 views": 2,
    }
    assert "07_11" in report["skipped"]["cameras: listed, but no video and no images"]["first"]
    assert load(tmp_path / "out").report == report


def test_subsets_by_hand_frame_and_camera(dump, tmp_path):
    changes = {"hands": "left", "frame_stride": 3, "cameras": ("00_00", "00_02")}
    build.build(settings(dump.parent, tmp_path / "out", **changes))
    rows = records_folder.read_index(tmp_path / "out")
    assert sorted((row["side"], row["frame"], row["cameras"]) for row in rows) == [
        ("left", frame, ("00_00", "00_02")) for frame in (0, 3, 6)
    ]
    with pytest.raises(ValueError, match="--cameras: pose1 has no hd camera 09_09"):
        build.build(settings(dump, tmp_path / "no", cameras=("09_09", "00_00")))
    with pytest.raises(FileNotFoundError, match="pictures of 1 cameras"):
        build.build(settings(dump, tmp_path / "no", cameras=("00_00",)))


def test_hands_without_joints_become_unlabelled_records(tmp_path):
    folder = tmp_path / "pose1"
    rig = tiny_dump.write(folder, sides=("right",))
    rows = []
    for frame, camera in itertools.product((2, 4), rig):
        tiny_dump.write_hands(folder, frame, [])
        pixels = geometry.project(tiny_dump.joints_at(frame, "right"), camera)
        rows.append((frame, camera.name, 0, "right", *pixels.min(0), *(np.ptp(pixels, axis=0) + 1)))
    tiny_dump.write_csv(folder / "boxes.csv", boxes.COLUMNS, rows)
    report = build.build(settings(folder, tmp_path / "out"))
    assert (report["records"], report["labelled"]) == (8, 6)
    unlabelled = [row["key"] for row in records_folder.read_index(tmp_path / "out") if not row["labelled"]]
    assert sorted(unlabelled) == ["pose1/pose1/right/00000002", "pose1/pose1/right/00000004"]
    for key in unlabelled:
        record = records(tmp_path / "out")[key]
        assert not record["joint_validity"].any() and len(record["crops"]) == 3
        for crop in record["crops"]:  # the hand is in it: all markers show
            assert all((np.abs(crop.astype(int) - colour).max(-1) < 110).any() for colour in tiny_dump.MARKERS.values())


def test_crops_from_boxes_are_those_of_a_dump_without_joints(tmp_path):
    """Pixels, cameras and backgrounds do not change with the joints; joints of hands with boxes are their labels."""
    folder, bare = tmp_path / "a" / "pose1", tmp_path / "b" / "pose1"
    for place in (folder, bare):
        rig, rows = tiny_dump.write(place, sides=("right",)), []
        for frame, camera in itertools.product((1, 3, 4, 6), rig):
            pixels = geometry.project(tiny_dump.joints_at(frame, "right"), camera)
            rows.append((frame, camera.name, 0, "right", *pixels.min(0), *(np.ptp(pixels, axis=0) + 1)))
        tiny_dump.write_csv(place / "boxes.csv", boxes.COLUMNS, rows)
    shutil.rmtree(bare / "hdHand3d")
    report = build.build(settings(folder, tmp_path / "with", crops_from="boxes"))
    assert (report["records"], report["labelled"]) == (4, 4)
    assert report["skipped"]["instants: joints, but no boxes that meet (--crops_from=boxes)"]["count"] == 4
    assert build.build(settings(bare, tmp_path / "without"))["labelled"] == 0
    found, expected = records(tmp_path / "with"), records(tmp_path / "without")
    assert found.keys() == expected.keys()
    for key, record in found.items():
        for name in ("crops", "backgrounds", "rotations", "intrinsics", "camera_centres"):
            np.testing.assert_array_equal(record[name], expected[key][name])
        np.testing.assert_allclose(record["joints"], tiny_dump.joints_at(record["frame"], "right"), atol=1e-2)
    with pytest.raises(ValueError, match="no usable hand"):
        build.build(settings(folder, tmp_path / "no", crops_from="boxes", hands="left"))


def test_a_link_keeps_the_name_that_it_was_given(dump, tmp_path):
    """And `subjects.csv` is that beside the link; a folder that is named twice is read once."""
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "session7").symlink_to(dump)
    header = ("sequence", "first_frame", "last_frame", "person_id", "subject")
    tiny_dump.write_csv(tmp_path / "study" / "subjects.csv", header, [("session7", 0, 99, "*", "S4")])
    inputs = (str(tmp_path / "study"), str(tmp_path / "study" / "session7"))
    build.build(dataclasses.replace(settings(dump, tmp_path / "out"), input=inputs, hands="left"))
    groups = load(tmp_path / "out").groups
    assert [(group.sequence, group.subject) for group in groups] == [("session7", "S4")]


def test_two_groups_never_share_their_files(dump, tmp_path):
    header = ("sequence", "first_frame", "last_frame", "person_id", "subject")
    rows = [("take1", 0, 99, "*", "a.b"), ("take1.a", 0, 99, "*", "b")]
    (tmp_path / "in").mkdir()
    for name, *_ in rows:
        shutil.copytree(dump, tmp_path / "in" / name)
    tiny_dump.write_csv(tmp_path / "in" / "subjects.csv", header, rows)
    with pytest.raises(
        ValueError, match=r"take1\.a\.b\.left.*: sequence take1 with subject a\.b, and sequence take1\.a"
    ):
        build.build(settings(tmp_path / "in", tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*.tfrecord"))


def test_inputs_that_cannot_be_used_give_one_clear_line(dump, tmp_path):
    empty = tmp_path / "pose2"
    tiny_dump.write_calibration(empty, [tiny_dump.calibration_entry(camera) for camera in tiny_dump.cameras()])
    for folder, message in {
        tmp_path / "nowhere": "no folder with a calibration_",
        empty: "pictures of 0 cameras",
    }.items():
        with pytest.raises(FileNotFoundError, match=message) as error:
            build.build(settings(folder, tmp_path / "out"))
        assert "\n" not in str(error.value) and str(folder) in str(error.value)
    twin = tmp_path / "twin" / "pose1"
    shutil.copytree(dump, twin)
    with pytest.raises(ValueError, match="same name is already there"):
        build.build(dataclasses.replace(settings(dump, tmp_path / "out"), input=(str(dump), str(twin))))
    shutil.rmtree(twin / "hdHand3d")
    with pytest.raises(ValueError, match="no usable hand"):
        build.build(settings(twin, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_command_reports(dump, tmp_path, capsys):
    output = tmp_path / "out"
    flags = ["--crop_size=32", "--workers=1", "--frame_stride=2", "--hands=left"]
    assert command_line.run(build.main, [f"--input={dump}", f"--output={output}", *flags]) == 0
    told = capsys.readouterr().out
    assert "Kept 4 of 4 instants (4 with a pose), 12 views" in told and f"hand-tf inspect {output}" in told
    assert "Backgrounds: 3 of 3 use the plain median somewhere" in told and "Nothing was left out." in told
    assert load(output).build_flags == {
        "input": [str(dump)],
        "output": str(output),
        "crop_size": 32,
        "margin": 1.3,
        "hands": "left",
        "fps": 29.97,
        "min_score": 0.5,
        "max_error": 20.0,
        "min_views": 2,
        "frame_stride": 2,
        "jpeg_quality": 95,
        "records_per_shard": 1000,
        "workers": 1,
        "seed": 0,
        "cameras": [],
        "crops_from": "joints",
    }


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["left over"], 2, "unexpected argument 'left over'"),
        (["--crop_size=8"], 2, "--crop_size=8: expected at least 16"),
        (["--jpeg_quality=101"], 2, "--jpeg_quality=101: expected at least 1 and at most 100"),
        (["--hands=three"], 2, "--hands"),
        (["--fps=nan"], 2, "--fps=nan: expected a finite number"),
        ([], 1, "none: no folder with a calibration_"),
    ],
)
def test_wrong_flags_and_inputs_are_one_line(tmp_path, capsys, flags, status, message):
    arguments = [f"--input={tmp_path / 'none'}", f"--output={tmp_path / 'out'}", *flags]
    assert command_line.run(build.main, arguments) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert not list(tmp_path.iterdir())


def test_real_rig(tmp_path, monkeypatch):
    if not RIG.is_dir():
        pytest.skip(f"no real recording in {RIG}")
    monkeypatch.setattr(backgrounds, "MAX_SAMPLES", 20)  # most of the time goes into backgrounds
    build.build(settings(RIG, tmp_path / "out", frame_stride=30, records_per_shard=1000))
    content = load(tmp_path / "out")
    assert content.subjects == ["late", "early"] and content.report["records"] >= 10
    for record in records(tmp_path / "out").values():
        poses = [(record["joints"] - record["joints"][0]) @ rotation.T for rotation in record["rotations"]]
        rotation = record["rotations"][1] @ record["rotations"][0].T
        np.testing.assert_allclose(poses[0] @ rotation.T, poses[1], atol=1e-2)
        accepted = record["joint_validity"] > 0
        for view in range(2):
            pixels = joint_pixels(record, view)[accepted]
            assert ((pixels > 0) & (pixels < 63)).all()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["fps"] == 30
