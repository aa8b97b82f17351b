"""Who delivers, and when: one thread for each process, started on demand.

Whoever holds the token delivers: the sender thread, or a thread that drains on its
own at an exit and where no thread can run. All locks here are used as flags
(`acquire` without waiting, `release`), so track() may be called from a signal
handler or a finaliser that interrupts any line.
"""

from __future__ import annotations

import _thread
import sys
import time
from typing import TYPE_CHECKING

from ._exit import end_child
from ._fork import ForkedAway, ForkedInCallback
from ._reporter import logger

if TYPE_CHECKING:
    from ._delivery import Delivery
    from ._fork import Owner
    from ._options import Options
    from ._queue import OperationQueue
    from ._reporter import Reporter

NEVER = float("inf")
#: How long a thread that was started may take to run before another is started.
_START_EXPIRES = 1.0
#: The timer of an idle thread, where flush_interval turns the timer of deliveries off.
_DEFAULT_PERIOD = 10.0
_IDLE_PERIODS = 3
_SHORTEST_IDLE = 1.0
_LONGEST_WAIT = 3600.0
#: How often a waiter looks whether there is still someone who delivers.
_LOOK_AGAIN = 0.25
#: An inline delivery inside track() is one exchange of at most this long.
_INLINE_SECONDS = 1.0


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
        self._done = _thread.allocate_lock()
        self._done.acquire()

    def over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.finished or time.monotonic() >= self.deadline

    def finish(self) -> None:
        """All is settled, or cannot be settled in time."""
        self.finished = True
        _release(self._done)

    def wait(self, seconds: float) -> None:
        """Wait for finish(), at most so long."""
        left = min(seconds, self.deadline - time.monotonic())
        if left > 0:
            self._done.acquire(True, left)


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
        self._flush_at = options.flush_at
        self._timed = options.flush_interval > 0
        self._period = options.flush_interval or _DEFAULT_PERIOD
        self._request_timeout = options.request_timeout
        self._owner = owner
        self._queue = queue
        self._delivery = delivery
        self._reporter = reporter
        self._token = _thread.allocate_lock()
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        self._holder: int | None = None
        self._starting_until = 0.0
        self._waiters: list[Waiter] = []
        self._hurried = False
        self._idle = False
        self._target = 0
        self._tick = NEVER
        self._busy_at = 0.0
        #: Set by shutdown(): the thread ends as soon as there is nothing left to do.
        self.closing = False

    @property
    def running(self) -> bool:
        """Whether someone delivers, or is about to."""
        return self._token.locked() or time.monotonic() < self._starting_until

    @property
    def is_this_thread(self) -> bool:
        """Whether the calling thread is the one that delivers."""
        return self._holder == _thread.get_ident()

    def notify(self) -> bool:
        """Something was queued. Waits for nothing; returns whether someone will deliver it."""
        if not self._token.locked():
            return self._start()
        if self._idle and len(self._queue) >= self._flush_at:
            _release(self._wake)
        return True

    def _start(self) -> bool:
        now = time.monotonic()
        if now < self._starting_until or not self._owner.holds():
            return True
        self._starting_until = now + _START_EXPIRES
        try:
            # threading.Thread.start() would wait until the thread runs.
            _thread.start_new_thread(self._run, ())
        except RuntimeError as error:
            self._starting_until = 0.0
            return "interpreter shutdown" in str(error)  # then the exit hook delivers
        return True

    def serve(self, waiter: Waiter) -> None:
        """Wait until the waiter is served or its time is over.

        The sender thread delivers where one lives; at an exit, and where no thread can
        start, the calling thread does.
        """
        if self.is_this_thread:
            return  # a callback, or a signal handler on top of a delivery: it cannot wait
        self._hurried = True  # before the waiter can be seen: it ends the pause it would give up in
        self._waiters.append(waiter)
        try:
            while not waiter.over():
                _release(self._wake)
                if (waiter.at_exit or not self.notify()) and self._deliver_here(waiter):
                    continue
                waiter.wait(_LOOK_AGAIN)
                self._owner.check()
        finally:
            if self._owner.holds():
                self._waiters.remove(waiter)

    def deliver_inline(self) -> None:
        """One exchange inside track(), where no thread can start."""
        now = time.monotonic()
        if self._tick == NEVER and self._timed:
            self._tick = now + self._period
        due = len(self._queue) >= self._flush_at or now >= self._tick
        if not due or now < self._delivery.backoff.resume_at or _in_event_loop():
            return
        if not self._take_token():
            return
        try:
            self._tick = now + self._period if self._timed else NEVER
            self._delivery.step(now + _INLINE_SECONDS, at_exit=False)
            self._report()
        finally:
            self._give_token()

    def _run(self) -> None:
        """The sender thread."""
        try:
            while self._take_token():
                self._starting_until = 0.0
                try:
                    self._tick = time.monotonic() + self._delivery.backoff.jitter(0, self._period)
                    self._busy_at = time.monotonic()
                    self._loop(None)
                finally:
                    self._give_token()
                # Between the loop's last look and here something may have been queued.
                if not (len(self._queue) or self._waiters or self._reporter.pending):
                    return
        except ForkedInCallback as away:
            end_child(away.__cause__)
        except ForkedAway:
            return  # the copy of this greenlet in a forked gevent process

    def _deliver_here(self, waiter: Waiter) -> bool:
        """Deliver on the calling thread; returns whether nobody else does."""
        if not self._take_token():
            return False
        try:
            self._loop(waiter)
        finally:
            self._give_token()
        return True

    def _take_token(self) -> bool:
        if not self._token.acquire(False):
            return False
        self._holder = _thread.get_ident()
        return True

    def _give_token(self) -> None:
        if self._owner.holds():
            self._holder = None
            self._token.release()

    def _loop(self, until: Waiter | None) -> None:
        """Deliver until the waiter is served, or without one until there was nothing to do."""
        while True:
            self._report()
            now = time.monotonic()
            self._plan(now)
            self._finish_waiters()
            if until is not None and until.over():
                return
            due = self._due()
            if due <= now:
                self._step(now, until)
            elif until is None and self._is_done(now):
                return
            else:
                self._pause(min(due, self._tick, NEVER if until is None else until.deadline) - now)

    def _report(self) -> None:
        if self._reporter.pending:
            self._reporter.report_pending()

    def _plan(self, now: float) -> None:
        """Decide up to which operation to deliver now."""
        if self._hurried:
            self._hurried = False
            self._delivery.backoff.hurry()
        if len(self._queue):
            self._busy_at = now
        ticked = now >= self._tick
        if ticked:
            self._tick = now + self._period
            self._look_for_stall(now)
        if (ticked and self._timed) or len(self._queue) >= self._flush_at:
            self._target = self._queue.accepted
        self._target = max([self._target, *[waiter.mark for waiter in self._waiters]])

    def _due(self) -> float:
        """Monotonic time of the next step."""
        oldest = self._queue.oldest()
        if oldest is None or oldest >= self._target:
            return NEVER
        return self._delivery.backoff.resume_at

    def _finish_waiters(self) -> None:
        oldest = self._queue.oldest()
        backoff = self._delivery.backoff
        for waiter in list(self._waiters):
            settled = oldest is None or oldest >= waiter.mark
            hopeless = backoff.spent or backoff.resume_at > waiter.deadline
            if settled or (hopeless and not self._hurried):
                waiter.finish()

    def _step(self, now: float, until: Waiter | None) -> None:
        deadline = now + self._request_timeout
        if until is not None:
            deadline = min(deadline, until.deadline)
        try:
            at_exit = any(waiter.at_exit for waiter in list(self._waiters))
            self._delivery.step(deadline, at_exit=at_exit)
        except Exception:  # noqa: BLE001
            # A defect of ours, or a session of the user's: it must not end all delivery.
            logger.exception("A delivery failed unexpectedly; its operations are kept.")
            self._delivery.backoff.failed(now, None)

    def _is_done(self, now: float) -> bool:
        if len(self._queue) or self._waiters:
            return False
        return self.closing or now - self._busy_at >= max(
            _IDLE_PERIODS * self._period, _SHORTEST_IDLE
        )

    def _pause(self, seconds: float) -> None:
        """Wait so long, or until someone waits or, outside a back-off, enough is queued."""
        self._idle = self._due() == NEVER
        enough = self._idle and len(self._queue) >= self._flush_at  # queued since we looked
        if not (enough or self._hurried):
            self._wake.acquire(True, min(max(seconds, 0.001), _LONGEST_WAIT))
        self._idle = False
        self._owner.check()

    def _look_for_stall(self, now: float) -> None:
        since = self._delivery.progressed_at
        if not self._timed or not len(self._queue):
            self._delivery.progressed_at = now
        elif since is not None and now - since >= _IDLE_PERIODS * self._period:
            waiting = len(self._queue)
            self._reporter.say_once(
                "stalled",
                "stalled",
                f"{waiting} operations wait and nothing was delivered for {now - since:.0f} s.",
            )


def _release(flag: _thread.LockType) -> None:
    """Raise a flag that someone may be waiting for; a flag that is up stays up."""
    if flag.locked():
        try:
            flag.release()
        except (RuntimeError, ValueError):
            return  # another thread was faster (gevent's lock raises ValueError)


def _in_event_loop() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None
