"""What connections and requests meet in the layer; drawn from a seed and their number alone."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable
from functools import cache
from itertools import chain, repeat
from typing import TYPE_CHECKING

from faults.meeting import Answer, Meeting

if TYPE_CHECKING:
    from collections.abc import Iterator

Fate = Callable[[Meeting], None]

GARBAGE = (
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"<html><body>It works!</body></html>\n",
    b"HTTP/1.1 abc\r\n\r\n",
    b"HTTP/9.9 \r\nContent-Length: x\r\n\r\n{}",
    b"\x15\x03\x01\x00\x02\x02\x46",
    bytes(range(256)) * 4,
    b"\r\n\r\n\r\n",
    b"A" * 100_000,
)
_REASON = {"error": {"code": "fault", "message": "The layer made this answer."}}
#: Answers that cure themselves, and those on which a batch is bisected.
_RETRIED = (500, 502, 503, 503, 504, 429, 408, 425, 401, 403, 404, 407)
_REFUSED = (400, 422, 413)
#: The first is read to its end: 64 KiB of an answer are.
_BOMB_MEBIBYTES = (40, 256)
_ENDLESS_CHUNK = b" " * 16_384


# --- Answers that arrive ----------------------------------------------------------------------


def passes(meeting: Meeting) -> None:
    meeting.answer(meeting.hand_on())


def delays_the_request(meeting: Meeting) -> None:
    meeting.wait(meeting.draw.uniform(0, 1.5) * meeting.timeout)
    passes(meeting)


def delays_the_answer(meeting: Meeting) -> None:
    answer = meeting.hand_on()
    meeting.wait(meeting.draw.uniform(0, 1.5) * meeting.timeout)
    meeting.answer(answer)


def sends_1xx_first(meeting: Meeting) -> None:
    """At once or apart from the answer, which alone counts."""
    answer = meeting.hand_on()
    first = b"".join(
        b"HTTP/1.1 %d Whatever\r\nLink: </style.css>\r\n\r\n" % meeting.draw.choice((100, 102, 103))
        for _ in range(meeting.draw.randint(1, 3))
    )
    if meeting.draw.random() < 0.3:
        meeting.send(first)
        first = b""
        meeting.wait(0.02)
    meeting.answer(Answer(answer.status, first + answer.head, answer.body))


def closes_afterwards(meeting: Meeting) -> None:
    """An idle connection ends: the next request finds that out."""
    meeting.answer(meeting.hand_on())
    meeting.wait(meeting.draw.choice((0.0, 0.05)))
    meeting.finish()


def sends_a_chunked_error(meeting: Meeting) -> None:
    """Nothing reaches the server; the chunks may break off."""
    refused = meeting.draw.random() < 0.1
    status = meeting.draw.choice(_REFUSED if refused else _RETRIED)
    head = _head(status, "Transfer-Encoding: chunked", *_retry_after(meeting, status))
    text = json.dumps(_REASON).encode()
    cut = meeting.draw.randrange(1, len(text))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (text[:cut], text[cut:]))
    if meeting.draw.random() < 0.5:
        meeting.answer(Answer(status, head, chunks + b"0\r\n\r\n"))
        return
    meeting.send(head + chunks[: meeting.draw.randrange(len(chunks))])
    _leaves_it(meeting)


# --- Answers that break off -------------------------------------------------------------------


def stays_silent(meeting: Meeting) -> None:
    """The connection stays, nothing is answered."""
    _maybe_hand_on(meeting)


def resets_before(meeting: Meeting) -> None:
    meeting.reset()


def resets_after(meeting: Meeting) -> None:
    """The server has it, the answer is lost."""
    meeting.hand_on()
    meeting.reset()


def sends_garbage(meeting: Meeting) -> None:
    _maybe_hand_on(meeting)
    meeting.send(meeting.draw.choice(GARBAGE))
    _leaves_it(meeting)


def trickles(meeting: Meeting) -> None:
    """Byte by byte, slower than the deadline allows or not."""
    answer = meeting.hand_on()
    pause = meeting.draw.choice((0.0005, 0.002, 0.01, 0.2))
    if not meeting.trickle(_bytes(answer.head), pause):
        return
    meeting.promise(answer)
    meeting.sound = meeting.trickle(_bytes(answer.body[:-1]), pause)
    if meeting.sound:
        meeting.send(answer.body[-1:])


def breaks_the_body_off(meeting: Meeting) -> None:
    answer = meeting.hand_on()
    meeting.send(answer.head + answer.body[: meeting.draw.randrange(len(answer.body))])
    meeting.promise(answer)
    _leaves_it(meeting)


def sends_an_endless_body(meeting: Meeting) -> None:
    """As fast as it is read, or slowly."""
    status = _status(meeting)
    framing = meeting.draw.choice(("Connection: close", "Content-Length: 99999999999"))
    answer = Answer(status, _head(status, framing), b'{"accepted": 1,')
    meeting.send(answer.head + answer.body)
    meeting.promise(answer)
    fast = meeting.draw.random() < 0.5
    meeting.trickle(repeat(_ENDLESS_CHUNK if fast else b" "), 0.0 if fast else 0.005)


def sends_a_gzip_bomb(meeting: Meeting) -> None:
    status = _status(meeting)
    body = _bomb(meeting.draw.choice(_BOMB_MEBIBYTES))
    head = _head(status, "Content-Encoding: gzip", f"Content-Length: {len(body)}")
    meeting.send(head)
    meeting.promise(Answer(status, head, body))
    meeting.send(body)
    meeting.sound = True


# --- Before a request -------------------------------------------------------------------------


def welcomes(_meeting: Meeting) -> None:
    """The connection meets nothing."""


def resets_at_once(meeting: Meeting) -> None:
    meeting.reset()


def resets_in_the_request(meeting: Meeting) -> None:
    """Some of it was read."""
    meeting.peer.sock.recv(meeting.draw.randint(1, 300))
    meeting.reset()


def greets_with_garbage(meeting: Meeting) -> None:
    """It speaks first, and a request that comes all the same is not answered."""
    meeting.send(meeting.draw.choice(GARBAGE))
    meeting.peer.read_request()
    meeting.sound = False
    _leaves_it(meeting)


#: How often each comes.
REQUEST_FATES: dict[Fate, float] = {
    passes: 45,
    delays_the_request: 4,
    delays_the_answer: 4,
    sends_1xx_first: 5,
    closes_afterwards: 4,
    sends_a_chunked_error: 6,
    stays_silent: 4,
    resets_before: 4,
    resets_after: 5,
    sends_garbage: 4,
    trickles: 4,
    breaks_the_body_off: 5,
    sends_an_endless_body: 3,
    sends_a_gzip_bomb: 3,
}
GREETINGS: dict[Fate, float] = {
    welcomes: 85,
    resets_at_once: 5,
    resets_in_the_request: 5,
    greets_with_garbage: 5,
}


class Schedule:
    """Which fate meets which connection and request, until all is calm."""

    def __init__(self, seed: str, is_calm: Callable[[], bool]) -> None:
        self._seed = seed
        self._is_calm = is_calm

    def greeting(self, connection: int) -> tuple[Fate, random.Random]:
        """What a connection meets first."""
        return self._draw(GREETINGS, welcomes, f"connection {connection}")

    def fate(self, request: int) -> tuple[Fate, random.Random]:
        """What a request meets."""
        return self._draw(REQUEST_FATES, passes, f"request {request}")

    def _draw(
        self, fates: dict[Fate, float], harmless: Fate, who: str
    ) -> tuple[Fate, random.Random]:
        draw = random.Random(f"{self._seed} {who}")
        (fate,) = draw.choices(list(fates), list(fates.values()))
        return (harmless if self._is_calm() else fate), draw


# --- What they share --------------------------------------------------------------------------


def _maybe_hand_on(meeting: Meeting) -> None:
    if meeting.draw.random() < 0.5:
        meeting.hand_on()


def _status(meeting: Meeting) -> int:
    """Of an answer that the layer makes up; a 2xx only for what the server took."""
    if meeting.draw.random() < 0.5:
        return meeting.hand_on().status
    return meeting.draw.choice((500, 503))


def _leaves_it(meeting: Meeting) -> None:
    """What comes after the last byte of an answer that is not complete."""
    choice = meeting.draw.choice(("silence", "end", "reset"))
    if choice == "end":
        meeting.finish()
    elif choice == "reset":
        meeting.reset()


def _head(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *headers, "", ""]).encode()


def _retry_after(meeting: Meeting, status: int) -> tuple[str, ...]:
    if status in (429, 503) and meeting.draw.random() < 0.3:
        return (f"Retry-After: {meeting.draw.choice((0, 0, 1))}",)
    return ()


def _bytes(data: bytes) -> Iterator[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


@cache
def _bomb(mebibytes: int) -> bytes:
    """Zeros, packed: after a full flush each mebibyte is the same bytes again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    mebibyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"".join(chain((head,), repeat(mebibyte, mebibytes)))
