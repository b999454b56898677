"""Two processes that train together over loopback do what one process does with both their rows."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

from hand_tf import train
from hand_tf.core import command_line
from hand_tf.training import callbacks, multi_host

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).resolve().parents[2]
SIZES = ["--regime=supervised", "--flagfile=smoke", "--scenario=S0+S1:16", "--epochs=1", "--head_width=8"]
# One process whose batches are those of two processes, one above the other.
BOTH = """
import dataclasses, sys
import tensorflow as tf
from hand_tf import train
from hand_tf.core import command_line
from hand_tf.training import run_data

one = run_data.batches

def both(settings, *arguments):
    share = {"processes": 2, "coordinator": "nobody:1"}
    parts = [one(dataclasses.replace(settings, process_id=number, **share), *arguments) for number in range(2)]
    return tf.data.Dataset.zip(*parts).map(
        lambda first, second: tf.nest.map_structure(lambda a, b: tf.concat([a, b], 0), first, second)
    )

run_data.batches = both
sys.exit(command_line.run(train.main, sys.argv[1:]))
"""


def start(records, workdir, program, *flags):
    """Starts a training on JAX; compiling with care would take longer than the training."""
    xla = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    settings = os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": xla, "JAX_PLATFORMS": "cpu"}
    arguments = [sys.executable, *program, *SIZES, f"--data_dir={records}", f"--workdir={workdir}", *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(arguments, cwd=ROOT, env=settings, **pipes)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def trained(records, tmp_path_factory):
    """Workdirs: of the two processes, of the one, and the one that process 1 was given."""
    folder = tmp_path_factory.mktemp("processes")
    together = ["--processes=2", f"--coordinator=127.0.0.1:{free_port()}"]
    command_line = ["-m", "hand_tf.train"]
    running = [
        start(records, folder / "two", command_line, *together, "--process_id=0"),
        start(records, folder / "helper", command_line, *together, "--process_id=1"),
        start(records, folder / "one", ["-c", BOTH]),
    ]
    for process in running:
        said, _ = process.communicate(timeout=600)
        assert process.returncode == 0, said
    return folder


def test_two_processes_learn_what_one_learns_from_both_their_rows(trained):
    losses = [callbacks.read_history(trained / name / "history.csv")[-1]["loss"] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for part in ("encoder", "pose_head"):
        one, two = (
            keras.models.load_model(trained / name / f"{part}.keras", compile=False, safe_mode=True).weights
            for name in ("one", "two")
        )
        for a, b in zip(map(np.asarray, one), map(np.asarray, two), strict=True):
            # Adam's first steps are the sign of the gradient: a last bit may flip the step of a near-zero one.
            assert np.mean(np.abs(a - b)) < 2e-4, part


def test_the_processes_read_different_rows():
    assert multi_host.seed_of(5, 0) == 5
    assert len({multi_host.seed_of(seed, number) for seed in range(20) for number in range(20)}) > 390


def test_only_process_0_writes(trained):
    assert not (trained / "helper").exists()
    assert json.loads((trained / "two" / "run.json").read_text())["backend"] == "jax"
    assert (trained / "two" / "checkpoints").is_dir() and (trained / "two" / "pictures").is_dir()


def test_processes_that_cannot_work_together_get_one_clear_line(records, tmp_path, capsys):
    arguments = [*SIZES, f"--data_dir={records}", f"--workdir={tmp_path / 'run'}", "--processes=2"]
    assert command_line.run(train.main, [*arguments, "--coordinator=a:1"]) == 1
    error = capsys.readouterr().err
    assert "set KERAS_BACKEND=jax" in error and error.count("\n") == 1
