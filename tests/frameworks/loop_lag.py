"""How late an event loop is while 500 requests are in flight that each track something.

Run as a script: `loop_lag.py SECONDS tracking|bare`; notes its figures. The client is configured by
the environment. Each event carries an id that was journalled before; see lab.py.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import TYPE_CHECKING, Any

import lab
from whisperr.asgi import WhisperrMiddleware

if TYPE_CHECKING:
    from whisperr.asgi import Application, Receive, Scope, Send

IN_FLIGHT = 500
#: Seconds that a request waits, for a database or another service, before and after it tracks.
WAIT = 0.25
#: Seconds between two looks at how late the loop is.
LOOK = 0.005
PROPERTIES = {"amount": 12.5, "currency": "EUR", "items": [1, 2, 3]}
#: How long each call of the client held the loop, in seconds.
calls: list[float] = []


async def tracking(scope: Scope, receive: Receive, send: Send) -> None:
    """A request that tracks."""
    await asyncio.sleep(random.uniform(0, 2 * WAIT))
    test_id = lab.journal("event")
    started = time.perf_counter()
    scope["whisperr"].track("order_paid", {**PROPERTIES, "test_id": test_id})
    calls.append(time.perf_counter() - started)
    await asyncio.sleep(random.uniform(0, 2 * WAIT))
    await _answer(send)


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """The same request without the client."""
    await asyncio.sleep(random.uniform(0, 2 * WAIT))
    lab.journal("event")
    await asyncio.sleep(random.uniform(0, 2 * WAIT))
    await _answer(send)


async def _answer(send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _visitor(application: Application, end: float) -> None:
    """One connection: a request after the other."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(_message: Any) -> None:
        return

    while time.monotonic() < end:
        await application({"type": "http", "path": "/"}, receive, send)


async def _lags(end: float) -> list[float]:
    found = []
    while (now := time.perf_counter()) and time.monotonic() < end:
        await asyncio.sleep(LOOK)
        found.append(time.perf_counter() - now - LOOK)
    return found


async def _measure(application: Application, seconds: float) -> list[float]:
    end = time.monotonic() + seconds
    visitors = [asyncio.create_task(_visitor(application, end)) for _ in range(IN_FLIGHT)]
    lags = await _lags(end)
    await asyncio.gather(*visitors)
    return lags


def quantile(values: list[float], part: float) -> float:
    """The value that this part of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def main() -> None:
    seconds, what = float(sys.argv[1]), sys.argv[2]
    application: Application = bare
    if what == "tracking":
        client = lab.client(max_queue_size=10**6)
        application = WhisperrMiddleware(tracking, client, lambda _scope: "user")
    lags = asyncio.run(_measure(application, seconds))
    figures = {"lag": quantile(lags, 0.95), "requests": len(calls), "looks": len(lags)}
    if calls:
        figures["call"] = quantile(calls, 0.999)
    lab.note("figures", **figures)


main()
