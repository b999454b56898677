"""How far off an estimator expects to be: the loss, the training, and what exports and `evaluate` make of it."""

import json

import default_networks
import keras
import numpy as np
import pytest
from smoke_runs import assert_equal_parts, killed_in_the_second_epoch, run, weights

import hand_tf
from hand_tf import evaluate, export, train
from hand_tf.core import command_line, records_folder
from hand_tf.data import labelled_crops
from hand_tf.nets import models
from hand_tf.results import evaluation
from hand_tf.training import losses, regimes, wiring

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_replica")]
LENGTH = {"batch_size": 8, "steps": 4, "seed": 3, "in_plane_degrees": 0.0, "scale_jitter": (1.0, 1.0)}
LENGTH |= {"centre_jitter": 0.0, "colour_strength": 0.0, "swap_background_share": 0.0, "foreground_threshold": 0.04}


def judged(random, count=6):
    """True and predicted poses with random errors, expected errors, and which samples have no hand."""
    true = random.normal(size=(count, 21, 3)) * 50
    true -= true[:, :1]
    predicted = 0.7 * (true + random.normal(size=true.shape) * 9)
    expected = random.uniform(2, 80, (count, 21))
    empty = (np.arange(count) % 3 == 0).astype(float)
    joined = np.concatenate([true, np.repeat(empty[:, None, None], 21, 1)], -1)
    return true, predicted, expected, empty, joined


def test_the_loss_is_that_of_an_exponential_distribution_of_errors():
    true, predicted, expected, empty, joined = judged(np.random.default_rng(0))
    moved = predicted - predicted[:, :1]
    scale = (true * moved).sum((1, 2)) / (moved * moved).sum((1, 2))
    error = np.linalg.norm(true - scale[:, None, None] * moved, axis=-1)
    error[empty > 0] = 150
    wanted = np.log(expected / 30) + error / expected
    found = losses.expected_error_nll(joined, np.concatenate([predicted, expected[..., None]], -1))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found)[:, 1:], wanted[:, 1:], rtol=1e-4, atol=1e-4)
    # The mean error is the best single expectation: more or less is worse.
    whole = [np.broadcast_to(error.mean() * factor, error.shape) for factor in (0.9, 1.0, 1.1)]
    values = [float(np.mean(np.log(each) + error / each)) for each in whole]
    assert values[1] < min(values[0], values[2])


def test_only_the_confidence_trains_and_poses_stay_the_same():
    regime = regimes.REGIMES["confidence"]
    parts = {"encoder": default_networks.encoder(32, width=8, num_points=16, appearance_size=8)}
    parts |= {"pose_head": default_networks.pose_head(16, 32, kind="mlp"), "confidence": models.confidence(16, 8)}
    model = wiring.wire(regime, parts, latent_dropout=0.0)
    chosen, shares = wiring.compiled_losses(
        regime, **default_networks.LOSS_WEIGHTS, crop_size=32, pose_std=np.full((21, 3), 30.0)
    )
    model.compile(keras.optimizers.Adam(1e-2), chosen, shares)
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (8, 32, 32, 3), np.uint8)
    pose = random.normal(size=(8, 21, 3)) * 30
    y = {"pose": pose, "joints_2d": pose[..., :2], "judged": np.concatenate([pose, np.zeros((8, 21, 1))], -1)}
    before = {name: [np.array(v) for v in part.weights] for name, part in parts.items()}
    poses = model.predict({"source": images}, verbose=0)["pose"]
    weight = dict.fromkeys(y, np.ones((8, 21)))
    history = model.fit({"source": images}, y, sample_weight=weight, epochs=30, verbose=0).history["judged_loss"]
    assert history[-1] < history[0] - 0.1
    for name in ("encoder", "pose_head"):
        for a, b in zip(before[name], parts[name].weights, strict=True):
            np.testing.assert_array_equal(a, np.array(b), err_msg=name)
    assert any(np.any(a != np.array(b)) for a, b in zip(before["confidence"], parts["confidence"].weights, strict=True))
    np.testing.assert_array_equal(model.predict({"source": images}, verbose=0)["pose"], poses)


def test_a_share_of_the_crops_shows_no_hand(records):
    opened = records_folder.open_records(records)
    chosen = evaluation.choose_crops(opened, "S0..S4", 40)
    labels = labelled_crops.load_labels(opened, chosen)
    batches = {
        share: [
            tuple({name: np.asarray(value) for name, value in part.items()} for part in batch)
            for batch in labelled_crops.training_batches(labels, 32, empty_share=share, **LENGTH).take(16)
        ]
        for share in (None, 0.0, 0.4)
    }
    assert "judged" not in batches[None][0][1]
    shares = []
    for (plain, y, w), (x, judged_y, judged_w) in zip(batches[0.0], batches[0.4], strict=True):
        empty = judged_y["judged"][..., 3]
        assert np.all((empty == empty[:, :1]) & np.isin(empty, (0, 1)))
        none = empty[:, 0] > 0
        shares.append(none.mean())
        np.testing.assert_array_equal(x["source"][~none], plain["source"][~none])
        assert all(np.any(a != b) for a, b in zip(x["source"][none], plain["source"][none], strict=True))
        np.testing.assert_array_equal(judged_y["judged"][..., :3], y["pose"])
        assert np.all(judged_w["pose"][none] == 0) and np.all(judged_w["judged"][none] == 1)
        np.testing.assert_array_equal(judged_w["judged"][~none], w["pose"][~none])
    assert 0.2 < np.mean(shares) < 0.6


@pytest.fixture(scope="module")
def estimator(records, tmp_path_factory, one_replica):
    workdir = tmp_path_factory.mktemp("runs") / "supervised"
    assert run(records, workdir, "supervised", "--scenario=S0+S1:all") == 0
    return workdir


@pytest.fixture(scope="module")
def confident(records, estimator, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "confidence"
    assert run(records, workdir, "confidence", f"--init_from={estimator}", "--scenario=S2..S4:all") == 0
    return workdir


def test_the_run_has_the_estimator_unchanged_and_a_confidence(estimator, confident):
    for name in ("encoder", "pose_head"):
        for a, b in zip(weights(estimator, name), weights(confident, name), strict=True):
            np.testing.assert_array_equal(a, b)
    assert (confident / "confidence.keras").is_file()


def test_it_resumes(records, estimator, confident, tmp_path, monkeypatch):
    again = ("confidence", f"--init_from={estimator}", "--scenario=S2..S4:all")
    with killed_in_the_second_epoch(monkeypatch):
        run(records, tmp_path, *again)
    assert run(records, tmp_path, *again) == 0
    assert_equal_parts(confident, tmp_path, ("confidence",))


def test_the_people_of_the_estimator_are_refused(records, estimator, tmp_path, capsys):
    arguments = ["--flagfile=confidence", "--flagfile=smoke", f"--init_from={estimator}", "--scenario=S1..S3:all"]
    arguments += [f"--data_dir={records}", f"--workdir={tmp_path / 'run'}"]
    assert command_line.run(train.main, arguments) == 1
    assert "was trained on S1, too" in capsys.readouterr().err


def test_a_run_without_a_pose_head_is_refused(records, tmp_path, capsys):
    assert run(records, tmp_path / "pretrain", "pretrain", "--probe_crops=0") == 0
    flags = (f"--init_from={tmp_path / 'pretrain'}", "--scenario=S0:all")
    assert run(records, tmp_path / "run", "confidence", *flags) == 1
    assert "no pose_head.keras there" in capsys.readouterr().err


def test_evaluate_compares_expected_with_observed_errors(records, confident, tmp_path, capsys):
    output = tmp_path / "results.json"
    arguments = [f"--data_dir={records}", f"--run={confident}", "--subjects=S5", f"--output={output}"]
    assert command_line.run(evaluate.main, arguments) == 0
    assert "expected/observed errors of joints" in capsys.readouterr().out
    bins = json.loads(output.read_text())["results"]["box2d"]["confidence"]
    expected = [each["expected_mm"] for each in bins]
    assert len(bins) == 10 and expected == sorted(expected)
    assert max(each["joints"] for each in bins) - min(each["joints"] for each in bins) <= 1


def test_bins_are_those_of_a_loop_over_joints():
    random = np.random.default_rng(2)
    true, predicted, expected, _, _ = judged(random, 30)
    weight = (random.random((30, 21)) < 0.8).astype(float)
    weight[:, 0] = 1
    crops = {"pose": true, "predicted": predicted, "joint_error": expected, "pose_weight": weight}
    joints = []
    for t, p, e, w in zip(true, predicted, expected, weight, strict=True):
        p = p - p[0]
        scale = (w[:, None] * t * p).sum() / (w[:, None] * p * p).sum()
        joints += [(e[k], np.linalg.norm(t[k] - scale * p[k])) for k in range(1, 21) if w[k]]
    joints.sort()
    found = evaluation.measure_confidence(crops, bins=4)
    assert sum(each["joints"] for each in found) == len(joints)
    start = 0
    for each in found:
        part = np.array(joints[start : start + each["joints"]])
        np.testing.assert_allclose((each["expected_mm"], each["observed_mm"]), part.mean(0), rtol=1e-4)
        start += each["joints"]


@pytest.mark.parametrize("format", ["savedmodel", "litert_int8"])
def test_every_form_of_the_model_tells_its_expected_errors(records, confident, tmp_path, format):
    model = tmp_path / "model"
    extra = [f"--data_dir={records}"] if format == "litert_int8" else []
    arguments = [f"--run={confident}", f"--output={model}", f"--format={format}", *extra]
    assert command_line.run(export.main, arguments) == 0
    opened = records_folder.open_records(records)
    (batch,) = labelled_crops.evaluation(opened, evaluation.choose_crops(opened, "S2", 24), batch_size=24)
    side, errors = 32 / 1.5, {}  # of the box whose crop is the whole picture
    for name, path in (("exported", model), ("run", confident)):
        estimator, box = hand_tf.load_estimator(path), (16 - side / 2, 16 - side / 2, side, side)
        hands = [estimator.predict(image, [box], side="left")[0] for image in np.asarray(batch["source"])]
        errors[name] = np.array([hand.joint_error_mm for hand in hands])
    assert errors["exported"].shape == (24, 21) and np.all(errors["exported"] > 0)
    factor = np.abs(np.log(errors["exported"] / errors["run"]))
    if format == "litert_int8":
        assert np.median(factor) < 0.4
    else:
        assert factor.max() < 1e-3


def test_models_without_a_confidence_do_not_make_one_up(estimator):
    image = np.zeros((60, 80, 3), np.uint8)
    (hand,) = hand_tf.load_estimator(estimator).predict(image, [(10, 10, 30, 30)])
    assert hand.joint_error_mm is None
