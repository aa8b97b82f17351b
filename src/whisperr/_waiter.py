"""Locks used as flags: nobody waits for a lock that another may hold, only for a flag."""

from __future__ import annotations

import _thread
import time

#: A wait of `acquire` must be finite.
_LONGEST_WAIT = 3600.0


class Flag:
    """Raised by anyone, waited for by one; raising it waits for nothing and never fails.

    A signal handler or a finaliser may raise it while it interrupts any line, which
    `threading.Event` does not allow.
    """

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: dict[None, _thread.LockType] = {}

    def _lock(self) -> _thread.LockType:
        # Made on its first use: gevent may patch the class after a spare state was made.
        lock = self._locks.get(None)
        if lock is None:
            new = _thread.allocate_lock()
            new.acquire()
            lock = self._locks.setdefault(None, new)
        return lock

    def set(self) -> None:
        """Raise the flag; one that is up stays up."""
        lock = self._lock()
        if lock.locked():
            try:
                lock.release()
            except (RuntimeError, ValueError):
                return  # another thread was faster (gevent's lock raises ValueError)

    def wait(self, seconds: float) -> None:
        """Wait until the flag is raised, at most so long, and lower it."""
        if seconds > 0:
            self._lock().acquire(True, min(seconds, _LONGEST_WAIT))


class Waiter:
    """Someone who waits until all operations with a number below `mark` are settled.

    Args:
        mark: as many operations as were accepted before.
        deadline: monotonic time at which to stop waiting.
        at_exit: whether the process is ending.
    """

    def __init__(self, mark: int, deadline: float, *, at_exit: bool = False) -> None:
        self.mark = mark
        self.deadline = deadline
        self.at_exit = at_exit
        self.finished = False
        #: Whether it ended because the retries are spent, or the key was refused.
        self.spent = False
        self._done = Flag()

    def over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.finished or time.monotonic() >= self.deadline

    def is_served(self, oldest: int | None) -> bool:
        """Whether all is settled.

        Args:
            oldest: the number of the oldest operation that is not, None where there is none.
        """
        return oldest is None or oldest >= self.mark

    def give_up(self) -> None:
        """It cannot be settled in time."""
        self.finish()

    def finish(self) -> None:
        """There is nothing left to wait for."""
        self.finished = True
        self._done.set()

    def wait(self, seconds: float) -> None:
        """Wait for finish(), at most so long and not beyond the deadline."""
        self._done.wait(min(seconds, self.deadline - time.monotonic()))
