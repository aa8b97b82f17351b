"""Events per second that the local server takes in batches of 500 over one connection.

Run it as a script: `python tests/server/bench_ingest.py [batches]`.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
import uuid
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import LocalServer

EVENTS = 500
HEADERS = {
    "X-API-Key": "wrk_bench",
    "User-Agent": "bench/1",
    "Content-Type": "application/json",
}


def batch() -> bytes:
    """Return the body of one batch."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    events = [
        {
            "external_user_id": f"user_{number}",
            "event_type": "payment_failed",
            "occurred_at": now,
            "properties": {"amount_cents": 4900, "reason": "card_declined", "attempt": number},
            "context": {
                "$message_id": str(uuid.uuid4()),
                "sdk_name": "whisperr-python",
                "sdk_version": "1.0.0",
            },
        }
        for number in range(EVENTS)
    ]
    return json.dumps({"events": events}, separators=(",", ":")).encode()


def main() -> None:
    """Measure and print."""
    batches = [batch() for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 200)]
    server = LocalServer.start()
    try:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
        started = time.perf_counter()
        for body in batches:
            connection.request("POST", "/v1/events/batch", body, HEADERS)
            response = connection.getresponse()
            assert json.load(response) == {"accepted": EVENTS, "rejected": 0}
        seconds = time.perf_counter() - started
        assert server.counts()["events"] == len(batches) * EVENTS
        connection.close()
    finally:
        server.stop()
    print(f"{len(batches) * EVENTS / seconds:,.0f} events per second ({seconds:.2f} s)")


if __name__ == "__main__":
    main()
