"""Validation: MPJPE and N-MPJPE on the held-out stretches of the training subjects, after every epoch.

    val_mpjpe, val_n_mpjpe    mm, over all 21 joints, the wrist included; mean over crops

`Validation` measures, `KeepBest` saves the state of the best epoch, `EarlyStopping` ends a run that no longer improves.
The best epoch is a function of the history, so a resumed run knows it.
"""

import math
import pathlib

import keras

from hand_tf.nets import metrics, models
from hand_tf.training import checkpoints, probe

MONITOR = "val_n_mpjpe"


def measure(estimator: keras.Model, samples: dict, batch_size: int = 256) -> dict[str, float]:
    """val_mpjpe and val_n_mpjpe (mm) of a model source -> pose.

    Args:
        samples: `images` uint8 [n, size, size, 3], `pose` [n, 21, 3] mm, `pose_weight` [n, 21].
    """
    predicted = probe.in_batches(
        lambda batch: estimator({"source": batch}, training=False)["pose"], samples["images"], batch_size
    )
    true, weights = samples["pose"], samples["pose_weight"]
    errors = {"val_mpjpe": metrics.mpjpe, "val_n_mpjpe": metrics.n_mpjpe}
    return {
        name: float(keras.ops.convert_to_numpy(error(true, predicted, weights)).mean())
        for name, error in errors.items()
    }


def best_epoch(rows: list[dict]) -> int:
    """The epoch with the lowest val_n_mpjpe in the rows of a history, the first of equals; 0 without any."""
    measured = [row for row in rows if math.isfinite(row.get(MONITOR, math.nan))]
    return int(min(measured, key=lambda row: row[MONITOR])["epoch"]) if measured else 0


def should_stop(rows: list[dict], patience: int) -> bool:
    """Whether the last `patience` epochs have brought no new lowest val_n_mpjpe. Never for patience 0."""
    return bool(patience and rows) and rows[-1]["epoch"] - best_epoch(rows) >= patience


class Validation(keras.callbacks.Callback):
    """Adds val_mpjpe and val_n_mpjpe to the logs of every epoch."""

    def __init__(self, parts: dict[str, keras.Model], samples: dict):
        super().__init__()
        self.estimator, self.samples = models.pose_estimator(parts["encoder"], parts["pose_head"]), samples

    def on_epoch_end(self, epoch, logs=None):
        logs |= measure(self.estimator, self.samples)


class KeepBest(keras.callbacks.Callback):
    """Saves the state as checkpoints/best_*.npz when val_n_mpjpe is lower than in all rows of `history` before.

    It keeps what a run needs that is killed now and continues from its newest checkpoint: the best epoch up to there.
    """

    def __init__(self, workdir: pathlib.Path, history):
        super().__init__()
        self.folder, self.history = pathlib.Path(workdir) / "checkpoints", history

    def on_epoch_end(self, epoch, logs=None):
        if best_epoch(self.history.rows) != epoch + 1:
            return
        checkpoints.save(checkpoints.path_of(self.folder, epoch + 1, "best"), self.model)
        covered = max(checkpoints.epochs_of(self.folder), default=0)
        needed = best_epoch([row for row in self.history.rows if row["epoch"] <= covered])
        for number, path in checkpoints.epochs_of(self.folder, "best").items():
            if number <= covered and number != needed:
                path.unlink()


class EarlyStopping(keras.callbacks.Callback):
    """Stops after `patience` epochs without a new lowest val_n_mpjpe in the rows of `history`."""

    def __init__(self, patience: int, history):
        super().__init__()
        self.patience, self.history = patience, history

    def on_epoch_end(self, epoch, logs=None):
        if should_stop(self.history.rows, self.patience):
            self.model.stop_training = True
            print(f"stopped: no lower {MONITOR} for {self.patience} epochs")
