"""Runs jobs on several processes; a job is a tuple (function, *arguments)."""

import concurrent.futures.process
import contextlib
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2

from hand_tf.core import signals


def _run(job):
    cv2.setNumThreads(1)  # there is a worker per core already
    function, *arguments = job
    return function(*arguments)


def _end_with_parent():
    """Ends this process when its parent ends: the workers of a parent that was killed would wait for ever."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def pool(processes: int) -> Iterator[Callable[[Iterable[tuple]], Iterator[Any]]]:
    """A function that runs jobs on `processes` processes and yields their results in the order of the jobs.

    At most three jobs per process are started before their results are taken, so memory does not grow with the number
    of jobs. With one process, jobs run in this one. Raises OSError if a worker dies.
    """
    if processes == 1:
        yield lambda jobs: map(_run, jobs)
        return
    # Spawned, not forked: the fork of a process in which TensorFlow has threads can hang.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())  # of a program that calls this
    executor = concurrent.futures.ProcessPoolExecutor(processes, context, _end_with_parent)

    def run(jobs):
        jobs, waiting = iter(jobs), []
        while True:
            more = list(itertools.islice(jobs, 3 * processes - len(waiting)))
            with signals.children_ignore_ctrl_c():  # the executor starts its processes as jobs come
                waiting += [executor.submit(_run, job) for job in more]
            if not waiting:
                return
            yield waiting.pop(0).result()

    try:
        yield run
    except concurrent.futures.process.BrokenProcessPool as error:
        raise OSError("a worker died, perhaps out of memory: take fewer --workers and start again") from error
    except BaseException:
        for worker in set(multiprocessing.active_children()) - others:  # the next run starts their jobs again
            worker.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)
