"""Scripts of test_wire.py, each run in a fresh interpreter: NAME URL [ARGUMENT …]."""

from __future__ import annotations

import ctypes
import os
import queue
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import whisperr  # before gevent: see _patched
from whisperr._fork import ForkedAway, Owner
from whisperr._outcome import Verdict
from whisperr._transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

FORKS: dict[str, Callable[[], int]] = {"os": os.fork, "raw": lambda: ctypes.PyDLL(None).fork()}
SECONDS = 20.0
REQUEST = b"POST /by-hand HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


def guard(url: str, fork: str, action: str) -> None:
    """A child does something with the connection that its parent uses before and after."""
    transport = Transport(url, "wrk_test", None, Owner())
    _post(transport)
    connection, idle = _idle(transport)
    sock = connection.sock
    sock.sendall(REQUEST)
    _wait_readable(sock)  # the answer is there for whoever reads first
    child = FORKS[fork]()
    if child == 0:
        signal.alarm(int(SECONDS))  # ends a child that hangs, and fails the test
        status = 3
        try:
            ACTIONS[action](transport, sock, idle)
            os.fstat(sock.fileno())  # still open here, too
            status = 0
        finally:
            if status or action != "exit":
                os._exit(status)
        sys.exit(0)
    assert _status(child) == 0
    assert sock.recv(65536).startswith(b"HTTP/1.1 202")
    _post(transport)


def _receives(_transport: Transport, sock: Any, _idle: Any) -> None:
    _is_refused(lambda: sock.recv(10))
    _is_refused(lambda: sock.recv_into(bytearray(10)))
    _is_refused(lambda: sock.makefile("rb").read(1))


def _sends(_transport: Transport, sock: Any, _idle: Any) -> None:
    _is_refused(lambda: sock.send(b"x"))
    _is_refused(lambda: sock.sendall(b"x"))


def _closes(_transport: Transport, sock: Any, _idle: Any) -> None:
    sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def _takes(_transport: Transport, _sock: Any, idle: Any) -> None:
    assert idle.qsize() == 1
    try:
        idle.get(block=False)
    except queue.Empty:
        return
    raise AssertionError("the child got the parent's connection")


def _posts(transport: Transport, _sock: Any, _idle: Any) -> None:
    deadline = time.monotonic() + SECONDS
    _is_refused(lambda: transport.post("/child", b"{}", events=0, deadline=deadline))


def _closes_session(transport: Transport, _sock: Any, _idle: Any) -> None:
    assert transport._session is not None
    transport._session.close()


ACTIONS: dict[str, Callable[[Transport, Any, Any], None]] = {
    "receive": _receives,
    "send": _sends,
    "close": _closes,
    "take": _takes,
    "post": _posts,
    "close_session": _closes_session,
    "exit": lambda *_: None,
}


def _is_refused(use: Callable[[], object]) -> None:
    try:
        use()
    except ForkedAway:
        return
    raise AssertionError("the child used the parent's connection")


def _post(transport: Transport) -> None:
    deadline = time.monotonic() + SECONDS
    outcome = transport.post("/parent", b"{}", events=0, deadline=deadline)
    assert outcome.verdict is Verdict.OK, outcome


def _idle(transport: Transport) -> tuple[Any, Any]:
    """The connection that the transport keeps, and the queue that holds it."""
    assert transport._session is not None
    adapter: Any = transport._session.get_adapter(transport._url)
    (key,) = adapter.poolmanager.pools.keys()
    idle = adapter.poolmanager.pools[key].pool
    connection = idle.get()
    idle.put(connection)
    return connection, idle


def _wait_readable(sock: Any) -> None:
    ready, _, _ = select.select([sock.fileno()], [], [], SECONDS)
    assert ready


def _status(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def gevent_exchanges(url: str) -> None:
    """The public client, imported before gevent patches."""
    _patched()
    client = whisperr.Whisperr("wrk_test", base_url=url)
    for number in range(5):
        client.track("user", "something_happened", {"id": f"event {number}"})
        assert client.flush(SECONDS)
    print(client.stats().delivered)


def gevent_forks(url: str, control: str, rounds: str) -> None:
    """The sender greenlet waits for its answer while the process forks.

    The parent stands still until its child ended, so that a copy of the greenlet that
    reads the answer is the first to do so.
    """
    monkey = _patched()
    waitpid: Callable[[int, int], tuple[int, int]] = monkey.get_original("os", "waitpid")
    client = whisperr.Whisperr("wrk_test", base_url=url, flush_at=1, request_timeout=SECONDS)
    for number in range(int(rounds)):
        client.track("user", "something_happened", {"id": f"parent {number}"})
        _ask(control, "/arrived")
        child = os.fork()
        if child == 0:
            signal.alarm(int(SECONDS))
            client.track("user", "something_happened", {"id": f"child {number}"})
            assert client.flush(SECONDS)
            assert client.stats().delivered == 1
            _ask(control, "/answer")  # returns when the parent's answer was sent
            for _ in range(3):
                _ask(control, "/turn")  # turns of the child's hub, in which its copies wake
            sys.exit(0)
        assert os.waitstatus_to_exitcode(waitpid(child, 0)[1]) == 0
        assert client.flush(SECONDS), client.stats()
    stats = client.stats()
    assert stats.balanced
    print(stats.delivered)


def gevent_deaf(url: str) -> None:
    """An exchange that cannot send all of its body; the other greenlets go on meanwhile."""
    _patched()
    import gevent

    turns = 0

    def take_turns() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0.01)
            turns += 1

    gevent.spawn(take_turns)
    transport = Transport(url, "wrk_test", None, Owner())
    began = time.monotonic()
    outcome = transport.post("/deaf", b"x" * 2**24, events=0, deadline=began + 0.6)
    assert "in time" in outcome.detail, outcome
    assert time.monotonic() - began < 0.9
    print(turns)


def _patched() -> Any:
    import gevent.monkey

    gevent.monkey.patch_all()
    return gevent.monkey


def _ask(control: str, path: str) -> None:
    address = urlsplit(control)
    assert address.port
    with socket.create_connection((address.hostname, address.port), timeout=SECONDS) as sock:
        sock.sendall(f"POST {path} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode())
        assert sock.recv(65536)


if __name__ == "__main__":
    scenarios: dict[str, Callable[..., None]] = {
        "guard": guard,
        "gevent_deaf": gevent_deaf,
        "gevent_exchanges": gevent_exchanges,
        "gevent_forks": gevent_forks,
    }
    scenarios[sys.argv[1]](*sys.argv[2:])
