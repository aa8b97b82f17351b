"""What a dead service costs a process; run by test_memory.py: SIZE FIRST FURTHER."""

from __future__ import annotations

import json
import sys

import psutil

from whisperr import Whisperr

_LOOK_EVERY = 500


def main(size: int, first: int, further: int) -> None:
    """Track events of `size` bytes as JSON; print the peaks of memory over its start in bytes."""
    client = Whisperr(request_timeout=1.0, shutdown_timeout=0.1)
    client.track("user", "something_happened", {"text": ""})
    envelope = len(client._local.get()._queue.entries()[0][0])
    client.flush(0.2)  # whatever a first exchange makes is there now
    text = "x" * (size - envelope)
    start = psutil.Process().memory_info().rss
    peaks = [_track(client, text, count) - start for count in (first, further)]
    stats = client.stats()
    print(json.dumps({"peaks": peaks, "queued": stats.queued, "balanced": stats.balanced}))


def _track(client: Whisperr, text: str, count: int) -> int:
    """Track so many; returns the highest memory seen meanwhile."""
    process = psutil.Process()
    peak = 0
    for number in range(1, count + 1):
        client.track("user", "something_happened", {"text": text})
        if number % _LOOK_EVERY == 0 or number == count:
            peak = max(peak, process.memory_info().rss)
    return peak


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
