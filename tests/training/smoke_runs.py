"""Runs of the smallest size, whole or killed on the way."""

import contextlib
import pathlib

import keras
import numpy as np
import pytest

from hand_tf import train
from hand_tf.core import command_line
from hand_tf.training import callbacks


def run(records, workdir, regime, *flags):
    """Trains `regime` with its own flagfile and the smoke sizes; returns the exit status."""
    arguments = [f"--flagfile={regime}", "--flagfile=smoke", *flags]
    return command_line.run(train.main, [*arguments, f"--data_dir={records}", f"--workdir={workdir}"])


class Killed(BaseException):
    """Not an Exception, like a signal."""


def die(*_):
    """In place of a function that is not to return."""
    raise Killed


@contextlib.contextmanager
def killed_in_the_second_epoch(monkeypatch):
    """Kills what runs inside after the history's line and before the checkpoint: the epoch is lost, its line is not."""
    log = callbacks.History.on_epoch_end

    def last_line(self, epoch, logs=None):
        log(self, epoch, logs)
        if epoch == 1:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(callbacks.History, "on_epoch_end", last_line)
        yield


def weights(workdir, name):
    """The variables of a part of a run; not dropout's seeds, which a file does not keep."""
    model = keras.models.load_model(pathlib.Path(workdir) / f"{name}.keras", compile=False, safe_mode=True)
    return [np.asarray(variable) for variable in model.weights]


def assert_equal_parts(one, other, names):
    """Two runs have the same networks, to rounding."""
    for name in names:
        for a, b in zip(weights(one, name), weights(other, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=name)
