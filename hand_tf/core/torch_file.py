"""Reads the tensors of a file that `torch.save` wrote before version 1.6, without torch.

Such a file is a row of pickles: a magic number, a version, facts about the machine, the tensors by name (each a view of
a storage), the keys of the storages; then the raw values of one storage after the other. A pickle can run any code.
This reader allows it three names, makes nothing but arrays of them, and refuses all others.
"""

import collections
import os
import pickle
from typing import IO

import numpy as np

from hand_tf.core.errors import InputError

MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def read_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The tensors of the file by name, float32 or int64. Raises ValueError if it holds anything else."""
    try:
        with open(path, "rb") as file:
            return _read(file)
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a file of torch tensors: {error}") from error


class _TensorsOnly(pickle.Unpickler):
    """An unpickler for dicts of tensors; a tensor becomes its description (storage, offset, shape, strides)."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a tensor")

    def persistent_load(self, pid):
        _, dtype, key, _, count, _ = pid
        return dtype, key, count


def _read(file: IO[bytes]):
    magic, _, machine = (_TensorsOnly(file).load() for _ in range(3))
    if magic != MAGIC or not machine["little_endian"]:
        raise InputError("magic number and little-endian values expected")
    tensors = _TensorsOnly(file).load()
    dtypes = {storage[1]: storage[0] for storage, *_ in tensors.values()}
    storages = {}
    for key in _TensorsOnly(file).load():
        count = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(count * dtypes[key].itemsize), dtypes[key], count)
    return {name: _view(storages[storage[1]], *rest) for name, (storage, *rest) in tensors.items()}


def _view(values, offset, shape, strides):
    """A tensor of `values`; its axes may be in any order in memory (`strides` in elements)."""
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min(offset, *strides, *shape, 0) < 0 or last >= len(values):
        raise InputError("a tensor lies outside its storage")
    steps = [stride * values.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(values[offset:], shape, steps, writeable=False).copy()
