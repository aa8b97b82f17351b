"""Time that stands still while anyone runs, and threads that take turns: each run is the same.

Stands in for `time` and for the locks and threads of the client's modules. A thread runs until
it waits or ends. Where all of them wait, time jumps to the end of the shortest wait.
"""

from __future__ import annotations

import _thread
import importlib
import mmap
import pkgutil
import struct
import time
from collections import deque
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import whisperr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

MODULES = [
    importlib.import_module(f"whisperr.{found.name}")
    for found in pkgutil.iter_modules(whisperr.__path__)
    if found.name.startswith("_")
]
_BEGINNING = 1000.0


class _Turn:
    """A thread that waits until someone wakes it, or that time has come."""

    def __init__(self, until: float) -> None:
        self.until = until
        self._gate = _thread.allocate_lock()
        self._gate.acquire()

    def give(self) -> None:
        self._gate.release()

    def wait(self) -> None:
        self._gate.acquire()


class _FlagLock:
    """As much of a lock as `whisperr._waiter.Flag` uses: one thread waits for it at most."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._locked = False
        self._waiting = _Turn(0.0)

    def locked(self) -> bool:
        return self._locked

    def acquire(self, _blocking: bool = True, timeout: float = 0.0) -> bool:
        if self._locked:
            self._waiting = _Turn(self._clock.monotonic() + timeout)
            self._clock.wait(self._waiting)
        free, self._locked = not self._locked, True
        return free

    def release(self) -> None:
        self._locked = False
        self._clock.wake(self._waiting)


class Clock:
    """The time of a test, with the threads that it started. A forked child shares the time."""

    def __init__(self) -> None:
        self._now = mmap.mmap(-1, 8)
        self._set(_BEGINNING)
        self._waiting: list[_Turn] = []
        self._ready: deque[_Turn] = deque()

    def monotonic(self) -> float:
        (now,) = struct.unpack("d", self._now[:])
        return float(now)

    def _set(self, now: float) -> None:
        self._now[:] = struct.pack("d", now)

    def sleep(self, seconds: float) -> None:
        """Let so much time pass, and everyone run who has something to do meanwhile."""
        self.wait(_Turn(self.monotonic() + seconds))

    def wait(self, turn: _Turn) -> None:
        """Let the others run until the turn of the calling thread has come."""
        self._waiting.append(turn)
        following = self._next()
        if following is not turn:
            following.give()
            turn.wait()

    def wake(self, turn: _Turn) -> None:
        """End the wait; it runs when those before it have run."""
        if turn in self._waiting:
            self._waiting.remove(turn)
            self._ready.append(turn)

    def _next(self) -> _Turn:
        if not self._ready:
            first = min(self._waiting, key=lambda turn: turn.until)
            self._set(max(self.monotonic(), first.until))
            self.wake(first)
        return self._ready.popleft()

    def allocate_lock(self) -> _FlagLock:
        return _FlagLock(self)

    def start_thread(self, run: Callable[[], None]) -> None:
        """Start a thread; it runs when its turn has come."""
        turn = _Turn(self.monotonic())
        self._ready.append(turn)
        _thread.start_new_thread(self._run, (turn, run))

    def _run(self, turn: _Turn, run: Callable[[], None]) -> None:
        turn.wait()
        try:
            run()
        finally:
            self._next().give()

    def forked(self) -> None:
        """In a child: the other threads are not here."""
        self._waiting.clear()
        self._ready.clear()

    @property
    def threads(self) -> int:
        """How many other threads there are."""
        return len(self._waiting) + len(self._ready)


def install(patch: pytest.MonkeyPatch, clock: Clock, *, threads: bool) -> None:
    """Have the client's modules run by the clock, with the same jitter in each run.

    Args:
        patch: undoes it.
        clock: theirs from now on.
        threads: whether a thread can be started.
    """
    for module in _that_read_time():
        patch.setattr(module, "time", clock)
    patch.setattr("whisperr._waiter._thread", clock)
    patch.setattr("whisperr._sender.start_thread", clock.start_thread if threads else _refuse)
    patch.setattr("whisperr._backoff.Random", partial(Random, 0))


def _that_read_time() -> Iterator[Any]:
    for module in MODULES:
        if getattr(module, "time", None) is time and module.__name__ != "whisperr._stamp":
            yield module


def _refuse(_run: Callable[[], None]) -> None:
    raise RuntimeError("can't start new thread")
