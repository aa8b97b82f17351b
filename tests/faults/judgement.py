"""Judges a schedule: the application's journal, the server's arrivals, the layer's record."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from whisperr.server.ledger import Ledger, arrivals_from, judge, test_id

if TYPE_CHECKING:
    from faults.layer import Layer
    from faults.meeting import Exchange
    from harness import LocalServer, Row
    from runs import Result

#: Reasons of reports that mean: accepted, and not delivered.
_LOST = ("rejected", "too_large", "overflow", "undelivered")
#: A hundred exchanges take less than two MiB, a gzip bomb becomes 40 at least.
MOST_GROWTH_KIBIBYTES = 8 * 1024


@dataclass(frozen=True)
class Judgement:
    """What is wrong, in sentences, and what there was.

    Attributes:
        problems: what is wrong; empty where all is well.
        ledger: the application's journal against the server's arrivals.
        reported: how many operations were reported as lost.
        undelivered: how many of these were left at the end.
    """

    problems: tuple[str, ...]
    ledger: Ledger
    reported: int
    undelivered: int


def judge_schedule(
    server: LocalServer,
    api_key: str,
    result: Result,
    layer: Layer,
    operations: int,
    *,
    in_time: bool,
) -> Judgement:
    """Whether everything accepted was delivered, once and in order, or reported.

    Args:
        server: where it arrived.
        api_key: the application's.
        result: of the application.
        layer: what was between the two.
        operations: how many the application made.
        in_time: whether the machine ran everyone in time; if so all must be delivered at the end.
    """
    rows = server.arrivals(api_key)
    by_request = _exchanges(server.requests(api_key), layer)
    ledger = _ledger(rows, by_request, result)
    reported = _reported(result)
    problems = [
        *layer.violations,
        *_ends(result, operations),
        *_accounts(result, ledger, reported, by_request, rows),
        *_identities(ledger, rows),
        *_order(result, rows),
    ]
    undelivered = _reported(result, ("undelivered",)).total()
    if undelivered and in_time:
        problems.append(f"{undelivered} were left although all was calm")
    return Judgement(tuple(problems), ledger, reported.total(), undelivered)


def _exchanges(requests: list[Row], layer: Layer) -> dict[int, Exchange]:
    """What the layer knows of each of the server's requests."""
    assert [row["status"] for row in requests] == [202] * len(layer.handed_on)
    return {row["id"]: each for row, each in zip(requests, layer.handed_on, strict=True)}


def _ledger(rows: list[Row], by_request: dict[int, Exchange], result: Result) -> Ledger:
    """The layer says who sent a request, and whether its answer was read."""
    arrivals = [
        replace(
            arrival,
            pid=int(by_request[arrival.request].process),
            answered=by_request[arrival.request].read,
        )
        for arrival in arrivals_from(rows)
    ]
    return judge([line["id"] for line in result.lines("journal")], arrivals)


def _reported(result: Result, reasons: tuple[str, ...] = _LOST) -> Counter[int]:
    """By process, how many operations were reported as lost."""
    reported: Counter[int] = Counter()
    for line in result.lines("reports"):
        if line["reason"] in reasons:
            reported[line["pid"]] += line["count"]
    return reported


def _ends(result: Result, operations: int) -> list[str]:
    """What the processes say about themselves."""
    stats, (memory,) = result.lines("stats"), result.lines("memory") or [{}]
    growth = memory.get("growth_kibibytes", 0)
    checks = {
        f"status {result.status}": result.status == 0,
        f"hung: {result.lines('hung')}": not result.lines("hung"),
        f"children: {result.lines('children')}": all(
            line["status"] == 0 for line in result.lines("children")
        ),
        f"accounts: {stats}": bool(stats) and all(line["balanced"] for line in stats),
        "operations are missing in the journal": len(result.ledger.tracked) == operations,
        f"memory grew by {growth} KiB": growth < MOST_GROWTH_KIBIBYTES,
    }
    return [problem for problem, holds in checks.items() if not holds]


def _accounts(
    result: Result,
    ledger: Ledger,
    reported: Counter[int],
    by_request: dict[int, Exchange],
    rows: list[Row],
) -> list[str]:
    """By process: lost without a report, or reported although the client knew better.

    What arrived and was never answered may be reported as lost.
    """
    known = {test_id(row) for row in rows if by_request[row["request"]].read}
    pids = {line["id"]: line["pid"] for line in result.lines("journal")}
    lost = Counter(pids[each] for each in ledger.lost)
    unsure = Counter(pids[each] for each in ledger.arrived - known if each in pids)
    return [
        f"process {pid} lost {lost[pid]}, reported {reported[pid]}, is unsure of {unsure[pid]}"
        for pid in {*pids.values(), *reported}
        if not lost[pid] <= reported[pid] <= lost[pid] + unsure[pid]
    ]


def _identities(ledger: Ledger, rows: list[Row]) -> list[str]:
    message_ids: defaultdict[Any, set[str]] = defaultdict(set)
    for row in rows:
        if row["kind"] == "event":
            message_ids[test_id(row)].add(row["message_id"])
    several = {name: ids for name, ids in message_ids.items() if len(ids) != 1}
    checks = {
        f"delivered under several ids: {several}": not several,
        f"delivered again after an answer: {sorted(ledger.twice)}": not ledger.twice,
        f"nobody sent: {sorted(ledger.unknown)}": not ledger.unknown,
    }
    return [problem for problem, holds in checks.items() if not holds]


def _order(result: Result, rows: list[Row]) -> list[str]:
    """First arrivals come in the order of the journal, for each process."""
    arrived = list(dict.fromkeys(test_id(row) for row in rows))
    journals: defaultdict[int, list[str]] = defaultdict(list)
    for line in result.lines("journal"):
        journals[line["pid"]].append(line["id"])
    return [
        f"process {pid}: delivered in another order than accepted"
        for pid, journal in journals.items()
        if not _agree(journal, arrived)
    ]


def _agree(journal: list[str], arrived: list[Any]) -> bool:
    """Whether what is in both is in the same order."""
    accepted, delivered = set(journal), set(arrived)
    return [each for each in journal if each in delivered] == [
        each for each in arrived if each in accepted
    ]
