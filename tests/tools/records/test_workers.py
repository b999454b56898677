"""Jobs on several processes: in order, a few at a time, and no process outlives its parent."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tfrecords_tools.records import workers


def square(number):
    return number * number


def end(_):
    os._exit(3)


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order(processes):
    with workers.pool(processes) as run:
        assert list(run((square, n) for n in range(20))) == [n * n for n in range(20)]
        assert list(run([])) == []


def test_jobs_are_drawn_as_results_are_taken():
    drawn = []

    def jobs():
        for n in range(100):
            drawn.append(n)
            yield square, n

    with workers.pool(2) as run:
        results = run(jobs())
        for _ in range(3):
            next(results)
        assert len(drawn) < 15


def test_a_dead_worker_is_said():
    with pytest.raises(OSError, match="a worker died"), workers.pool(2) as run:
        list(run([(end, 0)]))


def test_workers_end_with_their_parent(tmp_path):
    code = (
        "import os, sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from tfrecords_tools.records import workers\n"
        "if __name__ == '__main__':\n"
        "    with workers.pool(2) as run:\n"
        "        print(*run([(os.getpid,), (os.getpid,), (time.sleep, 0)]), flush=True)\n"
        "        time.sleep(60)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    root = str(pathlib.Path(workers.__file__).resolve().parents[2])
    parent = subprocess.Popen([sys.executable, script, root], stdout=subprocess.PIPE, text=True)
    children = {int(pid) for pid in parent.stdout.readline().split() if pid != "None"}
    assert children
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while children and time.monotonic() < deadline:
        children = {pid for pid in children if os.path.exists(f"/proc/{pid}")}
        time.sleep(0.1)
    assert not children
