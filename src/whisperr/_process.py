"""Everything of a client that belongs to one process, wired. Making one has no effects."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import _exit, _uwsgi
from ._delivery import Delivery
from ._drops import DropLog
from ._fork import ForkedAway, ForkedInCallback, Owner
from ._loop import DeliveryLoop
from ._operation import Refusal
from ._queue import OperationQueue
from ._reporter import Reporter
from ._result import FlushResult
from ._schedule import NEVER
from ._sender import Sender
from ._stats import Counters, Stats
from ._transport import Transport
from ._waiter import Waiter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._fork import Identity
    from ._handover import Handover
    from ._options import Options


_TOO_LATE = Refusal("master", "A uWSGI master that has forked its workers delivers nothing.")


@contextmanager
def _children_return() -> Iterator[None]:
    """A child forked in here, by a callback or a signal handler, leaves it to the parent."""
    try:
        yield
    except ForkedInCallback as away:
        cause = away.__cause__
        if cause is not None and not isinstance(cause, Exception):
            raise cause from None  # sys.exit() in the child
    except ForkedAway:
        return


class ProcessState:
    """Queue, sender, transport, counters and reporter of a client in one process."""

    def __init__(self, options: Options, handover: Handover) -> None:
        self.owner = Owner()
        self.shutdown_timeout = options.shutdown_timeout
        self.closed = not options.api_key  # made in a capture that is over
        self._handover = handover
        self._is_master = False
        self._given_up: tuple[int, float] | None = None
        self._late_seconds: float | None = None
        self._left_before = 0
        self._seen = (0, 0)
        self._counters = Counters()
        self._queue = OperationQueue(
            options.max_queue_size, options.max_queue_bytes, self._counters
        )
        self._reporter = Reporter(options.on_error, bool(options.debug), self._counters, self.owner)
        transport = Transport(
            options.url, options.api_key or "", options.session_factory, self.owner
        )
        self._drops = DropLog(self._reporter)
        delivery = Delivery(
            options,
            self.owner,
            self._queue,
            transport,
            self._counters,
            self._reporter,
            self._drops,
        )
        self._loop = DeliveryLoop(options, self.owner, self._queue, delivery, self._reporter)
        self._sender = Sender(self.owner, self._loop, self)

    def adopt(self, owner: Identity) -> None:
        """Be the state of that process from now on; idempotent."""
        self.owner.identity = owner
        self._is_master = _uwsgi.is_master()

    def settle_call(self, outcome: bytes | Refusal) -> None:
        """Queue an operation or count a refusal, and see that someone delivers or reports it."""
        if self._is_master:
            outcome = self._left_to_workers(outcome)
        if isinstance(outcome, Refusal):
            self._reporter.refuse(outcome)
        else:
            self._queue.append(outcome)
        self._see_to_delivery()

    def pass_over_anonymous(self) -> None:
        """A call for nobody: nothing but a line of `debug`, by whoever delivers."""
        self._reporter.mention_anonymous()
        self._see_to_delivery()

    def _left_to_workers(self, outcome: bytes | Refusal) -> bytes | Refusal:
        """A uWSGI master leaves what it queues before it forks to a worker, and takes no more."""
        if isinstance(outcome, Refusal):
            return outcome
        if not _uwsgi.has_forked() and self._handover.offer(self._queue):
            return outcome
        self._handover.count_too_late()
        return _TOO_LATE

    def take_over(self) -> None:
        """In a worker of uWSGI's: deliver what its master left, where no other worker does."""
        takeover = self._handover.claim()
        if takeover is None:
            return
        takeover.queue_into(self._queue)
        self._reporter.inherit(takeover.too_late)
        self._sender.begin(takeover)
        self._see_to_delivery()

    def _see_to_delivery(self) -> None:
        if self._late_seconds is not None:
            self._deliver_late(self._late_seconds)
        elif not (self._sender.notify() or _uwsgi.only_forks()):
            with _children_return():
                self._sender.deliver_inline()
            _exit.keep(self)

    def _deliver_late(self, seconds: float) -> None:
        """After the process's own last delivery nobody comes by any more."""
        began = time.monotonic()
        for _ in range(2):  # again for what a callback tracked meanwhile
            # When the interpreter is finalizing modules are gone: no exchange can succeed.
            if sys.is_finalizing() or self.finish(self.start(began + seconds, at_exit=True)).queued:
                break
        # A thread may go on for hours: what counts is for how long such calls wait in all.
        self._late_seconds = max(0.0, seconds - (time.monotonic() - began))
        self.report_left()

    def flush(self, timeout: float | None) -> FlushResult:
        """Deliver what was accepted before; see `Whisperr.flush`."""
        deadline = NEVER if timeout is None else time.monotonic() + max(0.0, timeout)
        result = self.finish(self.start(deadline))
        if self._late_seconds is not None:  # for what a callback tracked meanwhile
            self._deliver_late(self._late_seconds)
        return result

    def shutdown(self, timeout: float | None) -> FlushResult:
        """Accept nothing more and deliver what is left; see `Whisperr.shutdown`."""
        self.closed = True
        self._sender.close()
        seconds = self.shutdown_timeout if timeout is None else max(0.0, timeout)
        result = self.finish(self.start(time.monotonic() + seconds, at_exit=True))
        self.report_left()
        self._sender.disconnect()
        return result

    def start_before_exit(self, deadline: float) -> Waiter:
        """start() for a hook that others may follow; finish_before_exit() waits."""
        self._given_up = (self._counters.delivered.value, min(deadline, self.patience()))
        return self.start(self._given_up[1], at_exit=True)

    def finish_before_exit(self, waiter: Waiter) -> FlushResult:
        """Wait; where nothing at all is delivered meanwhile, later hooks wait no longer."""
        result = self.finish(waiter)
        if not result.queued:
            self._given_up = None
        return result

    def patience(self) -> float:
        """Until when an exit hook may wait: NEVER unless one waited and nothing has moved."""
        if self._given_up is None or self._counters.delivered.value > self._given_up[0]:
            return NEVER
        return self._given_up[1]

    def start(self, deadline: float, *, at_exit: bool = False) -> Waiter:
        """Have everything delivered that was accepted before; waits for nothing.

        Args:
            deadline: monotonic time until which finish() will wait.
            at_exit: whether the process is ending, or this client is.
        """
        waiter = Waiter(self._queue.accepted, deadline, at_exit=at_exit)
        if self._is_master and _uwsgi.has_forked():
            waiter.finish()  # its workers have copies of what it holds
        elif self.has_work() or self.closed:
            self._sender.begin(waiter)
        else:
            waiter.finish()
        return waiter

    def finish(self, waiter: Waiter) -> FlushResult:
        """Wait until what start() asked for is settled, or its time is over."""
        with _children_return():
            self._sender.wait(waiter)
            if self._reporter.pending:
                self._sender.report()
        if not self.owner.holds():
            return FlushResult()
        if not self.has_sender():
            _exit.keep(self)
        return self._result(waiter)

    def _result(self, waiter: Waiter) -> FlushResult:
        delivered = self._counters.delivered.value
        dropped = sum(counter.value for counter in self._counters.dropped.values())
        before, self._seen = self._seen, (delivered, dropped)
        queued = self._queue.unsettled(waiter.mark)
        return FlushResult(
            delivered=delivered - before[0],
            dropped=dropped - before[1],
            queued=queued,
            timed_out=queued > 0 and not waiter.spent,
        )

    def report_left(self) -> None:
        """Report what was lost and what is undelivered where the process ends; each once.

        Not in a callback, nor on top of a delivery: whoever made it comes by here as well. Nor
        in a child that on_error forked meanwhile.
        """
        if not self.owner.holds() or self._sender.cannot_wait():
            return
        with _children_return():
            self._drops.report()
        accepted = self._queue.accepted
        left = self._queue.unsettled(accepted, since=self._left_before)
        self._left_before = accepted  # shutdown() and every exit hook come here
        if not left:
            return
        with _children_return():
            self._reporter.report(
                "stalled",
                f"{left} operations were not delivered before the end. "
                "The service did not take them in time; see shutdown_timeout.",
                count=left,
                reason="undelivered",
            )

    def has_work(self) -> bool:
        """Whether there is something to deliver, to note or to report, or that is under way."""
        return self._counters.unsettled or self._loop.busy or self._loop.has_work()

    def has_sender(self) -> bool:
        """Whether a thread is delivering."""
        return self._sender.running

    def abandon(self) -> None:
        """The client is gone: deliver what is left and end. Safe at any moment, on any thread."""
        self._sender.close()
        self._loop.wake()
        if not self.has_sender():
            _exit.keep(self)

    def end_sender(self, deadline: float) -> None:
        """Have the sender thread end until then (monotonic seconds), once nothing is left."""
        if not (len(self._queue) or self._queue.in_flight):
            self._sender.end(deadline)

    def deliver_late(self, seconds: float) -> None:
        """From now on deliver inside the calls, which wait for so long in all."""
        self._late_seconds = max(0.0, seconds)

    def stats(self) -> Stats:
        """The accounts; see `Whisperr.stats`."""
        return self._counters.stats(queued=len(self._queue), in_flight=self._queue.in_flight)
