"""Writing an answer, or failing to in the way that a fault asks for."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Receive, Scope, Send

    from whisperr.server.faults import Fault
    from whisperr.server.protocol import Connection

TRICKLE_INTERVAL = 1.0  # seconds from one byte to the next


class Delivery(Response):
    """An answer that says when it was written completely.

    Args:
        answer: What to write; its status and body count for nothing where `fault` writes nothing.
        connection: Where to write it.
        written: Called in the event loop's step in which the last byte was handed over, so that
            nobody who has the answer can see it unmarked.
        fault: How to misbehave, if at all.

    """

    def __init__(
        self,
        answer: Response,
        connection: Connection,
        written: Callable[[], None],
        fault: Fault | None = None,
    ) -> None:
        self.status_code = answer.status_code
        self.body = answer.body
        self.raw_headers = answer.raw_headers
        self.background = None
        self._connection = connection
        self._written = written
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait, then write, trickle, reset or never answer."""
        del scope
        action = self._fault.action if self._fault else "delay"
        if self._fault and self._fault.delay and await left(receive, self._fault.delay):
            return
        if action in ("reset_before", "reset_after"):
            self._connection.reset()
            await left(receive)
        elif action == "never":
            await left(receive)
        elif action == "trickle":
            await self._trickle(receive)
        else:
            await self._write(send)

    async def _write(self, send: Send) -> None:
        transport = self._connection.transport
        start: Message = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        was_open = not transport.is_closing()
        await send({"type": "http.response.body", "body": self.body})
        if was_open and not transport.get_write_buffer_size():
            self._written()

    async def _trickle(self, receive: Receive) -> None:
        transport = self._connection.transport
        for byte in self._raw():
            transport.write(bytes([byte]))
            if await left(receive, TRICKLE_INTERVAL):
                return
        self._written()
        transport.close()
        await left(receive)

    def _raw(self) -> bytes:
        phrase = HTTPStatus(self.status_code).phrase
        lines = [f"HTTP/1.1 {self.status_code} {phrase}".encode()]
        lines += [name + b": " + value for name, value in self.raw_headers]
        return b"\r\n".join([*lines, b"connection: close", b"", bytes(self.body)])


async def left(receive: Receive, seconds: float | None = None) -> bool:
    """Return whether the client went away within `seconds` (None: wait until it does)."""
    try:
        await asyncio.wait_for(_disconnect(receive), seconds)
    except asyncio.TimeoutError:
        return False
    return True


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
