from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections
from django.db.backends.utils import CursorWrapper
from django.test.utils import override_settings, setup_databases, teardown_databases

from frameworks.django import project  # noqa: F401 - configures Django
from whisperr.django import get_client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import LocalServer
    from whisperr import Stats, WhisperrError


class Reported:
    """What the project's client reported, and what arrived."""

    def __init__(self, server: LocalServer, api_key: str) -> None:
        self._server = server
        self._api_key = api_key
        self.errors: list[WhisperrError] = []
        self.settings: dict[str, Any] = {
            "WHISPERR_API_KEY": api_key,
            "WHISPERR_BASE_URL": server.url,
            "WHISPERR": {
                "flush_interval": 0,
                "flush_at": 10**9,
                "on_error": self.errors.append,
            },
        }

    @property
    def arrived(self) -> list[tuple[str, str]]:
        """User and event type (or "identify") of everything, in order, after a flush."""
        get_client().flush()
        rows = self._server.arrivals(self._api_key)
        return [
            (row["body"]["external_user_id"], row["body"].get("event_type", "identify"))
            for row in rows
        ]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What arrived, whole."""
        get_client().flush()
        return [row["body"] for row in self._server.arrivals(self._api_key)]

    @property
    def problems(self) -> list[tuple[str | None, str]]:
        """Reason and message of each report, after a flush."""
        get_client().flush()
        return [(error.reason, error.message) for error in self.errors]

    @property
    def stats(self) -> Stats:
        """The accounts of the project's client."""
        return get_client().stats()


@pytest.fixture(scope="session")
def databases() -> Iterator[None]:
    """Both databases, empty."""
    request_finished.disconnect(close_old_connections)  # as Django's own test client has it
    made = setup_databases(verbosity=0, interactive=False)
    yield
    teardown_databases(made, verbosity=0)


@pytest.fixture
def reported(server: LocalServer, api_key: str, databases: None) -> Iterator[Reported]:
    """A client of the test's own behind the project's settings; only a flush delivers."""
    reported = Reported(server, api_key)
    with override_settings(**reported.settings):
        yield reported


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every query from now on, of any thread and database."""
    made: list[str] = []
    execute = CursorWrapper.execute

    def noted(self: CursorWrapper, sql: Any, params: Any = None) -> Any:
        made.append(str(sql))
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", noted)
    return made
