"""Ctrl-C as a wish to end, and as an interruption."""

import signal
import threading

import pytest

from hand_tf.core import signals


def test_the_first_ctrl_c_asks_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), signals.asked_to_end() as asked:
        assert not asked()
        signal.raise_signal(signal.SIGINT)
        assert asked()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    with signals.asked_to_end() as asked:
        assert not asked()
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nobody_asks():
    answers = []

    def work():
        with signals.asked_to_end() as asked:
            answers.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
