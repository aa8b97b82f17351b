"""Deliver at the end of an ASGI application; uvicorn runs no other hook when it is terminated."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from whisperr import before_exit

if TYPE_CHECKING:
    from whisperr import FlushResult, Whisperr

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Whatever types it gives to its arguments.
Application = Callable[[Any, Any, Any], Awaitable[None]]
Deliver = Callable[[], "FlushResult"]

_LAST_WORDS = frozenset(
    {"lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"}
)


class WhisperrMiddleware:
    """Delivers before the server learns that the application's shutdown is complete.

    Requests and websockets go straight to the application, and so does its own lifespan; an
    application that has none gets one. Make it the outermost, with
    ``app.add_middleware(WhisperrMiddleware)`` or ``app = WhisperrMiddleware(app)``.

    Args:
        app: the application.
        client: whose operations to deliver; None is every client of the process.
    """

    def __init__(self, app: Application, client: Whisperr | None = None) -> None:
        self._app = app
        self._deliver: Deliver = before_exit if client is None else client.before_exit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await _Lifespan(receive, send, self._deliver).run(self._app, scope)
        else:
            await self._app(scope, receive, send)


class _Lifespan:
    """One run of the protocol: stands between server and application, and notes how far it got."""

    def __init__(self, receive: Receive, send: Send, deliver: Deliver) -> None:
        self._server_receive = receive
        self._server_send = send
        self._deliver = deliver
        self._asked = False
        self._received: set[str] = set()
        self._sent: set[str] = set()
        self._delivered = False

    async def run(self, app: Application, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception:
            if self._asked:  # it has a lifespan, which failed
                await self._deliver_once()
                raise
        await self._finish()

    async def _receive(self) -> Message:
        self._asked = True
        message = await self._server_receive()
        self._received.add(message["type"])
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] in _LAST_WORDS:
            await self._deliver_once()
        self._sent.add(message["type"])
        await self._server_send(message)

    async def _finish(self) -> None:
        """Answer what the application left unanswered."""
        if not self._sent:
            await self._wait_for("lifespan.startup")
            await self._send({"type": "lifespan.startup.complete"})
        if not self._sent & _LAST_WORDS:
            await self._wait_for("lifespan.shutdown")
            await self._send({"type": "lifespan.shutdown.complete"})

    async def _wait_for(self, kind: str) -> None:
        if kind not in self._received:
            await self._receive()

    async def _deliver_once(self) -> None:
        """Without blocking the loop; the end of the application never fails for it."""
        if self._delivered:
            return
        self._delivered = True
        with contextlib.suppress(Exception):
            try:
                waiting = asyncio.get_running_loop().run_in_executor(None, self._deliver)
            except RuntimeError:  # no loop of asyncio's, or no thread to be had any more
                self._deliver()
            else:
                await waiting
