"""Checkpoints of a training run: every variable of model and optimizer, the states of random layers included.

    WORKDIR/checkpoints/epoch_00012.npz    after 12 epochs; NumPy arrays in the order of `variables`

A run that is killed and started again continues from the newest file as if nothing had happened: together with data
that is a pure function of (seed, epoch), the result is the same. Files appear whole or not at all.
"""

import os
import pathlib
import re
import zipfile
import zlib

import keras
import numpy as np

from hand_tf.core import atomic


def variables(model):
    """All variables of a compiled model: weights, statistics, seeds of dropout, and the optimizer's."""
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def _files(folder):
    found = {
        int(m[1]): p for p in pathlib.Path(folder).glob("epoch_*.npz") if (m := re.fullmatch(r"epoch_(\d+)", p.stem))
    }
    return dict(sorted(found.items()))


def save(folder, model, epoch, keep=2):
    """Writes the state after `epoch` epochs and removes all but the `keep` newest files."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"{i:04d} {v.path}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables(model))}
    with atomic.replacing(folder / f"epoch_{epoch:05d}.npz", "wb") as file:
        np.savez(file, **arrays)
        file.flush()
        os.fsync(file.fileno())  # a power cut must not leave a name without its content
    for path in list(_files(folder).values())[:-keep]:
        path.unlink()


def restore(folder, model):
    """Restores the newest whole state into `model` and returns how many epochs it has seen, 0 if there is none.

    Raises ValueError if the file belongs to another model.
    """
    for epoch, path in reversed(_files(folder).items()):
        values = _read(path)
        if values is not None:
            _assign(model, values, path)
            return epoch
    return 0


def _read(path):
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [arrays[name] for name in sorted(arrays.files)]
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
        print(f"{path}: damaged, not used ({error})")
        return None


def _assign(model, values, path):
    targets = variables(model)
    if len(values) != len(targets):
        raise ValueError(f"{path}: holds {len(values)} variables, this model has {len(targets)}")
    for variable, value in zip(targets, values, strict=True):
        if tuple(variable.shape) != value.shape:
            raise ValueError(f"{path}: {variable.path} has shape {value.shape}, expected {tuple(variable.shape)}")
        variable.assign(value)


class Checkpoint(keras.callbacks.Callback):
    """Saves the state every `every` epochs and after the last one."""

    def __init__(self, folder, every=1):
        super().__init__()
        self.folder, self.every = folder, every

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.params["epochs"]:
            save(self.folder, self.model, epoch + 1)
