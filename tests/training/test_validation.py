"""The best epoch and early stopping as functions of the history; validation errors by an independent formula."""

import types

import numpy as np
import pytest

from hand_tf.training import checkpoints, validation


def history(*errors):
    return [{"epoch": float(n), "val_n_mpjpe": error} for n, error in enumerate(errors, 1)]


def test_the_best_epoch_is_the_first_of_the_lowest():
    assert validation.best_epoch(history(50.0, 40.0, 45.0, 40.0)) == 2
    assert validation.best_epoch(history(float("nan"), 50.0, float("inf"))) == 2
    assert validation.best_epoch([]) == 0 and validation.best_epoch([{"epoch": 1.0, "loss": 2.0}]) == 0


@pytest.mark.parametrize(
    ("errors", "patience", "stops"),
    [
        ((50, 40, 41, 42), 2, True),
        ((50, 40, 41), 2, False),
        ((50, 40, 41, 42), 0, False),
        ((50,), 1, False),
        ((), 1, False),
    ],
)
def test_a_run_stops_after_patience_without_improvement(errors, patience, stops):
    assert validation.should_stop(history(*errors), patience) is stops


def test_a_run_that_is_killed_still_has_the_best_state_up_to_its_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "save", lambda path, model: path.touch())
    rows, folder = [], tmp_path / "checkpoints"
    folder.mkdir()
    keep = validation.KeepBest(tmp_path, types.SimpleNamespace(rows=rows))
    kept = {}
    for row in history(50.0, 40.0, 41.0, 30.0, 20.0, 10.0):
        rows.append(row)
        epoch = int(row["epoch"])
        keep.on_epoch_end(epoch - 1)
        if epoch in (3, 5):
            checkpoints.path_of(folder, epoch).touch()
        kept[epoch] = list(checkpoints.epochs_of(folder, "best"))
    assert kept == {1: [1], 2: [1, 2], 3: [1, 2], 4: [2, 4], 5: [2, 4, 5], 6: [5, 6]}


def test_validation_measures_over_all_crops_and_accepted_joints():
    rng = np.random.default_rng(0)
    true, predicted = rng.normal(0, 40, (2, 7, 21, 3)).astype("float32")
    weights = (rng.random((7, 21)) > 0.3).astype("float32")
    weights[:, 0] = 1
    images = np.arange(7, dtype="uint8")[:, None, None, None] * np.ones((1, 4, 4, 3), "uint8")

    def estimator(x, training):
        assert training is False
        return {"pose": predicted[np.asarray(x["source"])[:, 0, 0, 0]]}

    found = validation.measure(estimator, {"images": images, "pose": true, "pose_weight": weights}, batch_size=3)
    true, predicted = (pose - pose[:, :1] for pose in (true, predicted))
    wanted = {"val_mpjpe": [], "val_n_mpjpe": []}
    for t, p, w in zip(true, predicted, weights > 0, strict=True):
        scales = np.linspace(0, 2, 20001)  # brute force: of all scales the one of the least squares
        scale = scales[np.argmin([np.square(s * p[w] - t[w]).sum() for s in scales])]
        wanted["val_mpjpe"].append(np.linalg.norm(p[w] - t[w], axis=-1).mean())
        wanted["val_n_mpjpe"].append(np.linalg.norm(scale * p[w] - t[w], axis=-1).mean())
    for name, errors in wanted.items():
        assert found[name] == pytest.approx(np.mean(errors), rel=1e-3), name
