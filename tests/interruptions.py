"""A storm of signals whose handler raises, for code that promises to survive it."""

from __future__ import annotations

import gc
import signal
import time
from random import Random
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


class Struck(Exception):  # noqa: N818 - nothing went wrong
    """What the signal handler raises."""


def storm(
    work: Callable[[], object],
    strikes: int,
    in_handler: Callable[[], object] = list,
    after_each: Callable[[], object] = list,
    seconds: float = 60.0,
) -> None:
    """Run `work` again and again until it was interrupted so many times, at random moments.

    The signal handler calls `in_handler` before it raises; `after_each` is called after that,
    when no alarm is set.
    Each alarm rings once, so none is pending when the next round begins. The time that the
    alarm had left before (pytest's own limit uses it) is put back at the end.
    """
    gc.collect()  # finalisers of others would swallow what the handler raises
    random = Random(20260614)
    deadline = time.monotonic() + seconds

    def strike(_number: int, _frame: object) -> NoReturn:
        in_handler()
        raise Struck

    handler = signal.signal(signal.SIGALRM, strike)
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        for _ in range(strikes):
            _interrupt_once(work, random.uniform(1e-6, 2e-4), deadline)
            after_each()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, left)


def gusts(work: Callable[[], object], rounds: int, longest: float) -> int:
    """Run `work` so many times, each with one alarm at a random moment; returns how many struck.

    For work that calls libraries, which may keep what the handler raises.
    """
    random = Random(20260614)
    struck = 0

    def strike(_number: int, _frame: object) -> NoReturn:
        raise Struck

    handler = signal.signal(signal.SIGALRM, strike)
    left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        for _ in range(rounds):
            struck += _blow(work, random.uniform(1e-6, longest))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, left)
    return struck


def _blow(work: Callable[[], object], after: float) -> bool:
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        work()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Struck:
        return True
    return False


def _interrupt_once(work: Callable[[], object], after: float, deadline: float) -> None:
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        _repeat(work, deadline)
    except Struck:
        return
    raise AssertionError("The work was not interrupted in time.")


def _repeat(work: Callable[[], object], deadline: float) -> None:
    # Not inside the try: CPython 3.13.0 leaves a loop's jump back out of it.
    while time.monotonic() < deadline:
        work()
