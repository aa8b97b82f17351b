"""The helper for uWSGI outside of it; what it does there is in tests/hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import whisperr
from whisperr import uwsgi

if TYPE_CHECKING:
    from harness import LocalServer


def test_the_hook_does_no_harm_outside_of_uwsgi(server: LocalServer, api_key: str) -> None:
    with whisperr.Whisperr(api_key, base_url=server.url) as client:
        client.track("user", "something_happened")
        uwsgi.post_fork()
        uwsgi.post_fork()
        assert client.flush().delivered == 1
    assert server.counts(api_key)["events"] == 1
