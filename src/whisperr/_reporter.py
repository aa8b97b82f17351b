"""Reports: on_error, the `whisperr` logger and, with debug, stderr.

Called by whoever delivers, never from inside track().
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from contextlib import suppress
from operator import itemgetter
from typing import TYPE_CHECKING

from ._fork import ForkedInCallback
from ._stack import is_inside
from ._stats import REFUSAL_REASONS, Counters
from ._threads import stand_in_forgotten
from .errors import ErrorType, WhisperrError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._fork import Owner
    from ._operation import Refusal
    from ._options import OnError

logger = logging.getLogger("whisperr")
logger.addHandler(logging.NullHandler())

#: Refusals that this process does not report: the caller asked for them, or a uWSGI master
#: made them, which has nobody to report them; a worker does.
_SILENT = ("discarded", "master")
_MOST_EVENT_TYPES = 20
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
        self._reported = dict.fromkeys((*REFUSAL_REASONS, "overflow"), 0)
        self._said: set[str] = set()
        self._late_in_master = 0

    def refuse(self, refusal: Refusal) -> None:
        """Count a call that queues nothing; reported later. Takes no lock, may be interrupted."""
        counters = self._counters
        # One C call, see Counter.
        counted = zip((refusal,), counters.called, counters.refused[refusal.reason])  # noqa: B905
        self._recent.extend(map(_first, counted))

    def inherit(self, count: int) -> None:
        """So many calls were refused by the uWSGI master that forked this worker."""
        self._late_in_master += count

    @property
    def pending(self) -> bool:
        """Whether there is something to report."""
        refused = self._counters.refused
        return self._overflowed() + self._late_in_master > 0 or any(
            refused[reason].value > self._reported[reason]
            for reason in REFUSAL_REASONS
            if reason not in _SILENT and not (reason == "closed" and self._reported[reason])
        )

    def _overflowed(self) -> int:
        return self._counters.dropped["overflow"].value - self._reported["overflow"]

    def reporting(self) -> bool:
        """Whether the calling thread is making a report: it is in on_error, or in a log handler."""
        return is_inside(_REPORTING, self)

    def report_pending(self) -> None:
        """Report refusals and overflow since the last time, one report for each reason."""
        recent = [self._recent.popleft() for _ in range(len(self._recent))]
        for reason in REFUSAL_REASONS:
            self._report_refused(reason, [entry for entry in recent if entry.reason == reason])
        self._report_of_master()
        count = self._overflowed()
        if count:
            self._reported["overflow"] += count
            self.report(
                "dropped",
                f"{count} operations were dropped: the queue was full. The oldest go first. "
                "Raise max_queue_size, or call flush() every few thousand operations.",
                count=count,
                reason="overflow",
            )

    def _report_of_master(self) -> None:
        count, self._late_in_master = self._late_in_master, 0
        if count:
            self.report(
                "dropped",
                f"{count} calls in the uWSGI master came after it had forked its workers. "
                "Nothing can be delivered from there: track in a worker, a mule or a spooler.",
                count=count,
                reason="master",
            )

    def _report_refused(self, reason: str, recent: list[Refusal]) -> None:
        before = self._reported[reason]
        now = self._reported[reason] = self._counters.refused[reason].value
        if now == before or reason in _SILENT or (reason == "closed" and before):
            return
        detail = recent[-1].detail if recent else ""
        names = sorted({entry.event_type for entry in recent if entry.event_type})
        self.report(
            "dropped",
            f"{now - before} calls queued nothing ({reason}). {detail}".rstrip(),
            count=now - before,
            reason=reason,
            event_types=tuple(names[:_MOST_EVENT_TYPES]),
        )

    def say_once(self, topic: str, type: ErrorType, message: str) -> None:  # noqa: A002
        """Report something that is true for the whole life of this process, once."""
        if topic not in self._said:
            self._said.add(topic)
            self.report(type, message)

    def report(
        self,
        type: ErrorType,  # noqa: A002 - as in WhisperrError
        message: str,
        status: int | None = None,
        *,
        count: int = 0,
        reason: str | None = None,
        event_types: tuple[str, ...] = (),
        service_message: str | None = None,
    ) -> None:
        """Make one report; what the callback raises is logged.

        Raises:
            ForkedInCallback: where the callback forked and this is the child.
        """
        self._log(logger.warning, "%s: %s", type, message)
        if self._debug and sys.stderr is not None:
            with suppress(Exception):  # it may be closed
                print(f"whisperr: {type}: {message}", file=sys.stderr)  # noqa: T201 - debug
        if self._on_error is None:
            return
        error = WhisperrError(
            type,
            message,
            status,
            count=count,
            reason=reason,
            event_types=event_types,
            service_message=service_message,
        )
        raised = self._call(self._on_error, error)
        if isinstance(raised, KeyboardInterrupt):
            raise raised
        if raised is not None:
            name = _name(raised)
            self._log(logger.error, "on_error raised %s; its report was: %s", name, message)

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
