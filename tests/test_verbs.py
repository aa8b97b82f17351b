"""A draft: stamped and encoded at the call, accepted or taken back later, by one process."""

from __future__ import annotations

import gc
import json
import os
import time
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from forked import in_child, os_fork, raw_fork
from harness import wait_until
from whisperr import BillingProperties, Draft, Whisperr
from whisperr.server.ledger import Ledger, arrivals_from, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import LocalServer
    from reported import Errors

forked_both_ways = pytest.mark.parametrize("fork", [os_fork, raw_fork])


@pytest.fixture
def client(server: LocalServer, api_key: str, errors: Errors) -> Iterator[Whisperr]:
    """One that delivers when it is told to; its accounts balance at the end."""
    options: dict[str, Any] = {"flush_interval": 0, "flush_at": 10_000, "on_error": errors}
    client = Whisperr(api_key, base_url=server.url, **options)
    yield client
    client.shutdown()
    assert client.stats().balanced


class Tracked:
    """Tracks, and notes each id before the call."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def track(self, to: Whisperr | Draft, event_type: str = "happened") -> None:
        self.ids.append(uuid.uuid4().hex)
        to.track("u", event_type, {"test_id": self.ids[-1]})

    def against(self, server: LocalServer, api_key: str) -> Ledger:
        return judge(self.ids, arrivals_from(server.arrivals(api_key)))


@pytest.fixture
def tracked() -> Tracked:
    return Tracked()


def bodies(server: LocalServer, api_key: str) -> list[dict[str, Any]]:
    """Each event and identify that arrived, in order."""
    found = [json.loads(row["body"]) for row in server.requests(api_key)]
    return [one for body in found for one in body.get("events", [body])]


def test_what_is_held_is_delivered_once_it_is_accepted_and_not_before(
    server: LocalServer, api_key: str, client: Whisperr, tracked: Tracked
) -> None:
    draft = client.draft()
    tracked.track(draft)
    assert client.flush()
    assert client.stats().called == 0
    assert not server.requests(api_key)
    draft.accept()
    assert client.flush()
    assert tracked.against(server, api_key).exactly_once


def test_what_is_accepted_keeps_the_order_of_its_calls_and_comes_after_what_was_accepted_before(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    draft = client.draft()
    draft.track("u", "first")
    draft.identify("u", traits={"plan": "pro"})
    draft.track("u", "second")
    client.track("u", "meanwhile")
    draft.accept()
    assert client.flush()
    names = [body.get("event_type", "identify") for body in bodies(server, api_key)]
    assert names == ["meanwhile", "first", "identify", "second"]


def test_what_is_delivered_is_what_the_arguments_were_at_the_call(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    values: dict[str, Any] = {"items": [1]}
    draft = client.draft()
    draft.track("u", "happened", values, values)
    draft.identify("u", traits=values)
    values["items"].append(2)
    values["late"] = True
    draft.accept()
    assert client.flush()
    event, identify = bodies(server, api_key)
    assert event["properties"] == identify["traits"] == {"items": [1]}
    assert event["context"]["items"] == [1]
    assert "late" not in event["context"]


def test_an_event_happened_when_it_was_called_and_not_when_it_was_accepted(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    draft = client.draft()
    draft.track("u", "happened")
    called = time.time()
    wait_until(lambda: time.time() > called + 0.05)
    draft.accept()
    assert client.flush()
    (event,) = bodies(server, api_key)
    assert datetime.fromisoformat(event["occurred_at"][:-1] + "+00:00").timestamp() <= called


def test_it_is_accepted_once(
    server: LocalServer, api_key: str, client: Whisperr, tracked: Tracked
) -> None:
    draft = client.draft()
    tracked.track(draft)
    draft.accept()
    draft.accept()
    draft.take_back()
    del draft
    assert client.flush()
    assert tracked.against(server, api_key).exactly_once
    assert client.stats().called == 1


def test_a_draft_goes_on_after_a_decision(
    server: LocalServer, api_key: str, client: Whisperr, tracked: Tracked
) -> None:
    draft = client.draft()
    draft.track("u", "withdrawn", {"test_id": "withdrawn"})
    draft.take_back()
    tracked.track(draft)
    draft.accept()
    assert client.flush()
    assert tracked.against(server, api_key).exactly_once


def _take_back(draft: Draft) -> None:
    draft.take_back()


def _drop(_draft: Draft) -> None:
    return  # its last name goes with the caller's


@pytest.mark.parametrize("end", [_take_back, _drop])
def test_what_is_taken_back_or_dropped_is_counted_and_neither_delivered_nor_reported(
    server: LocalServer,
    api_key: str,
    client: Whisperr,
    errors: Errors,
    end: Callable[[Draft], None],
) -> None:
    draft = client.draft()
    draft.track("u", "happened")
    draft.identify("u", traits={"plan": "pro"})
    end(draft)
    del draft
    gc.collect()
    assert client.flush()
    stats = client.stats()
    assert stats.balanced
    assert (stats.called, stats.refused["rolled_back"]) == (2, 2)
    assert not server.requests(api_key)
    client.shutdown()
    assert not errors


def test_a_refusal_is_counted_and_reported_at_the_call(
    server: LocalServer, api_key: str, client: Whisperr, errors: Errors
) -> None:
    draft = client.draft()
    draft.track("u", "Not Snake Case")
    draft.track("", "happened")
    draft.track("u", "refund_granted", BillingProperties(currency="eur"))
    draft.identify("u", traits={"much": "x" * 300_000})
    assert client.stats().refused["invalid"] == 3
    assert client.stats().refused["too_large"] == 1
    client.flush()
    reported = [error.reason for error in errors for _ in range(error.count)]
    assert sorted(filter(None, reported)) == ["invalid"] * 3 + ["too_large"]
    draft.accept()
    draft.take_back()
    assert client.flush()
    assert client.stats().called == 4
    assert not server.requests(api_key)


def test_a_client_that_was_shut_down_meanwhile_refuses_what_is_accepted(
    server: LocalServer, api_key: str, client: Whisperr, errors: Errors
) -> None:
    draft = client.draft()
    draft.track("u", "happened")
    draft.track("u", "happened")
    client.shutdown()
    draft.accept()
    client.flush()
    stats = client.stats()
    assert stats.balanced
    assert (stats.called, stats.refused["closed"]) == (2, 2)
    assert [error.reason for error in errors] == ["closed"]
    assert not server.requests(api_key)


def test_a_call_after_the_shutdown_is_refused_at_the_call(client: Whisperr) -> None:
    client.shutdown()
    draft = client.draft()
    draft.track("u", "happened")
    assert client.stats().refused["closed"] == 1
    draft.accept()
    assert client.stats().called == 1


def test_a_draft_of_a_disabled_client_does_nothing(server: LocalServer, api_key: str) -> None:
    client = Whisperr(api_key, base_url=server.url, disabled=True)
    draft = client.draft()
    draft.track("u", "happened")
    draft.accept()
    draft.track("u", "happened")
    draft.take_back()
    assert client.flush()
    assert client.stats().called == 0
    assert not server.requests(api_key)


@forked_both_ways
def test_a_forked_child_has_nothing_of_it(
    server: LocalServer,
    api_key: str,
    client: Whisperr,
    tracked: Tracked,
    fork: Callable[[], int],
) -> None:
    draft = client.draft()
    tracked.track(draft)
    taken_back = client.draft()
    taken_back.track("u", "withdrawn", {"test_id": "withdrawn"})

    def child() -> tuple[int, int]:
        draft.accept()
        taken_back.take_back()
        stats = client.stats()
        return stats.called, stats.process.threads

    def child_that_shuts_down() -> int:
        client.shutdown()
        draft.accept()
        return client.stats().called

    assert in_child(child, fork) == [0, 1]  # and nobody delivers for its parent
    assert in_child(child_that_shuts_down, fork) == 0
    assert client.stats().called == 0
    draft.accept()
    taken_back.take_back()
    assert client.flush()
    assert tracked.against(server, api_key).exactly_once


@forked_both_ways
def test_a_child_that_ends_with_its_parents_draft_takes_nothing_back(
    server: LocalServer,
    api_key: str,
    client: Whisperr,
    tracked: Tracked,
    fork: Callable[[], int],
) -> None:
    drafts = [client.draft()]
    tracked.track(drafts[0])

    def child() -> int:
        client.track(
            "u", "happened", {"test_id": f"child-{os.getpid()}"}
        )  # its own account is open
        drafts.clear()
        gc.collect()
        client.flush()
        return client.stats().refused["rolled_back"]

    assert in_child(child, fork) == 0
    drafts.pop().accept()
    assert client.flush()
    ledger = tracked.against(server, api_key)
    assert not ledger.lost | ledger.twice | ledger.resent
    assert len(ledger.unknown) == 1


@forked_both_ways
def test_a_child_has_drafts_of_its_own_also_by_an_object_of_its_parents(
    server: LocalServer,
    api_key: str,
    client: Whisperr,
    tracked: Tracked,
    fork: Callable[[], int],
) -> None:
    draft = client.draft()
    tracked.track(draft)

    def child() -> list[str]:
        own = Tracked()
        for one in (client.draft(), draft):
            own.track(one)
            one.accept()
        client.flush()
        return own.ids

    tracked.ids += in_child(child, fork)
    draft.accept()
    assert client.flush()
    assert tracked.against(server, api_key).exactly_once
