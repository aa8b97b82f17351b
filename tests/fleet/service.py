"""The service that a fleet posts to: it counts what arrives, and is down now and then."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from whisperr._outcome import Outcome, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleet.simulation import Simulation


class Service:
    """Answers 202, or 503 while it is down.

    Args:
        simulation: its time.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._down_until = 0.0
        self._retry_after: Callable[[float], float] | None = None
        self._requests: Counter[int] = Counter()

    def go_down(self, seconds: float, retry_after: Callable[[float], float] | None = None) -> None:
        """Answer 503 for so long.

        Args:
            seconds: how long.
            retry_after: makes the Retry-After from the seconds that are left; None for none.
        """
        self._down_until = self._simulation.now + seconds
        self._retry_after = retry_after

    def answer(self, events: int) -> Outcome:
        """What the client's transport makes of the answer to a request that arrives now."""
        now = self._simulation.now
        self._requests[int(now)] += 1
        if now >= self._down_until:
            return judge(202, b'{"accepted": %d}' % events, events=events)
        left = self._down_until - now
        retry_after = self._retry_after(left) if self._retry_after else None
        return judge(503, b"", events=events, retry_after=retry_after)

    def requests(self, begin: float, end: float) -> list[int]:
        """How many arrived in each second from `begin` to `end`."""
        return [self._requests[second] for second in range(int(begin), int(end))]
