from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from server.wire import BATCH, IDENTIFY, TRACK, Sender, event, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import LocalServer

MALFORMED: dict[str, dict[str, Any]] = {
    "unknown_field": event(extra=1),
    "event_type": event(event_type="Not-Snake"),
    "empty_user": event(external_user_id=""),
    "null_user": event(external_user_id=None),
    "properties_list": event(properties=[]),
    "no_message_id": event(context={}),
    "empty_message_id": event(context={"$message_id": ""}),
    "no_milliseconds": event(occurred_at=moment()[:-5] + "Z"),
    "with_offset": event(occurred_at=moment()[:-1] + "+00:00"),
    "no_such_day": event(occurred_at="2026-02-31T12:00:00.000Z"),
    "too_old": event(occurred_at=moment(timedelta(days=-30, hours=-1))),
    "too_far_ahead": event(occurred_at=moment(timedelta(hours=1))),
}


@pytest.fixture
def sender(server: LocalServer, api_key: str) -> Iterator[Sender]:
    with Sender(server.url, api_key) as sender:
        yield sender


def test_a_batch_is_accepted_and_stored_in_order(
    server: LocalServer, api_key: str, sender: Sender
) -> None:
    events = [event(properties={"n": number, "ü": [1.5, None, True]}) for number in range(500)]
    answer = sender.batch(*events)
    assert (answer.status, answer.body) == (202, {"accepted": 500, "rejected": 0})
    assert [row["body"] for row in server.arrivals(api_key)] == events


def test_track_and_identify_are_queued(server: LocalServer, api_key: str, sender: Sender) -> None:
    tracked = sender.post(TRACK, event())
    identified = sender.post(IDENTIFY, {"external_user_id": "user_1", "traits": {"plan": "pro"}})
    assert (tracked.status, identified.status) == (202, 202)
    assert tracked.body == {"event": {"mapping_status": "pending"}, "processing": "queued"}
    assert identified.body == {"processing": "queued"}
    assert [row["kind"] for row in server.arrivals(api_key)] == ["event", "identify"]


@pytest.mark.malformed
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_event_is_rejected_and_the_rest_accepted(
    server: LocalServer, api_key: str, sender: Sender, name: str
) -> None:
    good = event()
    answer = sender.batch(MALFORMED[name], good)
    assert (answer.status, answer.body) == (202, {"accepted": 1, "rejected": 1})
    assert [row["body"] for row in server.arrivals(api_key)] == [good]
    assert server.counts(api_key)["rejected"] == 1
    assert server.requests(api_key)[0]["problem"].startswith("events.0")


@pytest.mark.malformed
@pytest.mark.parametrize("name", MALFORMED)
def test_track_refuses_a_malformed_event(sender: Sender, name: str) -> None:
    answer = sender.post(TRACK, MALFORMED[name])
    assert answer.status == 400
    assert answer.body["error"]["code"] == "invalid_request"


@pytest.mark.malformed
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (BATCH, b"{", "body"),
        (BATCH, b'{"events": [NaN]}', "body"),
        (BATCH, b"[]", "body"),
        (BATCH, {"events": []}, "events"),
        (BATCH, {"events": [event()] * 501}, "events"),
        (BATCH, {"events": {}}, "events"),
        (BATCH, {}, "events"),
        (BATCH, {"events": [event()], "extra": 1}, "extra"),
        (TRACK, event(event_type="A"), "event_type"),
        (IDENTIFY, {}, "external_user_id"),
        (IDENTIFY, {"external_user_id": ""}, "external_user_id"),
        (IDENTIFY, {"external_user_id": "u", "traits": []}, "traits"),
        (IDENTIFY, {"external_user_id": "u", "preferred_channel": "fax"}, "preferred_channel"),
        (
            IDENTIFY,
            {"external_user_id": "u", "channels": [{"type": "sms", "address": "+1"}]},
            "channels.0",
        ),
        (IDENTIFY, {"anonymous_id": "a", "preferred_channel": "push"}, "preferred_channel"),
        (IDENTIFY, {"external_user_id": "u", "anonymous_id": "a" * 129}, "anonymous_id"),
    ],
)
def test_a_malformed_body_is_a_400_that_names_the_field(
    server: LocalServer, api_key: str, sender: Sender, path: str, body: object, field: str
) -> None:
    answer = sender.post(path, body)
    assert answer.status == 400
    assert field in answer.body["error"]["message"]
    assert server.counts(api_key)["arrivals"] == 0


def test_every_field_of_an_identify_is_taken(sender: Sender) -> None:
    push = {
        "channel": "push",
        "address": "token",
        "opted_in": True,
        "kind": "apns",
        "platform": "ios",
        "push_env": "sandbox",
        "client_app_id": "net.example",
        "provider_project": "project",
    }
    sms = {"channel": "sms", "address": "+15551234567", "opted_in": False, "verified": True}
    body = {"preferred_channel": "sms", "channels": [push, sms], "anonymous_id": "browser"}
    assert sender.post(IDENTIFY, {"external_user_id": "u", **body}).status == 202
    assert sender.post(IDENTIFY, {"anonymous_id": "b", "channels": [push]}).status == 202


def test_the_bounds_of_the_window_are_five_minutes_and_thirty_days(sender: Sender) -> None:
    ahead = event(occurred_at=moment(timedelta(minutes=5, seconds=-5)))
    behind = event(occurred_at=moment(timedelta(days=-30, seconds=30)))
    assert sender.batch(ahead, behind).body == {"accepted": 2, "rejected": 0}


@pytest.mark.malformed
def test_a_strict_server_refuses_the_whole_batch(
    server: LocalServer, api_key: str, sender: Sender
) -> None:
    server.put("/control/strict-batches", key=api_key, strict=True)
    answer = sender.batch(event(), event(event_type="A"))
    assert answer.status == 400
    assert "events.1.event_type" in answer.body["error"]["message"]
    assert server.counts(api_key)["arrivals"] == 0


def test_the_key_is_taken_from_either_header(
    server: LocalServer, api_key: str, sender: Sender
) -> None:
    del sender.headers["X-API-Key"]
    sender.headers["Authorization"] = f"Bearer {api_key}"
    assert sender.batch(event()).status == 202
    assert server.counts(api_key)["events"] == 1


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "other"}, {"Authorization": "Basic wrk_a"}])
def test_a_missing_or_strange_key_is_a_401(sender: Sender, headers: dict[str, str]) -> None:
    del sender.headers["X-API-Key"]
    sender.headers.update(headers)
    answer = sender.batch(event())
    assert (answer.status, answer.body["error"]["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("agent", ["", "python-requests/2.32.3", "Python-urllib/3.12"])
def test_a_stock_user_agent_is_a_403(sender: Sender, agent: str) -> None:
    sender.headers["User-Agent"] = agent
    assert sender.batch(event()).status == 403


@pytest.mark.malformed
def test_a_body_above_four_mebibytes_is_a_413(
    server: LocalServer, api_key: str, sender: Sender
) -> None:
    assert sender.post(BATCH, b" " * (4 * 1024 * 1024)).status == 400
    assert sender.post(BATCH, b" " * (4 * 1024 * 1024 + 1)).status == 413
    assert sender.batch(event()).status == 202, "the connection can be used further"
    assert [row["status"] for row in server.requests(api_key)] == [400, 413, 202]


def test_other_methods_and_paths_answer_in_the_shape_of_the_errors(sender: Sender) -> None:
    answer = sender.post("/v1/events", {})
    assert (answer.status, answer.body["error"]["message"]) == (404, "Not Found")


def test_the_api_page_documents_the_contract(server: LocalServer) -> None:
    page = server.get("/openapi.json")
    content = page["paths"][BATCH]["post"]["requestBody"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/EventBatch"}
    fields = page["components"]["schemas"]["Event"]
    assert fields["required"] == ["event_type", "occurred_at", "properties", "context"]
    assert "default" not in fields["properties"]["external_user_id"]
