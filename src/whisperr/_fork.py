"""Which process is this? The only module that watches for forks.

Two detectors, each sufficient where it can run: a generation that a hook of
``os.register_at_fork`` raises in every child, and the pid, for forks that run
no Python hook (uWSGI's default mode forks in C).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

Identity = tuple[int, int]

_generation = 0


def _raise_generation() -> None:
    global _generation
    _generation += 1


if hasattr(os, "register_at_fork"):
    # No `before` hook: it could block a fork, and a C-level fork would skip it.
    os.register_at_fork(after_in_child=_raise_generation)


def identity() -> Identity:
    """The pid and the fork generation of the process that calls."""
    return os.getpid(), _generation


class ForkedAway(BaseException):
    """Raised in a child that finds itself inside a delivery of its parent.

    A BaseException, so that no ``except Exception`` on the way resumes the work.
    """


class ForkedInCallback(ForkedAway):
    """The fork was made by a callback of the user's; its cause is what the callback raised."""


class Owner:
    """The process that a value belongs to: the one that made this object, or adopted it since.

    Attributes:
        identity: of that process.
    """

    __slots__ = ("identity",)

    def __init__(self) -> None:
        self.identity = identity()

    def holds(self) -> bool:
        """Whether the calling process is still the owner."""
        return (os.getpid(), _generation) == self.identity

    def check(self) -> None:
        """Raise ForkedAway unless the calling process is the owner."""
        if not self.holds():
            raise ForkedAway


class ProcessLocal(Generic[T]):
    """One value for each process, its own from its first use there on.

    The value of another process stays under that process's key: that is where
    it is parked, and nothing ever touches it again. No lock is taken, so a
    fork, a signal handler or a finaliser may interrupt any line.

    The process that this was made in keeps a spare value for its children: to run the code that
    makes one, a child would copy most of the pages that the code is in.

    Args:
        make: makes a value; it must have no effects, the loser of a race is dropped.
        adopt: called with the value that stays and the process whose it is; it must be idempotent.
            That is not the calling process where a signal handler forked in the middle of a use.
    """

    __slots__ = ("_adopt", "_current", "_home", "_make", "_spares", "_values")

    def __init__(self, make: Callable[[], T], adopt: Callable[[T, Identity], None]) -> None:
        self._make = make
        self._adopt = adopt
        self._values: dict[Identity, T] = {}
        self._current: tuple[Identity, T] | None = None
        self._home = identity()
        self._spares: list[T] = [make()]

    def get(self) -> T:
        """The calling process's value, made now where there is none."""
        here = (os.getpid(), _generation)
        current = self._current
        if current is not None and current[0] == here:
            return current[1]
        value = self._values.get(here)
        if value is None:
            value = self._values.setdefault(here, self._spare_or_new())
        self._adopt(value, here)  # also when someone's exception interrupted the call that made it
        self._current = (here, value)
        if here == self._home and not self._spares:
            self._spares.append(self._make())
        return value

    def _spare_or_new(self) -> T:
        try:
            # In one C call: a child that a signal handler forks in between cannot take it, too.
            return self._spares.pop()
        except IndexError:
            return self._make()

    def peek(self) -> T | None:
        """The calling process's value, or None where nothing made one yet."""
        return self._values.get(identity())

    def refresh(self) -> None:
        """Look for a fork now; makes nothing, changes nothing in a process that did not fork."""
        current = self._current
        if current is not None and current[0] != identity():
            self._current = None
