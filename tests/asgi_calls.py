"""Requests and websockets for ASGI applications, without a server and in the calling thread."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

Headers = dict[str, str]


def http_for(app: Any) -> httpx.AsyncClient:
    """A client of an application; what the application raises, its requests raise."""
    transport = httpx.ASGITransport(app=app)
    return httpx.AsyncClient(transport=transport, base_url="http://shop")


def post(app: Any, path: str, *headers: Headers) -> list[int]:
    """One request after the other, each with its headers; returns their status codes."""

    async def send() -> list[int]:
        async with http_for(app) as http:
            return [(await http.post(path, headers=each)).status_code for each in headers]

    return asyncio.run(send())


def connect(app: Any, path: str, headers: Headers) -> list[str]:
    """Open a websocket and wait until the application is done; returns the types that it sent."""
    sent: list[str] = []
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": raw,
    }

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    asyncio.run(app(scope, receive, send))
    return sent
