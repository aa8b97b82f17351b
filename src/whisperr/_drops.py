"""What a batch lost, until it is settled: then one report for each event type and reason."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._outcome import Outcome
    from ._queue import Batch
    from ._reporter import Reporter
    from ._stats import DropReason

#: So many reports for one batch; the rest of its losses share one more.
MOST_REPORTS = 20


class Drop(NamedTuple):
    """An operation that the service refused.

    Attributes:
        kind: event or identify.
        event_type: of an event, empty for an identify.
        size: bytes of its JSON.
        reason: why it was dropped.
        alone: whether it was refused alone, not with a piece of its batch.
        outcome: the answer.
    """

    kind: str
    event_type: str
    size: int
    reason: DropReason
    alone: bool
    outcome: Outcome


class DropLog:
    """The drops that are not reported yet.

    Written by whoever delivers; the end of the process reports what it finds.

    Args:
        reporter: who is told.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._drops: deque[Drop] = deque()

    def add(self, batch: Batch, reason: DropReason, outcome: Outcome) -> None:
        """Note that these were refused in one request."""
        alone = len(batch) == 1
        self._drops.extend(
            Drop(batch.kind, event_type, len(body), reason, alone, outcome)
            for body, event_type in zip(batch.bodies, batch.event_types(), strict=True)
        )

    def report(self) -> None:
        """Report what was noted since the last time."""
        groups: dict[tuple[str, str, str], list[Drop]] = {}
        for _ in range(len(self._drops)):
            drop = self._drops.popleft()
            groups.setdefault((drop.kind, drop.event_type, drop.reason), []).append(drop)
        by_group = list(groups.values())
        reports = [(drops, _what(drops)) for drops in by_group[:MOST_REPORTS]]
        rest = [drop for drops in by_group[MOST_REPORTS:] for drop in drops]
        if rest:
            reports.append((rest, f"{len(rest)} more events were"))
        try:
            while reports:
                self._report(*reports.pop(0))
        finally:  # Ctrl-C in a callback leaves the others for the next time
            self._drops.extend(drop for drops, _ in reports for drop in drops)

    def _report(self, drops: Sequence[Drop], what: str) -> None:
        outcome = drops[0].outcome
        together = sum(not drop.alone for drop in drops)
        message = f"{what} dropped: {outcome.detail}."
        if together:
            message += f" {together} of them in pieces of a batch that was refused again and again."
        self._reporter.report(
            "dropped",
            message,
            outcome.status,
            count=len(drops),
            reason=drops[0].reason,
            event_types=[drop.event_type for drop in drops],
            service_message=outcome.service_message,
        )


def _what(drops: Sequence[Drop]) -> str:
    kind, event_type, size = drops[0][:3]
    name = f"{kind} {event_type}".rstrip()
    if len(drops) == 1:
        return f"One {name} of {size} bytes was"
    largest = max(drop.size for drop in drops)
    return f"{len(drops)} operations ({name}) of at most {largest} bytes were"
