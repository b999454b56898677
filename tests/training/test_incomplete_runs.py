"""Trainings of a special kind: they diverge, no label has some joint, or nothing decodes a mask."""

import json

import numpy as np
import pytest
from smoke_runs import run

import hand_tf
from hand_tf.training import callbacks, run_data

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_replica")]


def test_a_joint_that_no_label_has_is_named_and_left_out(records, tmp_path, capsys, monkeypatch):
    load = run_data.load_run_labels

    def without_a_tip(*arguments):
        labels, held_out = load(*arguments)
        labels["pose_weight"][:, 20] = 0
        return labels, held_out

    with monkeypatch.context() as patch:
        patch.setattr(run_data, "load_run_labels", without_a_tip)
        assert run(records, tmp_path / "few", "supervised", "--scenario=S0:8", "--head=linear") == 0
        assert "warning: no label has little_4; this run does not estimate them" in capsys.readouterr().out
        flags = ["--scenario=S0:8", f"--init_from={tmp_path / 'few'}"]
        assert run(records, tmp_path / "student", "multi_view_teacher", *flags) == 0
    assert run(records, tmp_path / "all", "finetune", "--scenario=S0:8", f"--init_from={tmp_path / 'few'}") == 0
    for name, missing in (("few", [20]), ("student", [20]), ("all", [])):
        assert json.loads((tmp_path / name / "run.json").read_text())["unlabelled_joints"] == missing
    estimator = hand_tf.load_estimator(tmp_path / "student")
    pose = estimator.estimate(np.zeros((2, 32, 32, 3), np.uint8))
    assert np.isnan(pose[:, 20]).all() and np.isfinite(pose[:, :20]).all()


def test_training_that_diverges_stops_and_keeps_what_was_good(records, tmp_path, capsys, monkeypatch):
    flags = ["supervised", "--scenario=S0:8", "--epochs=3", "--warmup_steps=0", "--decay=none"]
    assert run(records, tmp_path / "run", *flags, "--learning_rate=1e30") == 1
    error = capsys.readouterr().err
    assert "the training has diverged" in error and error.count("\n") == 1
    assert not (tmp_path / "run" / "run.json").exists()
    assert not list((tmp_path / "run").glob("checkpoints/*"))
    # Later, the checkpoint of the epoch before is kept.
    log = callbacks.StopAtNonFinite.on_epoch_end

    def with_nan(self, epoch, logs=None):
        if epoch == 1:
            variable = self.model.trainable_variables[0]
            variable.assign(variable * np.nan)
        log(self, epoch, logs)

    monkeypatch.setattr(callbacks.StopAtNonFinite, "on_epoch_end", with_nan)
    assert run(records, tmp_path / "later", *flags) == 1
    assert "epoch 2: " in capsys.readouterr().err
    assert [row["epoch"] for row in callbacks.read_history(tmp_path / "later" / "history.csv")] == [1]
    assert [path.name for path in (tmp_path / "later" / "checkpoints").iterdir()] == ["epoch_00001.npz"]


def test_the_papers_pretraining_decodes_no_mask(records, tmp_path):
    """Its decoder joins the background's features instead, so nothing asks for a mask."""
    flags = ["--perceptual_weights=none", "--epochs=1", "--probe_crops=0"]
    assert run(records, tmp_path / "run", "paper/pretrain", *flags) == 0
    assert "mask_loss" not in callbacks.read_history(tmp_path / "run" / "history.csv")[0]
