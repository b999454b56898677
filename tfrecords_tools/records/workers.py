"""Jobs over processes: a job is a tuple (function, *arguments)."""

import concurrent.futures.process
import contextlib
import itertools
import multiprocessing
import os
import threading

import cv2


def _run(job):
    cv2.setNumThreads(1)  # one worker a core: OpenCV's own threads would fight over them
    function, *arguments = job
    return function(*arguments)


def _end_with_parent():
    """Ends this process when its parent is gone: killed from outside, a parent would leave its workers waiting."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def pool(processes):
    """A function that runs jobs on `processes` processes and yields their results in the jobs' order.

    Only a few jobs more than processes are under way or waiting to be fetched, so memory does not grow with the list.
    With one process, jobs run in this one. Raises OSError if a worker dies.
    """
    if processes == 1:
        yield lambda jobs: map(_run, jobs)
        return
    # Spawned, not forked: a fork of a process in which TensorFlow runs threads can hang.
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(processes, context, _end_with_parent)

    def run(jobs):
        jobs, waiting = iter(jobs), []
        while True:
            waiting += [executor.submit(_run, job) for job in itertools.islice(jobs, 3 * processes - len(waiting))]
            if not waiting:
                return
            yield waiting.pop(0).result()

    try:
        yield run
    except concurrent.futures.process.BrokenProcessPool as error:
        raise OSError("a worker died, perhaps for want of memory: take fewer --workers and start again") from error
    finally:
        executor.shutdown(cancel_futures=True)
