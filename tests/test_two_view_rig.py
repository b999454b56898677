"""Real footage through every command: two calibrated cameras, pseudo-labels, from the dump to poses on pictures.

The networks have the smoke sizes: nothing here says how well they do, only that real pixels, lenses and gaps in the
annotations go through, and that geometry and the split by time hold on the way.
"""

import csv
import dataclasses
import json
import os
import pathlib

import cv2
import keras
import numpy as np
import pytest

from hand_tf import evaluate, export, predict, train
from hand_tf.core import command_line, crops, geometry, records_folder, skeleton
from hand_tf.data import labelled_crops, triplets
from hand_tf.serving import box_crops, boxes, saved_model
from hand_tf.serving.estimator import load_exported
from tfrecords_tools import build, inspect
from tfrecords_tools.dump import panoptic
from tfrecords_tools.records import backgrounds

ROOT = pathlib.Path(__file__).resolve().parents[1]
RIG = ROOT.parent / "shared" / "data" / "two_view_rig"
CAMERA, FRAMES = "00_00", (260, 300, 340)
FIRST_LATE = 250  # of subjects.csv

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RIG.is_dir(), reason=f"no real recording in {RIG}"),
]


def run(module, *arguments):
    """Runs a command in this process, which must end well."""
    os.chdir(ROOT)
    assert command_line.run(module.main, [*map(str, arguments)]) == 0


# --- the chain ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """The folder of records: every tenth frame of both cameras at 32 px."""
    folder = tmp_path_factory.mktemp("rig") / "records"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backgrounds, "MAX_SAMPLES", 20)  # most of the time goes into backgrounds
        arguments = [f"--input={RIG}", f"--output={folder}", "--crop_size=32", "--frame_stride=10", "--workers=1"]
        assert command_line.run(build.main, arguments) == 0
    return folder


@pytest.fixture(scope="module")
def content(records):
    """The records, dicts of arrays."""
    return list(inspect.read_records(records, records_folder.read_index(records)))


def trained(records, workdir, regime, *flags):
    """Trains on `early`; returns what was asked of the records: shards of triplets, and labels (key, camera)."""
    asked = {"shards": [], "labels": []}
    groups, labels = triplets.usable_groups, labelled_crops.load_labels

    def usable_groups(*arguments):
        found = groups(*arguments)
        asked["shards"] += [pathlib.Path(path).name for group in found for path in group]
        return found

    def load_labels(records, chosen):
        asked["labels"] += chosen
        return labels(records, chosen)

    sizes = ["--flagfile=flags/smoke.flags", "--subjects=early"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(triplets, "usable_groups", usable_groups)
        patch.setattr(labelled_crops, "load_labels", load_labels)
        places = [f"--data_dir={records}", f"--workdir={workdir}"]
        run(train, f"--flagfile=flags/{regime}.flags", *sizes, *flags, *places)
    return asked


@pytest.fixture(scope="module")
def runs(records, tmp_path_factory, one_replica):
    """{regime: (workdir, what training asked of the records)}."""
    root = tmp_path_factory.mktemp("rig_runs")
    pretrained = trained(records, root / "pretrain_aug", "pretrain_aug")
    start = f"--init_from={root / 'pretrain_aug'}"
    head = trained(records, root / "pose_head", "pose_head", "--scenario=early:12", start)
    return {"pretrain_aug": (root / "pretrain_aug", pretrained), "pose_head": (root / "pose_head", head)}


@pytest.fixture(scope="module")
def results(records, runs):
    """results.json of the pose head."""
    workdir, _ = runs["pose_head"]
    run(evaluate, f"--data_dir={records}", f"--run={workdir}", "--subjects=late")
    return json.loads((workdir / "results.json").read_text())


@pytest.fixture(scope="module")
def camera():
    """The real camera of the pictures."""
    return next(camera for camera in panoptic.read_cameras(RIG) if camera.name == CAMERA)


@pytest.fixture(scope="module")
def pictures(camera, tmp_path_factory):
    """{file: box}: frames of the video, decoded in order, with the tight box of their joints."""
    folder, boxes = tmp_path_factory.mktemp("rig_pictures"), {}
    video = cv2.VideoCapture(str(RIG / "hdVideos" / f"hd_{CAMERA}.mp4"))
    for frame in range(max(FRAMES) + 1):
        _, image = video.read()
        if frame in FRAMES:
            hand = json.loads((RIG / "hdHand3d" / f"handRecon3D_hd{frame:08d}.json").read_text())["people"][0]
            joints = np.reshape(hand["right_hand"]["landmarks"], (21, 3)) * 10  # mm
            pixels = geometry.project(joints, camera)
            boxes[folder / f"{frame:08d}.png"] = (*pixels.min(0), *(np.ptp(pixels, axis=0) + 1))
            assert cv2.imwrite(str(folder / f"{frame:08d}.png"), image)
    video.release()
    return boxes


@pytest.fixture(scope="module")
def predicted(runs, pictures, tmp_path_factory):
    """The folder of the exported model, and predictions.json of `pictures` with the real calibration."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a SavedModel is TensorFlow's")
    folder = tmp_path_factory.mktemp("rig_predictions")
    with open(folder / "boxes.csv", "w", newline="") as file:
        csv.writer(file).writerows([["file", *boxes.FIELDS], *([f, *box] for f, box in pictures.items())])
    run(export, f"--run={runs['pose_head'][0]}", f"--output={folder / 'model'}")
    calibration = [f"--intrinsics={RIG / 'calibration_two_view_rig.json'}", f"--camera={CAMERA}"]
    run(predict, f"--model={folder / 'model'}", f"--boxes={folder / 'boxes.csv'}", f"--output={folder}", *calibration)
    return folder / "model", json.loads((folder / "predictions.json").read_text())


# --- records --------------------------------------------------------------------------------------------------------


def test_every_annotated_instant_is_a_record(records, content):
    annotated = [frame for frame, _ in panoptic.hand_files(RIG) if frame % 10 == 0]
    assert 30 <= len(content) <= 40 and {int(record["frame"]) for record in content} <= set(annotated)
    report = records_folder.load_manifest(records).report
    assert report["records"] + sum(
        skip["count"] for reason, skip in report["skipped"].items() if reason.startswith("instants: fewer than 2")
    ) == len(annotated)
    for record in content:
        late = record["frame"] >= FIRST_LATE
        assert record["key"].decode() == f"two_view_rig/{'late' if late else 'early'}/right/{record['frame']:08d}"


def test_the_pose_of_one_view_turned_is_that_of_the_other(content):
    palms = []
    for record in content:
        joints, (one, other) = record["joints"].astype(float), record["rotations"].astype(float)
        poses = [(joints - joints[skeleton.ROOT]) @ rotation.T for rotation in (one, other)]
        np.testing.assert_allclose(poses[0] @ (other @ one.T).T, poses[1], atol=1e-3)  # mm
        lengths = [[np.linalg.norm(pose[a] - pose[b]) for a, b in skeleton.BONES] for pose in (joints, *poses)]
        np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], (3, len(lengths[0]))), atol=1e-3)
        palms.append(np.linalg.norm(poses[0][skeleton.MIDDLE_KNUCKLE]))
    assert 75 < np.median(palms) < 105  # mm: the rig's scale makes it 90


def test_joints_of_a_crop_lie_where_the_real_cameras_see_them(content):
    """From a crop's pixel through its map to the frame: the same place as by projection with the real lens."""
    rig = {camera.name: camera for camera in panoptic.read_cameras(RIG)}
    for record in content[::5]:
        joints = record["joints"].astype(float)
        for view, name in enumerate(record["cameras"]):
            seen_by, K = rig[name.decode()], record["intrinsics"][view].astype(float)
            turn = record["rotations"][view] @ seen_by.R.T  # R_virtual
            rays = (joints - record["camera_centres"][view]) @ record["rotations"][view].T
            pixels = rays @ K.T
            crop = crops.Crop(seen_by, turn.astype(float), K, 32)
            found = [
                cv2.remap(values, *np.float32(pixels[:, :2] / pixels[:, 2:]).T[..., None], cv2.INTER_LINEAR)[:, 0]
                for values in crops.crop_maps(crop)
            ]
            np.testing.assert_allclose(np.transpose(found), geometry.project(joints, seen_by), atol=0.5)


# --- training and measuring -----------------------------------------------------------------------------------------


def test_early_and_late_never_mix(records, runs, results):
    index = records_folder.read_index(records)
    shards = {subject: {row["shard"] for row in index if row["subject"] == subject} for subject in ("early", "late")}
    assert not shards["early"] & shards["late"]
    _, pretraining = runs["pretrain_aug"]
    assert set(pretraining["shards"]) == shards["early"] and not pretraining["labels"]
    workdir, head = runs["pose_head"]
    assert not head["shards"] and len(head["labels"]) == 12
    assert all(key.split("/")[1] == "early" and int(key[-8:]) < FIRST_LATE for key, _ in head["labels"])
    facts = json.loads((workdir / "run.json").read_text())
    assert (facts["scenario"], facts["labels"]) == ("early:12", 12)
    crops = sum(len(row["cameras"]) for row in index if row["subject"] == "late" and row["labelled"])
    assert results["crops"] == crops > 12
    assert all(set(results["results"][rule]["per_subject"]) == {"late"} for rule in ("joints3d", "box2d"))


def numbers(value):
    """All numbers in a JSON value."""
    if isinstance(value, dict | list):
        return [n for item in (value.values() if isinstance(value, dict) else value) for n in numbers(item)]
    return [value] if isinstance(value, int | float) else []


def test_results_are_finite(results):
    for rule in ("joints3d", "box2d"):
        found = results["results"][rule]
        assert np.isfinite(numbers(found)).all() and len(numbers(found)) > 100
        assert found["mpjpe"] > 0 and found["reference"]["mpjpe"] > 0
        assert found["pa_mpjpe"] <= found["n_mpjpe"] + 1e-3 and 0 <= found["auc_0_50"] <= 1
    assert results["run"]["configuration"] == "pose_head on pretrain_aug"


# --- prediction -----------------------------------------------------------------------------------------------------


def test_every_frame_has_a_pose_in_the_cameras_frame(predicted, pictures, camera):
    model, found = predicted
    assert found["pose_frame"] == "camera" and [hand["file"] for hand in found["predictions"]] == list(
        map(str, pictures)
    )
    estimator = load_exported(model)
    for hand, (file, box) in zip(found["predictions"], pictures.items(), strict=True):
        pose = np.array(hand["pose_mm"])
        assert pose.shape == (21, 3) and np.isfinite(pose).all() and np.ptp(pose, axis=0).min() > 1
        np.testing.assert_allclose(pose[skeleton.ROOT], 0, atol=1e-2)
        # What the network says is in the frame of a camera that looks at the box: R_virtual^T leads back.
        image = cv2.imread(str(file))[..., ::-1]
        crop, _ = box_crops.cut(image, box, 32, found["box_margin"], camera)
        middle = np.array([[box[0] + (box[2] - 1) / 2, box[1] + (box[3] - 1) / 2]])
        turn = geometry.rotation_to_z([*geometry.undistort(middle, camera)[0], 1.0])
        assert np.abs(turn - np.eye(3)).max() > 0.01  # off the axis: forgetting it would show
        np.testing.assert_allclose(pose, estimator.estimate(crop[None])[0] @ turn, atol=1e-2)


def test_joints_in_the_picture_are_places_in_the_crop(predicted, pictures, camera):
    model, found = predicted
    network, lens = saved_model.SavedModel(model), dataclasses.replace(camera, R=np.eye(3), t=np.zeros(3))
    for hand, (file, box) in zip(found["predictions"], pictures.items(), strict=True):
        crop, _ = box_crops.cut(cv2.imread(str(file))[..., ::-1], box, 32, found["box_margin"], camera)
        (places,) = network(crop[None])["joints_2d"].astype(float)
        expected = box_crops.to_picture(places, box, 32, found["box_margin"], lens)
        np.testing.assert_allclose(hand["joints_2d"], expected, atol=0.02)
