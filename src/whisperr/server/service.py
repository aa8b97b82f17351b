"""Everything that one running server owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from whisperr.server.clock import Clock
from whisperr.server.faults import FaultBook
from whisperr.server.peers import PeerFinder

if TYPE_CHECKING:
    from whisperr.server.protocol import Connection
    from whisperr.server.store import Store


@dataclass(frozen=True)
class Service:
    """The parts of a server, each the single owner of its state.

    Attributes:
        store: What arrived.
        keys: The accepted API keys; empty: every key that looks like one.
        clock: The server's now.
        faults: What is to go wrong.
        peers: Who sends; None: nobody looks.
        strict: By key, and for all others under None: whether one malformed event makes its
            whole batch a 400.

    """

    store: Store
    keys: frozenset[str] = frozenset()
    clock: Clock = field(default_factory=Clock)
    faults: FaultBook = field(default_factory=FaultBook)
    peers: PeerFinder | None = field(default_factory=PeerFinder)
    strict: dict[str | None, bool] = field(default_factory=dict)

    def accepts(self, key: str) -> bool:
        """Return whether `key` may write."""
        return key in self.keys if self.keys else key.startswith(("wrk_", "wpk_"))

    def is_strict(self, key: str) -> bool:
        """Return whether a malformed event makes the whole batch of this app a 400."""
        return self.strict.get(key, self.strict.get(None, False))

    async def introduce(self, connection: Connection) -> int:
        """Return the number of a connection; at its first request, find out who is behind it."""
        if connection.number is None:
            host, link = connection.host, connection.link
            process = None if self.peers is None else await self.peers.find(host, link)
            connection.number = self.store.open_connection(host, link[0], process)
        return connection.number
