"""What the processes of the shop tracked against what arrived from them (pure)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from whisperr.server.ledger import Ledger, Row, arrivals_from, dig, judge, test_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Self

    from whisperr.demo.journal import Entry


class ProcessLine(NamedTuple):
    """One process: what it noted, what arrived from it, and how."""

    pid: int | None
    tracked: int
    delivered: int
    requests: int
    connections: int


@dataclass(frozen=True)
class Account:
    """The outcome of a run.

    Attributes:
        ledger: The judgement over all ids.
        elsewhere: Ids that came over a connection of another process than the one that tracked
            them, or of none that is known.
        processes: A line for each process, in the order in which they began to track.
        not_graceful: The workers that did not end by themselves.

    """

    ledger: Ledger
    elsewhere: frozenset[str]
    processes: tuple[ProcessLine, ...]
    not_graceful: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls,
        entries: Sequence[Entry],
        arrivals: Sequence[Row],
        senders: Iterable[Row],
        not_graceful: frozenset[int] = frozenset(),
    ) -> Self:
        """Return the outcome.

        Args:
            entries: The journal.
            arrivals: The rows of `/stored/arrivals`.
            senders: The rows of `/stored/processes`.
            not_graceful: The workers that did not end by themselves.

        """
        ledger = judge((entry.id for entry in entries), arrivals_from(arrivals, _name))
        elsewhere = frozenset(_name(row) for row in arrivals if str(row["pid"]) != _tracker(row))
        return cls(ledger, elsewhere, _lines(entries, arrivals, senders), not_graceful)

    def problem(self) -> str | None:
        """Return one sentence that says what is wrong, None where nothing is."""
        found = {
            "lost": self.ledger.lost,
            "unknown": self.ledger.unknown,
            "arrived twice": self.ledger.twice,
            "resent": self.ledger.resent,
            "sent by another process": self.elsewhere,
        }
        parts = [f"{len(ids)} {what}" for what, ids in found.items() if ids]
        begin = "The ledger does not balance" if parts else "The run is not clean"
        parts += [f"worker {pid} did not end gracefully" for pid in sorted(self.not_graceful)]
        return f"{begin}: {', '.join(parts)}." if parts else None


def _name(row: Row) -> str:
    # What carries no id of the journal must not go unseen.
    return test_id(row) or f"arrival {row['seq']}"


def _tracker(row: Row) -> str | None:
    holder = "traits" if row["kind"] == "identify" else "properties"
    return dig(row["body"], f"{holder}.tracked_by")


def _lines(
    entries: Sequence[Entry], arrivals: Iterable[Row], senders: Iterable[Row]
) -> tuple[ProcessLine, ...]:
    tracked: Counter[int | None] = Counter(entry.pid for entry in entries)
    noted = {entry.id for entry in entries}
    arrived = {(row["pid"], _name(row)) for row in arrivals}
    delivered = Counter(pid for pid, name in arrived if name in noted)
    requests: Counter[int | None] = Counter()
    connections: Counter[int | None] = Counter()
    for row in senders:
        requests[row["pid"]] += row["requests"]
        connections[row["pid"]] += row["connections"]
    return tuple(
        ProcessLine(pid, tracked[pid], delivered[pid], requests[pid], connections[pid])
        for pid in dict.fromkeys([*tracked, *requests])
    )
