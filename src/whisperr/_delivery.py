"""One step of delivery: take a batch, make one exchange, settle or requeue.

Everything here runs while the caller holds the sender's token.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ._backoff import Backoff
from ._bisection import Bisection
from ._outcome import Outcome, Verdict
from ._queue import MAX_BATCH_BYTES, Batch

if TYPE_CHECKING:
    from ._drops import DropLog
    from ._fork import Owner
    from ._options import Options
    from ._queue import OperationQueue
    from ._reporter import Reporter
    from ._stats import Counters, DropReason
    from ._transport import Transport
    from .errors import ErrorType

BATCH_PATH = "/v1/events/batch"
IDENTIFY_PATH = "/v1/identify"
_TOO_LARGE = 413
#: After a 413 the largest body grows again by this part of itself with each one that is taken.
_REGROWTH = 16


class Delivery:
    """Applies the contract's table of answers to the queue.

    Args:
        options: the client's.
        owner: the process whose operations these are.
        queue: where they wait.
        transport: makes the exchanges.
        counters: where delivered and dropped are counted.
        reporter: who is told.
        drops: where what the service refused is noted until its batch is settled.
    """

    def __init__(
        self,
        options: Options,
        owner: Owner,
        queue: OperationQueue,
        transport: Transport,
        counters: Counters,
        reporter: Reporter,
        drops: DropLog,
    ) -> None:
        self._url = options.url
        self._owner = owner
        self._queue = queue
        self._transport = transport
        self._counters = counters
        self._reporter = reporter
        self._drops = drops
        self._max_batch_size = options.max_batch_size
        self._max_bytes = MAX_BATCH_BYTES
        self._bisection: Bisection | None = None
        self._said: set[str] = set()
        self.backoff = Backoff(options.max_retries, options.flush_interval)
        #: Monotonic time since when something waits and nothing was settled, None where nothing
        #: waits: a quiet hour is no stall.
        self.progressed_at: float | None = None

    def step(self, deadline: float, *, at_exit: bool) -> None:
        """Deliver one batch, or keep it.

        Args:
            deadline: monotonic time at which the exchange is given up.
            at_exit: whether the process is ending, where a refused connection is tried twice.
        """
        batch = self._take()
        if not batch:
            return
        path, body, events = _request(batch)
        began = time.monotonic()
        outcome = self._transport.post(path, body, events=events, deadline=deadline)
        self._owner.check()  # a signal handler may have forked: a child settles nothing here
        self._counters.exchanged(time.monotonic() - began)
        if outcome.verdict is Verdict.OK:
            self._settle(batch, outcome)
        elif outcome.verdict is Verdict.DROP:
            self._refused(batch, outcome)
        else:
            self._keep(batch, outcome, at_exit=at_exit)

    def _take(self) -> Batch:
        """The next batch; as much of it as may be asked for, where it was refused as a whole."""
        self._end_bisection()  # an overflow may have dropped the rest of that batch
        oldest = self._queue.oldest()
        if self._bisection is None or oldest is None:
            return self._queue.take(self._max_batch_size, self._max_bytes)
        most = MAX_BATCH_BYTES if self._bisection.in_pieces else self._max_bytes
        return self._queue.take(self._bisection.size(oldest), most)

    def _end_bisection(self) -> None:
        """Report what the batch lost, once all of it is settled."""
        if self._bisection is not None and not self._bisection.holds(self._queue.oldest()):
            self._bisection = None
            self._drops.report()

    def close(self) -> None:
        """Close the connection; another is made where something is delivered after all."""
        self._transport.close()

    def _settle(self, batch: Batch, outcome: Outcome) -> None:
        first = self._first()
        self._queue.settle(len(batch) - outcome.rejected, self._counters.delivered)
        self._queue.settle(outcome.rejected, self._counters.dropped["rejected"])
        self._max_bytes = min(MAX_BATCH_BYTES, self._max_bytes + self._max_bytes // _REGROWTH + 1)
        self._progressed()
        if self._bisection is not None:
            self._bisection.accepted(first)
            self._end_bisection()
        if outcome.rejected:
            self._reporter.report(
                "dropped",
                f"The service rejected {outcome.rejected} of {len(batch)} events for their shape.",
                outcome.status,
                count=outcome.rejected,
                reason="rejected",
                event_types=batch.event_types(),
            )
        if outcome.unexpected:
            self._reporter.say_once(
                "unexpected answer",
                "environment",
                f"{self._url} answered {outcome.status}, but with another body than the service's "
                "or none. The operations count as delivered. If this is not a proxy in between, "
                "check base_url: it may be a web page.",
                outcome.status,
            )

    def _first(self) -> int:
        """The number of the first operation in flight."""
        first = self._queue.oldest()
        assert first is not None  # noqa: S101 - for the type checker
        return first

    def _refused(self, batch: Batch, outcome: Outcome) -> None:
        """A 4xx that no retry cures: ask for parts, until the offender stands alone."""
        first, too_large = self._first(), outcome.status == _TOO_LARGE
        size = len(batch)
        if self._bisection is None:
            self._bisection = Bisection(first, first + size)
        if too_large:
            self._max_bytes = sum(map(len, batch.bodies)) // 2
        if not self._bisection.refused(first, size, for_size=too_large):
            self._queue.requeue()
            return
        reason: DropReason = "too_large" if too_large else "rejected"
        self._drops.add(batch, reason, outcome)
        self._queue.settle(size, self._counters.dropped[reason])
        self._progressed()
        self._end_bisection()

    def _keep(self, batch: Batch, outcome: Outcome, *, at_exit: bool) -> None:
        kept = len(batch) + len(self._queue)
        self._queue.requeue()
        self._drops.report()  # the rest of the batch may be long in coming
        now = time.monotonic()
        if outcome.verdict is Verdict.AUTH:
            self.backoff.give_up(now)
            message = (
                f"{self._url} refused the API key ({outcome.status}). "
                f"{kept} operations are kept. Check api_key."
            )
            self._say_of_episode("auth", message, outcome, kept)
            return
        if at_exit and outcome.refused:
            self.backoff.refused_at_exit(now)
        else:
            self.backoff.failed(now, outcome.retry_after)
        if self.backoff.spent:
            advice = "Check base_url. " if outcome.verdict is Verdict.MISCONFIGURED else ""
            message = (
                f"{self._url} did not take the operations: {outcome.detail}. "
                f"{kept} are kept. {advice}They are tried again later."
            )
            self._say_of_episode("retry_exhausted", message, outcome, kept)

    def _say_of_episode(self, kind: ErrorType, message: str, outcome: Outcome, kept: int) -> None:
        """Report once until something is delivered, not once for each attempt."""
        if kind in self._said:
            return
        self._said.add(kind)
        self._reporter.report(
            kind,
            message,
            outcome.status,
            count=kept,
            service_message=outcome.service_message,
        )

    def _progressed(self) -> None:
        self._said.clear()
        now = time.monotonic()
        behind = len(self._queue) > 0
        self.progressed_at = now if behind else None
        self.backoff.succeeded(now, behind=behind)


def _request(batch: Batch) -> tuple[str, bytes, int]:
    """Path, body and number of events of the batch's request."""
    if batch.kind == "identify":
        return IDENTIFY_PATH, batch.bodies[0], 0
    return BATCH_PATH, b'{"events":[' + b",".join(batch.bodies) + b"]}", len(batch)
