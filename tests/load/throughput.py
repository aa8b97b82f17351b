"""How many requests it takes and how long; run by test_throughput.py, one name each."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING

import lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whisperr import Whisperr


def steady(events: int, rate: int, interval: float) -> None:
    """Events at an even rate."""
    client = lab.client(flush_interval=interval)
    began = time.monotonic()
    for number in range(events):
        lab.track(client, at=time.time())
        time.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))
    _finish(client, time.monotonic() - began)


def tight_loop(events: int) -> None:
    """As many as a loop can make, with a queue that holds them."""
    client = lab.client(max_queue_size=2 * events, max_queue_bytes=events * 1024)
    began = time.monotonic()
    for _ in range(events):
        lab.track(client)
    client.flush(60)
    _finish(client, time.monotonic() - began)


def backfill(events: int) -> None:
    """The loop of the documents, which the test wrote to its folder, with default options."""
    sys.path.append(os.environ["LAB_FOLDER"])
    client = lab.client()
    began = time.monotonic()
    importlib.import_module("documented").backfill(client, _orders(events))
    _finish(client, time.monotonic() - began)


def _orders(count: int) -> Iterator[dict[str, object]]:
    for _ in range(count):
        test_id = lab.journal("event")
        yield {"id": test_id, "customer": "user", "details": {"test_id": test_id}}


def alternate(operations: int) -> None:
    """Each event has an identify before it."""
    client = lab.client()
    began = time.monotonic()
    for _ in range(operations // 2):
        lab.identify(client)
        lab.track(client)
    client.flush(60)
    _finish(client, time.monotonic() - began)


def end(operations: int, seconds: float) -> None:
    """More of them than the end of the process has time for."""
    client = lab.client(shutdown_timeout=seconds)
    for _ in range(operations // 2):
        lab.identify(client)
        lab.track(client)


def _finish(client: Whisperr, seconds: float) -> None:
    lab.record_stats(client)
    stats = client.stats()
    lab.note(
        "accounts",
        seconds=seconds,
        requests=stats.requests,
        request_seconds=stats.request_seconds,
        delivered=stats.delivered,
        dropped=sum(stats.dropped.values()),
    )


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    globals()[name](*map(json.loads, arguments))
