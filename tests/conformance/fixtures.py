"""The service's own fixtures, read from beside the file that WHISPERR_SPEC_PATH names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from whisperr import Whisperr

if TYPE_CHECKING:
    from harness import LocalServer

Case = dict[str, Any]

_PATH = os.environ.get("WHISPERR_SPEC_PATH")

needs_spec = pytest.mark.skipif(
    not _PATH, reason="WHISPERR_SPEC_PATH does not name the service's wire.json"
)


def load(name: str) -> Case:
    """A fixture file of the service, empty where WHISPERR_SPEC_PATH is unset."""
    if not _PATH:
        return {}
    content: Case = json.loads(Path(_PATH).with_name(name).read_text())
    return content


def by_name(cases: list[Case]) -> Any:
    """Parameters of a test: one for each case, called as the service calls it."""
    return [pytest.param(case, id=case["name"]) for case in cases]


def new_client(server: LocalServer, api_key: str, **options: Any) -> Whisperr:
    """A client that delivers only when it is flushed."""
    return Whisperr(api_key, base_url=server.url, flush_interval=0, flush_at=500, **options)


def bodies(server: LocalServer, api_key: str, path: str) -> list[Case]:
    """What arrived at an endpoint."""
    return [
        json.loads(request["body"])
        for request in server.requests(api_key)
        if request["path"] == path
    ]
