"""uvicorn's HTTP protocol, which tells each request the connection that it came over."""

from __future__ import annotations

import socket
import struct
import sys
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

    from fastapi import Request

    from whisperr.server.peers import Link


_LINGER_NOT = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class Connection:
    """One TCP connection; `number` is given by the store at its first request."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.number: int | None = None
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.host: str = peer[0]
        self.link: Link = (peer[1], own[1])

    def reset(self) -> None:
        """End it with a RST at once."""
        handle = self.transport.get_extra_info("socket")
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.transport.abort()


class Protocol(HttpToolsProtocol):
    """Puts its `Connection` into the state of every request."""

    def connection_made(  # type: ignore[override] # uvicorn narrows the transport, too
        self, transport: asyncio.Transport
    ) -> None:
        """Remember the connection."""
        super().connection_made(transport)
        self.connection = Connection(transport)

    def on_message_begin(self) -> None:
        """Hand the connection to the request that begins."""
        super().on_message_begin()
        self.scope["state"]["connection"] = self.connection

    def abandon(self) -> None:
        """End the connection where an answer is still due (the server is about to end)."""
        if self.cycle and not self.cycle.response_complete:
            self.transport.abort()


def connection_of(request: Request) -> Connection:
    """Return the connection that `request` came over."""
    return cast(Connection, request.state.connection)
