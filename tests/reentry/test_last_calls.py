"""Whatever calls the client out of the last delivery of a process is served, and ends."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from runs import over_http_and_tls, repeated, run_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import LocalServer

SCRIPT = "reentry/last_scenarios.py"


@repeated
@over_http_and_tls
@pytest.mark.parametrize(
    "scenario", ["log_handler_on_the_sender", "log_handler_on_the_ending_thread"]
)
def test_an_operation_of_a_log_handler_in_the_last_exchange_is_delivered(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str, run: int
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario)
    result.assert_exactly_once(2)


@repeated
@pytest.mark.parametrize("scenario", ["on_error_on_the_sender", "on_error_on_the_ending_thread"])
def test_an_operation_of_on_error_in_the_last_delivery_is_delivered(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str, run: int
) -> None:
    server.fault(key=api_key, times=1, action="status", status=400)
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario)
    assert result.status == 0, result.output
    first, second = [line["id"] for line in result.lines("journal")]
    assert result.ledger.lost == {first}  # the service refused it
    assert result.ledger.arrived == {second}
    assert all(line["balanced"] for line in result.lines("stats"))


@repeated
def test_an_operation_of_a_thread_beside_the_last_exchange_is_delivered(
    server: LocalServer, api_key: str, tmp_path: Path, run: int
) -> None:
    server.fault(key=api_key, times=1, action="delay", delay=0.3)
    result = run_script(server, api_key, tmp_path, SCRIPT, "thread_beside_the_last_delivery")
    result.assert_exactly_once(2)


@repeated
@pytest.mark.parametrize("scenario", ["flush_before_our_hook", "flush_after_our_hook"])
def test_a_flush_in_an_atexit_handler_delivers_without_a_thread(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str, run: int
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario)
    result.assert_exactly_once(1)
    (flushed,) = result.lines("flushed")
    assert flushed["true"]
    assert flushed["seconds"] < 2.5


@repeated
def test_what_a_log_handler_tracks_in_a_flush_after_the_last_delivery_is_delivered(
    server: LocalServer, api_key: str, tmp_path: Path, run: int
) -> None:
    scenario = "flush_after_our_hook_and_a_log_handler_tracks"
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario)
    result.assert_exactly_once(2)


@repeated
def test_what_a_log_handler_tracks_in_a_flush_of_what_was_left_is_delivered(
    server: LocalServer, api_key: str, tmp_path: Path, run: int
) -> None:
    server.fault(key=api_key, times=1, action="status", status=401)
    scenario = "flush_of_what_is_left_and_a_log_handler_tracks"
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario)
    result.assert_exactly_once(2)


@repeated
def test_a_thread_that_outlives_the_main_one_is_served_although_none_can_be_started(
    server: LocalServer, api_key: str, tmp_path: Path, run: int
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "thread_outlives_main")
    result.assert_exactly_once(5)
    (before_the_end,) = result.lines("before_the_end")
    assert before_the_end["delivered"] == 5


@pytest.mark.parametrize(
    "scenario", ["on_error_tracks", "on_error_flushes", "on_error_shuts_down", "log_handler_tracks"]
)
def test_a_report_of_the_last_delivery_neither_feeds_itself_nor_prolongs_the_end(
    server: LocalServer, api_key: str, tmp_path: Path, hanging_url: str, scenario: str
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario, url=hanging_url)
    assert result.status == 0, result.output
    assert result.seconds_since("end") < 1.0 + 4.0
    said = [line["type"] for line in result.lines("said")]
    assert "stalled" in said
    assert len(said) <= 4


@pytest.fixture
def hanging_url() -> Iterator[str]:
    """A server that accepts every connection and never answers: the kernel does it for us."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
