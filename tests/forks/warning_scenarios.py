"""Forks whose warnings are counted; run by test_warnings.py: NAME with|without the client.

CPython 3.12 and later warn at a fork beside threads of the operating system. A thread that
ended in Python may still be one of these for a moment.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from typing import TYPE_CHECKING

import psutil

import lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from whisperr import Whisperr

FORKS = int(os.environ["LAB_FORKS"])
INTERVAL = 0.4


def never_used(_: Whisperr | None) -> None:
    """Made, as at the top of a module, and never used."""
    _fork_many()


def idle_master(client: Whisperr | None) -> None:
    """Tracked at boot, delivered, and idle since."""
    _track_and_rest(client)
    _fork_many()
    _record(client)


def idle_worker(client: Whisperr | None) -> None:
    """The same in a forked child of a process that used its client, too."""
    _track_and_rest(client)
    child = os.fork()
    if child == 0:
        _track_and_rest(client)
        _fork_many()
        _record(client)
        sys.exit(0)
    lab.wait_for(child)
    _record(client)


def busy(client: Whisperr | None) -> None:
    """Each fork while the sender waits for an answer."""

    def post() -> None:
        if client is not None:
            client.flush()
            lab.track(client)
            queue = client._local.get()._queue
            _wait_until(lambda: queue.in_flight == 1, "The sender did not take the operation.")

    _fork_many(post)
    if client is not None:
        assert client.flush()
    _record(client)


def _track_and_rest(client: Whisperr | None) -> None:
    """Come back when the thread is gone, also for the operating system."""
    if client is None:
        return
    lab.track(client)
    assert client.flush()
    delivered_at = time.monotonic()
    assert _threads() == 2, "No sender thread was there to end."
    _wait_until(lambda: _threads() == 1, "The idle sender thread did not end.")
    lab.note("rested", intervals=(time.monotonic() - delivered_at) / INTERVAL)


def _fork_many(before_each: Callable[[], None] = lambda: None) -> None:
    for _ in range(FORKS):
        before_each()
        threads = _threads()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            child = os.fork()
            if child == 0:
                os._exit(0)
        os.waitpid(child, 0)
        about_threads = ["multi-threaded" in str(warning.message) for warning in caught]
        lab.note("fork", threads=threads, warnings=sum(about_threads))


def _threads() -> int:
    return psutil.Process().num_threads()


def _wait_until(condition: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, problem
        time.sleep(0.001)


def _record(client: Whisperr | None) -> None:
    if client is not None:
        lab.record_stats(client)


if __name__ == "__main__":
    options = {"flush_at": 1} if sys.argv[1] == "busy" else {}
    interval = 60.0 if sys.argv[1] == "busy" else INTERVAL
    used = lab.client(flush_interval=interval, **options) if sys.argv[2] == "with" else None
    globals()[sys.argv[1]](used)
