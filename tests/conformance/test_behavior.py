"""behavior.json: what is kept and what is dropped after a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .fixtures import Case, bodies, by_name, load, needs_spec, new_client

if TYPE_CHECKING:
    from harness import LocalServer
    from whisperr import WhisperrError

CASES = load("behavior.json").get("cases", [])


@needs_spec
def test_there_are_cases() -> None:
    assert CASES


@needs_spec
@pytest.mark.parametrize("case", by_name(CASES))
def test_case(server: LocalServer, api_key: str, case: Case) -> None:
    scenario, expect = case["scenario"], case["expect"]
    errors: list[WhisperrError] = []
    options = {"max_retries": case["clientOptions"]["maxRetries"], "on_error": errors.append}
    client = new_client(server, api_key, **options)
    first = case["firstResponse"]["status"]
    server.fault(key=api_key, times=1, action="status", status=first)
    client.track(scenario["externalUserId"], scenario["eventType"], scenario["properties"])

    assert not client.flush()
    assert [(error.type, error.status) for error in errors] == [(expect["errorType"], first)]
    assert client.stats().queued == int(expect["retainedAfterFirstFlush"])

    assert client.flush()
    delivered = len(server.events(api_key)) == 1
    assert delivered == expect["deliveredAfterRecovery"]
    sent = bodies(server, api_key, "/v1/events/batch")
    assert (len(sent) == 2) == expect["retriesAfterRecovery"]
    message_ids = {body["events"][0]["context"]["$message_id"] for body in sent}
    assert (len(message_ids) == 1) == expect.get("stableMessageIdOnRetry", True)
    assert client.stats().balanced
