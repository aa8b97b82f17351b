"""A service whose next answers are given, and its book of what arrived."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import tempfile
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import drawn
from raw_server import Peer, RawServer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from .clock import Clock

#: Real seconds for an answer, or for a child; only one that hangs takes as long.
LIMIT = 120.0
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Answer:
    """What the service says to one request.

    Attributes:
        status: of the answer, 0 for a reset and -1 for silence.
        rejected: how many events a 202 rejects, at most all of them.
        retry_after: seconds of a Retry-After.
    """

    status: int = 202
    rejected: int = 0
    retry_after: int | None = None

    @property
    def taken(self) -> bool:
        """Whether the service owns the operations now."""
        return 200 <= self.status < 300


RESET, SILENCE = Answer(0), Answer(-1)


@dataclass(frozen=True)
class Arrival:
    """A request that arrived; written into the book before it is answered.

    Attributes:
        path: of the URL.
        users: the operations' user ids, which the tests give once each.
        message_ids: the events', "" for an identify.
        at: the clock's time.
        answer: what the service said; its `rejected` is what the request allowed.
    """

    path: str
    users: list[str]
    message_ids: list[str]
    at: float
    answer: Answer


class Service:
    """Serves the examples of a test one after the other, on real sockets.

    The book is a file, so that a forked child reads in it what arrived of its own. What no
    answer was given for is answered with 202, and as an older service does, with 400 for all
    of a batch, where an event of it is malformed.
    """

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self._book = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by __exit__
        self._silence, self._silent = socket.socketpair()
        self._clock: Clock | None = None
        self._server = RawServer(self._serve, limit=drawn.LIMIT)
        self.url = self._server.url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.__exit__(*error)
        for used in (self._book, self._silence, self._silent):
            used.close()

    def begin(self, clock: Clock) -> None:
        """Serve another example, whose time is the clock's."""
        self._clock = clock
        self.answers.clear()

    def wait_for_read(self, sock: Any, seconds: float) -> bool:
        """Stands in for urllib3's in the client: the service's silence takes no real time."""
        ready, _, _ = select.select([sock, self._silence], [], [], LIMIT)
        assert ready, "The service did not answer."
        if sock in ready:
            return True
        self._silence.recv(1)
        assert self._clock
        self._clock.sleep(seconds)
        return False

    def size(self) -> int:
        """Bytes of the book."""
        return os.fstat(self._book.fileno()).st_size

    def read(self, since: int) -> list[Arrival]:
        """What arrived since the book had this size."""
        lines = os.pread(self._book.fileno(), self.size() - since, since).splitlines()
        return [_arrival(json.loads(line)) for line in lines]

    def _serve(self, peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            answer = self._enter(request)
            if answer.status == RESET.status:
                peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return
            if answer.status == SILENCE.status:
                self._silent.send(b"\0")
                continue
            events = len(json.loads(request.body).get("events", ()))
            peer.answer(answer.status, _body(answer, events), *_headers(answer))

    def _enter(self, request: Request) -> Answer:
        """Choose the answer and write both into the book."""
        body = json.loads(request.body)
        events = body.get("events", ())
        operations = body.get("events", [body])
        answer = self.answers.popleft() if self.answers else _judged(events)
        if answer.rejected:
            answer = Answer(answer.status, min(answer.rejected, len(events)))
        assert self._clock
        arrival = Arrival(
            path=request.line.split(" ")[1],
            users=[operation["external_user_id"] for operation in operations],
            message_ids=[
                operation.get("context", {}).get("$message_id", "") for operation in operations
            ],
            at=self._clock.monotonic(),
            answer=answer,
        )
        os.write(self._book.fileno(), json.dumps(asdict(arrival)).encode() + b"\n")
        return answer


def _judged(events: list[dict[str, Any]]) -> Answer:
    malformed = any(event["properties"].get("malformed") for event in events)
    return Answer(400 if malformed else 202)


def _body(answer: Answer, events: int) -> bytes:
    if not answer.taken:
        return b'{"error": {"code": "some", "message": "The service says no."}}'
    accepted = {"accepted": events - answer.rejected, "rejected": answer.rejected}
    return json.dumps(accepted if events else {"processing": "queued"}).encode()


def _headers(answer: Answer) -> Iterator[str]:
    if answer.retry_after is not None:
        yield f"Retry-After: {answer.retry_after}"


def _arrival(entry: dict[str, Any]) -> Arrival:
    return Arrival(**{**entry, "answer": Answer(**entry["answer"])})
