"""A gevent process forks while its sender waits; run by test_gevent_forks.py: FORK STATE SENDER.

A fork copies every greenlet. The child turns its hub until the copy of the sender, were it to
go on, has read its parent's answer or sent its parent's batch; the parent stands still
meanwhile, so that the copy would be the first.
"""
# ruff: noqa: E402 - gevent patches after the client's import, as it does in its hosts

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import lab

warnings.simplefilter("ignore")

from gevent import monkey

monkey.patch_all()

import gc

import gevent
import greenlet
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from whisperr._process import ProcessState

SECONDS = 15.0
#: How long the child lives beyond the moment at which the copy of the sender would act.
BEYOND = 0.25
select_now: Callable[..., Any] = monkey.get_original("select", "select")


class _LongestPauses:
    """In place of the jitter, so that the pause outlasts the fork."""

    def uniform(self, _least: float, most: float) -> float:
        return most


def main(fork: str, state: str, sender: str) -> None:
    process = client._local.get()
    process._loop._delivery.backoff._random = _LongestPauses()  # type: ignore[assignment]
    tracker: Any = gevent.get_hub().threadpool if sender == "thread" else gevent
    tracker.spawn(lab.track, client).get()
    _wait_until(lambda: HELD[state](process))
    due = _acts_at(state, process)
    answer = _connection() if (state, sender) == ("recv", "greenlet") else None
    reader, writer = os.pipe()
    join = FORKS[fork](lambda: _child(due, answer, writer))
    lab.note("forked", held=HELD[state](process), sender=_sender_in(FUNCTIONS[state]))
    os.close(writer)
    assert select_now([reader], [], [], SECONDS)[0]  # the hub does not turn here
    join()
    assert client.flush(SECONDS)
    lab.track(client)
    assert client.flush(SECONDS)
    lab.record_stats(client)


def _child(due: float, answer: int | None, writer: int) -> None:
    signal.alarm(int(SECONDS))
    unread = None if answer is None else os.dup(answer)  # the copy may close its own
    lab.identify(client)
    assert client.flush(SECONDS)
    _wait_until(lambda: time.monotonic() > due + BEYOND)
    if unread is not None:
        _wait_until(lambda: select_now([unread], [], [], 0)[0])  # it came, and nobody read it
    lab.identify(client)
    assert client.flush(SECONDS)
    lab.record_stats(client)
    os.write(writer, b".")


# --- The states in which the process forks ------------------------------------------------------


#: Where the sender stands meanwhile.
FUNCTIONS = {"recv": "_read_status", "backoff": "_pause"}


def _waits_for_the_answer(process: ProcessState) -> bool:
    return process._queue.in_flight == 1 and bool(_sender_in(FUNCTIONS["recv"]))


def _waits_in_backoff(process: ProcessState) -> bool:
    pauses = process._loop._delivery.backoff.resume_at > time.monotonic()
    kept = len(process._queue) == 1 and not process._queue.in_flight
    return pauses and kept and bool(_sender_in(FUNCTIONS["backoff"]))


HELD = {"recv": _waits_for_the_answer, "backoff": _waits_in_backoff}


def _acts_at(state: str, process: ProcessState) -> float:
    """When the answer comes, or the pause ends."""
    if state == "backoff":
        return process._loop._delivery.backoff.resume_at
    return time.monotonic() + float(os.environ["LAB_DELAY"])


def _sender_in(function: str) -> str | None:
    """Whether a greenlet or a thread, which gevent also makes one, stands in this function."""
    for thing in gc.get_objects():
        if isinstance(thing, greenlet.greenlet) and function in _functions(thing.gr_frame):
            return "greenlet" if isinstance(thing, gevent.Greenlet) else "thread"
    return None


def _functions(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_name
        frame = frame.f_back


def _connection() -> int:
    """The descriptor of the only connection."""
    (connection,) = psutil.Process().net_connections("tcp")
    return connection.fd


def _wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        gevent.sleep(0.005)


# --- The forks ----------------------------------------------------------------------------------


def _os_fork(work: Callable[[], None]) -> Callable[[], None]:
    child = os.fork()
    if child == 0:
        work()
        sys.exit(0)

    def join() -> None:
        _, status = os.waitpid(child, 0)  # gevent's: it alone sees the ends of children
        lab.note("children", status=os.waitstatus_to_exitcode(status))

    return join


def _multiprocessing(work: Callable[[], None]) -> Callable[[], None]:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()

    def join() -> None:
        process.join()
        lab.note("children", status=process.exitcode)

    return join


FORKS = {"os_fork": _os_fork, "multiprocessing": _multiprocessing}


if __name__ == "__main__":
    client = lab.client(flush_at=1, flush_interval=60.0, request_timeout=SECONDS)
    main(*sys.argv[1:])
