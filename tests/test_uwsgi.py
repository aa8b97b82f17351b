"""The helper for uWSGI outside of it; what it does there is in tests/hosts."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import whisperr
from whisperr import uwsgi

if TYPE_CHECKING:
    import pytest

    from harness import LocalServer


def test_the_hook_does_no_harm_outside_of_uwsgi(server: LocalServer, api_key: str) -> None:
    with whisperr.Whisperr(api_key, base_url=server.url) as client:
        client.track("user", "something_happened")
        uwsgi.post_fork()
        uwsgi.post_fork()
        assert client.flush().delivered == 1
    assert server.counts(api_key)["events"] == 1


def test_an_applications_own_module_of_that_name_is_not_taken_for_uwsgis(
    server: LocalServer, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `gunicorn uwsgi:app`."""
    monkeypatch.setitem(sys.modules, "uwsgi", ModuleType("uwsgi"))
    with whisperr.Whisperr(api_key, base_url=server.url) as client:
        client.track("user", "something_happened")
        assert client.flush().delivered == 1
        assert client.stats().process.role is None
