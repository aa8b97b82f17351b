"""One step of delivery: take a batch, make one exchange, settle or requeue.

Everything here runs while the caller holds the sender's token.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ._backoff import Backoff
from ._outcome import Outcome, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._fork import Owner
    from ._operation import Operation
    from ._options import Options
    from ._queue import OperationQueue
    from ._reporter import Reporter
    from ._stats import Counters
    from ._transport import Transport

BATCH_PATH = "/v1/events/batch"
IDENTIFY_PATH = "/v1/identify"
_MOST_EVENT_TYPES = 20


class Delivery:
    """Applies the contract's table of answers to the queue.

    Args:
        options: the client's.
        owner: the process whose operations these are.
        queue: where they wait.
        transport: makes the exchanges.
        counters: where delivered and dropped are counted.
        reporter: who is told.
    """

    def __init__(
        self,
        options: Options,
        owner: Owner,
        queue: OperationQueue,
        transport: Transport,
        counters: Counters,
        reporter: Reporter,
    ) -> None:
        self._url = options.url
        self._owner = owner
        self._queue = queue
        self._transport = transport
        self._counters = counters
        self._reporter = reporter
        self._max_batch_size = self._limit = options.max_batch_size
        self._episode: str | None = None
        self.backoff = Backoff(options.max_retries, options.flush_interval)
        #: Monotonic time of the last settled batch, or None before the first.
        self.progressed_at: float | None = None

    def step(self, deadline: float, *, at_exit: bool) -> None:
        """Deliver one batch, or keep it.

        Args:
            deadline: monotonic time at which the exchange is given up.
            at_exit: whether the process is ending, where a refused connection is tried twice.
        """
        batch = self._queue.take(self._limit)
        if not batch:
            return
        path, body, events = _request(batch)
        outcome = self._transport.post(path, body, events=events, deadline=deadline)
        self._owner.check()  # a signal handler may have forked: a child settles nothing here
        if outcome.verdict is Verdict.OK:
            self._settle(batch, outcome)
        elif outcome.verdict is Verdict.DROP:
            self._refused(batch, outcome)
        else:
            self._keep(batch, outcome, at_exit=at_exit)

    def close(self) -> None:
        """Close the connection; another is made where something is delivered after all."""
        self._transport.close()

    def _settle(self, batch: Sequence[Operation], outcome: Outcome) -> None:
        self._queue.settle(len(batch) - outcome.rejected, self._counters.delivered)
        self._queue.settle(outcome.rejected, self._counters.dropped["rejected"])
        self._limit = min(self._max_batch_size, self._limit * 2)
        self._progressed()
        if outcome.rejected:
            self._reporter.report(
                "dropped",
                f"The service rejected {outcome.rejected} of {len(batch)} events for their shape.",
                outcome.status,
                count=outcome.rejected,
                reason="rejected",
                event_types=_event_types(batch),
            )
        if outcome.unexpected:
            self._reporter.say_once(
                "unexpected answer",
                "environment",
                f"{self._url} answered {outcome.status}, but with another body than the service's "
                "or none. The operations count as delivered. If this is not a proxy in between, "
                "check base_url: it may be a web page.",
            )

    def _refused(self, batch: Sequence[Operation], outcome: Outcome) -> None:
        """A 4xx that no retry cures: halve the batch until the offender stands alone."""
        if len(batch) > 1:
            self._limit = max(1, len(batch) // 2)
            self._queue.requeue()
            return
        self._queue.settle(1, self._counters.dropped["rejected"])
        self._progressed()
        self._reporter.report(
            "dropped",
            f"An {batch[0].kind} of {len(batch[0].body)} bytes was dropped: {outcome.detail}.",
            outcome.status,
            count=1,
            reason="rejected",
            event_types=_event_types(batch),
            service_message=outcome.service_message,
        )

    def _keep(self, batch: Sequence[Operation], outcome: Outcome, *, at_exit: bool) -> None:
        kept = len(batch) + len(self._queue)
        self._queue.requeue()
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

    def _say_of_episode(self, kind: str, message: str, outcome: Outcome, kept: int) -> None:
        """Report once until something is delivered, not once for each attempt."""
        if self._episode == kind:
            return
        self._episode = kind
        self._reporter.report(
            "auth" if kind == "auth" else "retry_exhausted",
            message,
            outcome.status,
            count=kept,
            service_message=outcome.service_message,
        )

    def _progressed(self) -> None:
        self._episode = None
        self.progressed_at = time.monotonic()
        self.backoff.succeeded()


def _request(batch: Sequence[Operation]) -> tuple[str, bytes, int]:
    """Path, body and number of events of the batch's request."""
    if batch[0].kind == "identify":
        return IDENTIFY_PATH, batch[0].body, 0
    events = b",".join([operation.body for operation in batch])
    return BATCH_PATH, b'{"events":[' + events + b"]}", len(batch)


def _event_types(batch: Sequence[Operation]) -> tuple[str, ...]:
    names = {operation.event_type for operation in batch if operation.event_type}
    return tuple(sorted(names)[:_MOST_EVENT_TYPES])
