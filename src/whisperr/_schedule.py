"""Up to which operation to deliver, and when to look again. Pure: it is fed with the time.

All times are seconds of the monotonic clock.
"""

from __future__ import annotations

NEVER = float("inf")
#: The timer of an idle sender, where flush_interval turns the timer of deliveries off.
_DEFAULT_PERIOD = 10.0
_IDLE_PERIODS = 3
_SHORTEST_IDLE = 1.0
#: A short interval alone is no reason for alarm: an exchange may take longer.
_SHORTEST_STALL = 5.0


class Schedule:
    """The timer, the threshold and the wishes of those who wait.

    Args:
        flush_at: so many queued operations are delivered at once.
        flush_interval: seconds between deliveries of what is queued, 0 for no timer.
    """

    def __init__(self, flush_at: int, flush_interval: float) -> None:
        self.flush_at = flush_at
        self.timed = flush_interval > 0
        self.period = flush_interval or _DEFAULT_PERIOD
        #: Time of the next look at what is queued.
        self.tick = NEVER
        #: Operations with a number below it are to be delivered now.
        self.target = 0
        self._busy_at = 0.0

    def begin(self, now: float, first: float) -> None:
        """A sender starts to look; its first tick comes after `first` seconds."""
        self._busy_at = now
        self.tick = now + first

    def look(self, now: float, queued: int, accepted: int) -> bool:
        """Take note of the queue; returns whether the timer ticked.

        Args:
            now: the time.
            queued: how many operations wait.
            accepted: the number that the next operation gets.
        """
        if queued:
            self._busy_at = now
        ticked = now >= self.tick
        if ticked:
            self.tick = now + self.period
        if (ticked and self.timed) or queued >= self.flush_at:
            self.target = accepted
        return ticked

    def want(self, mark: int) -> None:
        """Someone waits for all operations with a number below `mark`."""
        self.target = max(self.target, mark)

    def covers(self, oldest: int | None) -> bool:
        """Whether the oldest operation, if there is one, is to be delivered now."""
        return oldest is not None and oldest < self.target

    def is_idle(self, now: float) -> bool:
        """Whether nothing was queued for a few intervals."""
        return now - self._busy_at >= max(_IDLE_PERIODS * self.period, _SHORTEST_IDLE)

    def is_stalled(self, now: float, progressed_at: float) -> bool:
        """Whether nothing was delivered for a few intervals, and for some seconds."""
        longest = max(_IDLE_PERIODS * self.period, _SHORTEST_STALL)
        return self.timed and now - progressed_at >= longest
