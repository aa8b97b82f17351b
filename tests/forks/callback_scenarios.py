"""Forks in odd places: out of on_error, out of a signal handler; run by test_forks.py."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import lab

if TYPE_CHECKING:
    from whisperr import Whisperr, WhisperrError

client: Whisperr
forked: list[int] = []


def on_error(_: WhisperrError) -> None:
    """Fork once; the child tracks and ends in the way that the test names."""
    if forked:
        return
    child = os.fork()
    forked.append(child)
    if child == 0:
        lab.track(client)
        ENDS[sys.argv[2]]()
    else:
        lab.wait_for(child)


def _return() -> None:
    return


def _raise() -> None:
    raise ValueError("the application's own")


def _sys_exit() -> None:
    sys.exit(7)


def _os_exit() -> None:
    client.flush()
    os._exit(3)


def _start_process() -> None:
    process = multiprocessing.get_context("fork").Process(target=_track)
    process.start()
    process.join()


def _track() -> None:
    lab.track(client)


ENDS = {
    "return": _return,
    "raise": _raise,
    "sys_exit": _sys_exit,
    "os_exit": _os_exit,
    "process": _start_process,
}


def out_of_on_error() -> None:
    """The sender's thread is the only one of the child, so the child ends when it returns."""
    lab.track(client)
    client.track("", "refused")
    deadline = time.monotonic() + 10
    while not (forked and client.stats().delivered):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    lab.record_stats(client)


def out_of_a_signal_handler() -> None:
    """The handler interrupts a flush that waits for a slow answer."""
    parent = os.getpid()

    def handler(*_: object) -> None:
        forked.append(os.fork())
        if os.getpid() != parent:
            lab.track(client)

    signal.signal(signal.SIGALRM, handler)
    lab.track(client)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    result = client.flush(timeout=10)
    lab.note("flushed", child=os.getpid() != parent)
    if os.getpid() == parent:
        assert result
        lab.wait_for(forked[0])
    lab.record_stats(client)


if __name__ == "__main__":
    client = lab.client(on_error=on_error, flush_interval=0.2)
    globals()[sys.argv[1]]()
