"""Folders that one process at a time writes to, and programs that are ended from outside."""

import errno
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from hand_tf.core import folder_lock, remarks

ROOT = pathlib.Path(__file__).resolve().parents[2]

# A command that writes to the folder FOLDER until it is stopped.
PROGRAM = """
import dataclasses, sys, time
from hand_tf.core import command_line, folder_lock
from hand_tf.core.setting_fields import setting

@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    output: str = setting("Folder.")

def main(settings: Settings) -> None:
    with folder_lock.holding(settings.output):
        print("holding", flush=True)
        time.sleep(60)

command_line.execute(main)
"""


@pytest.fixture
def start(tmp_path):
    """Starts programs that hold `tmp_path / "out"`, and ends them at the end."""
    started = []

    def run():
        command = [sys.executable, "-c", PROGRAM, f"--output={tmp_path / 'out'}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes))
        return started[-1]

    yield run
    for program in started:
        program.kill()
        program.wait()


def test_a_second_process_is_told_who_writes_there(start, tmp_path):
    first = start()
    assert first.stdout.readline() == "holding\n"
    second = start()
    _, error = second.communicate(timeout=60)
    assert second.returncode == 1
    (line,) = error.splitlines()
    assert line.startswith(f"error: {tmp_path / 'out'}: process {first.pid} on ")
    assert "has been writing here since 20" in line and f"delete {tmp_path / 'out' / '.lock'}" in line
    with pytest.raises(ValueError, match=f"process {first.pid} on"), folder_lock.holding(tmp_path / "out"):
        pass
    with folder_lock.holding(tmp_path / "out", "other"):  # something else in that folder
        assert first.poll() is None


@pytest.mark.parametrize(
    ("number", "status", "message"),
    [
        (signal.SIGTERM, 143, "stopped; what had finished is kept\n"),
        (signal.SIGINT, 130, "stopped; what had finished is kept\n"),
        (signal.SIGKILL, -9, ""),
    ],
)
def test_whatever_ends_a_process_the_folder_is_free_again(start, tmp_path, number, status, message):
    program = start()
    assert program.stdout.readline() == "holding\n"
    os.kill(program.pid, number)
    _, error = program.communicate(timeout=60)
    assert (program.returncode, error) == (status, message)
    with folder_lock.holding(tmp_path / "out"):
        pass
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_system_without_locks_is_remarked_on(tmp_path, monkeypatch):
    def refuse(self):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_lock.filelock.FileLock, "acquire", refuse)
    with pytest.warns(remarks.Remark, match="a file system without locks"), folder_lock.holding(tmp_path):
        pass


def test_the_lock_of_a_thing_in_a_folder_is_removed_with_it(tmp_path):
    with folder_lock.holding(tmp_path, "model"):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".model.lock", ".model.owner.json"]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_removed_while_it_was_held_is_not_shared(tmp_path):
    """Somebody deletes the lock by hand: the next process gets one of its own, and the first leaves that alone."""
    with folder_lock.holding(tmp_path):
        (tmp_path / folder_lock.LOCK).unlink()
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
