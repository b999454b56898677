"""Checkpoints: by name, whatever the order; those of version 0.2.0; damaged ones; those of other models."""

import keras
import numpy as np
import pytest

from hand_tf.core import command_line
from hand_tf.training import checkpoints, networks, regimes
from hand_tf.training.settings import TrainingSettings

REGIME = regimes.REGIMES["supervised"]


def make(seed, head_width=8):
    """A compiled model whose every variable has a value of its own, as after training."""
    flags = ["--flagfile=supervised", "--flagfile=smoke", "--data_dir=records", "--workdir=run", "--scenario=S0"]
    flags.append("--head=mlp")  # with dropout and its seeds
    settings = command_line.parse(TrainingSettings, [*flags, f"--head_width={head_width}"])
    rng = np.random.default_rng(seed)
    labels = {"pose": rng.normal(size=(9, 21, 3)), "pose_weight": np.ones((9, 21))}
    parts = networks.make_parts(settings, REGIME, 32)
    model = networks.compile_model(settings, REGIME, parts, 32, labels)
    for variable in checkpoints.named_variables(model).values():
        variable.assign(rng.integers(1, 1000, variable.shape))
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
    assert not any(np.array_equal(value, state[name]) for name, value in values(other).items() if value.size > 3)
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


def test_the_scale_of_the_loss_is_kept_in_half_precision(tmp_path):
    """Keras wraps the optimizer then; its own numbers are no slots of a variable."""
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        one, other = make(5), make(6)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert {"optimizer/dynamic_scale", "optimizer/encoder/bn1/gamma/momentum"} <= values(one).keys()
    checkpoints.save(tmp_path / "epoch_00001.npz", one)
    assert checkpoints.restore_newest(tmp_path, other) == 1
    assert_equal(values(other), values(one))


def test_files_that_are_no_checkpoints_are_left_alone(first, tmp_path):
    checkpoints.save(checkpoints.path_of(tmp_path, 3), first)
    checkpoints.save(checkpoints.path_of(tmp_path, 2, "best"), first)
    (tmp_path / "epoch_00004 (copy).npz").touch()
    assert list(checkpoints.epochs_of(tmp_path)) == [3] and list(checkpoints.epochs_of(tmp_path, "best")) == [2]
