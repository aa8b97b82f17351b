"""The layer itself: what it holds, what it sees of its clients, that it repeats itself."""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from random import Random
from typing import TYPE_CHECKING

import pytest

from faults import fates
from faults.fates import GREETINGS, REQUEST_FATES, Schedule
from faults.layer import PROCESS, Layer
from harness import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.fates import Fate
    from faults.meeting import Meeting
    from harness import LocalServer

    StartFront = Callable[..., "Front"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its reading of a RST is Linux's")

BODY = b'{"external_user_id": "user"}'
TIMEOUT = 0.2


class Front:
    """A layer in which every request meets `fate`, and clients of plain sockets."""

    def __init__(self, server: LocalServer, api_key: str, fate: Fate, grace: float = 10.0) -> None:
        self.fate = fate
        self.layer = Layer(
            server.url,
            lambda _: (fates.welcomes, Random(1)),
            lambda _: (self.fate, Random(1)),
            timeout=TIMEOUT,
            grace=grace,
        )
        self._server = self.layer.listen()
        lines = [
            "POST /v1/identify HTTP/1.1",
            "Host: x",
            "User-Agent: test",
            f"X-API-Key: {api_key}",
            f"Content-Length: {len(BODY)}",
            f"{PROCESS}: 1",
        ]
        self.request = "\r\n".join([*lines, "", ""]).encode() + BODY

    def ask(self) -> closing[socket.socket]:
        """A connection over which a request was sent."""
        sock = socket.create_connection(("127.0.0.1", self._server.port), timeout=10)
        sock.sendall(self.request)
        return closing(sock)

    def end(self) -> None:
        """Stop; what its connections saw is known then."""
        with self._server:
            pass
        self.layer.close()
        assert not self._server.problems


@pytest.fixture
def front_with(server: LocalServer, api_key: str) -> Iterator[StartFront]:
    running: list[Front] = []

    def start(fate: Fate, **options: float) -> Front:
        running.append(Front(server, api_key, fate, **options))
        return running[-1]

    yield start
    for front in running:
        front.end()


def _waits_long(meeting: Meeting) -> None:
    meeting.wait(10)
    fates.passes(meeting)


def _ends_in_the_body(meeting: Meeting) -> None:
    answer = meeting.hand_on()
    meeting.send(answer.head + answer.body[:3])
    meeting.promise(answer)


def _ends_in_the_body_for_good(meeting: Meeting) -> None:
    _ends_in_the_body(meeting)
    meeting.finish()


@pytest.mark.parametrize("fate", [_ends_in_the_body, _ends_in_the_body_for_good])
def test_an_answer_is_read_where_the_client_took_all_bytes_before_it_closed(
    front_with: StartFront, fate: Fate
) -> None:
    front = front_with(fate)
    with front.ask() as client:
        assert client.recv(10_000).startswith(b"HTTP/1.1 202")
    with front.ask() as client:
        client.recv(100)
    with front.ask() as client:
        wait_until(lambda: [each.promised for each in front.layer.exchanges] == [True] * 3)
    front.end()
    assert [each.read for each in front.layer.exchanges] == [True, False, False]


def test_an_answer_is_read_where_the_client_asks_for_more(
    front_with: StartFront,
) -> None:
    front = front_with(fates.passes)
    with front.ask() as client:
        client.recv(10_000)
        client.sendall(front.request)
        client.recv(10_000)
        assert [each.read for each in front.layer.exchanges] == [True, False]


def test_what_it_holds_of_a_closed_connection_it_discards(
    front_with: StartFront,
) -> None:
    front = front_with(_waits_long)
    with front.ask():
        wait_until(lambda: front.layer.exchanges)
    front.fate = fates.passes
    with front.ask() as client:
        client.recv(10_000)
    assert [each.number for each in front.layer.handed_on] == [1]


def test_a_request_whose_process_sent_a_newer_one_is_not_handed_on(
    front_with: StartFront,
) -> None:
    front = front_with(lambda meeting: None)
    with front.ask() as first:
        wait_until(lambda: front.layer.exchanges)
        front.fate = fates.passes
        with front.ask() as second:
            second.recv(10_000)
        first.shutdown(socket.SHUT_WR)
    assert [each.number for each in front.layer.handed_on] == [1]


@pytest.mark.parametrize("fate", [fates.stays_silent, _ends_in_the_body, _waits_long])
def test_a_connection_that_is_used_again_after_a_broken_exchange_is_a_violation(
    front_with: StartFront, fate: Fate
) -> None:
    front = front_with(fate)
    with front.ask() as client:
        wait_until(lambda: front.layer.exchanges)
        client.sendall(front.request)
        wait_until(lambda: front.layer.violations)
    assert "used again" in front.layer.violations[0]


def test_a_client_that_stays_beyond_its_deadline_is_a_violation(
    front_with: StartFront,
) -> None:
    front = front_with(fates.stays_silent, grace=0.1)
    with front.ask():
        wait_until(lambda: front.layer.violations)
    assert "no deadline" in front.layer.violations[0]


def test_a_seed_draws_the_same_again_and_all_there_is_until_it_is_calm() -> None:
    calm: list[bool] = []
    first, again = (Schedule("1", lambda: bool(calm)) for _ in range(2))
    drawn = [first.fate(number)[0] for number in range(500)]
    assert drawn == [again.fate(number)[0] for number in range(500)]
    assert set(drawn) == set(REQUEST_FATES)
    assert {first.greeting(number)[0] for number in range(500)} == set(GREETINGS)
    calm.append(True)
    assert {first.fate(number)[0] for number in range(50)} == {fates.passes}
    assert {first.greeting(number)[0] for number in range(50)} == {fates.welcomes}
