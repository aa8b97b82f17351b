"""Flags that anyone may raise at any moment."""

from __future__ import annotations

import signal
import sys
import threading
import time

import pytest

from whisperr._waiter import Flag, Waiter


def test_a_flag_raised_before_the_wait_ends_it_at_once() -> None:
    flag = Flag()
    flag.set()
    flag.set()
    started = time.monotonic()
    flag.wait(10)
    assert time.monotonic() - started < 1


def test_a_wait_lowers_the_flag() -> None:
    flag = Flag()
    flag.set()
    flag.wait(10)
    started = time.monotonic()
    flag.wait(0.05)
    assert time.monotonic() - started >= 0.04


def test_many_threads_may_raise_one_flag() -> None:
    flag = Flag()

    def work() -> None:
        for _ in range(2000):
            flag.set()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        flag.wait(0.001)
    for thread in threads:
        thread.join()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no timer signal")
def test_a_signal_handler_may_raise_the_flag_that_it_interrupts() -> None:
    flag = Flag()
    raised = []

    def handler(*_: object) -> None:
        flag.set()
        raised.append(True)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        deadline = time.monotonic() + 10
        while len(raised) < 500:
            flag.set()
            flag.wait(0.0001)
            assert time.monotonic() < deadline
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_waiter_is_over_when_it_is_finished_or_late() -> None:
    now = time.monotonic()
    waiter = Waiter(mark=1, deadline=now + 10)
    assert not waiter.over()
    waiter.finish()
    assert waiter.over()
    assert Waiter(mark=1, deadline=now).over()
