"""Files of torch tensors, written here by Python's pickler with stand-ins for torch's names."""

import collections
import os
import pickle
import sys
import types

import numpy as np
import pytest

from hand_tf.core import torch_file


class FloatStorage:
    """Stands for torch.FloatStorage."""


class LongStorage:
    """Stands for torch.LongStorage."""


def _rebuild_tensor_v2():
    """Stands for torch._utils._rebuild_tensor_v2; pickled by name only."""


class Tensor:
    """A view of a storage, as torch pickles it."""

    def __init__(self, key, values, offset, shape, strides):
        self.key, self.values = key, values
        self.view = (offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return _rebuild_tensor_v2, (self, *self.view)


class Pickler(pickle._Pickler):
    """Writes the first mention of a tensor as a call and the storage in it as a persistent id."""

    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.inside = set()

    def persistent_id(self, obj):
        if not isinstance(obj, Tensor):
            return None
        if id(obj) not in self.inside:
            self.inside.add(id(obj))
            return None
        kind = FloatStorage if obj.values.dtype == np.float32 else LongStorage
        return "storage", kind, obj.key, "cpu", obj.values.size, None


@pytest.fixture(autouse=True)
def _torch(monkeypatch):
    for name, names in (("torch", (FloatStorage, LongStorage)), ("torch._utils", (_rebuild_tensor_v2,))):
        module = types.ModuleType(name)
        for each in names:
            monkeypatch.setattr(each, "__module__", name)
            setattr(module, each.__name__, each)
        monkeypatch.setitem(sys.modules, name, module)


def write(path, tensors, magic=torch_file.MAGIC):
    with open(path, "wb") as file:
        for header in (magic, 1001, {"little_endian": True}):
            pickle.dump(header, file, protocol=2)
        Pickler(file).dump(collections.OrderedDict(tensors))
        storages = {tensor.key: tensor.values for tensor in tensors.values()}
        pickle.dump(list(storages), file, protocol=2)
        for values in storages.values():
            file.write(values.size.to_bytes(8, "little") + values.tobytes())
    return path


def test_tensors_are_read_in_any_order_of_their_axes(tmp_path):
    values, count = np.arange(24, dtype="float32"), np.array([7], "int64")
    tensors = {
        "plain": Tensor("a", values, 0, (2, 3, 4), (12, 4, 1)),
        "channels_last": Tensor("b", values[::-1].copy(), 0, (2, 3, 4), (1, 2, 6)),
        "part": Tensor("a", values, 5, (3,), (2,)),
        "count": Tensor("c", count, 0, (), ()),
    }
    found = torch_file.read_tensors(write(tmp_path / "weights.pth", tensors))
    np.testing.assert_array_equal(found["plain"], values.reshape(2, 3, 4))
    np.testing.assert_array_equal(found["channels_last"], values[::-1].reshape(4, 3, 2).T)
    np.testing.assert_array_equal(found["part"], [5, 7, 9])
    assert found["count"] == 7 and found["count"].dtype == np.int64


def test_nothing_but_tensors_is_read(tmp_path):
    class Command:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    path = tmp_path / "evil.pth"
    with open(path, "wb") as file:
        for part in (torch_file.MAGIC, 1001, {"little_endian": True}, {"weight": Command()}):
            pickle.dump(part, file, protocol=2)
    with pytest.raises(ValueError, match=r"evil\.pth: cannot be read .*system is not part of a tensor"):
        torch_file.read_tensors(path)
    assert not (tmp_path / "ran").exists()


def test_damaged_files_are_named(tmp_path):
    values = np.arange(6, dtype="float32")
    path = write(tmp_path / "w.pth", {"w": Tensor("a", values, 2, (2, 3), (3, 1))})
    with pytest.raises(ValueError, match=r"w\.pth: .* outside its storage"):
        torch_file.read_tensors(path)
    whole = write(path, {"w": Tensor("a", values, 0, (2, 3), (3, 1))}).read_bytes()
    for end in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"w\.pth: cannot be read"):
            torch_file.read_tensors(path)
    with pytest.raises(ValueError, match="magic number"):
        torch_file.read_tensors(write(path, {"w": Tensor("a", values, 0, (6,), (1,))}, magic=1))
