"""500 requests in flight that each track do not make an event loop late.

Times are judged by `make frameworks`, which runs ten pairs; `make test` runs one, and judges that
everything arrived once, or was reported.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import pytest

from raw_server import RawServer
from runs import run_script
from times import JUDGED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import LocalServer
    from raw_server import Peer
    from runs import Result

PAIRS = 10 if JUDGED else 1
SECONDS = 2.0
#: Seconds that the loop may be later than without the client, and that a call may hold it.
MOST_LAG, MOST_CALL = 0.005, 0.001

pytestmark = pytest.mark.timeout(30 + 30 * PAIRS)


def run_pairs(
    server: LocalServer, api_key: str, folder: Path, url: str | None = None
) -> Iterator[Result]:
    """Runs without and with the client, in turn; those with it, and at last the judgement."""
    lags, calls = [], []
    for number in range(PAIRS):
        figures = {}
        for what in ("bare", "tracking"):
            here = folder / f"{what}{number}"
            here.mkdir()
            key = api_key if what == "tracking" else f"{api_key}_"
            script = "frameworks/loop_lag.py"
            result = run_script(server, key, here, script, str(SECONDS), what, url=url)
            assert result.status == 0, result.output
            (figures[what],) = result.lines("figures")
        yield result
        lags.append(figures["tracking"]["lag"] - figures["bare"]["lag"])
        calls.append(figures["tracking"]["call"])
    lag, call = median(lags), median(calls)
    print(f"{PAIRS} pairs: lag {lag * 1e3:.2f} ms above bare, call {call * 1e6:.0f} µs at p99.9")
    if JUDGED:
        assert lag <= MOST_LAG
        assert call <= MOST_CALL


def never_answer(peer: Peer) -> None:
    peer.wait_for_end()


def test_each_event_of_requests_in_flight_arrives_once(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    expected = 0
    for result in run_pairs(server, api_key, tmp_path):
        expected += len(result.ledger.tracked)
        assert len(result.ledger.tracked) > 500
        assert not result.ledger.lost | result.ledger.twice | result.ledger.resent
    assert len(server.arrivals(api_key)) == expected


def test_a_service_that_does_not_answer_makes_no_loop_late(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    with RawServer(never_answer) as silent:
        for result in run_pairs(server, api_key, tmp_path, silent.url):
            (report,) = result.lines("reports")
            assert report["reason"] == "undelivered"
            assert report["count"] == len(result.ledger.tracked) > 500
