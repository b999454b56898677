"""The real trainer on a tiny dome: every regime, resuming, replicas, bad input."""

import csv
import json
import pathlib
import subprocess
import sys

import full_disk
import keras
import numpy as np
import pytest
import smoke_runs
from smoke_runs import Killed, assert_equal_parts, die, run, weights

from hand_tf import train
from hand_tf.core import atomic, command_line, records_folder, run_folder
from hand_tf.nets import metrics, resnet
from hand_tf.training import callbacks, run_data, trainer, validation
from hand_tf.training.settings import TrainingSettings

ROOT = pathlib.Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_replica")]


@pytest.fixture(scope="module")
def pretrained(records, tmp_path_factory, one_replica):
    workdir = tmp_path_factory.mktemp("runs") / "pretrain_aug"
    assert run(records, workdir, "pretrain_aug", "--probe_crops=24") == 0
    return workdir


def test_pretraining_leaves_parts_history_pictures_and_a_probe(pretrained):
    assert {"encoder.keras", "decoder.keras", "run.json", "flags.txt"} <= {p.name for p in pretrained.iterdir()}
    assert not (pretrained / "pose_head.keras").exists()
    rows = callbacks.read_history(pretrained / "history.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(np.isfinite(row["probe"]) and row["probe"] < 200 for row in rows)
    assert (pretrained / "pictures" / "novel_views_00002.png").stat().st_size > 1000
    assert list((pretrained / "tensorboard").iterdir())
    facts = json.loads((pretrained / "run.json").read_text())
    assert (facts["regime"], facts["steps"], facts["labels"]) == ("pretrain", 6, 0)


def test_training_learns(records, tmp_path):
    """On hands of people in training but instants held out, far better than always answering with the mean pose."""
    flags = ["--flagfile=supervised", "--scenario=S0..S4:all", "--validation_share=0.2", "--batch_size=32"]
    flags += ["--encoder_width=8", "--stem=small", "--num_points=32", "--appearance_size=4", "--head_width=64"]
    flags += ["--head_dropout=0", "--epochs=2", "--steps_per_epoch=60", "--learning_rate=5e-3", "--warmup_steps=10"]
    flags += ["--label_colour_strength=0", "--scale_jitter=1,1", "--centre_jitter=0"]
    assert command_line.run(train.main, [*flags, f"--data_dir={records}", f"--workdir={tmp_path}"]) == 0
    opened = records_folder.open_records(records)
    settings = command_line.parse(TrainingSettings, [f"--flagfile={tmp_path / 'flags.txt'}"])
    labels, held_out = run_data.load_run_labels(settings, opened)
    mean_pose = np.broadcast_to(labels["pose"].mean(0), held_out["pose"].shape)
    chance = float(np.mean(metrics.n_mpjpe(held_out["pose"], mean_pose, held_out["pose_weight"])))
    error = callbacks.read_history(tmp_path / "history.csv")[-1]["val_n_mpjpe"]
    assert error < 0.6 * chance, (error, chance)


def test_a_frozen_encoder_does_not_move(records, pretrained, tmp_path, capsys):
    flags = ["--scenario=S0:12", f"--init_from={pretrained}"]
    assert run(records, tmp_path / "run", "pose_head", "--head=mlp", *flags) == 0
    for before, after in zip(weights(pretrained, "encoder"), weights(tmp_path / "run", "encoder"), strict=True):
        np.testing.assert_array_equal(before, after)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["labels"] == 12
    head = keras.models.load_model(tmp_path / "run" / "pose_head.keras", compile=False, safe_mode=True)
    assert np.asarray(head.get_layer("pose").std)[1:].min() > 1  # mm: statistics of the labels, not 1
    # Whoever continues it may not hold out what it has learned from.
    capsys.readouterr()
    flags = ["--scenario=S0:12", f"--init_from={tmp_path / 'run'}", "--validation_share=0.3"]
    assert run(records, tmp_path / "next", "finetune", *flags) == 1
    assert "trained with --validation_share=0, this one has 0.3" in capsys.readouterr().err


def test_a_linear_head_over_a_frozen_encoder_is_solved(records, pretrained, tmp_path, capsys, monkeypatch):
    """Also where the run was killed before its end: the solution is that of the first epoch's crops."""
    flags = ["pose_head", "--scenario=S0:12", "--validation_share=0.3", f"--init_from={pretrained}"]
    assert run(records, tmp_path / "whole", *flags) == 0
    assert "solved in closed form, from 12 augmented crops" in capsys.readouterr().out
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(run_folder, "finish", die)
        run(records, tmp_path / "killed", *flags)
    assert run(records, tmp_path / "killed", *flags) == 0
    for name, origin in (("encoder", pretrained), ("pose_head", tmp_path / "whole")):
        for a, b in zip(weights(origin, name), weights(tmp_path / "killed", name), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    (row,) = callbacks.read_history(tmp_path / "killed" / "history.csv")
    assert row["epoch"] == 1 and 5 < row["val_n_mpjpe"] < 200


@pytest.mark.parametrize("regime", ["supervised", "finetune", "finetune_joint", "semi_supervised"])
def test_every_regime_runs_and_shows_errors_in_mm(regime, records, pretrained, tmp_path):
    start = [f"--init_from={pretrained}"] if regime.startswith("finetune") else []
    flags = ["--scenario=S0+S1:8", "--validation_share=0.3", *start]
    assert run(records, tmp_path / "run", regime, *flags) == 0
    assert (tmp_path / "run" / "pose_head.keras").is_file()
    for row in callbacks.read_history(tmp_path / "run" / "history.csv"):
        for batch, held_out in (("mpjpe", "val_mpjpe"), ("n_mpjpe", "val_n_mpjpe")):
            assert 5 < row[batch] < 500 and 5 < row[held_out] < 500
        assert row["n_mpjpe"] <= row["mpjpe"]  # N-MPJPE has a scale to choose
        assert not [name for name in row if name.startswith("pose_") and name != "pose_loss"]
    summary = json.loads((tmp_path / "run" / "run.json").read_text())
    assert summary["labels"] == 8 and summary["validation_labels"] > 0
    if start:
        pairs = zip(weights(pretrained, "encoder"), weights(tmp_path / "run", "encoder"), strict=True)
        assert any(not np.array_equal(a, b) for a, b in pairs)


def test_the_best_epoch_is_kept_and_training_stops_after_it(records, tmp_path, monkeypatch, capsys):
    """Also where the run is killed between its last epoch and its end."""
    errors, kept = iter([50.0, 40.0, 41.0, 42.0]), {}
    flags = ["supervised", "--scenario=S0+S1:8", "--validation_share=0.3", "--epochs=9"]
    flags += ["--keep=best", "--early_stopping=2"]

    def measure(estimator, samples):
        error = next(errors)
        kept[error] = [np.asarray(variable) for variable in estimator.get_layer("encoder").weights]
        return {"val_mpjpe": error + 1, "val_n_mpjpe": error}

    monkeypatch.setattr(validation, "measure", measure)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(run_folder, "finish", die)
        run(records, tmp_path / "run", *flags)
    assert "no lower val_n_mpjpe for 2 epochs" in capsys.readouterr().out
    assert run(records, tmp_path / "run", *flags) == 0  # trains no more: `errors` has no further value
    assert [row["epoch"] for row in callbacks.read_history(tmp_path / "run" / "history.csv")] == [1, 2, 3, 4]
    summary = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (summary["kept_epoch"], summary["steps"]) == (2, 12)
    for found, best in zip(weights(tmp_path / "run", "encoder"), kept[40.0], strict=True):
        np.testing.assert_array_equal(found, best)
    assert any(not np.array_equal(a, b) for a, b in zip(kept[40.0], kept[42.0], strict=True))


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(records, tmp_path, monkeypatch):
    flags = ["semi_supervised", "--scenario=S0:8", "--epochs=3", "--latent_dropout=0.2", "--in_plane_degrees=90"]
    assert run(records, tmp_path / "whole", *flags) == 0
    with smoke_runs.killed_in_the_second_epoch(monkeypatch):
        run(records, tmp_path / "killed", *flags)
    assert not (tmp_path / "killed" / "run.json").exists()
    assert run(records, tmp_path / "killed", *flags) == 0
    assert_equal_parts(tmp_path / "whole", tmp_path / "killed", ("encoder", "decoder", "pose_head"))
    whole, killed = (callbacks.read_history(tmp_path / name / "history.csv") for name in ("whole", "killed"))
    assert [row["epoch"] for row in killed] == [1, 2, 3]
    np.testing.assert_allclose([r["loss"] for r in whole], [r["loss"] for r in killed], rtol=1e-4)


def test_one_and_two_replicas_agree(records, tmp_path, monkeypatch, strategy):
    assert strategy.num_replicas_in_sync == 2
    flags = ["semi_supervised", "--scenario=S0:8", "--epochs=1", "--head_dropout=0"]
    assert run(records, tmp_path / "one", *flags) == 0
    monkeypatch.setattr(trainer, "strategy", lambda: strategy)
    assert run(records, tmp_path / "two", *flags) == 0
    one, two = (callbacks.read_history(tmp_path / name / "history.csv")[0] for name in ("one", "two"))
    assert one["loss"] == pytest.approx(two["loss"], rel=1e-3)
    for name in ("encoder", "decoder", "pose_head"):
        for a, b in zip(weights(tmp_path / "one", name), weights(tmp_path / "two", name), strict=True):
            # Adam's first steps are the sign of the gradient: a last bit may flip the step of a near-zero one.
            assert np.mean(np.abs(a - b)) < 2e-4, name


def test_the_command_line_replays_a_run_from_its_flags(records, pretrained, tmp_path):
    arguments = [f"--flagfile={pretrained / 'flags.txt'}", f"--workdir={tmp_path / 'again'}"]
    done = subprocess.run(
        [sys.executable, "-m", "hand_tf.train", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "pose probe on S2" in done.stdout
    losses = [callbacks.read_history(path / "history.csv")[-1]["loss"] for path in (pretrained, tmp_path / "again")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_finished_run_is_left_alone(records, pretrained, capsys):
    before = (pretrained / "encoder.keras").stat().st_mtime_ns
    assert run(records, pretrained, "pretrain_aug", "--probe_crops=24") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert (pretrained / "encoder.keras").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("regime", "flags", "message"),
    [
        ("supervised", ["--scenario=S0:8"], "belongs to a run with --regime=pretrain"),
        ("pretrain_aug", ["--probe_crops=24", "--num_points=9"], "--num_points=8, asked for --num_points=9"),
    ],
)
def test_a_workdir_of_another_run_is_refused(records, pretrained, capsys, regime, flags, message):
    assert run(records, pretrained, regime, *flags) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("regime", "flags", "message"),
    [
        ("supervised", ["--scenario=S7"], "no S7 in the records"),
        ("supervised", ["--scenario=S0:99999"], "asks for 99999 labels"),
        ("supervised", ["--scenario=S0", "--validation_share=0.01"], "no label of S0 lies in the held-out stretches"),
        ("pose_head", ["--scenario=S0", "--init_from=/nowhere"], "no encoder.keras there"),
        ("supervised", ["--scenario=S0", "--init_from=/nowhere"], "no encoder.keras there"),
        ("pretrain", ["--perceptual_weights=/nowhere.safetensors"], "/nowhere.safetensors"),
        ("pretrain", ["--subjects=S8"], "no S8 in the records"),
        ("pretrain", ["--min_time_gap=1000"], "--min_time_gap=1000"),
    ],
)
def test_bad_input_gets_one_clear_line(records, tmp_path, capsys, regime, flags, message):
    assert run(records, tmp_path / "run", regime, *flags) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_backend_that_cannot_train_is_one_line(records, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    assert run(records, tmp_path / "run", "pretrain") == 1
    assert capsys.readouterr().err == "error: KERAS_BACKEND=numpy: expected tensorflow or jax to train on\n"


def test_imagenet_weights_are_never_replaced_in_silence(records, tmp_path, capsys, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(resnet.keras.utils, "get_file", offline)
    assert run(records, tmp_path / "run", "pretrain", "--perceptual_weights=imagenet") == 1
    assert "pass a local file" in capsys.readouterr().err


def test_a_scenario_without_labels_is_refused(records, tmp_path, capsys):
    for path in records.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    data, index = records_folder.load_manifest(tmp_path), records_folder.read_index(tmp_path)
    records_folder.write_manifest(tmp_path, data, [row | {"labelled": False} for row in index])
    assert run(tmp_path, tmp_path / "run", "supervised", "--scenario=S0") == 1
    assert "no label of S0" in capsys.readouterr().err


def test_a_shard_cut_short_or_changed_is_named(records, tmp_path, capsys):
    for path in records.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with open(tmp_path / "index.csv", newline="") as file:
        shard = tmp_path / next(row["shard"] for row in csv.DictReader(file) if row["subject"] == "S0")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert run(tmp_path, tmp_path / "a", "supervised", "--scenario=S0:all") == 1
    error = capsys.readouterr().err
    assert shard.name in error and "damaged" in error
    shard.write_bytes(data[:-100])
    assert run(tmp_path, tmp_path / "b", "supervised", "--scenario=S0:all") == 1
    assert "cut short" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_the_run_continues_from_there(records, pretrained, tmp_path, monkeypatch, capsys):
    workdir, flags = tmp_path / "run", ["pose_head", "--head=mlp", "--scenario=S0:8", f"--init_from={pretrained}"]

    def full(*arguments):
        """Runs with a full disk; returns the history that is left."""
        with monkeypatch.context() as patch:
            full_disk.fill(patch, *arguments)
            assert run(records, workdir, *flags) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and full_disk.ERROR in line
        assert not (workdir / "run.json").exists()
        return callbacks.read_history(workdir / "history.csv")

    begun = full(atomic, "epoch_*.npz.partial", 1)  # in the second epoch, whose line is already in the history
    assert [row["epoch"] for row in begun] == [1, 2]
    (first,) = (workdir / "checkpoints").glob("*.npz")
    whole = first.read_bytes()
    with np.load(first) as arrays:
        assert all(np.isfinite(arrays[name]).all() for name in arrays.files)

    assert full(atomic, "history.csv.partial") == begun  # the file of before, although its second line is dropped
    assert list((workdir / "checkpoints").glob("*.npz")) == [first] and first.read_bytes() == whole

    ended = full(atomic, "run.json.partial")
    assert ended[0] == begun[0] and ended[1]["loss"] == pytest.approx(begun[1]["loss"], rel=1e-4)
    head = weights(workdir, "pose_head")
    assert run(records, workdir, *flags) == 0
    assert (workdir / "run.json").is_file() and not list(workdir.rglob("*partial*"))
    for before, after in zip(head, weights(workdir, "pose_head"), strict=True):
        np.testing.assert_array_equal(before, after)
