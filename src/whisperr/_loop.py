"""The delivery loop: look, step or pause. Run by whoever holds the sender's token."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ._schedule import NEVER, Schedule
from ._threads import in_gevent_pool
from ._transport import FAULTS
from ._waiter import Flag, Waiter

if TYPE_CHECKING:
    from ._delivery import Delivery
    from ._fork import Owner
    from ._options import Options
    from ._queue import OperationQueue
    from ._reporter import Reporter

_SHORTEST_PAUSE = 0.001
_AFTER_DEFECT = 1.0
#: An inline delivery inside track() is one exchange of at most this long.
_INLINE_SECONDS = 1.0
_THREADLESS = (
    "No thread can be started here, so track() delivers inline now and then. "
    "Under uWSGI set enable-threads."
)


class DeliveryLoop:
    """Delivers what is due and serves those who wait.

    Args:
        options: the client's.
        owner: the process that delivers.
        queue: what is delivered.
        delivery: makes one step.
        reporter: told between the steps.
    """

    def __init__(
        self,
        options: Options,
        owner: Owner,
        queue: OperationQueue,
        delivery: Delivery,
        reporter: Reporter,
    ) -> None:
        self._request_timeout = options.request_timeout
        self._owner = owner
        self._queue = queue
        self._delivery = delivery
        self._reporter = reporter
        self._schedule = Schedule(options.flush_at, options.flush_interval)
        self._wake = Flag()
        self._waiters: list[Waiter] = []
        self._wanted = 0
        self._hurried = False
        #: Whether it waits for operations, not for the end of a back-off.
        self.idle = False
        #: Whether a step or a report is under way.
        self.busy = False
        #: Set by shutdown(), at an exit and when the client is dropped: it delivers what is
        #: left without waiting for a timer, and ends.
        self.closing = False
        #: Set where no thread can be started.
        self.threadless = False

    # --- For other threads and signal handlers ----------------------------------------------

    def nudge(self) -> None:
        """Something was queued; wakes the loop where that is enough for a delivery."""
        if self.idle and len(self._queue) >= self._schedule.flush_at:
            self._wake.set()

    def wake(self) -> None:
        """Have it look now; a pause that is not over goes on."""
        self._wake.set()

    def add(self, waiter: Waiter) -> None:
        """Deliver what the waiter waits for; ends a back-off."""
        self._wanted = waiter.mark  # also when it does not wait at all
        self._hurried = True  # before it can be seen: this ends the pause it would give up in
        self._waiters.append(waiter)

    def remove(self, waiter: Waiter) -> None:
        """The waiter waits no more."""
        with suppress(ValueError):  # the loop removed it when it was over
            self._waiters.remove(waiter)

    def has_work(self) -> bool:
        """Whether something came after its last look."""
        return bool(len(self._queue) or self._waiters or self._reporter.pending)

    def reporting(self) -> bool:
        """Whether the calling thread is inside a report."""
        return self._reporter.reporting()

    # --- For the holder of the token ----------------------------------------------------------

    def run_until_idle(self) -> None:
        """Deliver until there was nothing to do for a few intervals."""
        # Workers that boot together do not post together.
        first = self._delivery.backoff.jitter(0, self._schedule.period)
        self._schedule.begin(time.monotonic(), first)
        while not self._turn():
            pass
        if self.closing or in_gevent_pool():
            self.disconnect()

    def disconnect(self) -> None:
        """Close the connection; another is made where something is delivered after all."""
        self._delivery.close()

    def _turn(self) -> bool:
        """Step or pause; returns whether there is nothing left to do."""
        try:
            now = self._look()
            if self._is_due(now):
                self._step(now + self._request_timeout)
            elif self._is_done(now):
                return True
            else:
                self._pause(min(self._schedule.tick, self._reporter.due_at()) - now)
        except Exception:  # noqa: BLE001 - in this thread it is nobody else's
            self._failed()
            self._wake.wait(_AFTER_DEFECT)  # one that comes back at once must not spin
        return False

    def run_until(self, waiter: Waiter) -> None:
        """Deliver until the waiter is served or its time is over."""
        while True:
            now = self._look()
            if waiter.over():
                return
            if self._is_due(now):
                self._step(min(now + self._request_timeout, waiter.deadline))
            else:
                self._pause(waiter.deadline - now)

    def is_inline_due(self) -> bool:
        """Whether a call of track() should deliver, where no thread can be started."""
        now = time.monotonic()
        schedule = self._schedule
        if schedule.timed and schedule.tick == NEVER:
            schedule.begin(now, schedule.period)
        due = len(self._queue) >= schedule.flush_at or now >= schedule.tick
        return due and now >= self._resume_at()

    def run_inline(self) -> None:
        """Make one exchange of at most a second, then the reports."""
        now = time.monotonic()
        self._schedule.look(now, len(self._queue), self._queue.accepted)
        self._step(now + _INLINE_SECONDS)
        self._serve()
        self.report(time.monotonic())

    def _look(self) -> float:
        """Report, decide up to which operation to deliver, serve those who wait."""
        now = time.monotonic()
        self.report(NEVER if self._waiters or self.closing else now)
        if self._hurried:
            self._hurried = False
            self._delivery.backoff.hurry()
        now = time.monotonic()  # a callback takes its time
        if self._schedule.look(now, len(self._queue), self._queue.accepted):
            self._look_for_stall(now)
        self._schedule.want(self._queue.accepted if self.closing else self._wanted)
        self._serve()
        return now

    def _serve(self) -> None:
        """Tell those who wait what became of it."""
        for waiter in list(self._waiters):
            self._schedule.want(waiter.mark)
            if waiter.is_served(self._queue.oldest()):
                waiter.finish()
            elif self._is_hopeless(waiter):
                waiter.give_up()
            if waiter.over():
                self.remove(waiter)

    def report(self, now: float = NEVER) -> None:
        """Make the reports that wait.

        Args:
            now: monotonic time, to leave out what was reported shortly before.
        """
        self.busy = True
        try:
            self._reporter.report_pending(now)
            if self.threadless:
                self._reporter.say_once("threads", "environment", _THREADLESS)
        finally:
            self.busy = False

    def _is_hopeless(self, waiter: Waiter) -> bool:
        """Whether the retries are spent, or the next try comes after the deadline."""
        backoff = self._delivery.backoff
        waiter.spent = backoff.spent
        return (backoff.spent or backoff.resume_at > waiter.deadline) and not self._hurried

    def _is_due(self, now: float) -> bool:
        wanted = self._schedule.covers(self._queue.oldest())
        return wanted and now >= self._resume_at()

    def _resume_at(self) -> float:
        """The end of the pause that is under way; whoever waits does not wait for a mere pace."""
        backoff = self._delivery.backoff
        hurried = self._waiters or self.closing
        return backoff.resume_at if hurried else max(backoff.resume_at, backoff.paced_until)

    def _is_done(self, now: float) -> bool:
        if len(self._queue) or self._waiters or self._reporter.pending:
            return False
        return self.closing or self._schedule.is_idle(now)

    def _step(self, deadline: float) -> None:
        at_exit = any(waiter.at_exit for waiter in list(self._waiters))
        self.busy = True
        try:
            self._delivery.step(deadline, at_exit=at_exit)
        except FAULTS:
            self._failed()
        finally:
            self.busy = False

    def _failed(self) -> None:
        """A defect of ours, or a session of the user's: it must not end all delivery."""
        self._reporter.defect()
        self._delivery.backoff.failed(time.monotonic(), None)

    def _pause(self, seconds: float) -> None:
        """Wait so long, or until someone waits or, outside a back-off, enough is queued."""
        if self._schedule.covers(self._queue.oldest()):
            seconds = min(seconds, self._resume_at() - time.monotonic())
        else:
            self.idle = True
        enough = self.idle and len(self._queue) >= self._schedule.flush_at  # since we looked
        if not (enough or self._hurried):
            self._wake.wait(max(seconds, _SHORTEST_PAUSE))
        self.idle = False
        self._owner.check()

    def _look_for_stall(self, now: float) -> None:
        since = self._delivery.progressed_at
        waiting = len(self._queue)
        if not waiting or since is None:
            self._delivery.progressed_at = now if waiting else None
        elif self._schedule.is_stalled(now, since):
            self._reporter.say_once(
                "stalled",
                "stalled",
                f"{waiting} operations wait and nothing was delivered for {now - since:.0f} s.",
                count=waiting,
            )
