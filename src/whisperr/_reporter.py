"""Reports: on_error, the `whisperr` logger and, with debug, stderr.

Called by whoever delivers, never from inside track().
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING

from ._fork import ForkedInCallback
from ._schedule import NEVER
from ._stack import is_inside
from ._stats import REFUSAL_REASONS, Counter, Counters
from ._threads import stand_in_forgotten
from .errors import ErrorType, WhisperrError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._fork import Owner
    from ._operation import Refusal
    from ._options import OnError

logger = logging.getLogger("whisperr")
logger.addHandler(logging.NullHandler())

#: Refusals that the caller asked for: counted, never reported.
_ASKED_FOR = {"discarded", "rolled_back"}
#: What is counted where it happens and reported later; what a uWSGI master refuses is reported by
#: a worker, since nobody is told there. "anonymous" is only for `debug`.
_COUNTED = (
    *(reason for reason in REFUSAL_REASONS if reason not in _ASKED_FOR),
    "overflow",
    "anonymous",
)
_REFUSED = "{count} calls queued nothing ({reason}). {detail}"
_ADVICE = {
    "overflow": "{count} operations were dropped: the queue was full. The oldest go first. "
    "Raise max_queue_size or max_queue_bytes, or call flush() every few thousand operations.",
    "master": "{count} calls in the uWSGI master came after it had forked its workers. "
    "Nothing can be delivered from there: track in a worker, a mule or a spooler.",
}
_ANONYMOUS = "{count} calls were for an anonymous user: nothing is sent for them."
_MOST_EVENT_TYPES = 20
#: What goes on is reported at most every so many seconds, with what came together meanwhile.
REPORT_INTERVAL = 10.0
_first = itemgetter(0)  # in C, as the rest of its line


class Reporter:
    """Turns what went wrong into calls of on_error; the only one that calls it.

    Args:
        on_error: the user's callback, or None.
        debug: whether to print each report to stderr.
        counters: the accounts, which say how many refusals were not reported yet.
        owner: the process that reports.
    """

    def __init__(
        self, on_error: OnError | None, debug: bool, counters: Counters, owner: Owner
    ) -> None:
        self._on_error = on_error
        self._debug = debug
        self._counters = counters
        self._owner = owner
        self._recent: deque[Refusal] = deque(maxlen=100)
        self._reported = dict.fromkeys(_COUNTED, 0)
        self._next_at = dict.fromkeys(_COUNTED, 0.0)
        self._said: set[str] = set()
        self._inherited = 0
        self._anonymous = Counter()

    def refuse(self, refusal: Refusal) -> None:
        """Count a call that queues nothing; reported later. Takes no lock, may be interrupted."""
        counters = self._counters
        # One C call, see Counter.
        counted = zip((refusal,), counters.called["refused"], counters.refused[refusal.reason])  # noqa: B905
        self._recent.extend(map(_first, counted))

    def mention_anonymous(self) -> None:
        """Count a call for nobody, which debug mentions later; may be interrupted as refuse()."""
        if self._debug:
            self._anonymous.advance((None,))

    def inherit(self, count: int) -> None:
        """So many calls were refused by the uWSGI master that forked this worker."""
        self._inherited += count

    @property
    def pending(self) -> bool:
        """Whether there is something to report."""
        return self.due_at() < NEVER

    def due_at(self) -> float:
        """Monotonic time of the next report of something that goes on, NEVER for none."""
        times = (self._next_at[reason] for reason in _COUNTED if self._new(reason))
        return min(times, default=NEVER)

    def _new(self, reason: str) -> int:
        """How many there are since the last report of this reason."""
        before = self._reported[reason]
        if reason == "overflow":
            return self._counters.dropped[reason].value - before
        if reason == "master":
            return self._inherited - before
        if reason == "anonymous":
            return self._anonymous.value - before
        if reason == "closed" and before:
            return 0  # said once
        return self._counters.refused[reason].value - before

    def reporting(self) -> bool:
        """Whether the calling thread is making a report: it is in on_error, or in a log handler."""
        return is_inside(_REPORTING, self)

    def report_pending(self, now: float = NEVER) -> None:
        """Report refusals and overflow since the last time, one report for each reason.

        Args:
            now: monotonic time, to leave out what was reported shortly before.
        """
        for reason in _COUNTED:
            if self._new(reason) and now >= self._next_at[reason]:
                self._next_at[reason] = time.monotonic() + REPORT_INTERVAL
                self._report_counted(reason)

    def _report_counted(self, reason: str) -> None:
        count = self._new(reason)
        self._reported[reason] += count
        if reason == "anonymous":
            self._print(_ANONYMOUS.format(count=count))
            return
        recent = [self._recent.popleft() for _ in range(len(self._recent))]
        self._recent.extend(refusal for refusal in recent if refusal.reason != reason)
        concerned = [refusal for refusal in recent if refusal.reason == reason]
        detail = concerned[-1].detail if concerned else ""
        template = _ADVICE.get(reason, _REFUSED)
        self.report(
            "dropped",
            template.format(count=count, reason=reason, detail=detail).rstrip(),
            count=count,
            reason=reason,
            event_types=[refusal.event_type for refusal in concerned],
        )

    def say_once(
        self,
        topic: str,
        type: ErrorType,  # noqa: A002 - as in WhisperrError
        message: str,
        status: int | None = None,
        *,
        count: int = 0,
    ) -> None:
        """Report something that is true for the whole life of this process, once."""
        if topic not in self._said:
            self._said.add(topic)
            self.report(type, message, status, count=count)

    def report(
        self,
        type: ErrorType,  # noqa: A002 - as in WhisperrError
        message: str,
        status: int | None = None,
        *,
        count: int = 0,
        reason: str | None = None,
        event_types: Iterable[str] = (),
        service_message: str | None = None,
    ) -> None:
        """Make one report; what the callback raises is logged.

        Raises:
            ForkedInCallback: where the callback forked and this is the child.
        """
        self._log(logger.warning, "%s: %s", type, message)
        self._print(f"{type}: {message}")
        if self._on_error is None:
            return
        error = WhisperrError(
            type,
            message,
            status,
            count=count,
            reason=reason,
            event_types=tuple(sorted({*event_types} - {""})[:_MOST_EVENT_TYPES]),
            service_message=service_message,
        )
        raised = self._call(self._on_error, error)
        if isinstance(raised, KeyboardInterrupt):
            raise raised
        if raised is not None:
            name = _name(raised)
            self._log(logger.error, "on_error raised %s; its report was: %s", name, message)

    def _print(self, line: str) -> None:
        if self._debug and sys.stderr is not None:
            with suppress(Exception):  # it may be closed
                print(f"whisperr: {line}", file=sys.stderr)  # noqa: T201 - debug

    def defect(self) -> None:
        """Log the exception that is being handled: a defect, or a session of the user's."""
        self._log(logger.exception, "A delivery failed unexpectedly; its operations are kept.")

    def _log(self, log: Callable[..., object], *arguments: object) -> None:
        with stand_in_forgotten():
            raised = self._call(log, *arguments)
        if raised is not None and not isinstance(raised, Exception):
            raise raised

    def _call(self, theirs: Callable[..., object], *arguments: object) -> BaseException | None:
        """Call code of the user's, a handler of the log included; returns what it raised.

        Raises:
            ForkedInCallback: where it forked and this is the child.
        """
        raised: BaseException | None = None
        try:
            theirs(*arguments)
        except BaseException as problem:  # noqa: BLE001 - judged by the caller
            raised = problem
        if not self._owner.holds():
            raise ForkedInCallback from raised
        return raised


_REPORTING = (Reporter.report.__code__,)


def _name(error: BaseException) -> str:
    return type(error).__name__
