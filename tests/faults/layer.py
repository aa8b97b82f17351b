"""A TCP layer between a client and the local server; what it does to each is drawn (fates.py).

It keeps a record of its own: which requests it handed on, in that order, and which of their
answers the client has read.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from http.client import HTTPConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from faults.meeting import Answer, ClientLeftError, Exchange, Meeting
from raw_server import LIMIT, RawServer

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from faults.fates import Fate
    from raw_server import Peer, Request

    Drawn = tuple[Fate, random.Random]

#: Which process sent a request: a header that the application's session adds.
PROCESS = "x-process"


class Layer:
    """Accepts connections in front of the server at `upstream`.

    Args:
        upstream: the server's URL.
        draw_greeting: what a connection meets before it has sent anything, by its number.
        draw_fate: what a request meets, by its number.
        timeout: seconds after which the client gives an exchange up.
        grace: a client that is still there so many seconds later obeys no deadline.
        forks: whether it has children, who keep its connections open: nobody is late then.
    """

    def __init__(
        self,
        upstream: str,
        draw_greeting: Callable[[int], Drawn],
        draw_fate: Callable[[int], Drawn],
        *,
        timeout: float,
        grace: float = 8.0,
        forks: bool = False,
    ) -> None:
        address = urlsplit(upstream)
        self._upstream = HTTPConnection(str(address.hostname), address.port, timeout=LIMIT)
        self._turn = threading.Lock()
        self._draw_greeting = draw_greeting
        self._draw_fate = draw_fate
        self._timeout = timeout
        self._grace = grace
        self._forks = forks
        self._newest: dict[str, int] = {}
        #: Every request that was read to its end.
        self.exchanges: list[Exchange] = []
        #: Those that the server got, in its order.
        self.handed_on: list[Exchange] = []
        self.violations: list[str] = []

    def listen(self) -> RawServer:
        """Serve until the end of a `with`; its url is the layer's."""
        return RawServer(self._serve)

    def close(self) -> None:
        """Close the connection to the server."""
        self._upstream.close()

    def _serve(self, peer: Peer) -> None:
        fate, draw = self._draw_greeting(peer.number)
        meeting = Meeting(peer, draw, self._hand_on, timeout=self._timeout, grace=self._grace)
        try:
            fate(meeting)
            while request := self._next_request(meeting):
                fate = self._begin(meeting, request)
                with suppress(ClientLeftError):
                    fate(meeting)
        except OSError as problem:
            if isinstance(problem, TimeoutError) and not (meeting.sound or self._forks):
                self.violations.append(f"a client obeyed no deadline at: {meeting.name}")

    def _next_request(self, meeting: Meeting) -> Request | None:
        request = meeting.read_request()
        if request and not meeting.sound:
            self.violations.append(f"a connection was used again after: {meeting.name}")
            return None
        return request

    def _begin(self, meeting: Meeting, request: Request) -> Fate:
        """Draw what it meets; until its answer is complete the connection is not sound."""
        process = request.headers.get(PROCESS, "")
        with self._turn:
            number = len(self.exchanges)
            fate, meeting.draw = self._draw_fate(number)
            meeting.request, meeting.exchange = request, Exchange(number, process, fate.__name__)
            self.exchanges.append(meeting.exchange)
            self._newest[process] = number
        meeting.sound = False
        return fate

    def _hand_on(self, meeting: Meeting) -> Answer:
        """Ask the server: one at a time, so that it sees the order in which they went out."""
        exchange, request = meeting.exchange, meeting.request
        assert exchange is not None
        with self._turn:
            given_up = self._newest[exchange.process] != exchange.number
            if given_up or meeting.is_readable(0):
                raise ClientLeftError
            path = request.line.split(" ")[1]
            self._upstream.request("POST", path, request.body, dict(request.headers))
            response = self._upstream.getresponse()
            body = response.read()
            self.handed_on.append(exchange)
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.getheaders()]
        return Answer(response.status, "\r\n".join([*lines, "", ""]).encode(), body)
