"""A client whose events a test asks for: who tracked what, and what could not be tracked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whisperr import Whisperr

if TYPE_CHECKING:
    from harness import LocalServer
    from whisperr import WhisperrError


class Tracked:
    """One client that delivers when it is asked to, and what the server and it say.

    Attributes:
        options: with which an application makes the same client itself.
        client: the client.
    """

    def __init__(self, server: LocalServer, api_key: str) -> None:
        self._server = server
        self._api_key = api_key
        self._reports: list[WhisperrError] = []
        self.options: dict[str, Any] = {
            "flush_interval": 0,
            "flush_at": 10**9,
            "on_error": self._reports.append,
        }
        self.client = Whisperr(api_key, base_url=server.url, **self.options)

    @property
    def events(self) -> list[tuple[str, str]]:
        """User and type of every event, in the order of the calls."""
        self.client.flush()
        rows = self._server.events(self._api_key)
        return [(row["external_user_id"], row["event_type"]) for row in rows]

    @property
    def waiting(self) -> int:
        """How many operations the client holds."""
        return self.client.stats().queued

    @property
    def reports(self) -> list[str]:
        """What was reported of events whose user was not found; there is nothing else."""
        self.client.flush()
        assert {report.reason for report in self._reports} <= {"user_unresolved"}, self._reports
        return [report.message for report in self._reports]
