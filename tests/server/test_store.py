from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from server.wire import IDENTIFY, Sender, event
from whisperr.server.clock import parse_moment
from whisperr.server.models import Window
from whisperr.server.parsing import NOTHING, parse_batch
from whisperr.server.peers import Process
from whisperr.server.store import Received, Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import LocalServer

NOW = "2026-06-14T12:00:00.000Z"
KEY = "wrk_a"


@pytest.fixture
def store() -> Iterator[Store]:
    with contextlib.closing(Store()) as store:
        yield store


def record(store: Store, *ids: str, connection: int = 1, answered: bool = True) -> int:
    """Record a batch of events with these message ids and return the request's number."""
    body = json.dumps({"events": [event(name, occurred_at=NOW) for name in ids]})
    parsed = parse_batch(body.encode(), Window.around(parse_moment(NOW)))
    received = Received(KEY, "/v1/events/batch", connection, NOW, "test/1", 202, body)
    request = store.record(received, parsed)
    if answered:
        store.mark_answered(request)
    return request


def counted(store: Store, *names: str) -> list[int]:
    counts = store.counts(KEY)
    return [counts[name] for name in names]


def test_an_event_that_arrives_again_is_one_event(store: Store) -> None:
    store.open_connection("127.0.0.1", 1, None)
    record(store, "a", "b")
    record(store, "b", "c")
    assert counted(store, "requests", "arrivals", "events") == [2, 4, 3]
    assert [row["message_id"] for row in store.events(KEY, 0, 10)] == ["a", "b", "c"]
    assert [row["message_id"] for row in store.arrivals(KEY, 0, 10)] == ["a", "b", "b", "c"]


def test_what_comes_again_after_its_answer_is_twice_and_else_resent(store: Store) -> None:
    store.open_connection("127.0.0.1", 1, Process(10, 1.0))
    record(store, "a")
    record(store, "b", answered=False)
    record(store, "a", "b")
    assert counted(store, "twice", "resent") == [1, 1]


def test_what_comes_from_two_processes_is_twice(store: Store) -> None:
    store.open_connection("127.0.0.1", 1, Process(10, 1.0))
    other = store.open_connection("127.0.0.1", 2, Process(11, 2.0))
    record(store, "a", answered=False)
    record(store, "a", connection=other)
    assert counted(store, "twice", "resent") == [1, 0]
    rows = store.processes(KEY)
    assert [(row["pid"], row["created"], row["arrivals"]) for row in rows] == [
        (10, 1.0, 1),
        (11, 2.0, 1),
    ]


def test_apps_do_not_see_each_other(store: Store) -> None:
    store.open_connection("127.0.0.1", 1, None)
    record(store, "a")
    store.record(Received("wrk_b", "/v1/identify", 1, NOW, "test/1", 400, "{"), NOTHING)
    assert store.counts("wrk_b")["requests"] == 1
    assert store.counts("wrk_b")["arrivals"] == 0
    assert store.counts("wrk_c")["requests"] == 0
    assert store.counts(None)["requests"] == 2


def test_rows_are_read_in_pages(store: Store) -> None:
    store.open_connection("127.0.0.1", 1, None)
    record(store, *"abcdef")
    first = store.arrivals(KEY, 0, 4)
    rest = store.arrivals(KEY, first[-1]["seq"], 4)
    assert [row["message_id"] for row in [*first, *rest]] == list("abcdef")


def test_a_file_keeps_what_arrived(tmp_path: Path) -> None:
    file = str(tmp_path / "stored.db")
    for name in ("a", "b"):
        with contextlib.closing(Store(file)) as store:
            store.open_connection("127.0.0.1", 1, None)
            record(store, name)
            assert store.counts(KEY)["events"] == (1 if name == "a" else 2)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        Store(str(tmp_path / "text"))


def test_the_timeline_holds_what_was_applied_in_order(server: LocalServer, api_key: str) -> None:
    sms = {"channel": "sms", "address": "+15551234567", "opted_in": True}
    first: dict[str, Any] = {"traits": {"plan": "free", "seats": 1}, "channels": [sms]}
    second: dict[str, Any] = {
        "traits": {"plan": "pro"},
        "channels": [{**sms, "opted_in": False}],
        "preferred_channel": "sms",
    }
    with Sender(server.url, api_key) as sender:
        sender.post(IDENTIFY, {"external_user_id": "a/b", **first})
        sender.batch(event("m", external_user_id="a/b"), event(external_user_id="other"))
        sender.batch(event("m", external_user_id="a/b"))
        sender.post(IDENTIFY, {"external_user_id": "a/b", **second})
    answer = server.get("/stored/users/a/b/timeline", key=api_key)
    assert [row["kind"] for row in answer["rows"]] == ["identify", "event", "identify"]
    assert answer["state"] == {
        "traits": {"plan": "pro", "seats": 1},
        "channels": [{**sms, "opted_in": False}],
        "preferred_channel": "sms",
    }
