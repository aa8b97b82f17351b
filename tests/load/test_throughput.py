"""How many requests the delivery takes, how fast it is, and where its limits are.

The service is the local server; where it takes 20 ms, that is on top of its own time.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness import LocalServer
from load.judgement import assert_nothing_lost
from load.sizes import EVENTS
from runs import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runs import Result

SCRIPT = "load/throughput.py"
DELIVERY = Path(__file__).parents[2] / "docs" / "delivery.md"
_BACK_FILL = re.compile(r"^```python\n(def backfill.*?)^```$", re.MULTILINE | re.DOTALL)
SERVICE_SECONDS = 0.02
FLUSH_AT = 20
#: `make load` takes 100,000 for each; a back-fill is more than the default queue holds.
TIGHT_LOOPS = sorted({10_000, EVENTS // 10})
BACK_FILL = max(30_000, EVENTS // 10)


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """One for each test: it holds all that arrives in memory."""
    server = LocalServer.start(":memory:", "--no-peers")
    yield server
    server.stop()


@pytest.fixture
def slow(server: LocalServer, api_key: str) -> LocalServer:
    """The same; it takes 20 ms for each request."""
    server.fault(key=api_key, action="delay", delay=SERVICE_SECONDS, times=None)
    return server


def test_steady_events_share_requests_and_wait_for_no_longer_than_the_interval(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    events, rate, interval = 1500, 300, 1.0
    arguments = map(str, (events, rate, interval))
    result = run_script(server, api_key, tmp_path, SCRIPT, "steady", *arguments)
    assert_nothing_lost(result, events)
    (account,) = result.lines("accounts")
    print(f"{account['requests']} requests in {account['seconds']:.1f} s")
    assert account["requests"] <= events / FLUSH_AT + account["seconds"] / interval + 1


def test_events_that_come_slowly_arrive_within_the_interval_and_a_second(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    events, rate, interval = 48, 6, 1.0  # `flush_at` is far
    arguments = map(str, (events, rate, interval))
    result = run_script(server, api_key, tmp_path, SCRIPT, "steady", *arguments)
    assert_nothing_lost(result, events)
    received = {
        row["id"]: datetime.fromisoformat(row["received_at"]).timestamp()
        for row in server.requests(api_key)
    }
    seconds = sorted(
        received[row["request"]] - row["body"]["properties"]["at"]
        for row in server.arrivals(api_key)
    )
    p99 = seconds[int(len(seconds) * 0.99)]
    print(f"from track() to arrival: median {seconds[events // 2]:.2f} s, p99 {p99:.2f} s")
    assert p99 < interval + 1


@pytest.mark.parametrize("events", TIGHT_LOOPS)
def test_a_tight_loop_fills_its_requests(
    slow: LocalServer, api_key: str, tmp_path: Path, events: int
) -> None:
    result = run_script(slow, api_key, tmp_path, SCRIPT, "tight_loop", str(events), seconds=90)
    account = _everything_arrived(result, events)
    assert account["requests"] <= events / 250 + account["seconds"] / 10 + 1


def test_the_documented_loop_for_back_fills_loses_nothing_with_default_options(
    slow: LocalServer, api_key: str, tmp_path: Path
) -> None:
    (documented,) = _BACK_FILL.findall(DELIVERY.read_text())
    (tmp_path / "documented.py").write_text(documented)
    result = run_script(slow, api_key, tmp_path, SCRIPT, "backfill", str(BACK_FILL), seconds=90)
    _everything_arrived(result, BACK_FILL)


def _everything_arrived(result: Result, events: int) -> dict[str, Any]:
    assert_nothing_lost(result, events)
    assert result.ledger.exactly_once
    assert not result.lines("reports"), result.lines("reports")
    account: dict[str, Any]
    (account,) = result.lines("accounts")
    assert (account["delivered"], account["dropped"]) == (events, 0)
    rate = events / account["seconds"]
    print(f"{account['requests']} requests in {account['seconds']:.1f} s, {rate:.0f} events/s")
    return account


def test_identifies_go_one_by_one_and_stats_tells_how_many_a_second_can_take(
    slow: LocalServer, api_key: str, tmp_path: Path
) -> None:
    operations = 120
    result = run_script(slow, api_key, tmp_path, SCRIPT, "alternate", str(operations))
    assert_nothing_lost(result, operations)
    (account,) = result.lines("accounts")
    assert account["requests"] == operations
    rate = operations / account["seconds"]
    most = account["requests"] / account["request_seconds"]
    print(f"{rate:.0f} operations a second; stats() says {most:.0f}")
    assert most < 1 / SERVICE_SECONDS
    assert 0.5 * most < rate < 1.1 * most


def test_what_the_end_had_no_time_for_is_reported_with_its_count(
    slow: LocalServer, api_key: str, tmp_path: Path
) -> None:
    operations = 400
    result = run_script(slow, api_key, tmp_path, SCRIPT, "end", str(operations), "1")
    assert result.status == 0, result.output
    assert len(result.ledger.tracked) == operations
    lost = len(result.ledger.lost)
    (report,) = result.lines("reports")
    assert (report["type"], report["reason"]) == ("stalled", "undelivered")
    assert lost > operations / 2
    # The deadline may cut an exchange short whose request has arrived.
    assert report["count"] in (lost, lost + 1)
