"""From a dump to records: what is in them, what is left out, and that a build can be stopped, repeated and split."""

import dataclasses
import itertools
import json
import pathlib
import shutil

import crop_truth
import cv2
import full_disk
import numpy as np
import pytest
import tensorflow as tf
import tiny_dump

from hand_tf.core import atomic, command_line, crops, geometry, records_folder, schema, skeleton
from tfrecords_tools import build, inspect
from tfrecords_tools.dump import boxes
from tfrecords_tools.records import camera_pass

RIG = pathlib.Path(__file__).resolve().parents[4] / "shared" / "data" / "two_view_rig"


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    """A dump of images with both hands, not to be changed."""
    folder = tmp_path_factory.mktemp("dumps") / "pose1"
    tiny_dump.write(folder)
    return folder


def options(dump, output, **changes):
    defaults = {"crop_size": 64, "workers": 1, "records_per_shard": 3}
    return build.Options((str(dump),), pathlib.Path(output), **defaults | changes)


@pytest.fixture(scope="module")
def built(dump, tmp_path_factory):
    """Records of `dump`, not to be changed."""
    output = tmp_path_factory.mktemp("records") / "out"
    build.run(options(dump, output))
    return output


def load(folder):
    return records_folder.load_manifest(folder)


def records(folder):
    rows = records_folder.read_index(folder)
    return dict(zip([row["key"] for row in rows], inspect.read_records(folder, rows), strict=True))


def joint_pixels(record, view):
    """Where the joints of a record lie in one of its crops, [21, 2] px."""
    return crops.project(record["joints"], *(record[n][view] for n in ("rotations", "intrinsics", "camera_centres")))


def contents(folder):
    return {path.name: path.read_bytes() for path in [*sorted(folder.glob("*.tfrecord")), folder / "index.csv"]}


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
    build.run(options(dump, tmp_path / "other", seed=1))
    assert order(tmp_path / "other") != order(built)


def test_workers_do_not_change_a_byte(built, dump, tmp_path):
    build.run(options(dump, tmp_path / "out", workers=2))
    assert contents(tmp_path / "out") == contents(built)


def test_a_build_that_was_stopped_continues_to_the_same_bytes(built, dump, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(built, output)
    victim = sorted(output.glob("*.tfrecord"))[2]
    others = {path: path.stat().st_mtime_ns for path in output.glob("*.tfrecord") if path != victim}
    victim.unlink()
    (output / "manifest.json").unlink()
    (output / "index.csv").unlink()
    build.run(options(dump, output))
    assert contents(output) == contents(built)
    assert all(path.stat().st_mtime_ns == time for path, time in others.items())  # finished shards are left alone
    assert load(output).report["records"] == 16


def test_finished_records_are_not_built_again(built, dump, monkeypatch):
    monkeypatch.setattr(build, "cut_crops", lambda jobs, workers: pytest.fail("a camera was read again"))
    assert build.run(options(dump, built)) == load(built).report


def test_a_build_that_died_while_cutting_keeps_the_finished_cameras(built, dump, tmp_path, monkeypatch):
    output, run_job, done = tmp_path / "out", camera_pass.run_job, []

    def die_at_the_last(job):
        if job.camera.name == "00_02":
            raise OSError("No space left on device")
        run_job(job)

    monkeypatch.setattr(camera_pass, "run_job", die_at_the_last)
    with pytest.raises(OSError, match="No space left"):
        build.run(options(dump, output))
    assert not list(output.glob("*.tfrecord")) and not (output / "manifest.json").exists()
    monkeypatch.setattr(camera_pass, "run_job", run_job)
    monkeypatch.setattr(
        camera_pass.frames, "read", lambda *args, read=camera_pass.frames.read: done.append(args[1].name) or read(*args)
    )
    build.run(options(dump, output))
    assert done == ["00_02"] and contents(output) == contents(built)


def test_a_shard_that_cannot_be_written_does_not_appear(dump, tmp_path, monkeypatch):
    def full(record):
        raise tf.errors.ResourceExhaustedError(None, None, "out: No space left on device")

    monkeypatch.setattr(schema, "encode", full)
    with pytest.raises(OSError, match="No space left"):
        build.run(options(dump, tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*.tfrecord*"))


def test_other_settings_or_another_input_in_the_same_folder_are_refused(built, dump, tmp_path):
    with pytest.raises(ValueError, match=r"begun with other crop_size, seed; take another --output"):
        build.run(options(dump, built, crop_size=32, seed=3))
    changed = tmp_path / "pose1"
    shutil.copytree(dump, changed)
    tiny_dump.write_hands(changed, 3, [])
    with pytest.raises(ValueError, match="begun with other sequences"):
        build.run(options(changed, built))
    with pytest.raises(ValueError, match="not empty, and not begun by this command"):
        build.run(options(dump, dump))


def test_a_video_gives_the_same_records_as_images(built, tmp_path):
    folder = tmp_path / "pose1"
    tiny_dump.write(folder, video=True)
    build.run(options(folder, tmp_path / "out"))
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
    report = build.run(options(folder, tmp_path / "out"))
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
    build.run(options(dump.parent, tmp_path / "out", **changes))
    rows = records_folder.read_index(tmp_path / "out")
    assert sorted((row["side"], row["frame"], row["cameras"]) for row in rows) == [
        ("left", frame, ("00_00", "00_02")) for frame in (0, 3, 6)
    ]
    with pytest.raises(ValueError, match="--cameras: pose1 has no hd camera 09_09"):
        build.run(options(dump, tmp_path / "no", cameras=("09_09", "00_00")))
    with pytest.raises(FileNotFoundError, match="pictures of 1 cameras"):
        build.run(options(dump, tmp_path / "no", cameras=("00_00",)))


def test_hands_without_joints_become_unlabelled_records(tmp_path):
    folder = tmp_path / "pose1"
    rig = tiny_dump.write(folder, sides=("right",))
    rows = []
    for frame, camera in itertools.product((2, 4), rig):
        tiny_dump.write_hands(folder, frame, [])
        pixels = geometry.project(tiny_dump.joints_at(frame, "right"), camera)
        rows.append((frame, camera.name, 0, "right", *pixels.min(0), *(np.ptp(pixels, axis=0) + 1)))
    tiny_dump.write_csv(folder / "boxes.csv", boxes.COLUMNS, rows)
    report = build.run(options(folder, tmp_path / "out"))
    assert (report["records"], report["labelled"]) == (8, 6)
    unlabelled = [row["key"] for row in records_folder.read_index(tmp_path / "out") if not row["labelled"]]
    assert sorted(unlabelled) == ["pose1/pose1/right/00000002", "pose1/pose1/right/00000004"]
    for key in unlabelled:
        record = records(tmp_path / "out")[key]
        assert not record["joint_validity"].any() and len(record["crops"]) == 3
        for crop in record["crops"]:  # the hand is in it: all markers show
            assert all((np.abs(crop.astype(int) - colour).max(-1) < 110).any() for colour in tiny_dump.MARKERS.values())


def test_inputs_that_cannot_be_used_give_one_clear_line(dump, tmp_path):
    empty = tmp_path / "pose2"
    tiny_dump.write_calibration(empty, [tiny_dump.calibration_entry(camera) for camera in tiny_dump.cameras()])
    for folder, message in {
        tmp_path / "nowhere": "no folder with a calibration_",
        empty: "pictures of 0 cameras",
    }.items():
        with pytest.raises(FileNotFoundError, match=message) as error:
            build.run(options(folder, tmp_path / "out"))
        assert "\n" not in str(error.value) and str(folder) in str(error.value)
    twin = tmp_path / "twin" / "pose1"
    shutil.copytree(dump, twin)
    with pytest.raises(ValueError, match="same name is already there"):
        build.run(dataclasses.replace(options(dump, tmp_path / "out"), input=(str(dump), str(twin))))
    shutil.rmtree(twin / "hdHand3d")
    with pytest.raises(ValueError, match="no usable hand"):
        build.run(options(twin, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def run_command(module, *arguments):
    command_line.reset(module.FLAGS)
    return command_line.old_run(module.main, module.FLAGS, ["command", *map(str, arguments)])


def test_commands_report_and_inspect(dump, tmp_path, capsys):
    output, sheet = tmp_path / "out", tmp_path / "sheet.png"
    flags = ["--crop_size=32", "--workers=1", "--frame_stride=2", "--hands=left"]
    assert run_command(build, f"--input={dump}", f"--output={output}", *flags) == 0
    told = capsys.readouterr().out
    assert "Kept 4 of 4 instants (4 with a pose), 12 views" in told and f"tfrecords_tools.inspect {output}" in told
    assert run_command(inspect, output, f"--output={sheet}", "--num_instants=3", "--num_views=2") == 0
    assert "4 records, 12 views of 32 px" in capsys.readouterr().out
    picture = cv2.imread(str(sheet))
    assert picture.shape[0] > 3 * 2 * 190 and 2 * 190 < picture.shape[1] < 3 * 190
    shard = next(output.glob("*.tfrecord"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert run_command(inspect, output) == 1
    assert capsys.readouterr().err == f"error: {output}: checksum differs from the manifest's: {shard.name}\n"
    assert run_command(build, f"--input={dump}", f"--output={tmp_path}", "left over") == 1
    assert run_command(build, f"--input={tmp_path / 'none'}", f"--output={output}") == 1
    assert capsys.readouterr().err.count("\n") == 2


def fill_shards(patch):
    """Lets the disk be full at the fifth record, in TensorFlow's words."""
    written = []

    class Writer(tf.io.TFRecordWriter):
        def write(self, record):
            if len(written) == 4:
                raise tf.errors.ResourceExhaustedError(None, None, f"out; {full_disk.ERROR}")
            written.append(record)
            super().write(record)

    patch.setattr(schema.tf.io, "TFRecordWriter", Writer)


@pytest.mark.parametrize(
    ("fill", "shards"),
    [
        (lambda patch: full_disk.fill(patch, camera_pass, "00_01.bin.partial"), 0),
        (lambda patch: full_disk.fill(patch, atomic, "00_01.json.partial"), 0),
        (fill_shards, 1),
        (lambda patch: full_disk.fill(patch, atomic, "index.csv.partial"), 6),
        (lambda patch: full_disk.fill(patch, atomic, "manifest.json.partial"), 6),
    ],
    ids=["crops", "crops' index", "shard", "index", "manifest"],
)
def test_a_full_disk_is_one_line_and_the_build_continues_from_there(
    built, dump, tmp_path, monkeypatch, capsys, fill, shards
):
    output = tmp_path / "out"
    arguments = [f"--input={dump}", f"--output={output}", "--crop_size=64", "--workers=1", "--records_per_shard=3"]
    with monkeypatch.context() as patch:
        fill(patch)
        assert run_command(build, *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and full_disk.ERROR in line
    assert not (output / "manifest.json").exists()
    spools, whole = output / "work" / "spool" / "pose1", contents(built)
    assert (spools / "00_00.bin").is_file() and (spools / "00_00.json").is_file()
    times = {path: path.stat().st_mtime_ns for path in output.glob("*.tfrecord")}
    assert len(times) == shards and all(path.read_bytes() == whole[path.name] for path in times)
    assert run_command(build, *arguments) == 0
    assert contents(output) == whole and load(output).report["records"] == 16
    assert {path: path.stat().st_mtime_ns for path in times} == times and not list(output.rglob("*.partial"))


def test_real_rig(tmp_path, monkeypatch):
    if not RIG.is_dir():
        pytest.skip(f"no real recording in {RIG}")
    monkeypatch.setattr(build.backgrounds, "MAX_SAMPLES", 20)  # time goes into backgrounds
    build.run(build.Options((str(RIG),), tmp_path / "out", crop_size=64, frame_stride=30, workers=1))
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
