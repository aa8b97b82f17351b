"""What every host imports: a module-level client, and work for it. Configured by environment.

LAB_STATE: `queued` (only an ending delivers) or `held` (defaults).
LAB_BOOT: how many operations are tracked while this module is imported.
LAB_SHUTDOWN_TIMEOUT: seconds that an ending may wait for the service; the default is the client's.
LAB_HOOKS: see hooks.py.
"""

from __future__ import annotations

import itertools
import os
import signal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import lab
from hosts import hooks  # noqa: F401 - before the client registers any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

#: The options of the client by state: in `queued` nothing but an ending delivers.
STATES: dict[str, dict[str, Any]] = {
    "queued": {"flush_interval": 0.0, "flush_at": 10**9, "max_queue_size": 100_000},
    "held": {},
}
_IDENTIFY_EVERY = 100
_numbers = itertools.count(1)


def _options() -> dict[str, Any]:
    options = STATES[os.environ.get("LAB_STATE", "held")]
    seconds = os.environ.get("LAB_SHUTDOWN_TIMEOUT")
    return options if seconds is None else {**options, "shutdown_timeout": float(seconds)}


client = lab.client(**_options())


def work(count: int) -> int:
    """Track `count` operations, one in a hundred an identify; returns this process's pid."""
    for _ in range(count):
        if next(_numbers) % _IDENTIFY_EVERY:
            lab.track(client)
        else:
            lab.identify(client)
    return os.getpid()


def block(seconds: float) -> None:
    """Hold the calling thread as C code would: also under gevent and in an event loop."""
    lab.note("blocked", pid=os.getpid())
    signal.sigtimedwait([], seconds)


def answer(path: str, query: str) -> str:
    """What both applications do: `/ready`, `/work?count=` and `/block?seconds=`."""
    arguments = {name: values[0] for name, values in parse_qs(query).items()}
    if path == "/work":
        work(int(arguments["count"]))
    elif path == "/block":
        block(float(arguments["seconds"]))
    return str(os.getpid())


if _boot := int(os.environ.get("LAB_BOOT", "0")):
    lab.note("boot", pid=work(_boot))


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """The WSGI application."""
    body = answer(environ["PATH_INFO"], environ["QUERY_STRING"]).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """The ASGI application: pure, with a lifespan that does nothing."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    body = answer(scope["path"], scope["query_string"].decode()).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _lifespan(
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})
