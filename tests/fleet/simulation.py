"""Time that jumps from one wake-up to the next, and the client's own code run in it.

Whatever waits is a greenlet: a pause switches to the simulation, which resumes it when its time
has come or its flag was raised.
"""

from __future__ import annotations

import gc
import heapq
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from greenlet import getcurrent, greenlet

from whisperr import _delivery, _loop, _reporter, _sender, _token, _waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Actor(Protocol):
    """Who acts in the simulation; it takes note of what happened while it slept."""

    def next_nudge(self) -> float:
        """When it has to look although nobody wakes it."""

    def catch_up(self) -> None:
        """Take note of what happened until now."""

    def ended(self) -> None:
        """Something that it started came to its end."""


#: When, in which order, who, and what to call; None once it is not to happen any more.
Wakeup = list[Any]


class Simulation:
    """A clock and what is to happen; in place of the `time` module where code reads the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._hub = getcurrent()
        self._numbers = count()
        self._wakeups: list[Wakeup] = []
        self._acting: Actor | None = None

    def monotonic(self) -> float:
        """The simulated time."""
        return self.now

    def at(self, when: float, actor: Actor | None, act: Callable[[], object]) -> Wakeup:
        """Have something happen then."""
        wakeup = [when, next(self._numbers), actor, act]
        heapq.heappush(self._wakeups, wakeup)
        return wakeup

    def start(self, run: Callable[[], object]) -> None:
        """Start a greenlet of whoever acts; in place of a thread."""
        actor = self._acting
        assert actor is not None

        def live() -> None:
            run()
            actor.ended()

        self.at(self.now, actor, greenlet(live, self._hub).switch)

    def sleep(self, seconds: float) -> None:
        """Let so much time go by."""
        self._sleep_until(self.now + seconds)

    def wait(self, flag: SimulatedFlag, seconds: float) -> None:
        """Let time go by until the flag is raised, at most so long."""
        until = self.now + seconds
        while not flag.raised and self.now < until:
            assert self._acting is not None
            self._sleep_until(min(until, self._acting.next_nudge()), flag)

    def _sleep_until(self, when: float, flag: SimulatedFlag | None = None) -> None:
        actor = self._acting
        assert actor is not None
        wakeup = self.at(when, actor, getcurrent().switch)
        if flag is not None:
            flag.wakeup = wakeup
        self._hub.switch()
        if flag is not None:
            flag.wakeup = None
        actor.catch_up()

    def hasten(self, wakeup: Wakeup) -> None:
        """Have it happen now."""
        _, _, actor, act = wakeup
        wakeup[-1] = None
        self.at(self.now, actor, act)

    def run_until(self, end: float) -> None:
        """Let time go by, from outside."""
        wakeups = self._wakeups
        while wakeups and wakeups[0][0] <= end:
            self.now, _, self._acting, act = heapq.heappop(wakeups)
            if act is not None:
                act()
        self.now = end


class SimulatedFlag(_waiter.Flag):
    """A flag whose wait is simulated."""

    __slots__ = ("_simulation", "raised", "wakeup")

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.raised = False
        self.wakeup: Wakeup | None = None

    def set(self) -> None:
        if self.wakeup is not None and not self.raised:
            self._simulation.hasten(self.wakeup)
        self.raised = True

    def wait(self, seconds: float) -> None:
        if seconds > 0:
            self._simulation.wait(self, seconds)
            self.raised = False


class _GreenletIds:
    """In place of `_thread`, where the client asks which thread runs."""

    @staticmethod
    def get_ident() -> int:
        return id(getcurrent())


@contextmanager
def simulated_time() -> Iterator[Simulation]:
    """A simulation that the client's modules see in place of time, threads and waits."""
    simulation = Simulation()
    gc.disable()  # it would look through all those workers again and again
    with pytest.MonkeyPatch.context() as patch:
        for module in (_loop, _delivery, _reporter, _sender, _waiter):
            patch.setattr(module, "time", simulation)
        for module in (_loop, _waiter):
            patch.setattr(module, "Flag", lambda: SimulatedFlag(simulation))
        patch.setattr(_token, "_thread", _GreenletIds)
        patch.setattr(_reporter.logger, "disabled", True)  # thousands would say the same
        patch.setattr(_sender, "start_thread", simulation.start)
        try:
            yield simulation
        finally:
            gc.enable()
