"""A requests adapter whose exchanges have one deadline and one owner.

Connecting, the TLS handshake, sending and reading share one deadline, which no
trickle of bytes restarts (requests' own timeouts restart with every byte). After
each wait and before each byte the adapter asks whether this process still owns the
connection: a forked gevent process holds a copy of the greenlet that waits here,
and it must not read its parent's answer.
"""

from __future__ import annotations

import io
import queue
import socket
import ssl
import sys
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import requests.adapters
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import connection as urllib3_connection
from urllib3.util import wait_for_read, wait_for_write

if TYPE_CHECKING:
    from ._fork import Owner


class Exchange:
    """The exchange under way: its deadline (monotonic seconds) and whose it is."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.deadline = 0.0

    def remaining(self) -> float:
        """Seconds left.

        Raises:
            TimeoutError: when none are.
            ForkedAway: in a process that only copied this exchange.
        """
        self.owner.check()
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("The exchange took longer than its deadline allows.")
        return left

    def wait_readable(self, sock: Any) -> None:
        """Wait until there is something to read; raises like remaining()."""
        wait_for_read(sock, self.remaining())
        self.remaining()

    def wait_writable(self, sock: Any) -> None:
        """Wait until something can be written; raises like remaining()."""
        wait_for_write(sock, self.remaining())
        self.remaining()


class DeadlineSocket:
    """A connected socket whose waits are the exchange's; non-blocking underneath."""

    def __init__(self, sock: Any, exchange: Exchange) -> None:
        sock.setblocking(False)
        self.raw = sock
        self._exchange = exchange
        self._files = 0
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)  # getpeercert(), version(), family and the like

    def settimeout(self, timeout: float | None) -> None:
        """Ignored: the deadline of the exchange rules."""

    def gettimeout(self) -> float:
        """Seconds that are left for the exchange."""
        return self._exchange.remaining()

    def handshake(self) -> None:
        """The TLS handshake."""
        self._until_done(self.raw.do_handshake)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """At most `size` bytes; empty at the end of the stream."""
        received: bytes = self._until_done(self.raw.recv, self._exchange.wait_readable, size, flags)
        return received

    def recv_into(self, buffer: Any, size: int = 0, flags: int = 0) -> int:
        """Read into the buffer; 0 at the end of the stream."""
        wait = self._exchange.wait_readable
        count: int = self._until_done(self.raw.recv_into, wait, buffer, size, flags)
        return count

    def send(self, data: Any, flags: int = 0) -> int:
        """Send some of the data; returns how many bytes."""
        sent: int = self._until_done(self.raw.send, self._exchange.wait_writable, data, flags)
        return sent

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of the data."""
        with memoryview(data) as view, view.cast("B") as octets:
            sent = 0
            while sent < len(octets):
                sent += self.send(octets[sent:], flags)

    def _until_done(self, step: Any, wait: Any = None, *arguments: Any) -> Any:
        while True:
            self._exchange.remaining()
            try:
                return step(*arguments)
            except ssl.SSLWantReadError:
                self._exchange.wait_readable(self.raw)
            except ssl.SSLWantWriteError:
                self._exchange.wait_writable(self.raw)
            except BlockingIOError:
                wait(self.raw)

    def makefile(self, *_arguments: Any, **_keywords: Any) -> io.BufferedReader:
        """A buffered reader; the socket stays open until it is closed, too."""
        self._files += 1
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Close once every file is closed; does nothing in a process that is not the owner."""
        self._closed = True
        self._close_if_done()

    def file_closed(self) -> None:
        """A file of makefile() was closed."""
        self._files -= 1
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._closed and self._files <= 0 and self._exchange.owner.holds():
            self.raw.close()

    def shutdown(self, how: int) -> None:
        """Shut the connection down; does nothing in a process that is not the owner."""
        if self._exchange.owner.holds():
            self.raw.shutdown(how)


class _Reader(io.RawIOBase):
    """Reads from a DeadlineSocket."""

    def __init__(self, sock: DeadlineSocket) -> None:
        self._sock: DeadlineSocket | None = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._sock is None:
            raise ValueError("The file of this connection is closed.")
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        sock, self._sock = getattr(self, "_sock", None), None
        if sock is not None:
            sock.file_closed()
        super().close()


def _connect(connection: Any, exchange: Exchange) -> DeadlineSocket:
    """Connect to the first address that answers; each gets its share of what time is left."""
    host = connection._dns_host
    try:
        found = socket.getaddrinfo(
            host, connection.port, urllib3_connection.allowed_gai_family(), socket.SOCK_STREAM
        )
    except (socket.gaierror, UnicodeError) as error:
        raise NameResolutionError(
            connection.host, connection, socket.gaierror(str(error))
        ) from error
    problem: OSError = OSError("the name has no address")
    for index, (family, kind, protocol, _, address) in enumerate(found):
        sock = None
        try:
            sock = socket.socket(family, kind, protocol)
            for option in connection.socket_options or ():
                sock.setsockopt(*option)
            if connection.source_address:
                sock.bind(connection.source_address)
            sock.settimeout(exchange.remaining() / (len(found) - index))
            sock.connect(address)
            exchange.owner.check()
            return DeadlineSocket(sock, exchange)
        except OSError as error:
            problem = error
            if sock is not None:
                sock.close()
    if isinstance(problem, TimeoutError):
        raise ConnectTimeoutError(connection, "Connecting took too long.") from problem
    raise NewConnectionError(connection, f"Could not connect: {problem}") from problem


def _pool_classes(exchange: Exchange) -> dict[str, type[HTTPConnectionPool]]:
    """Pools and connections that belong to the exchange's transport."""

    class IdleConnections:
        """Stands in for queue.LifoQueue, whose lock may be held in the moment of a fork.

        urllib3 empties it at interpreter exit, also in a child that never used the pool;
        there it is empty, so that nothing of the parent's is closed.
        """

        def __init__(self, maxsize: int = 0) -> None:
            self._maxsize = maxsize
            self._idle: deque[Any] = deque()

        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            del block, timeout  # a full pool is never waited for
            if self._maxsize and len(self._idle) >= self._maxsize:
                raise queue.Full
            self._idle.append(item)

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            del block, timeout
            if not exchange.owner.holds():
                raise queue.Empty
            try:
                return self._idle.pop()
            except IndexError:
                raise queue.Empty from None

        def qsize(self) -> int:
            return len(self._idle)

    class PlainConnection(HTTPConnection):
        def _new_conn(self) -> Any:
            return _connect(self, exchange)

    class SecureConnection(HTTPSConnection):
        def _new_conn(self) -> Any:
            return _connect(self, exchange)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection
        QueueCls = IdleConnections  # type: ignore[assignment]

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection
        QueueCls = IdleConnections  # type: ignore[assignment]

    return {"http": PlainPool, "https": SecurePool}


def _tls_context(exchange: Exchange, verify: bool | str | None) -> ssl.SSLContext:
    """A context with exactly the trust that requests would give: urllib3 loads the bundle.

    `ssl.SSLContext` is looked up now, since gevent replaces it, and a context of the class
    that it replaced ends in a RecursionError. `ssl.create_default_context` would add the
    system's store to the bundle that the user chose.
    """

    class DeadlineContext(ssl.SSLContext):
        def wrap_socket(self, sock: Any, *args: Any, **keywords: Any) -> Any:
            if not isinstance(sock, DeadlineSocket):
                return super().wrap_socket(sock, *args, **keywords)
            keywords["do_handshake_on_connect"] = False
            secure = DeadlineSocket(super().wrap_socket(sock.raw, *args, **keywords), exchange)
            secure.handshake()
            return secure

        def load_verify_locations(
            self, cafile: Any = None, capath: Any = None, cadata: Any = None
        ) -> None:
            # urllib3 asks for it at every connection; reading a bundle takes some 20 ms.
            if (cafile, capath, cadata) not in loaded:
                super().load_verify_locations(cafile, capath, cadata)
                loaded.add((cafile, capath, cadata))

    loaded: set[tuple[Any, Any, Any]] = set()
    context = DeadlineContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    context.post_handshake_auth = True
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    if verify is False:
        context.check_hostname = False  # before verify_mode, which refuses otherwise
        context.verify_mode = ssl.CERT_NONE
    return context


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """Keeps one connection, one TLS context for each trust, and the exchange's deadline."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._pool_classes = _pool_classes(exchange)
        self._contexts: dict[tuple[Any, Any], ssl.SSLContext] = {}
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
        """See requests: our pool classes in a manager of urllib3's."""
        super().init_poolmanager(*args, **keywords)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes

    def proxy_manager_for(self, proxy: str, **keywords: Any) -> Any:
        """See requests: our pool classes for proxies, except SOCKS, which has its own."""
        manager = super().proxy_manager_for(proxy, **keywords)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pool_classes
        return manager

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """See requests: adds our TLS context."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host.get("scheme") == "https":
            key = (verify, cert)
            context = self._contexts.get(key)
            if context is None:
                context = self._contexts[key] = _tls_context(self._exchange, verify)
            pool["ssl_context"] = context
        return host, pool
