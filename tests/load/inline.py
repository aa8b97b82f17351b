"""What a service that never answers costs where no thread can be started; run by test_inline.py."""

from __future__ import annotations

import _thread
import json
import sys
import time
from typing import NoReturn

from whisperr import Whisperr

_PAUSE = 0.002


def main(seconds: float) -> None:
    """Track for so long; print how long the calls took."""
    _thread.start_new_thread = _refuse
    client = Whisperr(shutdown_timeout=0.1)
    ends_at = time.monotonic() + seconds
    took = []
    while time.monotonic() < ends_at:
        began = time.monotonic()
        client.track("user", "something_happened")
        took.append(time.monotonic() - began)
        time.sleep(_PAUSE)
    stats = client.stats()
    found = {
        "took": sorted(took),
        "requests": stats.requests,
        "request_seconds": stats.request_seconds,
        "balanced": stats.balanced,
    }
    print(json.dumps(found))


def _refuse(*_: object) -> NoReturn:
    raise RuntimeError("can't start new thread")


if __name__ == "__main__":
    main(float(sys.argv[1]))
