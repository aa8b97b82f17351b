"""An outage seen by forked workers; run by test_outage.py: SECONDS EVENTS WORKERS.

Every second worker flushes once the service is back, the others wait for what happens.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import lab

if TYPE_CHECKING:
    from whisperr import Whisperr

_CONTROL = "{}/control/faults?key={}"
_POLL = 0.05


def main(seconds: float, events: int, workers: int) -> None:
    """Refuse everything for so long; each worker tracks its part of the events meanwhile."""
    client = lab.client()
    ends_at = time.monotonic() + seconds
    recovered, recover = os.pipe()
    children = []
    for number in range(workers):
        child = os.fork()
        if child == 0:
            os.close(recover)
            _work(client, events // workers, ends_at)
            os.read(recovered, 1)
            _see_to_delivery(client, flush=number % 2 == 0)
            sys.exit(0)
        children.append(child)
    time.sleep(max(0.0, ends_at - time.monotonic()))
    _recover()
    os.close(recover)
    for child in children:
        lab.wait_for(child, 4 * seconds)


def _work(client: Whisperr, events: int, ends_at: float) -> None:
    """Track evenly over the first three quarters of the outage."""
    began = time.monotonic()
    pause = 0.75 * (ends_at - began) / events
    for number in range(events):
        lab.track(client)
        time.sleep(max(0.0, began + number * pause - time.monotonic()))
    assert time.monotonic() < ends_at


def _recover() -> None:
    """Whatever arrives from now on is answered as usual."""
    url = _CONTROL.format(os.environ["WHISPERR_BASE_URL"], os.environ["WHISPERR_API_KEY"])
    with urlopen(Request(url, method="DELETE"), timeout=10) as answer:
        json.load(answer)
    lab.note("recovered", epoch=time.time())


def _see_to_delivery(client: Whisperr, *, flush: bool) -> None:
    lab.note("workers", pid=os.getpid(), flushes=flush)
    if flush:
        client.flush()
    queue = client._local.get()._queue
    while len(queue) or queue.in_flight:
        time.sleep(_POLL)
    lab.record_stats(client)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
