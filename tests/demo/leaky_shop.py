"""The demo's shop with a client that drops every 50th event after the shop has noted it."""

from __future__ import annotations

from typing import Any

from whisperr.demo import shop

EVERY = 50


class Leaky:
    """Passes on what it is told, but not all of it."""

    def __init__(self) -> None:
        self.identify = shop.client.identify
        self._track = shop.client.track
        self._calls = 0

    def track(self, *args: Any) -> None:
        """Forget every 50th event."""
        self._calls += 1
        if self._calls % EVERY:
            self._track(*args)


shop.client = Leaky()  # type: ignore[assignment] # broken on purpose
application = shop.application
