"""What the server saw of a run, and whether the work was done."""

from __future__ import annotations

import base64
import gzip
import json
import re
import urllib.request
from dataclasses import dataclass
from typing import Any

_ID = re.compile(rb"ev(\d{7})\.")
_MOMENT = re.compile(rb"at(\d+\.\d{6})\.")
_CHANGED = b"changed after the call"
#: Numbers from here on are of the warm-up.
_WARM_UP = b"9000000"


@dataclass(frozen=True)
class Arrivals:
    """Of one run.

    Attributes:
        ids: each as often as it arrived.
        changed: events that arrived with what the application wrote after the call.
        figures: requests, connections, bytes and latencies.
    """

    ids: list[bytes]
    changed: int
    figures: dict[str, float]

    def problem(self, tracked: int) -> str:
        """Why the run does not count, empty where it does."""
        if not tracked:
            return ""
        different = len(set(self.ids))
        twice, missing = len(self.ids) - different, tracked - different
        if self.changed or (twice and missing > 0):  # one that was encoded later has a later id
            return f"{missing} of {tracked} did not arrive with the values of the call"
        if twice:
            return f"{twice} arrived twice"
        return f"{missing} did not arrive" if missing > 0 else ""


def take(url: str) -> Arrivals:
    """What came since the last time."""
    with urllib.request.urlopen(f"{url}/bench/take") as answer:
        taken = json.load(answer)
    requests = taken["requests"]
    bodies = [
        _unpacked(request, base64.b64decode(body))
        for request, body in zip(requests, taken["bodies"], strict=True)
    ]
    measured = [(row, body) for row, body in zip(requests, bodies, strict=True) if _counts(body)]
    delays = sorted(
        request["at"] - float(moment)
        for request, body in measured
        for moment in _MOMENT.findall(body)
    )
    figures = {
        "requests": len(measured),
        "connections": len({request["connection"] for request, _ in measured}),
        "wire": sum(request["bytes"] for request, _ in measured),
    }
    if delays:
        figures["median"] = delays[len(delays) // 2]
        figures["p99"] = delays[int(len(delays) * 0.99)]
    ids = [name for body in bodies for name in _ID.findall(body) if name < _WARM_UP]
    return Arrivals(ids, sum(body.count(_CHANGED) for body in bodies), figures)


def _unpacked(request: dict[str, Any], body: bytes) -> bytes:
    return gzip.decompress(body) if request["encoding"] == "gzip" else body


def _counts(body: bytes) -> bool:
    """Whether it is no request of the warm-up; one that was encoded late has no id any more."""
    first = _ID.search(body)
    return _CHANGED in body or (first is not None and first[1] < _WARM_UP)
