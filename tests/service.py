"""A service that gives any answer, read from the words of docs/answers.md; see test_answers.py."""

from __future__ import annotations

import json
import re
import socket
import struct
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

from raw_server import Authority, Peer, RawServer, Request
from tables import codes
from whisperr.server.ledger import Arrival

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from typing_extensions import Self

    Treatment = Callable[["Service", Peer, Request], None]

#: What a request holds that an odd answer is for: the only identify, or an event of this type.
OFFENDER = "offender"
#: What the service says in an error of its own.
BECAUSE = "Because of u-1234."
#: Seconds from now to the date of a Retry-After; a date has no parts of a second.
DATE_SECONDS = 2
NO_REQUEST = Request("", {}, b"")


class Service(RawServer):
    """Takes everything like the service; while `failing`, an offender gets another treatment.

    Args:
        treatment: what becomes of a request with an offender in it, None for no answer at all.
        tls: with which certificate it serves, None for plain http.
        port: where it listens, 0 for any port.
    """

    def __init__(
        self,
        treatment: Treatment | None = None,
        *,
        tls: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.failing = True
        self.arrivals: list[Arrival] = []
        #: When each request came (monotonic seconds).
        self.times: list[float] = []
        #: Until when the last answer asked the client to wait (monotonic seconds).
        self.not_before = 0.0
        self._treatment = treatment or never_answer
        super().__init__(self._answer, tls=tls, port=port)

    def _answer(self, peer: Peer) -> None:
        if self.failing and self._treatment in _UNREAD:
            peer.sock.recv(1)  # the client is there
            self._treatment(self, peer, NO_REQUEST)
            return
        while (request := peer.read_request()) is not None:
            self.times.append(time.monotonic())
            if self.failing and holds_offender(request):
                self._treatment(self, peer, request)
            else:
                self.take(peer, request)

    def take(self, peer: Peer, request: Request) -> None:
        """Store the operations and answer as the service does."""
        self.store(request, answered=True)
        peer.answer(202, usual_answer(request))

    def store(self, request: Request, *, answered: bool) -> None:
        """Remember what arrived."""
        number = len(self.requests)
        for name in names_in(request):
            seq = len(self.arrivals)
            self.arrivals.append(Arrival(name, number, None, None, answered, seq))


def names_in(request: Request) -> list[str]:
    """The ids that the caller gave to the operations of a request."""
    body = json.loads(request.body)
    if "events" not in body:
        return [body["traits"]["test_id"]]
    return [event["properties"]["test_id"] for event in body["events"]]


def holds_offender(request: Request) -> bool:
    """Whether an odd answer is for this request."""
    body = json.loads(request.body)
    return "events" not in body or OFFENDER in [event["event_type"] for event in body["events"]]


def usual_answer(request: Request) -> bytes:
    """The body of the service's own 2xx."""
    body = json.loads(request.body)
    counts = {"accepted": len(body["events"]), "rejected": 0} if "events" in body else None
    return json.dumps(counts or {"processing": "queued"}).encode()


def treatment(words: str) -> Treatment:
    """What the first column of docs/answers.md says."""
    parts = codes(words)
    return _status(parts) if parts else _WORDS[words]


def _status(parts: list[str]) -> Treatment:
    """An answer of a status, of interim ones before it, of headers and of a body."""
    *interim, status = [int(part) for part in parts if part.isdigit()]
    headers = [part for part in parts if re.match(r"[A-Z][\w-]*: ", part)]
    bodies = [part.encode() for part in parts if part[0] in "{<"]

    def answer(service: Service, peer: Peer, request: Request) -> None:
        for number in interim:
            peer.send(f"HTTP/1.1 {number} Not Yet\r\nLink: </x>\r\n\r\n".encode())
        if status < 300:
            service.store(request, answered=True)
        body = bodies[0] if bodies else _body(status, request)
        now = time.time()
        date = int(now) + DATE_SECONDS
        pauses = {"Retry-After: 1": 1.0, "Retry-After: <date>": date - now}
        service.not_before = time.monotonic() + sum(pauses.get(header, 0.0) for header in headers)
        text = formatdate(date, usegmt=True)
        peer.answer(status, body, *(header.replace("<date>", text) for header in headers))

    return answer


def _body(status: int, request: Request) -> bytes:
    if status in (204, 304):
        return b""
    if status < 300:
        return usual_answer(request)
    return json.dumps({"error": {"code": "odd", "message": BECAUSE}}).encode()


def never_answer(_service: Service, peer: Peer, _request: Request) -> None:
    """Wait until the client gives up."""
    peer.wait_for_end()


def reset(peer: Peer) -> None:
    """End the connection so that the client's next read or write fails."""
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.sock.close()


def _take_and_reset(service: Service, peer: Peer, request: Request) -> None:
    service.store(request, answered=False)
    reset(peer)


def _garbage(_service: Service, peer: Peer, _request: Request) -> None:
    peer.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    peer.sock.close()


def _reset(_service: Service, peer: Peer, _request: Request) -> None:
    reset(peer)


def _close(_service: Service, peer: Peer, _request: Request) -> None:
    peer.sock.close()


def _speak_plainly(_service: Service, peer: Peer, _request: Request) -> None:
    peer.answer(400, b"The plain HTTP request was not plain.")
    peer.sock.close()


_WORDS: dict[str, Treatment] = {
    "reset before the request was read": _reset,
    "reset after the request was taken": _take_and_reset,
    "closed without an answer": _close,
    "no answer in time": never_answer,
    "garbage in place of HTTP": _garbage,
    "plain HTTP where https is asked for": _speak_plainly,
}
#: These do not read the request first.
_UNREAD = {_reset, _speak_plainly}


class Scene:
    """Where a client meets an answer: a service and the way to it, which recover later.

    Args:
        answer: the first column of docs/answers.md.
        folder: for the files of certificates.
    """

    def __init__(self, answer: str, folder: Path) -> None:
        self._authority = Authority(folder, "trusted")
        self.bundle = self._authority.bundle
        self.service: Service | None = None
        if answer == "connection refused":
            self._port = _free_port()
            self.url = f"http://127.0.0.1:{self._port}"
            return
        tls = None
        if answer == "a certificate that is not trusted":
            tls = Authority(folder, "stranger").server_side()
        elif answer == "a name that does not resolve":
            tls = self._authority.server_side("nowhere.invalid")
        known = answer in _WORDS or codes(answer)
        self.service = Service(treatment(answer) if known else None, tls=tls)
        self.url = self.service.url
        if answer == "plain HTTP where https is asked for":
            self.url = self.url.replace("http:", "https:")
        elif answer == "a name that does not resolve":
            self.url = self.url.replace("127.0.0.1", "nowhere.invalid")

    def recover(self, patch: pytest.MonkeyPatch) -> Service:
        """From now on everything is taken."""
        service = self.service = self.service or Service(port=self._port)
        service.failing = False
        if "nowhere" in self.url:
            here = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", service.port))
            patch.setattr(socket, "getaddrinfo", lambda *_arguments: [here])
        elif self.url.startswith("https"):
            service.tls = self._authority.server_side()
        return service

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.service is not None:
            self.service.__exit__(*error)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
