"""Who delivers: one thread for each process, started on demand.

Whoever holds the token delivers: the sender thread, or a thread that drains on its
own at an exit and where no thread can run. The token is taken by trying, never by
waiting, so track() may be called from a signal handler or a finaliser that
interrupts any line.
"""

from __future__ import annotations

import _thread
import time
from typing import TYPE_CHECKING

from ._exit import end_child
from ._fork import ForkedAway, ForkedInCallback
from ._hosts import end_thread, start_thread
from ._inline import may_deliver_here
from ._reporter import logger
from ._schedule import NEVER, Schedule
from ._waiter import Flag, Waiter

if TYPE_CHECKING:
    from ._delivery import Delivery
    from ._fork import Owner
    from ._options import Options
    from ._queue import OperationQueue
    from ._reporter import Reporter

#: How long a thread that was started may take to run before another is started.
_START_EXPIRES = 1.0
#: How often a waiter looks whether there is still someone who delivers.
_LOOK_AGAIN = 0.25
#: An inline delivery inside track() is one exchange of at most this long.
_INLINE_SECONDS = 1.0
_SHORTEST_PAUSE = 0.001
_END_POLL = 0.001


class Sender:
    """Starts, wakes and ends the thread that delivers.

    Args:
        options: the client's.
        owner: the process that delivers.
        queue: what is delivered.
        delivery: makes one step.
        reporter: told between the steps.
        state: what all of these are parts of; the thread keeps it alive, so that the exit
            hook finds what a dropped client still holds.
    """

    def __init__(
        self,
        options: Options,
        owner: Owner,
        queue: OperationQueue,
        delivery: Delivery,
        reporter: Reporter,
        state: object,
    ) -> None:
        self._state = state
        self._request_timeout = options.request_timeout
        self._owner = owner
        self._queue = queue
        self._delivery = delivery
        self._reporter = reporter
        self._schedule = Schedule(options.flush_at, options.flush_interval)
        self._token = _thread.allocate_lock()
        self._holder: int | None = None
        self._starting_until = 0.0
        self._wake = Flag()
        self._waiters: list[Waiter] = []
        self._hurried = False
        self._threadless = False
        #: Whether the holder of the token waits for operations, not for the end of a back-off.
        self.idle = False
        #: Set by shutdown(): the thread ends as soon as there is nothing left to do.
        self.closing = False

    @property
    def running(self) -> bool:
        """Whether someone delivers, or is about to."""
        return self._token.locked() or time.monotonic() < self._starting_until

    # --- For those who queue and those who wait -------------------------------------------

    def notify(self) -> bool:
        """Something was queued. Waits for nothing; returns whether someone will deliver it."""
        if not self._token.locked():
            return self._start()
        if self.idle and len(self._queue) >= self._schedule.flush_at:
            self._wake.set()
        return True

    def _start(self) -> bool:
        now = time.monotonic()
        if now < self._starting_until or not self._owner.holds():
            return True
        self._starting_until = now + _START_EXPIRES  # the thread itself takes the token
        try:
            start_thread(self._run)
        except RuntimeError as error:
            self._starting_until = 0.0
            if "interpreter shutdown" in str(error):
                return True  # the exit hook delivers
            self._threadless = True
            return False
        return True

    def serve(self, waiter: Waiter) -> None:
        """Wait until the waiter is served or its time is over.

        The sender thread delivers where one lives; at an exit, and where no thread can
        start, the calling thread does.
        """
        if self._holder == _thread.get_ident():
            return  # a callback, or a signal handler on top of a delivery: it cannot wait
        self._hurried = True  # before the waiter can be seen: it ends the pause it would give up in
        self._waiters.append(waiter)
        try:
            while not waiter.over():
                self._wake.set()
                if (waiter.at_exit or not self.notify()) and self._deliver_here(waiter):
                    continue
                waiter.wait(_LOOK_AGAIN)
                self._owner.check()
        finally:
            if self._owner.holds():
                self._waiters.remove(waiter)

    def end(self, deadline: float) -> None:
        """Have the thread end, and wait for that until then (monotonic seconds).

        At the end of the interpreter a daemon thread is stopped wherever it is.
        """
        self.closing = True
        while self._token.locked() and self._holder != _thread.get_ident():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._wake.set()
            time.sleep(min(left, _END_POLL))

    def _deliver_here(self, waiter: Waiter) -> bool:
        """Deliver on the calling thread; returns whether nobody else does."""
        if not self._take_token():
            return False
        try:
            self._deliver_until(waiter)
        finally:
            self._give_token()
        return True

    def deliver_inline(self) -> None:
        """One exchange inside track(), where no thread can start."""
        now = time.monotonic()
        schedule = self._schedule
        if schedule.timed and schedule.tick == NEVER:
            schedule.begin(now, schedule.period)
        due = len(self._queue) >= schedule.flush_at or now >= schedule.tick
        if not due or now < self._delivery.backoff.resume_at or not may_deliver_here():
            return
        if not self._take_token():
            return
        try:
            schedule.look(now, len(self._queue), self._queue.accepted)
            self._delivery.step(now + _INLINE_SECONDS, at_exit=False)
            self._report()
        finally:
            self._give_token()

    # --- For the holder of the token --------------------------------------------------------

    def _run(self) -> None:
        """The sender thread."""
        try:
            while self._take_token():
                self._starting_until = 0.0
                try:
                    self._deliver_until_idle()
                finally:
                    end_thread()
                    self._give_token()
                # Something may have been queued between the last look and the end of the token.
                if not (len(self._queue) or self._waiters or self._reporter.pending):
                    return
        except ForkedInCallback as away:
            end_child(away.__cause__)
        except ForkedAway:
            return  # the copy of this greenlet in a forked gevent process

    def _take_token(self) -> bool:
        if not self._token.acquire(False):
            return False
        self._holder = _thread.get_ident()
        return True

    def _give_token(self) -> None:
        if self._owner.holds():
            self._holder = None
            self._token.release()

    def _deliver_until_idle(self) -> None:
        now = time.monotonic()
        # Workers that boot together do not post together.
        self._schedule.begin(now, self._delivery.backoff.jitter(0, self._schedule.period))
        while True:
            now = self._look()
            if self._is_due(now):
                self._step(now + self._request_timeout)
            elif self._is_done(now):
                return
            else:
                self._pause(self._schedule.tick - now)

    def _deliver_until(self, waiter: Waiter) -> None:
        while True:
            now = self._look()
            if waiter.over():
                return
            if self._is_due(now):
                self._step(min(now + self._request_timeout, waiter.deadline))
            else:
                self._pause(waiter.deadline - now)

    def _look(self) -> float:
        """Report, decide up to which operation to deliver, serve those who wait."""
        self._report()
        if self._hurried:
            self._hurried = False
            self._delivery.backoff.hurry()
        now = time.monotonic()
        if self._schedule.look(now, len(self._queue), self._queue.accepted):
            self._look_for_stall(now)
        for waiter in list(self._waiters):
            self._schedule.want(waiter.mark)
            if self._is_served(waiter) or self._is_hopeless(waiter):
                waiter.finish()
        return now

    def _report(self) -> None:
        if self._reporter.pending:
            self._reporter.report_pending()
        if self._threadless:
            self._reporter.say_once(
                "threads",
                "environment",
                "No thread can be started here, so track() delivers inline now and then. "
                "Under uWSGI set enable-threads.",
            )

    def _is_served(self, waiter: Waiter) -> bool:
        oldest = self._queue.oldest()
        return oldest is None or oldest >= waiter.mark

    def _is_hopeless(self, waiter: Waiter) -> bool:
        """Whether the retries are spent, or the next try comes after the deadline."""
        backoff = self._delivery.backoff
        waiter.spent = backoff.spent
        return (backoff.spent or backoff.resume_at > waiter.deadline) and not self._hurried

    def _is_due(self, now: float) -> bool:
        wanted = self._schedule.covers(self._queue.oldest())
        return wanted and now >= self._delivery.backoff.resume_at

    def _is_done(self, now: float) -> bool:
        if len(self._queue) or self._waiters:
            return False
        return self.closing or self._schedule.is_idle(now)

    def _step(self, deadline: float) -> None:
        at_exit = any(waiter.at_exit for waiter in list(self._waiters))
        try:
            self._delivery.step(deadline, at_exit=at_exit)
        except Exception:  # noqa: BLE001
            # A defect of ours, or a session of the user's: it must not end all delivery.
            logger.exception("A delivery failed unexpectedly; its operations are kept.")
            self._delivery.backoff.failed(time.monotonic(), None)

    def _pause(self, seconds: float) -> None:
        """Wait so long, or until someone waits or, outside a back-off, enough is queued."""
        if self._schedule.covers(self._queue.oldest()):
            seconds = min(seconds, self._delivery.backoff.resume_at - time.monotonic())
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
            self._delivery.progressed_at = now
        elif self._schedule.is_stalled(now, since):
            self._reporter.say_once(
                "stalled",
                "stalled",
                f"{waiting} operations wait and nothing was delivered for {now - since:.0f} s.",
            )
