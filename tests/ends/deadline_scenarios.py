"""A process that ends with a thousand events queued; run by test_deadlines.py."""

from __future__ import annotations

import _thread
import atexit
import fcntl
import os
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

import lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from whisperr import Whisperr
    from whisperr._stats import Counters

EVENTS, IDENTIFIES = 1000, 3


def main() -> None:
    globals()[sys.argv[1]]()


def _client(**options: Any) -> Whisperr:
    made: list[Counters] = []  # not the client, which a scenario may drop
    atexit.register(lambda: lab.note("exchanges", made=made[0].requests))  # first, to run last
    client = lab.client(
        shutdown_timeout=float(os.environ.get("LAB_SHUTDOWN_TIMEOUT", "5")), **options
    )
    made.append(client._local.get()._counters)
    return client


def _ends_with(client: Whisperr) -> None:
    """Queue so much that two batches and three requests of their own are needed."""
    padding = "x" * int(os.environ.get("LAB_PADDING", "0"))
    for number in range(EVENTS):
        if number == EVENTS // 2:
            for _ in range(IDENTIFIES):
                lab.identify(client)
        lab.track(client, padding=padding)


def control() -> None:
    """The same work without a client that delivers."""
    client = lab.client(disabled=True)
    _ends_with(client)
    lab.record_stats(client)
    lab.note("end")


def idle() -> None:
    """The sender thread is alive, and was not woken yet."""
    client = _client(flush_interval=0, flush_at=10_000)
    _ends_with(client)
    lab.record_stats(client)
    lab.note("end")


def in_exchange() -> None:
    """The sender thread is in the middle of a request, or rests after it."""
    client = _client(flush_at=1)
    _ends_with(client)
    process = client._local.get()
    _wait(lambda: process._queue.in_flight or process._loop._delivery.backoff.resume_at)
    lab.record_stats(client)
    lab.note("end")


def none() -> None:
    """No thread can be started, as at the end of CPython 3.12: the exit delivers on its own."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    _thread.start_new_thread = refuse  # type: ignore[assignment]
    idle()


def name_server_is_silent() -> None:
    """In namespaces of its own, where all names are asked of a socket that never answers."""
    _bring_up_loopback()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 53))
        client = _client(flush_at=1)
        _ends_with(client)
        silent.settimeout(10)
        assert b"whisperr" in silent.recv(1000)  # the resolver waits for its answer now
        silent.detach()  # stays open: a closed port would be refused
    lab.record_stats(client)
    lab.note("end")


def _bring_up_loopback() -> None:
    up_and_running = 0x41
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", up_and_running))


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "The condition was not met within 10 s."
        time.sleep(0.001)


if __name__ == "__main__":
    main()
