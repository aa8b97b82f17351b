"""What was tracked against what arrived: the judgement over a delivery (pure)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Arrival:
    """One operation in one request.

    Attributes:
        id: The id that the judgement goes by.
        request: The request that carried it.
        pid: The process that sent it, None where unknown.
        created: When that process was created (epoch seconds), None where unknown.
        answered: Whether a 2xx was written completely.
        seq: Its place in the order of arrival.

    """

    id: str
    request: int
    pid: int | None
    created: float | None
    answered: bool
    seq: int


@dataclass(frozen=True)
class Ledger:
    """The judgement.

    Attributes:
        tracked: The ids that were tracked.
        arrived: The distinct ids that arrived.
        arrivals: How many arrivals there were.
        lost: Tracked, but never arrived.
        unknown: Arrived, but never tracked.
        twice: Arrived again after a complete 2xx, within one request, or from two processes.
        resent: Arrived again, and not `twice`: no exchange before had a complete 2xx.

    """

    tracked: frozenset[str]
    arrived: frozenset[str]
    arrivals: int
    lost: frozenset[str]
    unknown: frozenset[str]
    twice: frozenset[str]
    resent: frozenset[str]

    @property
    def exactly_once(self) -> bool:
        """Whether each tracked id, and no other, arrived once."""
        return not (self.lost or self.unknown or self.twice or self.resent)


def judge(tracked: Iterable[str], arrivals: Iterable[Arrival]) -> Ledger:
    """Return the judgement over `arrivals` (in any order) of what was `tracked`."""
    histories: defaultdict[str, list[Arrival]] = defaultdict(list)
    count = 0
    for arrival in arrivals:
        histories[arrival.id].append(arrival)
        count += 1
    wanted, arrived = frozenset(tracked), frozenset(histories)
    repeated = {name for name, history in histories.items() if len(history) > 1}
    twice = frozenset(name for name in repeated if _is_twice(histories[name]))
    return Ledger(
        tracked=wanted,
        arrived=arrived,
        arrivals=count,
        lost=wanted - arrived,
        unknown=arrived - wanted,
        twice=twice,
        resent=frozenset(repeated - twice),
    )


def _is_twice(history: list[Arrival]) -> bool:
    if len({(arrival.pid, arrival.created) for arrival in history if arrival.pid is not None}) > 1:
        return True
    in_order = sorted(history, key=lambda arrival: arrival.seq)
    return any(
        earlier.answered or earlier.request == later.request
        for earlier, later in pairwise(in_order)
    )


def test_id(row: Row) -> str | None:
    """Return the `test_id` that an event carries in its properties, an identify in its traits."""
    holder = "traits" if row["kind"] == "identify" else "properties"
    return dig(row["body"], f"{holder}.test_id")


def message_id(row: Row) -> str | None:
    """Return the id on which the service deduplicates; an identify has none."""
    value: str | None = row["message_id"]
    return value


def dig(value: Any, place: str) -> str | None:
    """Return the text at a dotted `place` in nested objects, None where there is none."""
    for name in place.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return None if value is None else str(value)


def arrivals_from(
    rows: Iterable[Row], place: str | Callable[[Row], str | None] = test_id
) -> list[Arrival]:
    """Return the arrivals in rows of `/stored/arrivals`.

    Args:
        rows: The rows.
        place: Where the id stands: a dotted place in the body, such as `properties.order`, or a
            function of the row. A row that has none there is left out.

    """
    find = place if callable(place) else lambda row: dig(row["body"], place)
    return [_arrival(name, row) for row in rows if (name := find(row)) is not None]


def _arrival(name: str, row: Row) -> Arrival:
    return Arrival(
        id=name,
        request=row["request"],
        pid=row["pid"],
        created=row["created"],
        answered=bool(row["answered"]) and 200 <= (row["status"] or 0) < 300,
        seq=row["seq"],
    )
