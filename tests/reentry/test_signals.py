"""A signal handler may call the client whatever it interrupts, and may raise there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from runs import repeated, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no timer signal")

SCRIPT = "reentry/signal_scenarios.py"
SIGNALS = 10_000


def test_ten_thousand_signal_handlers_track_in_the_middle_of_track(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(
        server, api_key, tmp_path, SCRIPT, "track_in_a_storm", WHISPERR_SIGNALS=str(SIGNALS)
    )
    result.assert_exactly_once(len(result.lines("journal")))
    (storm,) = result.lines("storm")
    assert storm["handled"] >= SIGNALS
    assert storm["interrupted"] > SIGNALS / 10


def test_ten_thousand_signal_handlers_track_and_raise_in_the_middle_of_track(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(
        server,
        api_key,
        tmp_path,
        SCRIPT,
        "track_in_a_storm_that_raises",
        WHISPERR_SIGNALS=str(SIGNALS),
    )
    assert result.status == 0, result.output
    (storm,), (accounts,) = result.lines("storm"), result.lines("accounts")
    assert storm["handled"] >= SIGNALS
    assert storm["interrupted"] > SIGNALS / 10
    ledger = result.ledger
    assert not ledger.unknown | ledger.twice | ledger.resent
    returned = {line["id"] for line in result.lines("returned")}
    assert not returned & ledger.lost
    assert accounts["accepted"] == accounts["delivered"] == len(ledger.arrived)
    assert [line["balanced"] for line in result.lines("stats")] == [True]
    assert not result.lines("reports")


def test_signal_handlers_flush_in_the_middle_of_track(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "flush_in_track", WHISPERR_SIGNALS="100")
    result.assert_exactly_once(len(result.lines("journal")))
    flushed = result.lines("flushed")
    assert len(flushed) == 100
    assert all(line["true"] for line in flushed), flushed


@repeated
@pytest.mark.parametrize(
    ("scenario", "waits"), [("flush_in_flush", True), ("flush_in_an_inline_delivery", False)]
)
def test_a_signal_handler_flushes_in_the_middle_of_a_flush(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str, waits: bool, run: int
) -> None:
    server.fault(key=api_key, times=1, action="delay", delay=0.3)
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario)
    result.assert_exactly_once(7)
    (flushed,) = result.lines("flushed")
    assert (flushed["true"], flushed["timed_out"]) == (waits, not waits)
    assert waits or flushed["seconds"] < 0.2


@repeated
@pytest.mark.parametrize("scenario", ["shutdown_in_flush", "shutdown_in_an_inline_delivery"])
def test_a_signal_handler_shuts_down_in_the_middle_of_a_flush(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str, run: int
) -> None:
    server.fault(key=api_key, times=1, action="delay", delay=0.3)
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario)
    result.assert_exactly_once(1)
    (shut_down,) = result.lines("shut_down")
    assert shut_down["seconds"] < 5


def test_a_signal_handler_shuts_down_in_the_middle_of_track(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(
        server, api_key, tmp_path, SCRIPT, "shutdown_in_track", WHISPERR_SIGNALS="1000000"
    )
    assert result.status == 0, result.output
    ledger = result.ledger
    assert not ledger.unknown | ledger.twice | ledger.resent
    (accounts,) = result.lines("accounts")
    assert accounts["accepted"] == len(ledger.arrived)
    assert all(line["balanced"] for line in result.lines("stats"))


@pytest.mark.parametrize("scenario", ["first_use_struck", "construction_struck"])
def test_the_end_delivers_although_a_handler_raised_when_the_exit_hook_was_prepared(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario)
    result.assert_exactly_once(5)


def test_a_thread_delivers_although_a_handler_raised_at_the_end_of_an_inline_delivery(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "delivery_end_struck")
    result.assert_exactly_once(len(result.lines("journal")))
