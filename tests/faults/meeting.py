"""A connection of a client's in the hands of a fate: what it may do, and what is known of it.

An answer was read where the client asks for more on the same connection or closes it in good
order: where it closes with bytes that it did not read, its kernel resets the connection.
"""

from __future__ import annotations

import select
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from raw_server import Peer, Request

_LONGEST_WAIT = 60.0
_LOOK = 0.02
#: What counts for a pause of no time: a flood that is read ends after a gigabyte.
_INSTANT = 0.0001
_RESET = struct.pack("ii", 1, 0)


class ClientLeftError(ConnectionError):
    """The client closed, or gave this request up; what is held of it is discarded."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as it goes over the wire."""

    status: int
    head: bytes
    body: bytes


@dataclass
class Exchange:
    """A request that was read to its end, and what became of it.

    Attributes:
        number: its place in the order in which requests were read.
        process: who sent it.
        fate: what it met.
        promised: whether the whole head of a 2xx was sent.
        read: whether the client has read as much.
    """

    number: int
    process: str
    fate: str
    promised: bool = False
    read: bool = False


class Meeting:
    """What a fate works with.

    Attributes:
        draw: what the fate draws from.
        timeout: seconds after which the client gives an exchange up.
        grace: so many seconds later it obeys no deadline. They are counted by pauses of the
            layer's own: a machine that has no time for the one has none for the other.
        sound: whether the connection may carry another request.
        exchange: the last request's, None before the first.
    """

    def __init__(
        self,
        peer: Peer,
        draw: random.Random,
        hand_on: Callable[[Meeting], Answer],
        *,
        timeout: float,
        grace: float,
    ) -> None:
        self.peer = peer
        self.draw = draw
        self.timeout = timeout
        self.sound = True
        self.exchange: Exchange | None = None
        self.request: Request
        self._hand_on = hand_on
        self._patience = timeout + grace
        peer.sock.settimeout(_LONGEST_WAIT)

    @property
    def name(self) -> str:
        """What is going on, for a message."""
        return self.exchange.fate if self.exchange else "the greeting"

    # --- For fates ----------------------------------------------------------------------------

    def hand_on(self) -> Answer:
        """The server's answer to the request.

        Raises:
            ClientLeftError: where the client gave the request up.
        """
        return self._hand_on(self)

    def answer(self, answer: Answer) -> None:
        """Send a whole answer; the connection may be used again."""
        self.send(answer.head + answer.body)
        self.promise(answer)
        self.sound = True

    def promise(self, answer: Answer) -> None:
        """The whole head of this answer was sent."""
        assert self.exchange is not None
        self.exchange.promised = 200 <= answer.status < 300

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.peer.send(data)

    def trickle(self, pieces: Iterable[bytes], pause: float) -> bool:
        """Send a piece now and then; returns whether all were sent before the client reacted.

        Raises:
            TimeoutError: where the client stays too long.
        """
        waited = 0.0
        for piece in pieces:
            self.send(piece)
            if self.is_readable(pause):
                return False
            waited += pause or _INSTANT
            if waited > self._patience:
                raise TimeoutError
        return True

    def wait(self, seconds: float) -> None:
        """Wait.

        Raises:
            ClientLeftError: where the client does not.
        """
        if self.is_readable(seconds):
            raise ClientLeftError

    def finish(self) -> None:
        """Say that nothing more comes; the other direction stays open."""
        self.peer.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with a RST.

        Raises:
            ConnectionAbortedError: for the layer.
        """
        self.peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.peer.sock.close()
        raise ConnectionAbortedError

    # --- For the layer ------------------------------------------------------------------------

    def read_request(self) -> Request | None:
        """The next request, None where the client closed in good order.

        Raises:
            TimeoutError: where the client stays too long after an exchange that broke off.
            ConnectionResetError: where the client left bytes that it did not read.
        """
        if not self.sound:
            self._wait_for_client()
        request = self.peer.read_request()
        if request is None and self.peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ConnectionResetError
        if self.exchange is not None:
            self.exchange.read = self.exchange.promised
        return request

    def _wait_for_client(self) -> None:
        waited = 0.0
        while not self.is_readable(_LOOK):
            waited += _LOOK
            if waited > self._patience:
                raise TimeoutError

    def is_readable(self, seconds: float) -> bool:
        """Whether the client closed or sent something within that time."""
        return bool(select.select([self.peer.sock], [], [], seconds)[0])
