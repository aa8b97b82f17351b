"""The server's idea of now, which a test may set."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


def parse_moment(text: str) -> datetime:
    """Return the moment that an RFC 3339 `text` names (UTC where it names no zone).

    Raises:
        ValueError: `text` names no moment.

    """
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise ValueError(f"{text!r} is no moment; write it like 2026-06-14T12:00:00Z.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


class Clock:
    """Real time, or a time that was set and has run on since."""

    def __init__(self, now: datetime | None = None) -> None:
        self._offset = timedelta()
        self.set(now)

    def set(self, now: datetime | None) -> None:
        """Make it `now` (an aware datetime), or real time again with None."""
        self._offset = now - datetime.now(timezone.utc) if now else timedelta()

    def now(self) -> datetime:
        """Return the server's now in UTC."""
        return datetime.now(timezone.utc) + self._offset
