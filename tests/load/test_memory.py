"""A service that is dead for days does not fill the memory of those who report to it."""

from __future__ import annotations

import json
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from load.sizes import EVENTS
from raw_server import Peer, RawServer, run_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Service = Callable[[], AbstractContextManager[str]]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a bound port refuses there late")

SCRIPT = str(Path(__file__).with_name("memory.py"))
MIB = 1024 * 1024
FIRST = 50_000
#: The service's cap for a request, which is copied once to be sent, and some allocator's waste.
MARGIN = 8 * MIB
MAX_QUEUE_BYTES = 32 * MIB


@contextmanager
def refusing() -> Iterator[str]:
    """A port that nobody listens on and nobody else gets."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """A server that accepts, reads and never answers."""
    with RawServer(Peer.wait_for_end) as server:
        yield server.url


dead_services = pytest.mark.parametrize("dead", [refusing, silent])


@dead_services
@pytest.mark.timeout(300)
def test_memory_stays_flat_however_much_is_tracked_for_a_dead_service(dead: Service) -> None:
    peaks, queued = _peaks(dead, 300, FIRST, EVENTS)
    print(f"{FIRST}: {peaks[0] / MIB:.1f} MiB, {EVENTS} more: {peaks[1] / MIB:.1f} MiB")
    assert queued >= 9_500  # but for the batch in flight
    assert peaks[0] < 8 * MIB
    assert peaks[1] < peaks[0] + 2 * MIB


@dead_services
def test_large_events_stay_within_the_byte_ceiling(dead: Service) -> None:
    peaks, queued = _peaks(dead, 200 * 1024, 500, 500)
    print(f"500: {peaks[0] / MIB:.1f} MiB, 500 more: {peaks[1] / MIB:.1f} MiB")
    assert queued >= 140  # of the 163 that fit; a batch may be in flight
    assert max(peaks) < MAX_QUEUE_BYTES + MARGIN


def _peaks(dead: Service, size: int, first: int, further: int) -> tuple[list[int], int]:
    """Run the script against a dead service; returns the peaks in bytes and what is queued."""
    with dead() as url:
        output = run_python(
            SCRIPT,
            *map(str, (size, first, further)),
            environment={"WHISPERR_BASE_URL": url, "WHISPERR_API_KEY": "wrk_test"},
            seconds=280,
        )
    found = json.loads(output)
    assert found["balanced"]
    return found["peaks"], found["queued"]
