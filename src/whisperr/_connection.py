"""A connected socket whose exchanges have one deadline and one owner.

Connecting, the TLS handshake, sending and reading share one deadline, which no
trickle of bytes restarts (requests' own timeouts restart with every byte). After
each wait and before each byte the socket asks whether this process still owns it:
a forked gevent process holds a copy of the greenlet that waits here, and it must
not read its parent's answer.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import connection as urllib3_connection
from urllib3.util import wait_for_read, wait_for_write

if TYPE_CHECKING:
    from ._fork import Owner


_LAST_OF_STDIO = 2
#: poll() counts milliseconds in 32 bits. A wait of eleven days is over as one without an answer is.
_LONGEST_WAIT = 1e6


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
        return min(left, _LONGEST_WAIT)

    def wait_readable(self, sock: Any) -> None:
        """Wait until there is something to read; raises like remaining()."""
        wait_for_read(sock, self.remaining())
        self.remaining()

    def wait_writable(self, sock: Any, share: float = 1.0) -> None:
        """Wait until something can be written, or that share of the time; raises like remaining().

        Raises:
            TimeoutError: when the share is over, too.
        """
        ready = wait_for_write(sock, self.remaining() * share)
        self.remaining()
        if not ready:
            raise TimeoutError("This address took longer than its share of the deadline.")


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
        size = size or len(buffer)  # gevent's TLS sockets take a 0 for no bytes
        count: int = self._until_done(self.raw.recv_into, wait, buffer, size, flags)
        return count

    def send(self, data: Any, flags: int = 0) -> int:
        """Send some of the data; returns how many bytes."""
        wait = self._exchange.wait_writable
        while True:
            sent: int = self._until_done(self.raw.send, wait, data, flags)
            if sent or not len(data):
                return sent
            wait(self.raw)  # gevent's TLS sockets return 0 where others raise

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


def connect(connection: Any, exchange: Exchange) -> DeadlineSocket:
    """Connect to the first address that answers; each gets its share of what time is left."""
    host = connection._dns_host
    exchange.remaining()
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
        try:
            sock = _above_stdio(socket.socket(family, kind, protocol))
        except OSError as error:  # a machine without IPv6
            problem = error
            continue
        connected = DeadlineSocket(sock, exchange)
        try:
            _connect_to(address, sock, connection, exchange, 1 / (len(found) - index))
        except BaseException as error:
            connected.close()
            if not isinstance(error, OSError):
                raise
            problem = error
        else:
            return connected
    if isinstance(problem, TimeoutError):
        raise ConnectTimeoutError(connection, "Connecting took too long.") from problem
    raise NewConnectionError(connection, f"Could not connect: {problem}") from problem


def _above_stdio(sock: socket.socket) -> socket.socket:
    """The socket under a descriptor that nobody replaces.

    A daemon puts /dev/null over 0, 1 and 2, and so does uWSGI's spooler after its post-fork hooks:
    what is there in the middle of an exchange never gets its answer.
    """
    if sock.fileno() > _LAST_OF_STDIO:
        return sock
    with sock:  # keeps its number until there is another
        return _above_stdio(sock.dup())


def _connect_to(
    address: Any, sock: socket.socket, connection: Any, exchange: Exchange, share: float
) -> None:
    for option in connection.socket_options or ():
        sock.setsockopt(*option)
    if connection.source_address:
        sock.bind(connection.source_address)
    exchange.remaining()  # the resolver may have taken it all
    with contextlib.suppress(BlockingIOError):
        sock.connect(address)
    exchange.wait_writable(sock, share)
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
