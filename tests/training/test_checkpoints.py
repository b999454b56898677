"""Checkpoints: by name, whatever the order; those of version 0.2.0; damaged ones; those of other models."""

import keras
import numpy as np
import pytest

from hand_tf.nets import models
from hand_tf.training import checkpoints, regimes, wiring

REGIME = regimes.REGIMES["supervised"]


def make(seed, head_width=8):
    """A compiled model with its own random state, after one step."""
    keras.utils.set_random_seed(seed)
    parts = {"encoder": models.encoder(32, width=4, num_points=3, appearance_size=2, stem="small")}
    parts["pose_head"] = models.pose_head(3, width=head_width)
    model = wiring.wire(REGIME, parts)
    model.compile(keras.optimizers.Adam(1e-2), *wiring.compiled_losses(REGIME, pose_std=np.ones((21, 3))))
    rng = np.random.default_rng(seed)
    x = {"source": rng.integers(0, 256, (4, 32, 32, 3)).astype("uint8")}
    model.train_on_batch(x, {"pose": rng.normal(size=(4, 21, 3))}, {"pose": np.ones((4, 21))})
    return model


def values(model):
    return {name: np.asarray(v) for name, v in checkpoints.named_variables(model).items()}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.fixture(scope="module")
def first():
    return make(0)


@pytest.fixture(scope="module")
def state(first):
    return values(first)


def test_names_say_what_a_variable_is(state):
    assert {"encoder/layer1.0.conv1/kernel", "pose_head/dropout0/seed_generator_state"} <= state.keys()
    assert {
        "optimizer/iteration",
        "optimizer/encoder/bn1/gamma/momentum",
        "optimizer/pose_head/bn1/gamma/velocity",
    } <= state.keys()


def test_a_state_is_restored_whatever_keras_called_and_ordered_it(first, state, tmp_path):
    checkpoints.save(tmp_path / "epoch_00003.npz", first)
    with np.load(tmp_path / "epoch_00003.npz") as arrays:
        shuffled = {name: arrays[name] for name in sorted(arrays.files, key=lambda name: name[::-1])}
    np.savez(tmp_path / "epoch_00003.npz", **shuffled)
    other = make(1)  # later in the process: Keras numbers its optimizer and its seed generators on
    assert not np.array_equal(values(other)["encoder/bn1/gamma"], state["encoder/bn1/gamma"])
    assert checkpoints.restore_newest(tmp_path, other) == 3
    assert_equal(values(other), state)


def test_a_checkpoint_of_version_0_2_0_is_restored(first, state, tmp_path):
    variables = [*first.variables, *first.optimizer.variables]
    np.savez(tmp_path / "epoch_00002.npz", **{f"{i:04d} {v.path}": np.asarray(v) for i, v in enumerate(variables)})
    other = make(2)
    assert checkpoints.restore_newest(tmp_path, other) == 2
    assert_equal(values(other), state)


def test_a_damaged_checkpoint_is_passed_over(first, state, tmp_path, capsys):
    checkpoints.save(tmp_path / "epoch_00001.npz", first)
    (tmp_path / "epoch_00002.npz").write_bytes((tmp_path / "epoch_00001.npz").read_bytes()[:-2000])
    other = make(3)
    assert checkpoints.restore_newest(tmp_path, other) == 1
    assert_equal(values(other), state)
    assert "epoch_00002.npz: damaged" in capsys.readouterr().out


def test_the_checkpoint_of_another_model_is_refused_and_changes_nothing(first, tmp_path):
    checkpoints.save(tmp_path / "epoch_00001.npz", first)
    wider = make(4, head_width=16)
    before = values(wider)
    with pytest.raises(ValueError, match=r"epoch_00001.npz: pose_head/hidden0/kernel has shape .*, expected"):
        checkpoints.restore_newest(tmp_path, wider)
    with np.load(tmp_path / "epoch_00001.npz") as arrays:
        np.savez(tmp_path / "epoch_00001.npz", **{n: arrays[n] for n in arrays.files if n != "encoder/bn1/gamma"})
    with pytest.raises(ValueError, match=r"another model; only this model has encoder/bn1/gamma \(1 names differ\)"):
        checkpoints.restore_newest(tmp_path, wider)
    assert_equal(values(wider), before)
