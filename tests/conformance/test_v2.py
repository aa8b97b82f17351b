"""v2.json: the sections that apply to server SDKs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import whisperr

from .fixtures import Case, bodies, by_name, load, needs_spec, new_client

if TYPE_CHECKING:
    from harness import LocalServer

SECTIONS = {
    name: section
    for name, section in load("v2.json").get("sections", {}).items()
    if "server" in section["appliesTo"]
}
CASES = [case for section in SECTIONS.values() for case in section["cases"]]
#: Keys of the context that the contract governs: one that is not expected must be absent.
GOVERNED = {"app_version", "app_build", "platform", "sdk_name", "sdk_version", "locale"}
PLACEHOLDERS = {"$sdk_name": "whisperr-python", "$sdk_version": whisperr.__version__}


@needs_spec
def test_there_are_cases() -> None:
    assert CASES


@needs_spec
@pytest.mark.parametrize("case", by_name(CASES))
def test_case(server: LocalServer, api_key: str, case: Case) -> None:
    release = case.get("config", {}).get("release")
    with new_client(server, api_key, app_version=release) as client:
        for step in case["steps"]:
            track = step["track"]
            client.track(track["externalUserId"], track["eventType"], track.get("properties"))
            assert client.flush()
    expected = [event for request in case["expectedRequests"] for event in request["events"]]
    endpoints = {request["endpoint"] for request in case["expectedRequests"]}
    sent = [
        event
        for endpoint in endpoints
        for body in bodies(server, api_key, endpoint)
        for event in body["events"]
    ]
    assert [_compared(event) for event in sent] == [_compared(event) for event in expected]


def _compared(event: Case) -> Case:
    """An event as v2.json compares it: without occurred_at, of the context the governed keys."""
    context = event["context"]
    governed = {
        key: PLACEHOLDERS.get(context[key], context[key]) for key in GOVERNED & context.keys()
    }
    rest = {key: value for key, value in event.items() if key not in ("context", "occurred_at")}
    return {**rest, "context": governed}
