"""The accounts of a process: each number is recorded where it happens, none is computed."""

from __future__ import annotations

import itertools
import sys
from collections import deque
from operator import length_hint
from typing import TYPE_CHECKING, Any, Literal, get_args

from ._operation import Reason
from ._role import role_of
from ._value import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REFUSAL_REASONS: tuple[str, ...] = get_args(Reason)
DROP_REASONS = ("overflow", "rejected", "too_large")
DropReason = Literal["overflow", "rejected", "too_large"]


class Counter:
    """Counts up, from any thread, signal handler or finaliser.

    Advancing an iterator of `itertools` happens inside one C call. So a `zip` of it with
    what is counted does both or neither, whatever interrupts the line.
    """

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        # Not a count: that makes an object for each step.
        self._rest: Iterator[Any] = itertools.repeat(None, sys.maxsize)

    def __iter__(self) -> Iterator[Any]:
        return self._rest

    @property
    def value(self) -> int:
        return sys.maxsize - length_hint(self._rest)

    def advance(self, steps: Iterable[Any]) -> None:
        """Count one for each of the steps, which are taken in the same C call."""
        # steps come first: zip asks them first, and a zip that ends there counts nothing.
        deque(zip(steps, self._rest), maxlen=0)  # noqa: B905 - a counter has no end


class Numbers(Counter):
    """A counter whose steps are numbered, from 0."""

    __slots__ = ()

    def __init__(self) -> None:
        self._rest = itertools.count()

    @property
    def value(self) -> int:
        # Its repr is the one way to read a count without advancing it.
        return int(repr(self._rest)[len("count(") : -1])


class Counters:
    """The counters behind `Stats`."""

    __slots__ = (
        "accepted",
        "called",
        "delivered",
        "dropped",
        "refused",
        "request_seconds",
        "requests",
    )

    def __init__(self) -> None:
        #: Calls by what came of them: the kind of the operation that was accepted, or "refused".
        self.called = {outcome: Counter() for outcome in ("event", "identify", "refused")}
        self.accepted = Numbers()
        self.refused = {reason: Counter() for reason in REFUSAL_REASONS}
        self.delivered = Counter()
        self.dropped = {reason: Counter() for reason in DROP_REASONS}
        self.requests = 0
        self.request_seconds = 0.0

    @property
    def unsettled(self) -> bool:
        """Whether an operation was accepted that is neither delivered nor dropped.

        Exact beside a thread that delivers, where a look at the queue and then at what is in
        flight may miss what moves in between.
        """
        dropped = sum(counter.value for counter in self.dropped.values())
        settled = self.delivered.value + dropped  # first: both sides only grow
        return settled != self.accepted.value

    @property
    def calls(self) -> int:
        """How many calls came to an outcome."""
        return sum(counter.value for counter in self.called.values())

    def exchanged(self, seconds: float) -> None:
        """An exchange was made; called by whoever delivers, one at a time."""
        self.requests += 1
        self.request_seconds += seconds

    def stats(self, *, queued: int, in_flight: int) -> Stats:
        """The accounts as they are now, with what the queue says."""
        return Stats(
            called=self.calls,
            accepted=self.accepted.value,
            refused={reason: counter.value for reason, counter in self.refused.items()},
            delivered=self.delivered.value,
            dropped={reason: counter.value for reason, counter in self.dropped.items()},
            queued=queued,
            in_flight=in_flight,
            requests=self.requests,
            request_seconds=self.request_seconds,
            process=this_process(),
        )


class ProcessInfo(Value):
    """Who this process is.

    Attributes:
        pid: its id.
        created: when it was made, in seconds since the epoch.
        parent: its parent's pid.
        threads: how many it has.
        role: what its host calls it: ``uWSGI master``, ``uWSGI worker 1``, ``uWSGI mule 1``,
            ``uWSGI spooler``, ``gunicorn master``, ``gunicorn worker``, ``Celery worker``,
            ``Celery child`` or ``multiprocessing child``; None where that cannot be told.
    """

    pid: int
    created: float
    parent: int
    threads: int
    role: str | None


class Stats(Value):
    """The accounts of the calling process since its client's first use there.

    ``called`` = ``accepted`` + all of ``refused``, and ``accepted`` = ``delivered`` + all of
    ``dropped`` + ``queued`` + ``in_flight``, whenever no call or delivery is under way.
    ``vars()`` has all of them by name.

    Attributes:
        called: track() and identify() calls that came to an outcome.
        accepted: operations queued.
        refused: calls that queued nothing, by reason.
        delivered: operations that the service answered with 2xx and did not reject.
        dropped: accepted operations that were lost, by reason.
        queued: operations that wait.
        in_flight: operations in the request under way.
        requests: exchanges with the service, whatever came of them.
        request_seconds: how long they took together. An identify takes a request of its own, so
            ``requests / request_seconds`` is the most of them that a second can take.
        process: whose accounts these are.
    """

    called: int
    accepted: int
    refused: dict[str, int]
    delivered: int
    dropped: dict[str, int]
    queued: int
    in_flight: int
    requests: int
    request_seconds: float
    process: ProcessInfo

    @property
    def balanced(self) -> bool:
        """Whether both equations hold."""
        settled = self.delivered + sum(self.dropped.values())
        return (
            self.called == self.accepted + sum(self.refused.values())
            and self.accepted == settled + self.queued + self.in_flight
        )


def this_process() -> ProcessInfo:
    """Read from the operating system; imports psutil on first use (6 to 18 ms)."""
    import psutil  # here: never on the way of an event

    process = psutil.Process()
    with process.oneshot():
        return ProcessInfo(
            pid=process.pid,
            created=process.create_time(),
            parent=process.ppid(),
            threads=process.num_threads(),
            role=role_of(process),
        )
