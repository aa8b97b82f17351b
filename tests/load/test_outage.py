"""Twenty seconds of 503: nothing is lost, nobody hammers, and it is over soon after."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from load.judgement import assert_nothing_lost
from runs import run_script
from whisperr import Whisperr

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer, Row

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

SECONDS = 20.0
EVENTS = 5000
WORKERS = 4
MOST_REQUESTS = 12
#: The first try and six more; then comes a rest of five seconds at least.
ONE_ROUND = 7
#: As docs/delivery.md says: a rest is at most twice as long as what went before, and one more.
LONGEST_PAUSE = 2 * SECONDS + 10.0
#: For the exchange, and for what the clocks of a busy machine are worth.
GRACE = 1.0


@pytest.mark.timeout(150)
def test_after_an_outage_everything_is_delivered_by_workers_that_kept_their_pauses(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    server.fault(key=api_key, action="status", status=503, times=None)
    arguments = (str(SECONDS), str(EVENTS), str(WORKERS))
    result = run_script(server, api_key, tmp_path, "load/outage.py", *arguments, seconds=120)
    assert_nothing_lost(result, EVENTS)
    assert result.ledger.exactly_once
    said = Counter((line["pid"], line["type"]) for line in result.lines("reports"))
    assert {kind for _, kind in said} <= {"retry_exhausted", "stalled"}
    assert set(said.values()) <= {1}  # once for each process
    requests = server.requests(api_key)
    refused = Counter(_pid(row) for row in requests if row["status"] == 503)
    assert len(refused) == WORKERS
    assert max(refused.values()) <= MOST_REQUESTS
    (recovered,) = result.lines("recovered")
    delays = _first_deliveries(requests, recovered["epoch"])
    flushing = {line["pid"]: line["flushes"] for line in result.lines("workers")}
    print(f"requests during the outage {sorted(refused.values())}, first delivery after")
    print({f"{delays[pid]:.2f} s": "a flush" if flushing[pid] else "" for pid in flushing})
    assert all(delays[pid] < 2 for pid in flushing if flushing[pid])
    assert max(delays.values()) < LONGEST_PAUSE + GRACE


def test_whoever_goes_on_tracking_in_an_outage_does_not_cut_the_pauses_short(
    server: LocalServer, api_key: str
) -> None:
    """What `flush_at` starts is a delivery, not a try before its time."""
    client = Whisperr(api_key, base_url=server.url, flush_at=20)
    server.fault(key=api_key, action="status", status=503, times=None)
    ends_at = time.monotonic() + 2
    while time.monotonic() < ends_at:
        client.track("user", "something_happened")
        time.sleep(0.001)
    assert server.counts(api_key)["requests"] <= ONE_ROUND
    assert server.counts(api_key)["requests"] > 1
    server.clear_faults(api_key)
    assert client.shutdown(10)
    assert client.stats().delivered == server.counts(api_key)["events"] == client.stats().called


def _pid(row: Row) -> int:
    """Who sent a batch, as its first event says."""
    pid: int = json.loads(row["body"])["events"][0]["properties"]["pid"]
    return pid


def _first_deliveries(requests: list[Row], recovered: float) -> dict[int, float]:
    """Seconds from the recovery to the first accepted request of each process."""
    delays: dict[int, float] = {}
    for row in requests:
        if row["status"] == 202:
            received = datetime.fromisoformat(row["received_at"]).timestamp()
            delays.setdefault(_pid(row), received - recovered)
    return delays
