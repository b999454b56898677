"""Checkpoints of a training run: every variable of model and optimizer, the states of random layers included, by name.

    WORKDIR/checkpoints/epoch_00012.npz    after 12 epochs: {name: array}
    WORKDIR/checkpoints/best_00007.npz     after the epoch with the lowest val_n_mpjpe, with --keep=best

    <part>/<layer>/<variable>    such as encoder/layer1.0.conv1/kernel
    optimizer/<name>/<slot>      such as optimizer/encoder/conv1/kernel/momentum

A run that is killed and started again continues from the newest file as if nothing had happened: together with batches
that are a pure function of (seed, epoch), the result is the same. Files appear whole or not at all.
"""

import pathlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator

import keras
import numpy as np

from hand_tf.core import atomic
from hand_tf.core.errors import InputError


class DamagedCheckpoint(InputError):
    """A file that cannot be read as a checkpoint."""


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """All variables of a compiled model by name: weights, statistics, seeds of dropout, and the optimizer's.

    Names do not depend on the numbers that Keras gives to optimizers and seed generators as it makes them.
    """
    if not model.optimizer.built:  # a second time would add variables
        model.optimizer.build(model.trainable_variables)
    names = {id(variable): name for name, variable in _of_layers(model, "")}
    names |= _names_of_slots(model, names)
    variables = [*model.variables, *model.optimizer.variables]
    # What is left are single numbers of the optimizer: its iteration, its learning rate, the scale of its loss.
    found = {names.get(id(v), f"optimizer/{v.path.rpartition('/')[2]}"): v for v in variables}
    if len(found) != len(variables):
        raise InputError("two variables of the model have one name, so a checkpoint could not tell them apart")
    return found


def _names_of_slots(model, names):
    """{id: name} of the optimizer's momenta and the like: as many per trainable variable, one variable after the other.

    `names` are those of the model's variables by id.
    """
    # With half precision, Keras wraps the optimizer in one that scales the loss and counts its own iterations.
    optimizer, trained = getattr(model.optimizer, "inner_optimizer", model.optimizer), model.trainable_variables
    slots, found = [], {}
    for variable in optimizer.variables:
        kind = variable.path.rpartition("/")[2]
        if kind not in ("iteration", "learning_rate"):
            slots.append(variable)
        elif optimizer is not model.optimizer:
            found[id(variable)] = f"optimizer/inner/{kind}"
    count = len(slots) // max(len(trained), 1)
    for position, slot in enumerate(slots):
        owner = trained[position // count]
        kind = slot.path.rpartition("/")[2].removeprefix(f"{owner.path.replace('/', '_')}_")
        found[id(slot)] = f"optimizer/{names[id(owner)]}/{kind}"
    return found


def _of_layers(model, prefix) -> Iterator[tuple[str, keras.Variable]]:
    """(name, variable) of all layers of a model and of the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _of_layers(layer, f"{prefix}{layer.name}/")
        else:
            yield from ((f"{prefix}{layer.name}/{variable.name}", variable) for variable in layer.variables)


def save(path: str | pathlib.Path, model: keras.Model) -> None:
    """Writes the state of `model` to `path`."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: keras.ops.convert_to_numpy(variable) for name, variable in named_variables(model).items()}
    with atomic.replacing(path, "wb") as file:
        np.savez(file, **arrays)


# What zipfile and NumPy raise for a damaged archive; RuntimeError for an encryption or compression they do not know.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)


def restore(path: str | pathlib.Path, model: keras.Model) -> None:
    """Puts the state in `path` into `model`. Raises DamagedCheckpoint, and ValueError for one of another model."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except _DAMAGE as error:
        raise DamagedCheckpoint(f"{path}: damaged ({error})") from error
    variables = named_variables(model)
    arrays = _by_name(arrays, variables)
    wrong = sorted(arrays.keys() ^ variables.keys())
    if wrong:
        owner = "this model" if wrong[0] in variables else "the file"
        raise InputError(f"{path}: belongs to another model; only {owner} has {wrong[0]} ({len(wrong)} names differ)")
    for name, variable in variables.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise InputError(f"{path}: {name} has shape {arrays[name].shape}, expected {tuple(variable.shape)}")
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _by_name(arrays, variables):
    """Arrays under today's names. Version 0.2.0 numbered them, in the order that `named_variables` still has."""
    if len(arrays) != len(variables) or not all(re.match(r"\d{4} ", name) for name in arrays):
        return arrays
    return dict(zip(variables, (arrays[name] for name in sorted(arrays)), strict=True))


def restore_newest(folder: str | pathlib.Path, model: keras.Model) -> int:
    """Restores the newest undamaged checkpoint in `folder` and returns how many epochs it has seen, 0 without one.

    Raises ValueError if it belongs to another model.
    """
    for epoch, path in reversed(epochs_of(folder).items()):
        try:
            restore(path, model)
        except DamagedCheckpoint as error:
            print(f"{error}: not used")
        else:
            return epoch
    return 0


def epochs_of(folder: str | pathlib.Path, kind: str = "epoch") -> dict[int, pathlib.Path]:
    """{epoch: path} of the checkpoints `epoch_*.npz` in `folder`, or of `best_*.npz`, ascending."""
    found = {}
    for path in pathlib.Path(folder).glob(f"{kind}_*.npz"):
        number = re.fullmatch(rf"{kind}_(\d+)\.npz", path.name)
        if number:  # not a copy that somebody made
            found[int(number[1])] = path
    return dict(sorted(found.items()))


def path_of(folder: str | pathlib.Path, epoch: int, kind: str = "epoch") -> pathlib.Path:
    """Where the checkpoint after `epoch` epochs lies."""
    return pathlib.Path(folder) / f"{kind}_{epoch:05d}.npz"


class Checkpoint(keras.callbacks.Callback):
    """Saves the state every `every` epochs and after the last one, and keeps the two newest files."""

    def __init__(self, folder: pathlib.Path, every: int = 1):
        super().__init__()
        self.folder, self.every = folder, every

    def on_epoch_end(self, epoch, logs=None):
        last = epoch + 1 == self.params["epochs"] or self.model.stop_training
        if (epoch + 1) % self.every and not last:
            return
        save(path_of(self.folder, epoch + 1), self.model)
        for path in list(epochs_of(self.folder).values())[:-2]:
            path.unlink()
