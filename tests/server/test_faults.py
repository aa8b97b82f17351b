from __future__ import annotations

import http.client
import socket
import time
from typing import TYPE_CHECKING

import pytest

from harness import wait_until
from server.wire import BATCH, IDENTIFY, Sender, event
from whisperr.server.faults import Fault, FaultBook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import LocalServer

LATER = 15  # seconds within which a connection is certainly reset


@pytest.fixture
def sender(server: LocalServer, api_key: str) -> Iterator[Sender]:
    with Sender(server.url, api_key) as sender:
        yield sender


def test_faults_are_met_in_order_and_each_as_often_as_it_says() -> None:
    book = FaultBook()
    book.arm(Fault(action="status", status=500, times=2))
    book.arm(Fault(action="status", status=429, key="wrk_a"))
    met = [book.take(key, "/v1/identify") for key in ("wrk_a", "wrk_b", "wrk_b", "wrk_a", "wrk_a")]
    assert [fault and fault.status for fault in met] == [500, 500, None, 429, None]


def test_a_fault_without_times_lasts_until_it_is_cleared() -> None:
    book = FaultBook()
    book.arm(Fault(action="never", times=None, key="wrk_a", path=BATCH))
    assert book.take("wrk_a", IDENTIFY) is None
    assert book.take("wrk_a", BATCH)
    assert book.take("wrk_a", BATCH)
    book.clear("wrk_b")
    assert len(book.armed("wrk_a")) == 1
    book.clear("wrk_a")
    assert book.armed() == []


def test_a_status_is_answered_once_and_nothing_stored(
    server: LocalServer, api_key: str, sender: Sender
) -> None:
    server.fault(key=api_key, action="status", status=503, retry_after=2)
    answer = sender.batch(event())
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert answer.body["error"]["code"] == "fault"
    assert server.counts(api_key)["arrivals"] == 0
    assert sender.batch(event()).status == 202
    assert [row["status"] for row in server.requests(api_key)] == [503, 202]


def test_an_odd_answer_may_store_and_bring_a_page_of_its_own(
    server: LocalServer, api_key: str, sender: Sender
) -> None:
    server.fault(
        key=api_key,
        action="status",
        status=302,
        stored=True,
        body="<html>",
        content_type="text/html",
        location="http://elsewhere/",
    )
    answer = sender.batch(event())
    assert (answer.status, answer.body) == (302, "<html>")
    assert answer.headers["location"] == "http://elsewhere/"
    assert answer.headers["content-type"].startswith("text/html")
    assert server.counts(api_key)["events"] == 1


def test_a_reset_before_stores_nothing(server: LocalServer, api_key: str, sender: Sender) -> None:
    server.fault(key=api_key, action="reset_before")
    with pytest.raises(ConnectionError):
        sender.batch(event())
    (request,) = server.requests(api_key)
    assert (request["status"], request["answered"], request["body"]) == (None, False, None)
    assert server.counts(api_key)["arrivals"] == 0


def test_a_reset_after_stores_and_the_resend_is_no_second_event(
    server: LocalServer, api_key: str, sender: Sender
) -> None:
    server.fault(key=api_key, action="reset_after")
    sent = event()
    with pytest.raises(ConnectionResetError):
        sender.batch(sent)
    sender.close()
    sender.batch(sent)
    counts = server.counts(api_key)
    assert (counts["arrivals"], counts["events"]) == (2, 1)
    assert (counts["resent"], counts["twice"]) == (1, 0)
    rows = server.arrivals(api_key)
    assert [(row["status"], row["answered"]) for row in rows] == [(None, False), (202, True)]


def test_never_keeps_the_client_waiting_until_it_leaves(server: LocalServer, api_key: str) -> None:
    server.fault(key=api_key, action="never")
    with Sender(server.url, api_key, timeout=0.3) as impatient:
        impatient.send(BATCH, {"events": [event()]})
        wait_until(lambda: server.counts(api_key)["requests"])
        with pytest.raises(TimeoutError):
            impatient.answer()
    assert server.counts(api_key)["arrivals"] == 0
    (request,) = server.requests(api_key)
    assert (request["status"], request["answered"]) == (None, False)
    assert request["body"] is not None


def test_a_trickled_answer_comes_one_byte_a_second(server: LocalServer, api_key: str) -> None:
    server.fault(key=api_key, action="trickle")
    with Sender(server.url, api_key) as sender:
        connection = sender._connection
        connection.request("POST", BATCH, b'{"events": []}', sender.headers)
        received, started = b"", time.monotonic()
        while len(received) < 3:
            received += connection.sock.recv(100)
        assert received == b"HTT"
        assert time.monotonic() - started > 1.5
    assert server.requests(api_key)[0]["answered"] is False


def test_a_delayed_answer_is_normal_and_marked_when_it_is_written(
    server: LocalServer, api_key: str
) -> None:
    server.fault(key=api_key, action="delay", delay=0.4)
    with Sender(server.url, api_key) as sender:
        started = time.monotonic()
        assert sender.batch(event()).status == 202
        assert time.monotonic() - started >= 0.4
    assert server.requests(api_key)[0]["answered"] is True


def test_an_answer_to_a_client_that_left_is_not_marked(server: LocalServer, api_key: str) -> None:
    server.fault(key=api_key, action="delay", delay=0.5)
    with Sender(server.url, api_key) as impatient:
        impatient.send(BATCH, {"events": [event()]})
        wait_until(lambda: server.counts(api_key)["requests"])
    left = time.monotonic()
    wait_until(lambda: time.monotonic() - left > 0.7)
    (row,) = server.arrivals(api_key)
    assert (row["status"], row["answered"]) == (202, False)


def test_a_fault_of_one_app_leaves_the_others_alone(
    server: LocalServer, api_key: str, sender: Sender
) -> None:
    server.fault(key=api_key + "_other", action="status", status=500)
    assert sender.batch(event()).status == 202
    assert len(server.get("/control/faults", key=api_key + "_other")) == 1
    server.clear_faults(api_key + "_other")
    assert server.get("/control/faults", key=api_key + "_other") == []


def test_a_fault_that_does_not_exist_is_a_400_that_names_it(server: LocalServer) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=LATER)
    connection.request(
        "POST", "/control/faults", b'{"action": "explode"}', {"Content-Type": "application/json"}
    )
    response = connection.getresponse()
    assert response.status == 400
    assert b"action" in response.read()
    connection.close()


def test_a_reset_is_a_reset_and_no_ordinary_end(server: LocalServer, api_key: str) -> None:
    server.fault(key=api_key, action="reset_before")
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=LATER) as raw:
        raw.sendall(f"POST {BATCH} HTTP/1.1\r\nHost: a\r\nX-API-Key: {api_key}\r\n".encode())
        raw.sendall(b"User-Agent: t/1\r\nContent-Length: 10\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            raw.recv(1)


def test_a_client_that_leaves_before_its_body_is_sent_has_stored_nothing(
    server: LocalServer, api_key: str
) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=LATER) as raw:
        raw.sendall(f"POST {BATCH} HTTP/1.1\r\nHost: a\r\nX-API-Key: {api_key}\r\n".encode())
        raw.sendall(b'User-Agent: t/1\r\nContent-Length: 99\r\n\r\n{"events": [')
    wait_until(lambda: server.counts(api_key)["requests"])
    (request,) = server.requests(api_key)
    assert (request["status"], request["answered"], request["body"]) == (None, False, None)
    assert request["problem"] == "The client left before its body was read."
