"""The client of each request of an ASGI application, and a last delivery at its end.

For Starlette, FastAPI, Litestar, Quart and any other. uvicorn runs no other hook than the
application's shutdown when it is terminated.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import TYPE_CHECKING, Any

from whisperr import before_exit
from whisperr.request import RequestClient, Resolver, Unresolved, current

if TYPE_CHECKING:
    from whisperr import FlushResult, Whisperr
    from whisperr.request import ResolveUser, UserFinder

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: Whatever types it gives to its arguments.
Application = Callable[[Any, Any, Any], Awaitable[None]]
Wrapped = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
Deliver = Callable[[], "FlushResult"]

_LAST_WORDS = frozenset(
    {"lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"}
)
#: Where a scope holds its request's client.
_KEY = "whisperr"
# Each request pays for the middleware: these, looked up and called as usual, would cost it a
# quarter more.
_set_current, _reset_current, _new = current.set, current.reset, object.__new__


def WhisperrMiddleware(  # noqa: N802 - calling an instance of a class costs each request more
    app: Application,
    client: Whisperr | None = None,
    resolve_user: ResolveUser[Scope] | None = None,
) -> Wrapped:
    """Gives each request and websocket a client for its user; delivers at the shutdown.

    ``scope["whisperr"]`` and `whisperr.request.current_request` are that client while the
    application serves the scope. The user is looked for at its first use.

    What is queued is delivered before the server learns that the application's shutdown is
    complete. An application that has no lifespan gets one. Make the middleware the outermost,
    with ``app.add_middleware(WhisperrMiddleware, client=client)`` or
    ``app = WhisperrMiddleware(app, client)``. It may be made before a fork; threads and tasks
    that a request starts have its client.

    Args:
        app: the application.
        client: tracks, and delivers at the shutdown. None gives requests no client, and has
            every client of the process deliver.
        resolve_user: given the scope; returns the user's id, or None for an anonymous user. May
            be async: then await ``atrack()``. None takes ``scope["user"]``, where it has
            ``is_authenticated`` and ``identity``, as Starlette's AuthenticationMiddleware has it.

    Returns:
        The application with the middleware around it.

    Raises:
        ValueError: for a `resolve_user` without a client.
    """
    if client is None and resolve_user is not None:
        raise ValueError("resolve_user is of no use without a client: pass client= as well.")
    finder: UserFinder[Scope] = Resolver(resolve_user) if resolve_user else _ScopeUser()
    deliver: Deliver = before_exit if client is None else client.before_exit

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(receive, send, deliver).run(app, scope)
        elif client is None:
            await app(scope, receive, send)
        elif _KEY in scope:  # of a middleware around this one
            outer = scope.pop(_KEY)
            try:
                await serve(scope, receive, send)
            finally:
                scope[_KEY] = outer
        else:
            request: RequestClient[Scope] = _new(RequestClient)
            request._client, request._finder = client, finder
            request._source, request._user = scope, None
            scope[_KEY] = request
            token = _set_current(request)
            try:
                await app(scope, receive, send)
            finally:
                _reset_current(token)
                scope.pop(_KEY, None)  # or the scope and its client kept each other

    return serve


class _ScopeUser:
    """Finds the user in the scope, each time anew: a request may log somebody in."""

    lasting = False

    def find(self, scope: Scope) -> Any:
        if "user" not in scope:
            raise Unresolved(
                "The scope has no user: install authentication that sets it, such as Starlette's "
                "AuthenticationMiddleware, or give WhisperrMiddleware resolve_user=."
            )
        user = scope["user"]
        try:
            return user.identity if user is not None and user.is_authenticated else None
        except (AttributeError, NotImplementedError) as problem:
            raise Unresolved(
                "The user of the scope has no is_authenticated or no identity: give "
                'WhisperrMiddleware resolve_user=, such as lambda scope: scope["user"].id.'
            ) from problem

    async def afind(self, scope: Scope) -> Any:
        return self.find(scope)


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
