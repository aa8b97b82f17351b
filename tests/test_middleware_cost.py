"""A request that does not track pays less than a microsecond for each middleware."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable
from contextvars import Context
from timeit import Timer
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask

from times import judged
from whisperr import Whisperr
from whisperr.asgi import WhisperrMiddleware
from whisperr.flask import WhisperrFlask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whisperr.asgi import Application

#: Seconds for each request, at most.
BUDGET = 1e-6
#: Calls that are timed at once, how often at least, and seconds to find a quiet moment in.
CALLS, ROUNDS, SECONDS = 500, 100, 20.0

Timed = Callable[[], float]


@pytest.fixture(scope="module")
def client() -> Whisperr:
    return Whisperr("wrk_cost", base_url="http://127.0.0.1:1")


def added(bare: Timed, with_it: Timed) -> float:
    """Seconds that one call takes more: the best of many, measured in turn."""
    least = more = math.inf
    end = time.monotonic() + SECONDS
    for number in itertools.count():
        least, more = min(least, bare()), min(more, with_it())
        enough = more - least < BUDGET or time.monotonic() > end
        if enough and number >= ROUNDS:
            break
    print(f"bare {least * 1e9:.0f} ns, with it {more * 1e9:.0f} ns")
    return more - least


async def asgi(_scope: Any, _receive: Any, _send: Any) -> None:
    return


def awaited(app: Application, scope: dict[str, Any]) -> Timed:
    """Awaits an application as a server does."""

    async def serve() -> float:
        start = time.perf_counter()
        for _ in range(CALLS):
            await app(scope, None, None)
        return (time.perf_counter() - start) / CALLS

    return lambda: Context().run(asyncio.run, serve())


@judged
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_asgi_middleware(client: Whisperr, kind: str) -> None:
    scope = {"type": kind, "path": "/", "headers": []}
    assert added(awaited(asgi, scope), awaited(WhisperrMiddleware(asgi, client), scope)) < BUDGET


class Bare(Flask):
    """Only the entry of an application: a whole request varies by more than the budget."""

    def wsgi_app(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return ()


@judged
def test_the_flask_extension(client: Whisperr) -> None:
    app, other = Bare("bare"), Bare("with_it")
    WhisperrFlask(other, client=client)
    environ: dict[str, Any] = {}

    def timed(app: Any) -> Timed:
        timer = Timer(lambda: app(environ, None))
        return lambda: timer.timeit(CALLS) / CALLS

    assert added(timed(app), timed(other)) < BUDGET
    assert "whisperr.request" in environ


def test_the_flask_extension_adds_nothing_else(client: Whisperr) -> None:
    """Flask asks of each hook, for each request, whether it is a coroutine."""
    app = Flask("hooks")
    hooks = [
        "before_request_funcs",
        "after_request_funcs",
        "teardown_request_funcs",
        "teardown_appcontext_funcs",
        "url_value_preprocessors",
    ]
    WhisperrFlask(app, client=client)
    assert not any(getattr(app, name) for name in hooks)
