"""What ends a program from outside: Ctrl-C (SIGINT) and SIGTERM, with which a scheduler ends a job.

Both become an exception, so that files that are half written are removed, locks are given back and workers end.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


class Terminated(KeyboardInterrupt):
    """SIGTERM has arrived. `status` is the exit status of a program that it has ended."""

    status = 128 + signal.SIGTERM


def stop_at_sigterm() -> None:
    """From now on SIGTERM raises Terminated in the main thread; a second one ends the process at once."""

    def stop(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)


@contextlib.contextmanager
def asked_to_end() -> Iterator[Callable[[], bool]]:
    """A function that says whether Ctrl-C has been pressed in this block; a second Ctrl-C interrupts as usual."""
    asked = False

    def note(number, frame):
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():  # which no signal reaches
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def children_ignore_ctrl_c() -> Iterator[None]:
    """Processes that are started in this block never see the Ctrl-C of their terminal: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # which new processes inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
