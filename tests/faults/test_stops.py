"""Programs that are ended at any moment: the next run of the same command ends with the same files."""

import builtins
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tiny_dump

from hand_tf.core import folder_lock
from hand_tf.training import callbacks
from tfrecords_tools import build
from tfrecords_tools.dome import capture, dump, records
from tfrecords_tools.records.settings import RecordsSettings

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Dead(BaseException):
    """The process is dead: nothing that it would do afterwards takes place."""


@contextlib.contextmanager
def dying(monkeypatch, folder, moment=None):
    """Counts in `box["count"]` what is done to files below `folder`; at the `moment`-th time the process is dead."""
    box = {"count": 0}

    def watched(function, is_meant):
        def call(path, *arguments, **options):
            if is_meant(path, *arguments) and str(path).startswith(str(folder)):
                box["count"] += 1
                if moment is not None and box["count"] >= moment:
                    raise Dead
            return function(path, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "mkdir", "rmdir"):
            patch.setattr(os, name, watched(getattr(os, name), lambda *_: True))
        patch.setattr(shutil, "rmtree", watched(shutil.rmtree, lambda *_: True))
        patch.setattr(
            builtins,
            "open",
            watched(open, lambda path, mode="r", *_: isinstance(path, (str, os.PathLike)) and "r" not in mode),
        )
        # The lock of a dead process is free, which test_folder_lock shows on real processes.
        patch.setattr(folder_lock, "holding", lambda *_: contextlib.nullcontext())
        yield box


def contents(folder):
    """{path: bytes} of what a command has made, without the times and the settings in it."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if "work" not in path.parts}


def check(monkeypatch, tmp_path, run, command, record):
    """Kills `run`, a function of the output folder, at every moment, and lets it run again."""
    with dying(monkeypatch, tmp_path / "sound") as box:
        run(tmp_path / "sound")
    expected = contents(tmp_path / "sound")
    assert box["count"] > 10
    for moment in range(1, box["count"] + 1):
        output = tmp_path / f"killed_{moment}"
        with dying(monkeypatch, output, moment), contextlib.suppress(Dead):
            run(output)
        with dying(monkeypatch, output):
            run(output)
        assert contents(output) == expected, f"killed at {moment} of {box['count']}"
        shutil.rmtree(output)
    for name, value in {"group": "killed", "what": command, "faults": box["count"], "named": 0}.items():
        record(name, value)


@pytest.fixture(scope="module")
def sequence(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dumps") / "pose1"
    tiny_dump.write(folder, frames=3)
    return folder


def test_build(monkeypatch, tmp_path, sequence, record_property):
    def run(output):
        build.build(build.BuildSettings(input=(str(sequence),), output=str(output), crop_size=32, workers=1))

    check(monkeypatch, tmp_path, run, "build", record_property)


SMALL = dict(frames=2, fps=3.0, num_cameras=2, width=64, height=64, seed=5, clutter=1)


def test_dump_of_the_dome(monkeypatch, tmp_path, record_property):
    sequences = capture.plan(subjects=1, **SMALL)
    check(monkeypatch, tmp_path, lambda output: dump.write(output, sequences), "dome", record_property)


def test_records_of_the_dome(monkeypatch, tmp_path, record_property):
    sequences = capture.plan(subjects=1, **SMALL)

    def run(output):
        records.write(sequences, RecordsSettings(output=output, crop_size=32), processes=1)

    check(monkeypatch, tmp_path, run, "dome --records", record_property)


def start(*command):
    """A program in a process group of its own, as a terminal starts it."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-m", *map(str, command)], cwd=ROOT, start_new_session=True, **pipes)


def wait_for(condition, program, seconds=120):
    """Waits until `condition` holds while the program runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert program.poll() is None and time.monotonic() < end, program.communicate()[1]
        time.sleep(0.02)


def test_ctrl_c_ends_a_build_and_its_workers_in_one_line(tmp_path):
    tiny_dump.write(tmp_path / "pose1", frames=40)
    command = ("tfrecords_tools.build", f"--input={tmp_path / 'pose1'}", f"--output={tmp_path / 'out'}", "--workers=2")
    program = start(*command)
    wait_for(lambda: list(tmp_path.glob("out/work/spool/*/*.bin.partial")), program)
    os.killpg(program.pid, signal.SIGINT)  # the terminal's Ctrl-C goes to the workers, too
    _, error = program.communicate(timeout=60)
    assert program.returncode == 130
    assert [line for line in error.splitlines() if "cameras:" not in line] == ["stopped; what had finished is kept"]
    program = start(*command)
    assert program.communicate(timeout=200) and program.returncode == 0
    assert not list((tmp_path / "out").rglob("*partial*")) and not (tmp_path / "out" / folder_lock.LOCK).exists()


def test_sigterm_ends_a_training_which_says_where_it_continues(records, tmp_path):
    workdir = tmp_path / "run"
    flags = ["--flagfile=supervised", "--flagfile=smoke", "--scenario=S0:8", f"--data_dir={records}"]
    program = start("hand_tf.train", *flags, f"--workdir={workdir}", "--epochs=400")
    wait_for(lambda: len(callbacks.read_history(workdir / "history.csv")) > 1, program)
    program.terminate()
    _, error = program.communicate(timeout=60)
    assert program.returncode == 143
    kept = max(int(path.stem.removeprefix("epoch_")) for path in workdir.glob("checkpoints/epoch_*.npz"))
    assert error == f"{workdir}: stopped; the same command continues after epoch {kept} of 400\n"
