"""A server of plain sockets and threads, for what a well-behaved server cannot do."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme

from wire_schema import SPEC_VARIABLE, WireSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

#: No thread of a server waits longer than this for anything, where no other limit is given.
LIMIT = 20.0
ENDPOINTS = ("/v1/events/batch", "/v1/events/track", "/v1/identify")


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    line: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Peer:
    """One connection, seen by the server."""

    sock: socket.socket
    number: int
    server: RawServer
    _buffer: bytes = field(default=b"", repr=False)

    def read_request(self) -> Request | None:
        """The next request, None at the end of the stream."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._read_more():
                return None
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, value in (field.split(":", 1) for field in fields)
        }
        length = int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            if not self._read_more():
                return None
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        request = Request(line, headers, body)
        self.server.requests.append(request)
        return request

    def _read_more(self) -> bool:
        received = self.sock.recv(65536)
        self._buffer += received
        return bool(received)

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def answer(self, status: int = 202, body: bytes = b"{}", *headers: str) -> None:
        """Send an answer with a content-length."""
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
        self.send("\r\n".join(lines).encode() + body)

    def wait_for_end(self) -> None:
        """Wait until the client closed, or the server stops."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass


def answer_all(peer: Peer) -> None:
    """Answer every request of the connection with 202."""
    while peer.read_request() is not None:
        peer.answer()


class RawServer:
    """Serves each connection by a function in a thread of its own."""

    def __init__(
        self,
        serve: Callable[[Peer], None] = answer_all,
        *,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        limit: float = LIMIT,
        port: int = 0,
    ) -> None:
        self._limit = limit
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        self._listener.settimeout(limit)
        self._serve = serve
        #: May be changed for the connections that come.
        self.tls = tls
        self._host = f"[{host}]" if ":" in host else host
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.requests: list[Request] = []
        self.problems: list[Exception] = []
        #: Set when the server stops: a function that serves may wait for it.
        self.stopping = threading.Event()
        self._socks: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{'https' if self.tls else 'http'}://{self._host}:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self.stopping.is_set():
                sock.close()
                return
            self.connections += 1
            self._socks.append(sock)
            thread = threading.Thread(target=self._handle, args=(sock, self.connections))
            self._threads.append(thread)
            thread.start()

    def _handle(self, sock: socket.socket, number: int) -> None:
        try:
            sock.settimeout(self._limit)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
                self._socks.append(sock)
            self._serve(Peer(sock, number, self))
        except Exception as problem:  # noqa: BLE001 - for the test to judge
            self.problems.append(problem)
        finally:
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stopping.set()
        with contextlib.suppress(OSError):
            socket.create_connection(self._listener.getsockname()[:2], timeout=1).close()
        for sock in list(self._socks):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(LIMIT)
        self._listener.close()
        for sock in self._socks:
            sock.close()
        self._check_bodies()

    def _check_bodies(self) -> None:
        """What the endpoints got obeys the service's schemas, where WHISPERR_SPEC_PATH is set."""
        schema = WireSchema.from_environment()
        rows = [
            {"id": number, "path": path, "body": request.body.decode()}
            for number, request in enumerate(self.requests)
            for path in ENDPOINTS
            if request.line.split(" ")[1].endswith(path)
        ]
        violations = list(schema.violations(rows)) if schema else []
        assert not violations, "\n".join(violations)


class Authority:
    """A certificate authority, with its bundle in a file."""

    def __init__(self, folder: Path, name: str) -> None:
        self._ca = trustme.CA()
        self.bundle = str(folder / f"{name}.pem")
        self._ca.cert_pem.write_to_path(self.bundle)

    def server_side(self, *names: str) -> ssl.SSLContext:
        """A server's context with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
        return context

    def asking_side(self) -> ssl.SSLContext:
        """A server's context that takes no client without a certificate of this authority."""
        context = self.server_side()
        context.verify_mode = ssl.CERT_REQUIRED
        self._ca.configure_trust(context)
        return context

    def client_files(self, folder: Path) -> tuple[str, str]:
        """A client's certificate with its key, and the file of the key alone."""
        issued = self._ca.issue_cert("client@example.org")
        both, key = folder / "client.pem", folder / "client.key"
        issued.private_key_and_cert_chain_pem.write_to_path(both)
        issued.private_key_pem.write_to_path(key)
        return str(both), str(key)

    def server_file(self, folder: Path) -> str:
        """A file with a server's certificate and its key."""
        file = folder / "server.pem"
        self._ca.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(
            file
        )
        return str(file)


def clean_environment() -> dict[str, str]:
    """The environment without what chooses proxies, trust or the client's options."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().endswith(("_PROXY", "_CA_BUNDLE"))
        and (
            name == SPEC_VARIABLE
            or not name.startswith(("SSL_CERT", "WHISPERR_", "PYTHON", "NETRC"))
        )
    }


def run_python(
    *arguments: str, environment: Mapping[str, str] | None = None, seconds: float = 45
) -> str:
    """Run a fresh interpreter and return what it printed; a hang ends in its stacks."""
    path = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env={
            **clean_environment(),
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "PYTHONFAULTHANDLER": "1",
            **(environment or {}),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGABRT)
        time.sleep(0.2)  # for the stacks to be written
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        pytest.fail(f"{arguments} hung.\n{output}\n{errors}")
    assert process.returncode == 0, f"{output}\n{errors}"
    return output
