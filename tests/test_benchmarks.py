"""Benchmarks: their flags, the sizes that they measure, and one step of what `train_step` times."""

import importlib
import pathlib

import numpy as np
import pytest

from benchmarks import steps
from hand_tf.core import command_line
from hand_tf.training import regimes

FOLDER = pathlib.Path(steps.__file__).parent
COMMANDS = sorted(path.stem for path in FOLDER.glob("*.py") if "command_line.execute(main)" in path.read_text())


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_explain_themselves_and_refuse_unknown_flags(name, capsys):
    main = importlib.import_module(f"benchmarks.{name}").main
    assert command_line.run(main, ["--help"]) == 0
    assert f"python -m benchmarks.{name}" in capsys.readouterr().out
    assert command_line.run(main, ["--no_such_flag"]) == 2
    assert "no_such_flag" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "image", "batch", "width", "features"), [("demo", 64, 32, 16, "none"), ("full", 128, 32, 64, "imagenet")]
)
def test_sizes_are_those_of_the_flagfiles(name, image, batch, width, features):
    sizes = steps.sizes_of(name)
    assert (sizes.image, sizes.batch) == (image, batch)
    assert (sizes.settings.encoder_width, sizes.settings.perceptual_weights) == (width, features)
    assert steps.sizes_of(name, 16).batch == 16


@pytest.mark.slow
def test_a_step_of_all_parts_learns_from_finite_losses():
    sizes, regime = steps.sizes_of("miniature"), regimes.REGIMES["semi_supervised"]
    mine = steps.ours(regime, sizes, run_eagerly=True)
    assert set(mine.parts) == {"encoder", "decoder", "pose_head", "features"}
    losses = [mine.model.train_on_batch(*mine.batch, return_dict=True)["loss"] for _ in range(2)]
    assert np.isfinite(losses).all() and losses[1] < losses[0]
    flops = steps.part_flops(mine)
    assert all(count > 0 for count in flops.values())
    for once in (True, False):
        pretrained = steps.step_flops(regimes.REGIMES["pretrain"], flops, once)
        supervised = steps.step_flops(regimes.REGIMES["supervised"], flops, once)
        assert steps.step_flops(regime, flops, once) == pretrained + supervised
