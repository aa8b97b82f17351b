from __future__ import annotations

from dataclasses import replace

from whisperr.server.ledger import Arrival, Row, arrivals_from, judge, message_id

A = frozenset({"a"})
NONE: frozenset[str] = frozenset()
FIRST = Arrival(id="a", request=1, pid=10, created=1.0, answered=True, seq=1)


def test_each_tracked_id_that_arrived_once_is_exactly_once() -> None:
    ledger = judge(["a", "b"], [FIRST, replace(FIRST, id="b", seq=2)])
    assert ledger.exactly_once
    assert (ledger.arrivals, ledger.arrived) == (2, frozenset({"a", "b"}))


def test_a_tracked_id_that_never_arrived_is_lost() -> None:
    ledger = judge(["a", "b"], [FIRST])
    assert (ledger.lost, ledger.exactly_once) == (frozenset({"b"}), False)


def test_an_id_that_nobody_tracked_is_unknown() -> None:
    ledger = judge([], [FIRST])
    assert (ledger.unknown, ledger.exactly_once) == (A, False)


def test_an_id_that_arrives_after_its_2xx_is_twice() -> None:
    ledger = judge(["a"], [replace(FIRST, request=2, seq=2), FIRST])
    assert (ledger.twice, ledger.resent, ledger.exactly_once) == (A, NONE, False)


def test_an_id_that_arrives_after_an_unanswered_exchange_is_resent() -> None:
    unanswered = replace(FIRST, answered=False)
    ledger = judge(["a"], [unanswered, replace(FIRST, request=2, seq=2)])
    assert (ledger.twice, ledger.resent, ledger.exactly_once) == (NONE, A, False)


def test_an_id_from_two_processes_is_twice_whatever_was_answered() -> None:
    unanswered = replace(FIRST, answered=False)
    for other in ({"pid": 11}, {"created": 2.0}):
        again = replace(unanswered, request=2, seq=2, **other)
        assert judge(["a"], [unanswered, again]).twice == A


def test_a_process_that_is_not_known_proves_no_second_sender() -> None:
    unknown = replace(FIRST, answered=False, pid=None, created=None)
    assert judge(["a"], [unknown, replace(FIRST, request=2, seq=2)]).resent == A


def test_an_id_that_stands_twice_in_one_request_is_twice() -> None:
    unanswered = replace(FIRST, answered=False)
    assert judge(["a"], [unanswered, replace(unanswered, seq=2)]).twice == A


def test_rows_become_arrivals_by_the_place_where_the_id_stands() -> None:
    common: Row = {
        "request": 1,
        "pid": 10,
        "created": 1.0,
        "answered": True,
        "status": 202,
        "seq": 1,
    }
    event: Row = {
        **common,
        "kind": "event",
        "message_id": "m",
        "body": {"properties": {"test_id": "a", "order": {"number": 7}}},
    }
    identify: Row = {
        **common,
        "kind": "identify",
        "message_id": None,
        "body": {"traits": {"test_id": "b"}},
    }
    rows = [event, identify]
    assert [arrival.id for arrival in arrivals_from(rows)] == ["a", "b"]
    assert [arrival.id for arrival in arrivals_from(rows, message_id)] == ["m"]
    assert [arrival.id for arrival in arrivals_from(rows, "properties.order.number")] == ["7"]
    assert arrivals_from(rows)[0] == FIRST


def test_only_a_2xx_answers_an_arrival() -> None:
    row: Row = {"request": 1, "pid": 10, "created": 1.0, "seq": 1, "kind": "event", "body": {}}
    rows = [
        {**row, "answered": True, "status": 503, "message_id": "a"},
        {**row, "answered": False, "status": 202, "message_id": "b"},
        {**row, "answered": False, "status": None, "message_id": "c"},
    ]
    assert not any(arrival.answered for arrival in arrivals_from(rows, message_id))
