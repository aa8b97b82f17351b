"""Starting the server and ending it at a signal."""

from __future__ import annotations

import logging
import socket
import sqlite3
import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from whisperr.server.app import create_app
from whisperr.server.clock import Clock, parse_moment
from whisperr.server.peers import PeerFinder
from whisperr.server.protocol import Protocol
from whisperr.server.service import Service
from whisperr.server.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class ServeError(Exception):
    """The server cannot start; the text is one sentence that says what to change."""


@dataclass(frozen=True)
class Settings:
    """How to run the server.

    Attributes:
        host: The address to listen on.
        port: The port to listen on; 0: a free one.
        db: The database file, or `:memory:`.
        keys: The API keys to accept; empty: every key that begins with wrk_ or wpk_.
        now: The moment to start the clock at (RFC 3339), None: real time.
        strict_batches: Answer 400 to a whole batch for one malformed event.
        log: Write one line for each request to stderr.
        tls_cert: A PEM file with the certificate; None: plain http.
        tls_key: A PEM file with its key; None: it stands in the same file.
        peers: Look up which process sends, once for each connection.

    """

    host: str = "127.0.0.1"
    port: int = 8787
    db: str = ":memory:"
    keys: tuple[str, ...] = ()
    now: str | None = None
    strict_batches: bool = False
    log: bool = True
    tls_cert: str | None = None
    tls_key: str | None = None
    peers: bool = True


def serve(settings: Settings, listening: Callable[[str], None]) -> None:
    """Run the server until SIGTERM or SIGINT.

    Args:
        settings: How to run it.
        listening: Called with the server's URL once it listens.

    Raises:
        ServeError: A setting cannot be used.

    """
    service = _service(settings)
    listener = _bind(settings.host, settings.port)
    if settings.log:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    config = uvicorn.Config(
        create_app(service),
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )
    _load_tls(config)
    scheme = "https" if config.is_ssl else "http"
    _Server(config, lambda: listening(_url(scheme, listener))).run([listener])


def _load_tls(config: uvicorn.Config) -> None:
    """Read the certificate now, so that a wrong file is one sentence."""
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ServeError(
            f"The certificate {config.ssl_certfile} cannot be used ({error}); give PEM files "
            "with --tls-cert and --tls-key."
        ) from None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Protocol):
                connection.abandon()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would raise the signal again after its end; an ordered end is a success here.
        del sig, frame
        self.should_exit = True


def _service(settings: Settings) -> Service:
    try:
        clock = Clock(None if settings.now is None else parse_moment(settings.now))
    except ValueError as error:
        raise ServeError(f"--now: {error}") from None
    try:
        store = Store(settings.db)
    except sqlite3.Error as error:
        raise ServeError(
            f"The database {settings.db} cannot be used ({error}); name a file that can be written."
        ) from None
    strict: dict[str | None, bool] = {None: settings.strict_batches}
    peers = PeerFinder() if settings.peers else None
    return Service(store, frozenset(settings.keys), clock=clock, peers=peers, strict=strict)


def _bind(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise ServeError(f"There is no port {port}; choose one from 0 to 65535 with --port.")
    try:
        # asyncio sets TCP_NODELAY only where the protocol is named, as getaddrinfo() does.
        *kind, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(*kind)
        if sys.platform != "win32":  # there it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        raise ServeError(
            f"Cannot listen on {host} port {port} ({error}); choose another with --host or --port."
        ) from None
    return listener


def _url(scheme: str, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
