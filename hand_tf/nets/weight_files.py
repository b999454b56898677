"""Fills networks from files of published weights, whose tensors have torch's names and axes."""

import os
from collections.abc import Callable

import h5py
import keras
from safetensors import SafetensorError
from safetensors.numpy import load_file

from hand_tf.core.errors import InputError

Variable = keras.Variable
# Axes of a kernel in torch, [out, in, height, width] or for depthwise ones [channels, 1, height, width], in our order.
_CONVOLUTION, _DEPTHWISE = (2, 3, 1, 0), (2, 3, 0, 1)


def fill(model: keras.Model, path: str | os.PathLike, tensors: Callable[[keras.Layer], list]) -> None:
    """Fills the layers of `model` from a file.

    Args:
        model: a Functional model.
        path: `.safetensors`, or `.h5`/`.weights.h5` with one dataset per tensor.
        tensors: gives the variables of a layer that come from the file, [(name of the tensor, variable)].

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read, or a tensor is missing or of another shape; nothing has been assigned.
    """
    found = _read(os.fspath(path))
    assignments = [
        (variable, _pick(found, name, variable.shape, _axes(layer, variable), path))
        for layer in model.layers
        for name, variable in tensors(layer)
    ]
    for variable, value in assignments:
        variable.assign(value)


def of_batch_norm(layer: keras.layers.BatchNormalization, name: str) -> list[tuple[str, Variable]]:
    """The variables of a batch norm that is called `name` in torch, for `fill`."""
    variables = {"weight": layer.gamma, "bias": layer.beta}
    variables |= {"running_mean": layer.moving_mean, "running_var": layer.moving_variance}
    return [(f"{name}.{tensor}", variable) for tensor, variable in variables.items()]


def _read(path):
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: no such weights file; expected a .safetensors or .h5 file")
    try:
        if path.endswith(".safetensors"):
            return load_file(path)
        if path.endswith(".h5"):
            with h5py.File(path) as file:
                return {name: item[...] for name, item in file.items() if isinstance(item, h5py.Dataset)}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be read as a weights file: {error}") from error
    raise InputError(f"{path}: expected a .safetensors or .h5 file")


def _axes(layer, variable):
    """The order in which our axes lie in torch's tensor."""
    if len(variable.shape) != 4:
        return tuple(range(len(variable.shape)))
    return _DEPTHWISE if isinstance(layer, keras.layers.DepthwiseConv2D) else _CONVOLUTION


def _pick(tensors, name, shape, axes, path):
    expected = [0] * len(shape)
    for ours, theirs in enumerate(axes):
        expected[theirs] = shape[ours]
    if name not in tensors:
        raise InputError(f"{path}: tensor {name} is missing, expected shape {expected}")
    value = tensors[name]
    if list(value.shape) != expected:
        raise InputError(f"{path}: tensor {name} has shape {list(value.shape)}, expected {expected}")
    return value.transpose(axes)
