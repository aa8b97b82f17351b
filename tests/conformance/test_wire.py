"""wire.json: the bytes of each call are what the service expects (its client section apart)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from .fixtures import Case, bodies, by_name, load, needs_spec, new_client

if TYPE_CHECKING:
    from harness import LocalServer
    from whisperr import Whisperr

CASES = load("wire.json").get("cases", [])
_RFC3339_MILLISECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z").fullmatch


@needs_spec
def test_there_are_cases() -> None:
    assert CASES


@needs_spec
@pytest.mark.parametrize("case", by_name(CASES))
def test_case(server: LocalServer, api_key: str, case: Case) -> None:
    scenario = case["scenario"]
    server.put("/control/clock", now=scenario.get("clockIso"))
    with new_client(server, api_key) as client:
        {"track": _track, "identify": _identify}[case["op"]](client, scenario)
        assert client.flush()
    (body,) = bodies(server, api_key, case["endpoint"])
    if "expectedBody" in case:
        assert body == case["expectedBody"]
        return
    (event,) = body["events"]
    context, occurred_at = event.pop("context"), event.pop("occurred_at")
    assert event == case["expectedEvent"]
    assert context.keys() >= set(case["contextMustContain"])
    assert occurred_at == case.get("expectedOccurredAt", occurred_at)
    assert _RFC3339_MILLISECONDS(occurred_at)


def _track(client: Whisperr, scenario: Case) -> None:
    clock = scenario.get("clockIso")
    client.track(
        scenario["externalUserId"],
        scenario["eventType"],
        scenario.get("properties"),
        occurred_at=datetime.fromisoformat(clock.replace("Z", "+00:00")) if clock else None,
    )


def _identify(client: Whisperr, scenario: Case) -> None:
    client.identify(
        scenario["externalUserId"],
        traits=scenario.get("traits"),
        email=scenario.get("email"),
        push_token=scenario.get("pushToken"),
        preferred_channel=scenario.get("preferredChannel"),
        channels=[_channel(channel) for channel in scenario.get("channels", [])] or None,
    )


def _channel(channel: Case) -> dict[str, Any]:
    """The fixtures are in camel case; a Python caller writes snake case."""
    return {{"optedIn": "opted_in"}.get(name, name): value for name, value in channel.items()}
