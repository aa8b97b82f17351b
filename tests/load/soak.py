"""Workers that track at an even rate while the service stumbles; run by test_soak.py.

SECONDS RATE (events a second of all) WORKERS
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import psutil

import lab

if TYPE_CHECKING:
    from whisperr import Whisperr

#: More than a pause in the soak piles up: memory for it is taken before it is measured.
PILE = 5000
_TICK = 0.01
_LATEST = 0.1
_SAMPLES = 100


def main(seconds: float, rate: float, workers: int) -> None:
    """Fork the workers, wait for them and note what each did."""
    client = lab.client(flush_interval=1.0, request_timeout=2.0)
    children = []
    for _ in range(workers):
        child = os.fork()
        if child == 0:
            _work(client, seconds, rate / workers)
            sys.exit(0)
        children.append(child)
    for child in children:
        lab.wait_for(child, 3 * seconds + 60)


def _work(client: Whisperr, seconds: float, rate: float) -> None:
    for _ in range(PILE):
        lab.track(client)
    client.flush(60)
    _sample()
    began = time.monotonic()
    tracked, total, sampled = 0, int(rate * seconds), 0
    while tracked < total:
        elapsed = time.monotonic() - began
        while tracked < min(total, int(elapsed * rate) + 1):
            lab.track(client)
            tracked += 1
        if elapsed >= sampled * seconds / _SAMPLES:
            sampled += 1
            _sample()
        time.sleep(_TICK)
        late = time.monotonic() - began - elapsed - _LATEST
        began += max(0.0, late)  # on a busy machine: no burst makes good for it
    client.flush(60)
    _sample()
    lab.record_stats(client)
    stats = client.stats()
    lab.note("accounts", called=stats.called, delivered=stats.delivered, requests=stats.requests)


def _sample() -> None:
    process = psutil.Process()
    with process.oneshot():
        lab.note(
            "samples",
            pid=process.pid,
            rss=process.memory_info().rss,
            threads=process.num_threads(),
            descriptors=process.num_fds(),
        )


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
