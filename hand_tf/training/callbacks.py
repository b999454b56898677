"""What the log, the history and TensorBoard show while a run trains: scalars, the pose probe, pictures.

    WORKDIR/history.csv                       one line per epoch: losses, metrics, learning rate, probe, seconds
    WORKDIR/pictures/novel_views_00012.png    see `sheets`
    WORKDIR/tensorboard/                      the same for TensorBoard

Callbacks run in the order in which they are given: those that add to the logs come before `History`, which writes them.
"""

import csv
import math
import pathlib
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hand_tf.core import atomic, drawing, reading, tensorflow_errors
from hand_tf.core.errors import InputError
from hand_tf.training import probe


class MetricNames(keras.callbacks.Callback):
    """Gives the metrics of the output `pose` one name in every regime: Keras adds the output's name to some."""

    def on_epoch_end(self, epoch, logs=None):
        for name in ("mpjpe", "n_mpjpe"):
            if f"pose_{name}" in logs:
                logs[name] = logs.pop(f"pose_{name}")


class Probe(keras.callbacks.Callback):
    """Adds `probe` (N-MPJPE, mm) and its `references` to the logs every `every` epochs; see `probe`."""

    def __init__(self, encoder: keras.Model, fit: dict, test: dict, every: int, references: dict[str, float]):
        super().__init__()
        self.encoder, self.fit, self.test, self.every, self.references = encoder, fit, test, every, references

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.params["epochs"]:
            logs |= {"probe": probe.measure(self.encoder, self.fit, self.test), **self.references}


class Pictures(keras.callbacks.Callback):
    """Writes the sheets of `draw`, functions by name, every `every` epochs as PNG and for TensorBoard."""

    def __init__(self, workdir: pathlib.Path, draw: dict[str, Callable[[], np.ndarray]], every: int):
        super().__init__()
        self.folder, self.draw, self.every = pathlib.Path(workdir) / "pictures", draw, every
        self.writer = tf.summary.create_file_writer(str(pathlib.Path(workdir) / "tensorboard"))

    def on_epoch_end(self, epoch, logs=None):
        last = epoch + 1 == self.params["epochs"] or self.model.stop_training
        if (epoch + 1) % self.every and not last:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, draw in self.draw.items():
            sheet = draw()
            drawing.save(self.folder / f"{name}_{epoch + 1:05d}.png", sheet)
            with tensorflow_errors.as_os_errors(self.folder.parent / "tensorboard"):
                with self.writer.as_default(step=epoch + 1):
                    tf.summary.image(name, sheet[None])
                self.writer.flush()


class StopAtNonFinite(keras.callbacks.Callback):
    """Ends a training that has diverged, before its networks become a checkpoint.

    Raises ValueError when the loss, or at the end of an epoch a variable, is not finite. The loss is looked at every
    `every` steps and at the end of an epoch: each look waits for the device.
    """

    def __init__(self, every: int = 50):
        super().__init__()
        self.every, self.epoch = every, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if batch % self.every == 0:
            self._check(logs, f"step {batch + 1} of epoch {self.epoch + 1}")

    def on_epoch_end(self, epoch, logs=None):
        self._check(logs, f"epoch {epoch + 1}")
        for variable in self.model.variables:
            value = keras.ops.convert_to_numpy(variable)
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                self._stop(f"epoch {epoch + 1}: {variable.path} is not finite")

    def _check(self, logs, when):
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            self._stop(f"{when}: the loss is {loss}")

    def _stop(self, what):
        raise InputError(
            f"{what}: the training has diverged. The checkpoints of the epochs before are kept; train again in another"
            " --workdir with a lower --learning_rate"
        )


class Progress(keras.callbacks.Callback):
    """A bar over the steps of an epoch with the running loss; silent where there is no terminal."""

    def on_epoch_begin(self, epoch, logs=None):
        total = self.params["steps"]
        self.bar = tqdm(total=total, desc=f"epoch {epoch + 1}/{self.params['epochs']}", leave=False, disable=None)

    def on_train_batch_end(self, batch, logs=None):
        if not self.bar.disable:
            self.bar.set_postfix(loss=f"{logs['loss']:.4f}", refresh=False)
            self.bar.update()

    def on_epoch_end(self, epoch, logs=None):
        self.bar.close()


class History(keras.callbacks.Callback):
    """Appends each epoch's logs to history.csv and TensorBoard; a resumed run drops lines that it will repeat.

    `rows` are the lines so far, dicts of floats.
    """

    def __init__(self, workdir: pathlib.Path, first_epoch: int):
        super().__init__()
        self.path = pathlib.Path(workdir) / "history.csv"
        self.rows = [row for row in read_history(self.path) if row["epoch"] <= first_epoch]
        self.writer = tf.summary.create_file_writer(str(pathlib.Path(workdir) / "tensorboard"))

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        scalars = {name: float(value) for name, value in logs.items()}
        scalars["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        scalars["seconds"] = time.perf_counter() - self.started
        self.rows.append({"epoch": epoch + 1, **scalars})
        fields = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic.replacing(self.path) as file:
            writer = csv.DictWriter(file, fields, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        with tensorflow_errors.as_os_errors(self.path.parent / "tensorboard"):
            with self.writer.as_default(step=epoch + 1):
                for name, value in scalars.items():
                    tf.summary.scalar(name, value)
            self.writer.flush()
        print(f"epoch {epoch + 1}/{self.params['epochs']}  " + "  ".join(f"{k} {v:.4g}" for k, v in scalars.items()))


def read_history(path: str | pathlib.Path) -> list[dict[str, float]]:
    """The rows of a history.csv, `epoch` and all others as floats; empty without a file."""
    if not pathlib.Path(path).is_file():
        return []
    return [_numbers(row, f"{path}: line {line}") for line, row in reading.read_table(path, ["epoch"])]


def _numbers(row, where):
    """The cells of a row as numbers, without the empty ones."""
    try:
        found = {name: float(value) for name, value in row.items() if value}
        return found | {"epoch": float(row["epoch"])}
    except (TypeError, ValueError):
        raise InputError(f"{where}: a number expected in each cell of a row of history.csv") from None
