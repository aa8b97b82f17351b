"""One worker of the fleet: everything that the client makes for a process, but its transport."""

from __future__ import annotations

from bisect import bisect_right
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from whisperr._backoff import Backoff
from whisperr._delivery import Delivery
from whisperr._drops import DropLog
from whisperr._fork import Owner
from whisperr._loop import DeliveryLoop
from whisperr._outcome import Verdict
from whisperr._queue import OperationQueue
from whisperr._reporter import Reporter
from whisperr._schedule import NEVER
from whisperr._sender import Sender
from whisperr._stats import Counters
from whisperr._waiter import Waiter

if TYPE_CHECKING:
    from random import Random

    from fleet.service import Service
    from fleet.simulation import Simulation
    from whisperr._exit import Ending
    from whisperr._options import Options
    from whisperr._outcome import Outcome
    from whisperr._queue import Entry
    from whisperr._transport import Transport

_OWNER = Owner()
_FLUSH_SECONDS = 10.0
#: So many moments of its operations are drawn at a time.
_DRAWN = 64


class Broken(BaseException):
    """The client met a defect, which it would log and come through."""


class _Reporter(Reporter):
    """Finds at once that nothing was refused or overflowed; the fleet sees to it that it is so."""

    def due_at(self) -> float:
        return NEVER

    def report_pending(self, now: float = NEVER) -> None:
        pass

    def defect(self) -> None:
        raise Broken


class Tracking(NamedTuple):
    """What a worker tracks, and how often in a second, on average."""

    operation: Entry
    rate: float


class Worker:
    """A process that tracks now and then, and delivers as the client does.

    What is tracked is queued when something of the worker wakes up, not in the moment itself.
    The client would notice a difference at the `flush_at`-th operation alone; that wakes it up.

    Args:
        simulation: its time.
        service: where it posts.
        options: its client's.
        tracking: what its application does.
        random: draws when it tracks, how long exchanges take, and the client's jitter.
    """

    def __init__(
        self,
        simulation: Simulation,
        service: Service,
        options: Options,
        tracking: Tracking,
        random: Random,
    ) -> None:
        self._simulation = simulation
        self._service = service
        self._operation, self._rate = tracking
        self._random = random
        self._patience = options.shutdown_timeout
        self._exiting = False
        self._flush_at = options.flush_at
        self._moments = [simulation.now + random.expovariate(self._rate)]
        self._next = 0
        #: When something was last delivered.
        self.delivered_at = 0.0
        self._counters = Counters()
        self._queue = OperationQueue(
            options.max_queue_size, options.max_queue_bytes, self._counters
        )
        reporter = _Reporter(None, False, self._counters, _OWNER)
        self._delivery = Delivery(
            options,
            _OWNER,
            self._queue,
            cast("Transport", self),
            self._counters,
            reporter,
            DropLog(reporter),
        )
        self._delivery.backoff = Backoff(options.max_retries, options.flush_interval, random)
        self._loop = DeliveryLoop(options, _OWNER, self._queue, self._delivery, reporter)
        self._sender = Sender(_OWNER, self._loop, cast("Ending", self))
        self._await_operation()

    # --- In place of the transport ------------------------------------------------------------

    def post(self, path: str, body: bytes, *, events: int, deadline: float) -> Outcome:
        """One exchange; the service counts it when it arrives."""
        answer = self._service.answer(events)
        self._simulation.sleep(self._random.uniform(0.02, 0.1))
        if answer.verdict is Verdict.OK:
            self.delivered_at = self._simulation.now
        return answer

    def close(self) -> None:
        """A simulated connection needs no end."""

    # --- The application ----------------------------------------------------------------------

    def next_nudge(self) -> float:
        """When the operation is tracked that makes the queue long enough for a delivery."""
        missing = self._flush_at - len(self._queue)
        last = self._next + missing - 1
        if missing <= 0:
            return NEVER
        while last >= len(self._moments):
            self._draw()
        return self._moments[last]

    def catch_up(self) -> None:
        """Queue what was tracked since the last time."""
        now, moments = self._simulation.now, self._moments
        while moments[-1] <= now:
            self._draw()
        index = bisect_right(moments, now, self._next)
        if index > self._next:
            self._queue.extend([self._operation] * (index - self._next))
            self._next = index
            self._loop.nudge()

    def _draw(self) -> None:
        """Further moments of operations; those that are over go."""
        moment, rate, draw = self._moments[-1], self._rate, self._random.expovariate
        del self._moments[: self._next]
        self._next = 0
        for _ in range(_DRAWN):
            moment += draw(rate)
            self._moments.append(moment)

    def _await_operation(self) -> None:
        self._simulation.at(self._moments[self._next], self, self._track)

    def _track(self) -> None:
        """The operation that starts a sender."""
        self.catch_up()
        self._sender.notify()

    def ended(self) -> None:
        """An idle sender ended: the next operation starts another."""
        if not self._sender.running:
            self._await_operation()

    def flush(self) -> None:
        """A thread of the application's flushes, with the default timeout."""
        self.catch_up()
        self._simulation.start(partial(self._wait, _FLUSH_SECONDS, at_exit=False))

    def exit(self) -> None:
        """The end of the process, as shutdown() and the exit hook go about it."""
        self.catch_up()
        self._exiting = True
        self._moments, self._next = [NEVER], 0
        self._sender.close()
        self._simulation.start(partial(self._wait, self._patience, at_exit=True))

    def _wait(self, seconds: float, *, at_exit: bool) -> None:
        deadline = self._simulation.now + seconds
        waiter = Waiter(self._queue.accepted, deadline, at_exit=at_exit)
        self._sender.begin(waiter)
        self._sender.wait(waiter)

    def lost(self) -> int:
        """How many operations were dropped, or left at the exit."""
        dropped = sum(counter.value for counter in self._counters.dropped.values())
        return dropped + (len(self._queue) if self._exiting else 0)
