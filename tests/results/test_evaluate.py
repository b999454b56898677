"""The evaluation command on records the test made, against NumPy and SciPy crop by crop."""

import itertools
import json
import shutil
import subprocess
import sys

import cv2
import default_networks
import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.transform import Rotation
from tiny_dump import right_hand

from hand_tf import evaluate
from hand_tf.core import atomic, command_line, crops, geometry, records_folder, schema, skeleton
from hand_tf.nets import models
from hand_tf.results import evaluation
from hand_tf.training import predictions

SIZE, VIEWS, DISTANCE, SIDE = 32, 3, 700.0, 320.0
SUBJECTS = ("S8", "S9", "S10")


def record(subject, frame, random):
    """One instant of noise seen by cameras that look at a bent hand; one joint of some instants is not accepted."""
    joints = Rotation.random(random_state=random).apply(right_hand() + random.normal(scale=6, size=(21, 3)))
    rotations = Rotation.random(VIEWS, random_state=random).as_matrix()
    validity = np.ones(21)
    if frame % 2:
        validity[11], joints[11] = 0, 9e3
    centre = joints[validity > 0].mean(0)
    images = random.integers(0, 255, (2 * VIEWS, 4, 4, 3)).repeat(SIZE // 4, 1).repeat(SIZE // 4, 2).astype(np.uint8)
    encoded = [tf.io.encode_jpeg(image).numpy() for image in images]
    return {
        "key": schema.record_key("noise", subject, "right", frame),
        "sequence": "noise",
        "subject": subject,
        "side": "right",
        "frame": frame,
        "mirrored": 0,
        "cameras": [f"00_{view:02d}" for view in range(VIEWS)],
        "crops": encoded[:VIEWS],
        "backgrounds": encoded[VIEWS:],
        "rotations": rotations,
        "intrinsics": [crops.intrinsics(SIZE * DISTANCE / SIDE, SIZE)] * VIEWS,
        "camera_centres": [centre - DISTANCE * rotation[2] for rotation in rotations],
        "joints": joints,
        "joint_validity": validity,
    }


def write_records(folder, random):
    """Five instants a subject; the fifth has no label."""
    folder.mkdir()
    index, groups, records = [], [], []
    for subject in SUBJECTS:
        made = [record(subject, frame, random) for frame in range(5)]
        made[4] |= {"joint_validity": np.zeros(21), "joints": np.zeros((21, 3))}
        name = f"noise.{subject}.right-00000-of-00001.tfrecord"
        schema.write_shard(folder / name, [schema.encode(item) for item in made])
        shard = records_folder.describe_shard(folder / name, len(made))
        groups.append(records_folder.Group("noise", subject, "right", len(made), len(made) * VIEWS, 4, (shard,)))
        fields = ("key", "sequence", "subject", "side", "frame", "cameras")
        index += [
            {f: item[f] for f in fields} | {"shard": name, "labelled": item["joint_validity"][0] > 0} for item in made
        ]
        records += made[:4]
    cameras = {"noise": records[0]["cameras"]}
    records_folder.write_manifest(
        folder, records_folder.Manifest(1, SIZE, 25.0, cameras, {}, {}, "", tuple(groups)), index
    )
    return records


def write_run(folder, parts, **summary):
    """A run folder as hand_tf.train leaves it."""
    folder.mkdir()
    for name, part in parts.items():
        part.save(folder / f"{name}.keras")
    flags = {"regime": "supervised", "seed": "3", "in_plane_degrees": "0.0", "composite": "false"}
    summary = {"regime": "supervised", "scenario": "S0:10%", "labels": 64, "init_from": None, "steps": 5} | summary
    flags |= summary.pop("flags", {}) | {"regime": summary["regime"]}
    summary |= {"batch_size": 2, "seconds": 1.5, "backend": "tensorflow", "keras": keras.__version__, "flags": flags}
    (folder / "run.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Records, a run with random weights, and its parts."""
    keras.utils.set_random_seed(5)
    root, random = tmp_path_factory.mktemp("tiny"), np.random.default_rng(5)
    records = write_records(root / "records", random)
    parts = {
        "encoder": default_networks.encoder(SIZE, width=8, num_points=16, appearance_size=8),
        "pose_head": default_networks.pose_head(16, SIZE),
    }
    mean = right_hand() - right_hand()[0]
    parts["pose_head"].get_layer("pose").set_statistics(mean, np.full((21, 3), 25.0) * (mean != 0))
    write_run(root / "run", parts)
    return root, records, parts


def run(root, *arguments, run="run", records="records"):
    return command_line.run(evaluate.main, [f"--data_dir={root / records}", f"--run={root / run}", *arguments])


def evaluated(root, *arguments):
    output = root / "out.json"
    assert run(root, f"--output={output}", *arguments) == 0
    return json.loads(output.read_text())


@pytest.fixture(scope="module")
def result(tiny):
    """The results of all crops of S9 and S10 by both rules."""
    return evaluated(tiny[0])


# --- independent formulas -------------------------------------------------------------------------------------------


def crops_of(records, subjects):
    """(record, view, true pose, weights) of every labelled crop."""
    for item in records:
        for view in range(VIEWS if item["subject"] in subjects else 0):
            relative = item["joints"] - item["joints"][0]
            yield item, view, relative @ np.asarray(item["rotations"][view]).T, item["joint_validity"]


def naive_errors(true, predicted, valid):
    """MPJPE, N-MPJPE, PA-MPJPE of one crop, and the distances of all joints, unscaled and scaled, in mm."""
    g, p = true[valid > 0], predicted[valid > 0]
    scale = max(0.0, np.sum(g * p) / np.sum(p * p))
    gc, pc = g - g.mean(0), p - p.mean(0)
    turned = Rotation.align_vectors(gc, pc)[0].apply(pc)
    aligned = turned * np.sum(turned * gc) / np.sum(turned * turned)
    distances = [np.linalg.norm(predicted - true, axis=-1), np.linalg.norm(scale * predicted - true, axis=-1)]
    means = [d[valid > 0].mean() for d in distances] + [np.linalg.norm(aligned - gc, axis=-1).mean()]
    return dict(zip(("mpjpe", "n_mpjpe", "pa_mpjpe"), means, strict=True)), distances


def predicted_pose(parts, item, view):
    image = cv2.imdecode(np.frombuffer(item["crops"][view], np.uint8), cv2.IMREAD_COLOR_RGB)
    points = parts["encoder"](image[None], training=False)["points"]
    return np.asarray(parts["pose_head"](points, training=False)["pose"])[0].astype(float)


def assert_equal_to_naive(found, truths, predictions):
    """Checks every number of `found` against sums over crops; truths are (pose, weights)."""
    results = [naive_errors(true, pose, valid) for (true, valid), pose in zip(truths, predictions, strict=True)]
    for name in ("mpjpe", "n_mpjpe", "pa_mpjpe"):
        assert found[name] == pytest.approx(np.mean([errors[name] for errors, _ in results]), rel=1e-4)
    valid = np.array([valid for _, valid in truths]) > 0
    raw, scaled = (np.array([distances[i] for _, distances in results]) for i in (0, 1))
    for k, joint in enumerate(skeleton.JOINT_NAMES):
        expected = {"mpjpe": raw[valid[:, k], k].mean(), "n_mpjpe": scaled[valid[:, k], k].mean()}
        assert found["per_joint"][joint] == pytest.approx(expected, rel=1e-4)
    curve = [(raw[valid] <= distance).mean() for distance in range(51)]
    np.testing.assert_allclose(found["pck"], curve, atol=1e-6)
    assert found["auc_0_50"] == pytest.approx(np.mean([(a + b) / 2 for a, b in itertools.pairwise(curve)]))


# --- tests ----------------------------------------------------------------------------------------------------------


def test_joints3d_agrees_with_numpy_crop_by_crop(tiny, result):
    _, records, parts = tiny
    crops = list(crops_of(records, ("S9", "S10")))
    truths = [(true, valid) for *_, true, valid in crops]
    found = result["results"]["joints3d"]
    assert result["crops"] == len(crops) == 2 * 4 * VIEWS
    assert_equal_to_naive(found, truths, [predicted_pose(parts, item, view) for item, view, *_ in crops])
    mean = right_hand() - right_hand()[0]
    assert_equal_to_naive(found["reference"], truths, [mean] * len(crops))


def test_box2d_turns_the_poses_towards_the_centre_of_the_box(tiny, result):
    """The mean pose does not look at the picture, so its numbers show the poses alone."""
    _, records, _ = tiny
    truths = []
    for item, view, pose, valid in crops_of(records, ("S9", "S10")):
        rays = (item["joints"] - item["camera_centres"][view]) @ np.asarray(item["rotations"][view]).T
        flat = rays[valid > 0, :2] / rays[valid > 0, 2:]
        turn = geometry.rotation_to_z([*(flat.min(0) + flat.max(0)) / 2, 1])
        truths.append((pose @ turn.T, valid))
    mean = right_hand() - right_hand()[0]
    assert_equal_to_naive(result["results"]["box2d"]["reference"], truths, [mean] * len(truths))


@pytest.mark.parametrize("rule", crops.CROP_RULES)
def test_views_of_an_instant_are_fused_in_the_world_and_places_are_measured_in_px(tiny, result, rule):
    """With the truth as prediction nothing is left, whatever the crop: its camera is known. So for errors of 5 px."""
    root, _, parts = tiny
    opened = records_folder.open_records(root / "records")
    estimator = models.pose_estimator(parts["encoder"], parts["pose_head"])
    chosen = evaluation.choose_crops(opened, "S9+S10")
    found = predictions.predict(estimator, opened, chosen, rule=rule, batch_size=5)
    fused, measured = evaluation.measure_fused(found), result["results"][rule]["fused"]
    assert [each["key"] for each in fused.pop("agreed_and_wrong")] == [
        each["key"] for each in measured["agreed_and_wrong"]
    ]
    assert fused == pytest.approx({name: measured[name] for name in fused}, rel=1e-4)
    assert evaluation.measure_2d(found) == pytest.approx(result["results"][rule]["joints_2d_px"], rel=1e-4)
    exact = found | {"predicted": found["pose"], "predicted_2d": found["joints_2d"] + [3.0, -4.0]}
    fused = evaluation.measure_fused(exact)
    assert (fused["instants"], fused["views"]) == (2 * 4, VIEWS) and fused["mpjpe"] < 1e-2
    assert evaluation.measure_2d(exact) == pytest.approx(5)
    one = {name: value[::VIEWS] for name, value in found.items()}
    assert evaluation.measure_fused(one) is None and evaluation.measure_fused(found)["mpjpe"] > 1
    assert evaluation.measure_2d({name: value for name, value in found.items() if name != "predicted_2d"}) is None


def test_instants_that_agree_and_are_wrong_are_named_worst_first(tiny, result):
    keys, errors, spreads = np.array(["a", "b", "c", "d", "e"]), np.array([9.0, 50, 30, 40, 60]), [1, 2, 3, 8, 9]
    found = evaluation.agreed_and_wrong(keys, errors, np.array(spreads), count=2)
    assert found == [{"key": "b", "n_mpjpe": 50, "spread_mm": 2}, {"key": "c", "n_mpjpe": 30, "spread_mm": 3}]
    named = result["results"]["box2d"]["fused"]["agreed_and_wrong"]
    index = {row["key"] for row in records_folder.open_records(tiny[0] / "records").index}
    assert len(named) == 4 and {each["key"] for each in named} <= index  # half of 2 x 4 instants
    assert [each["n_mpjpe"] for each in named] == sorted((each["n_mpjpe"] for each in named), reverse=True)


def test_the_size_of_a_batch_changes_no_number(tiny, result):
    whole, pieces = result["results"], evaluated(tiny[0], "--batch_size=5")["results"]
    for rule in crops.CROP_RULES:
        np.testing.assert_allclose(whole[rule]["pck"], pieces[rule]["pck"], atol=1e-6)
        for name in ("n_mpjpe", "mpjpe", "pa_mpjpe", "auc_20_50"):
            assert whole[rule][name] == pytest.approx(pieces[rule][name], rel=1e-5)


def test_subjects_are_measured_apart_and_make_up_the_whole(tiny, result):
    both, part = result["results"]["joints3d"], evaluated(tiny[0], "--subjects=S10", "--crop=joints3d")
    assert list(both["per_subject"]) == ["S9", "S10"]
    assert part["crops"] == both["per_subject"]["S10"]["crops"] == 4 * VIEWS
    assert part["results"]["joints3d"]["n_mpjpe"] == pytest.approx(both["per_subject"]["S10"]["n_mpjpe"], rel=1e-5)
    assert np.mean([s["n_mpjpe"] for s in both["per_subject"].values()]) == pytest.approx(both["n_mpjpe"], rel=1e-5)


def test_max_crops_is_a_fixed_choice(tiny):
    first, second = (evaluated(tiny[0], "--max_crops=7", "--crop=joints3d") for _ in range(2))
    assert first["crops"] == 7 and list(first["results"]) == ["joints3d"] and first["results"] == second["results"]


def test_default_output(tiny, capsys):
    root = tiny[0]
    assert run(root, "--crop=joints3d") == 0
    result = json.loads((root / "run" / "results.json").read_text())
    assert not list(root.glob("run/*.partial"))
    assert result["run"]["configuration"] == "supervised" and result["run"]["labels"] == 64
    assert result["run"]["flags"]["composite"] == "false"
    assert result["data"]["index_sha256"] == atomic.sha256(root / "records" / "index.csv")
    printed = capsys.readouterr().out
    assert f"{result['results']['joints3d']['n_mpjpe']:.2f}" in printed and "hand-tf report" in printed


def test_n_mpjpe_is_printed_with_and_without_the_wrist(tiny):
    """Where all joints are accepted, the mean over the 20 joints without the wrist is 21/20 of that over 21."""
    _, records, parts = tiny
    poses, truths = [], []
    for item, view, true, valid in crops_of(records, ("S9", "S10")):
        if valid.all():
            truths.append(true)
            poses.append(predicted_pose(parts, item, view))
    ones = [np.ones(21)] * len(poses)
    distances = [naive_errors(*case)[1][1][1:] for case in zip(truths, poses, ones, strict=True)]
    weights, names = np.ones((len(poses), 21)), np.array(["S9"] * len(poses))
    numbers = evaluation.measure(np.array(truths), np.array(poses), weights, names)
    run = {"name": "run", "configuration": "supervised", "labels": 64, "scenario": "S0:10%"}
    result = {"run": run, "crops": len(poses), "data": {"subjects": "S9"}, "versions": {"hand_tf": "0.3"}}
    text = evaluation.as_text(result | {"results": {"joints3d": numbers | {"reference": numbers}}})
    line = next(line for line in text.splitlines() if line.startswith("joints3d"))
    assert line.split()[1:3] == [f"{numbers['n_mpjpe']:.2f}", f"{np.mean(distances):.2f}"]


def test_test_subjects_that_were_trained_on_are_named(tiny, capsys):
    root, _, parts = tiny
    write_run(root / "seen", parts, scenario="S9+S8:10%")
    assert run(root, "--crop=joints3d", run="seen") == 0
    assert "warning: not a test on unseen people: training also used S9\n" in capsys.readouterr().out
    assert json.loads((root / "seen" / "results.json").read_text())["data"]["also_trained_on"] == "S9"


def test_bad_input_is_one_clear_line(tiny, capsys):
    root, _, parts = tiny

    def message(*arguments, **folders):
        assert run(root, *arguments, **folders) == 1
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1].startswith("error: ")
        return lines[-1]

    assert "run.json" in message(run="records")
    assert "S77" in message("--subjects=S9+S77")
    assert "manifest" in message(records="run")
    if not (root / "pretrain").exists():
        write_run(root / "pretrain", {"encoder": parts["encoder"]}, regime="pretrain")
        wide = default_networks.encoder(2 * SIZE, width=8, num_points=16, appearance_size=8)
        write_run(root / "wide", {"encoder": wide, "pose_head": parts["pose_head"]})
    assert "pose_head.keras" in message(run="pretrain")
    assert "64 px" in message(run="wide") and "32 px" in message(run="wide")


def test_wrong_flags_are_one_clear_line(tiny, capsys):
    for flag in ("--crop=tight", "--max_crops=-1", "--batch_size=0", "--box_margin=0.5", "--subject=S9"):
        assert run(tiny[0], flag) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and flag.partition("=")[0].strip("-") in line


def test_poses_that_are_not_finite_are_refused(tiny, capsys):
    root, _, parts = tiny
    head = keras.models.clone_model(parts["pose_head"])
    head.set_weights([np.full_like(weights, np.nan) for weights in head.get_weights()])
    write_run(root / "diverged", {"encoder": parts["encoder"], "pose_head": head})
    assert run(root, "--crop=joints3d", run="diverged") == 1
    assert "its training has diverged" in capsys.readouterr().err and not (root / "diverged/results.json").exists()


def test_a_damaged_shard_is_named(tiny, tmp_path, capsys):
    root, *_ = tiny
    shutil.copytree(root / "records", tmp_path / "records")
    shutil.copytree(root / "run", tmp_path / "run", ignore=shutil.ignore_patterns("results.json"))
    shard = tmp_path / "records" / "noise.S9.right-00000-of-00001.tfrecord"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0x10
    shard.write_bytes(content)
    assert run(tmp_path) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and f"{shard.name} is damaged" in line
    assert not (tmp_path / "run" / "results.json").exists()
    shard.write_bytes(content[:-10])
    assert run(tmp_path) == 1
    assert f"{shard.name}: " in capsys.readouterr().err


def test_help_does_not_wait_for_tensorflow():
    code = (
        "import sys; from hand_tf import evaluate, report; sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
