"""A capture on disk: as a dump, as records (both hold the same), and the command."""

import csv
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import full_disk
import numpy as np
import pytest
import tensorflow as tf

from hand_tf.core import command_line, geometry, records_folder, schema, skeleton
from tfrecords_tools import build
from tfrecords_tools.dome import __main__ as main
from tfrecords_tools.dome import capture, dump, estimate, records
from tfrecords_tools.dome.studio import scenes
from tfrecords_tools.records.settings import RecordsSettings

SETTINGS = dict(frames=3, fps=3.0, num_cameras=2, width=64, height=64, seed=5, clutter=3)
DUMP_SETTINGS = dump.DumpSettings(jpeg_quality=90, ground_truth=True)


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# The plan ------------------------------------------------------------------------------------------------------------


def test_plan_follows_the_papers_split_and_goes_on():
    sequences = capture.plan(subjects=11, **SETTINGS)
    assert [sequence.subjects for sequence in sequences] == [(0, 1, 2, 3, 4), (5, 6, 7, 8), (9, 10)]
    assert [sequence.name for sequence in capture.plan(subjects=2, **SETTINGS)] == ["dome_pose1"]
    many = capture.plan(subjects=40, **SETTINGS)
    assert [number for sequence in many for number in sequence.subjects] == list(range(40))
    assert len({sequence.name for sequence in many}) == len(many) and max(len(s.subjects) for s in many) <= 8


@pytest.mark.parametrize("hands", ["right", "both"])
def test_hands_hang_on_the_person(hands):
    (sequence,) = capture.plan(subjects=1, **(SETTINGS | {"hands": hands, "frames": 9}))
    signs = {}
    for frame in sequence.frame_numbers:
        found = capture.hands_at(sequence, frame)
        assert [hand.side for hand in found] == (["left", "right"] if hands == "both" else ["right"])
        for hand in found:
            a, b, c = (hand.vertices - hand.joints[0])[hand.triangles].transpose(1, 0, 2)
            assert np.sum(np.cross(a, b) * c) > 0  # faces outwards, mirrored or not
            nearest = np.linalg.norm(hand.vertices[None] - hand.joints[:, None], axis=2).min(1)
            assert nearest.max() < 28  # mm: joints lie in the flesh of this very hand
            assert 150 < np.linalg.norm(hand.elbow - hand.joints[0]) < 350
            # In a right hand, the cross product of index and little knuckle points out of the palm, where fingers bend.
            palm = np.cross(hand.joints[5] - hand.joints[0], hand.joints[17] - hand.joints[0])
            thumb_side = np.linalg.det(hand.joints[[5, 17, 4]] - hand.joints[0])
            bent = (hand.joints[[12, 16]].mean(0) - hand.joints[[9, 13]].mean(0)) @ palm
            signs.setdefault(hand.side, []).append((bent, thumb_side))
        whole = capture.instant(sequence, frame)
        assert len(whole.mesh.vertices) > whole.hand_vertices == sum(len(hand.vertices) for hand in found)
    for side, sign in (("right", 1), ("left", -1)):
        if side in signs:
            assert np.all(np.median(signs[side], axis=0) * sign > 0), side


def test_hands_are_on_their_sides_and_apart():
    (sequence,) = capture.plan(subjects=1, **(SETTINGS | {"hands": "both", "frames": 120, "fps": 6.0}))
    moves = capture.motions(sequence, 0)["right"][0]
    h = np.deg2rad(moves.heading)
    right = np.cross(np.stack([np.cos(h), 0 * h, np.sin(h)], 1), [0.0, -1.0, 0.0])  # forward x up
    found = [capture.hands_at(sequence, frame) for frame in sequence.frame_numbers[::8]]
    for (left_hand, right_hand), across in zip(found, right[::8], strict=True):
        assert (right_hand.elbow - left_hand.elbow) @ across > 0
        nearest = np.linalg.norm(left_hand.vertices[::7, None] - right_hand.vertices[None, ::7], axis=2).min()
        assert nearest > 3  # mm
    joints = [capture.joints_of(sequence, 0, side) for side in ("left", "right")]
    assert np.linalg.norm(joints[0][:, :, None] - joints[1][:, None], axis=3).min() > 30
    for side in joints:
        assert np.linalg.norm(np.diff(side.mean(1), axis=0), axis=1).max() < 170  # mm in a sixth of a second


def test_shadows_and_light_reach_the_picture():
    (sequence,) = capture.plan(subjects=1, **(SETTINGS | {"frames": 12}))
    darkest = []
    for frame in sequence.frame_numbers:
        hands, light = capture.hands_at(sequence, frame), capture.light(sequence)
        lit = capture.instant(sequence, frame).mesh.colours[: len(hands[0].vertices)]
        open_air = dump.render.shade(hands[0].normals, hands[0].colours, light)
        assert np.all(lit <= open_air + 1e-6)
        towards = hands[0].normals @ light.key_direction > 0.5
        darkest.append(np.mean(lit[towards].sum(1) < 0.8 * open_air[towards].sum(1)))
    assert 0.005 < np.mean(darkest) < 0.6  # fingers cast shadows on part of the palm


def test_joints_lie_on_the_pictured_hand(dumped):
    output, sequences = dumped
    hits = []
    for frame in list(sequences[0].frame_numbers)[::3]:
        (hand,) = capture.hands_at(sequences[0], frame)
        for camera in capture.studio(sequences[0]).cameras:
            mask = cv2.imread(
                str(output / f"dome_pose1/truth/masks/{camera.name}/{camera.name}_{frame:08d}.png"),
                cv2.IMREAD_GRAYSCALE,
            )
            if np.mean(mask > 0) < 0.01:  # the person hides the hand
                continue
            u, v = np.rint(geometry.project(hand.joints, camera)).astype(int).T.clip(0, 63)
            hits.append(mask[v, u] > 0)
    assert len(hits) > 4 and np.median(np.mean(hits, axis=1)) > 0.95


# The dump ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dumped(tmp_path_factory):
    output = tmp_path_factory.mktemp("dome") / "dump"
    sequences = capture.plan(subjects=6, **SETTINGS)
    assert dump.write(output, sequences, DUMP_SETTINGS) == 6 * 3 * 2
    return output, sequences


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


def test_a_calibration_is_known_by_its_content(dumped, tmp_path, monkeypatch):
    output, _ = dumped
    source = output / "dome_pose1/calibration_dome_pose1.json"
    path = pathlib.Path(shutil.copy(source, tmp_path / "mine.json"))
    monkeypatch.chdir(tmp_path)
    sequences = [capture.plan(subjects=1, **SETTINGS, calibration=str(name)) for name in (path, "mine.json")]
    assert sequences[0] == sequences[1] and "calibration" not in capture.settings_of(sequences[0][0])
    path.write_text(source.read_text() + " ")
    (changed,) = capture.plan(subjects=1, **SETTINGS, calibration="mine.json")
    assert changed != sequences[0][0]
    with pytest.raises(ValueError, match="changed while it was in use"):
        capture.studio.__wrapped__(sequences[0][0])


# Records directly ----------------------------------------------------------------------------------------------------

# Pictures so narrow that some views are left out, for each of the two reasons.
LONG = dict(frames=14, fps=2.0, num_cameras=4, width=192, height=160, seed=8, hands="both", reach=215.0)


def read(folder):
    """{key: parsed record} of a records folder."""
    names = [shard.file for group in records_folder.load_manifest(folder).groups for shard in group.shards]
    parsed = map(schema.parse, tf.data.TFRecordDataset([str(pathlib.Path(folder) / name) for name in names]))
    return {record["key"].numpy().decode(): record for record in parsed}


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory):
    """The same capture as records, by way of a dump and directly; two sequences, both hands."""
    folder = tmp_path_factory.mktemp("both_ways")
    sequences = [capture.plan(subjects=6, **LONG)[k] for k in (0, 1)]
    sequences[0] = dataclasses.replace(sequences[0], subjects=(0, 1))
    dump.write(folder / "dump", sequences, dump.DumpSettings(jpeg_quality=98), processes=2)
    same = dict(crop_size=64, margin=2.0, records_per_shard=7, seed=8)
    build.build(build.BuildSettings(input=(str(folder / "dump"),), output=str(folder / "long"), fps=2.0, **same))
    records.write(sequences, RecordsSettings(output=folder / "short", **same), 2)
    return folder, sequences


def test_both_ways_hold_the_same_records(both_ways):
    folder, _ = both_ways
    long, short = read(folder / "long"), read(folder / "short")
    assert list(long) == list(short) and 20 < len(long) <= 84  # the same order too
    for key, record in long.items():
        for name in schema.FEATURES:
            if name not in ("crops", "backgrounds"):
                assert np.array_equal(record[name].numpy(), short[key][name].numpy()), (key, name)
    left_out = []
    for name in ("long", "short"):
        loaded = records_folder.load_manifest(folder / name)
        assert loaded.crop_size == 64 and loaded.fps == 2.0
        left_out.append({reason: skip["count"] for reason, skip in loaded.report["skipped"].items()})
    assert left_out[0] == left_out[1]
    reasons = {"views: a joint leaves the frame", "views: less than 70% of the crop lies in the frame"}
    assert reasons <= set(left_out[0])
    indices = [(folder / name / records_folder.INDEX).read_text() for name in ("long", "short")]
    assert indices[0] == indices[1]


def test_both_ways_show_the_same_pictures(both_ways):
    folder, _ = both_ways
    long, short = read(folder / "long"), read(folder / "short")
    crops, scenes = [], []
    for key, record in long.items():
        for name, gaps in (("crops", crops), ("backgrounds", scenes)):
            pairs = zip(record[name].numpy(), short[key][name].numpy(), strict=True)
            for one, other in pairs:
                one, other = (tf.io.decode_jpeg(data).numpy().astype(float) for data in (one, other))
                gaps.append(one - other)
    # The crops differ by JPEG noise: small, without bias, and gone when neighbours are averaged.
    assert np.mean(np.abs(crops)) < 3 and np.percentile(np.abs(crops), 99) < 16
    assert np.abs(np.mean(crops, axis=(0, 1, 2))).max() < 0.7
    assert np.percentile([np.abs(cv2.GaussianBlur(gap, (0, 0), 3)).max() for gap in crops], 95) < 8
    # A median over time keeps traces of people who stay in one place for a while.
    assert np.median(np.abs(scenes)) <= 2
    assert np.mean([np.mean(np.abs(gap) < 12) for gap in scenes]) > 0.75


def test_direct_records_do_not_depend_on_workers_or_interruptions(both_ways, tmp_path):
    folder, sequences = both_ways
    settings = RecordsSettings(output=tmp_path / "again", crop_size=64, margin=2.0, records_per_shard=7, seed=8)
    records.write(sequences, settings, 1)

    def shards(output):
        return {k: v for k, v in digest(output).items() if k.endswith(".tfrecord")}

    assert shards(tmp_path / "again") == shards(folder / "short")
    whole = digest(tmp_path / "again")
    removed = sorted(tmp_path.glob("again/*.tfrecord"))[::2]
    for path in [*removed, tmp_path / "again" / records_folder.MANIFEST]:
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("again/*.tfrecord")}
    records.write(sequences, settings, 1)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert {k: v for k, v in digest(tmp_path / "again").items() if k != records_folder.MANIFEST} == {
        k: v for k, v in whole.items() if k != records_folder.MANIFEST
    }
    assert records.write(sequences, settings, 1)["records"] == len(read(folder / "long"))
    with pytest.raises(ValueError, match="begun with other crop_size"):
        records.write(sequences, dataclasses.replace(settings, crop_size=32), 1)


# The command ---------------------------------------------------------------------------------------------------------


def run(*arguments):
    return command_line.run(main.main, arguments)


def test_the_command_writes_records_that_inspect_accepts(tmp_path, capsys):
    from tfrecords_tools import inspect

    small = ["--subjects=1", "--frames=4", "--fps=2", "--num_cameras=3", "--crop_size=32", "--workers=1"]
    assert run(f"--records={tmp_path / 'records'}", *small) == 0
    assert "Kept 4 of 4 instants (4 with a pose)" in capsys.readouterr().out
    arguments = [str(tmp_path / "records"), f"--output={tmp_path / 'sheet.png'}"]
    assert command_line.run(inspect.main, arguments) == 0
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None


@pytest.mark.parametrize("where", ["output", "records"])
def test_dry_run_counts_and_writes_nothing(tmp_path, capsys, where):
    arguments = [f"--{where}={tmp_path / 'x'}", "--subjects=6", "--frames=10", "--num_cameras=3", "--image_size=96x80"]
    assert run("--dry_run", *arguments, "--hands=both", "--workers=2") == 0
    said = capsys.readouterr().out
    assert "2 sequences, 6 subjects, 3 cameras of 96x80 px" in said
    assert f"60 instants, 120 hands, up to {360 if where == 'records' else 180} " in said
    assert "GB" in said and "minutes on 2 processes" in said
    assert not (tmp_path / "x").exists()


def test_dry_run_is_about_right(tmp_path):
    sequences = capture.plan(subjects=1, **(SETTINGS | {"frames": 24, "width": 96, "height": 96}))
    dump.write(tmp_path, sequences)
    pictures = list(tmp_path.rglob("*.jpg"))
    size = float(estimate.describe(sequences, dump.DumpSettings(), 1).split("(")[1].split(" kB")[0]) * 1e3
    assert size == pytest.approx(np.mean([path.stat().st_size for path in pictures]), rel=0.3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "one of --output=FOLDER (a dump) and --records=FOLDER is needed"),
        (["--output=a", "--records=b"], "one of --output=FOLDER (a dump) and --records=FOLDER is needed"),
        (["--output=a", "--image_size=1920:1080"], "expected WIDTHxHEIGHT in px"),
        (["--output=a", "--image_size=16"], "at least 32 px expected"),
        (["--output=a", "--calibration=nowhere.json"], "nowhere.json: no such calibration file"),
        (["--output=a", "--ground_truth", "--format=videos"], "--ground_truth goes with --format=images"),
        (["--output=a", "--format=videos", "--jpeg_quality=90"], "--jpeg_quality goes with --format=images"),
        (["--output=a", "--crop_size=64"], "--crop_size goes with --records"),
        (["--records=a", "--ground_truth"], "--ground_truth goes with --output"),
        (["--output=a", "--calibration=b.json", "--reach=300"], "--reach goes with a rig of the dome"),
        # Refused even with the value of the default.
        (["--output=a", "--min_views=2"], "--min_views goes with --records"),
        (["--records=a", "--format=images"], "--format goes with --output"),
        (["--output=a", "--calibration=b.json", "--rig=ring8"], "--rig goes with a rig of the dome"),
        (["--output=a", "somewhere"], "unexpected argument 'somewhere'"),
    ],
)
def test_bad_flags_get_one_clear_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) != 0
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_flags_that_are_not_given_leave_the_defaults_alone(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(dump, "write", lambda *arguments, progress: calls.append(arguments) or 1)
    monkeypatch.setattr(records, "write", lambda *arguments: calls.append(arguments) or {})
    monkeypatch.setattr("tfrecords_tools.records.shards.print_report", lambda *arguments: None)
    for arguments in ([f"--output={tmp_path}"], [f"--records={tmp_path}"], [f"--records={tmp_path}", "--margin=2"]):
        assert run(*arguments) == 0
    assert calls[0] == (str(tmp_path), capture.plan(subjects=11), dump.DumpSettings(), os.cpu_count())
    defaults = RecordsSettings(output=tmp_path)
    assert calls[1] == (capture.plan(subjects=11), defaults, os.cpu_count())
    assert calls[2][1] == dataclasses.replace(defaults, margin=2.0)


def test_a_real_calibration_makes_a_rig(tmp_path, dumped):
    output, _ = dumped
    calibration = output / "dome_pose1/calibration_dome_pose1.json"
    arguments = [f"--calibration={calibration}", "--image_size=64", "--subjects=1", "--frames=2", "--workers=1"]
    assert run(f"--output={tmp_path / 'dump'}", *arguments) == 0
    made = json.loads((tmp_path / "dump/dome_pose1/calibration_dome_pose1.json").read_text())
    wanted = json.loads(calibration.read_text())
    assert [c for c in made["cameras"] if c["type"] == "hd"] == [c for c in wanted["cameras"] if c["type"] == "hd"]


def test_the_module_runs_as_a_command():
    result = subprocess.run([sys.executable, "-m", "tfrecords_tools.dome", "--help"], capture_output=True, text=True)
    assert "--records" in result.stdout and "Traceback" not in result.stderr
