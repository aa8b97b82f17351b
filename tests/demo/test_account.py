from __future__ import annotations

import pytest

from whisperr.demo.account import Account, ProcessLine
from whisperr.demo.host import Workers
from whisperr.demo.journal import Entry
from whisperr.server.ledger import Arrival, Row, arrivals_from

A, B = Entry("a", 10, "event"), Entry("b", 11, "identify")
SENDERS: list[Row] = [
    {"pid": 10, "created": 1.0, "connections": 1, "requests": 2},
    {"pid": 11, "created": 2.0, "connections": 1, "requests": 1},
]


def arrival(entry: Entry, seq: int, **changes: object) -> Row:
    """Return what `/stored/arrivals` says when `entry` arrives from its own process."""
    holder = "traits" if entry.kind == "identify" else "properties"
    row: dict[str, object] = {
        "seq": seq,
        "request": seq,
        "pid": entry.pid,
        "created": float(entry.pid),
        "answered": True,
        "status": 202,
        "kind": entry.kind,
        "body": {holder: {"test_id": entry.id, "tracked_by": entry.pid}},
    }
    return row | changes


def account(*arrivals: Row) -> Account:
    return Account.of([A, B], arrivals, SENDERS)


def test_a_row_is_an_arrival_of_the_ledger() -> None:
    assert arrivals_from([arrival(A, 1)], "properties.test_id") == [
        Arrival(id="a", request=1, pid=10, created=10.0, answered=True, seq=1)
    ]


def test_what_arrived_once_from_its_own_process_is_no_problem() -> None:
    found = account(arrival(A, 1), arrival(B, 2))
    assert found.problem() is None
    assert found.processes == (ProcessLine(10, 1, 1, 2, 1), ProcessLine(11, 1, 1, 1, 1))


@pytest.mark.parametrize(
    ("arrivals", "problem"),
    [
        ([arrival(A, 1)], "1 lost"),
        ([arrival(A, 1), arrival(A, 2), arrival(B, 3)], "1 arrived twice"),
        ([arrival(A, 1, answered=False), arrival(A, 2), arrival(B, 3)], "1 resent"),
        ([arrival(A, 1, pid=12), arrival(B, 2)], "1 sent by another process"),
        ([arrival(A, 1, pid=None), arrival(B, 2)], "1 sent by another process"),
        ([arrival(A, 1), arrival(B, 2), arrival(Entry("c", 10, "event"), 3)], "1 unknown"),
        ([arrival(A, 1, body={"properties": {"tracked_by": 10}}), arrival(B, 2)], "1 lost, 1 unk"),
    ],
)
def test_what_differs_is_a_problem(arrivals: list[Row], problem: str) -> None:
    said = account(*arrivals).problem()
    assert said is not None
    assert said.startswith(f"The ledger does not balance: {problem}")


def test_a_process_that_lost_something_shows_it_in_its_line() -> None:
    assert account(arrival(A, 1)).processes[1] == ProcessLine(11, 1, 0, 1, 1)


def test_a_worker_that_was_killed_is_a_problem() -> None:
    found = Account.of([A, B], [arrival(A, 1), arrival(B, 2)], SENDERS, frozenset({11}))
    assert found.problem() == "The run is not clean: worker 11 did not end gracefully."


BOOTS = "[I] Booting worker with pid: 7\n[I] Booting worker with pid: 8\n"
EXITS = BOOTS + "[I] Worker exiting (pid: 7)\n[I] Worker exiting (pid: 8)\n"


@pytest.mark.parametrize(
    ("log", "not_graceful"),
    [
        (EXITS, set()),
        (EXITS + "[E] Worker (pid:8) was sent SIGTERM!\n", set()),
        (EXITS + "[E] Worker (pid:8) was sent SIGKILL! Perhaps out of memory?\n", {8}),
        (EXITS + "[E] Worker (pid:8) exited with code 1.\n", {8}),
        (EXITS + "[C] WORKER TIMEOUT (pid:8)\n", {8}),
        (BOOTS + "[I] Worker exiting (pid: 7)\n", {8}),
    ],
)
def test_the_log_tells_which_workers_did_not_end_by_themselves(
    log: str, not_graceful: set[int]
) -> None:
    assert Workers.from_log(log).not_graceful == not_graceful


def test_workers_that_booted_and_did_not_exit_are_live() -> None:
    assert Workers.from_log(BOOTS + "[I] Worker exiting (pid: 7)\n").live == {8}
