"""The server of the benchmark: answers every SDK as its service would and keeps what came.

A process of its own, `capture.py`: it prints its port and ends with its parent,
when its standard input does. ``GET /bench/take`` gives what came since the last time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from typing import Any

from httptools import HttpRequestParser

TAKE = b"/bench/take"
_JSON = b"application/json"
#: What the services of the peers answer; a batch of ours is answered with its count.
_ANSWERS = {
    b"/v1/logs": (b"application/x-protobuf", b""),
    b"/2/httpapi": (_JSON, b'{"code":200}'),
    b"/batch": (_JSON, b'{"code":200}'),
}
_ANSWER = (_JSON, b'{"success":true,"status":1}')
_OURS = b"/v1/events/batch"


class Capture:
    """What came, of all connections."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.connections = 0

    def take(self) -> bytes:
        """Everything since the last time, as JSON."""
        bodies = [base64.b64encode(body).decode() for body in self.bodies]
        taken = json.dumps({"requests": self.requests, "bodies": bodies}).encode()
        self.requests, self.bodies = [], []
        return taken


class Connection(asyncio.Protocol):
    """Reads one request after the other; see httptools for the ``on_`` methods."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._parser = HttpRequestParser(self)
        self._transport: Any = None
        self._bytes = 0
        self._reset()

    def _reset(self) -> None:
        self._path = b""
        self._encoding = ""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._capture.connections += 1
        self._number = self._capture.connections

    def data_received(self, data: bytes) -> None:
        self._bytes += len(data)
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-encoding":
            self._encoding = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._path == TAKE:
            self._answer(_JSON, self._capture.take())
        else:
            self._keep()
        self._reset()

    def _keep(self) -> None:
        body = b"".join(self._body)
        self._capture.requests.append(
            {
                "at": time.time(),
                "connection": self._number,
                "path": self._path.decode(),
                "bytes": self._bytes,
                "encoding": self._encoding,
            }
        )
        self._capture.bodies.append(body)
        self._bytes = 0
        if self._path == _OURS:
            count = body.count(b'"external_user_id"')
            self._answer(_JSON, b'{"accepted":%d,"rejected":0}' % count, b"202 Accepted")
        else:
            self._answer(*_ANSWERS.get(self._path.partition(b"?")[0], _ANSWER))

    def _answer(self, kind: bytes, body: bytes, status: bytes = b"200 OK") -> None:
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (status, kind, len(body), body)
        )


async def main() -> None:
    """Serve until the standard input ends."""
    loop = asyncio.get_running_loop()
    capture = Capture()
    server = await loop.create_server(lambda: Connection(capture), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
