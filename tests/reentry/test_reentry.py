"""Finalisers, callbacks and log handlers may call the client whatever they interrupt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runs import over_http_and_tls, repeated, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

SCRIPT = "reentry/reentry_scenarios.py"


@repeated
@over_http_and_tls
@pytest.mark.parametrize("scenario", ["finalisers", "weak_references"])
def test_collections_inside_track_and_inside_the_sender_track(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str, run: int
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario)
    result.assert_exactly_once(len(result.lines("journal")))
    collected = result.lines("collected")
    assert len(collected) == 80
    places = [line["where"] for line in collected]
    assert places.count("track") > 10
    assert places.count("sender") > 10
    assert all(line["seconds"] < 5 for line in collected if line["where"] == "sender")


@repeated
@over_http_and_tls
def test_on_error_tracks_flushes_and_raises(
    server: LocalServer, api_key: str, tmp_path: Path, run: int
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "on_error")
    result.assert_exactly_once(40 + 1 + 5)
    assert all(line["seconds"] < 5 for line in result.lines("flushed"))


@repeated
@over_http_and_tls
@pytest.mark.parametrize(("scenario", "tracked"), [("log_of_whisperr", 40), ("log_of_urllib3", 41)])
def test_log_handlers_track_and_flush(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str, tracked: int, run: int
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario)
    result.assert_exactly_once(tracked + 5)
    in_exchange = [line["in_exchange"] for line in result.lines("logged")]
    assert in_exchange == [scenario == "log_of_urllib3"] * 40


@repeated
def test_before_send_tracks(server: LocalServer, api_key: str, tmp_path: Path, run: int) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "before_send")
    result.assert_exactly_once(80)


def test_before_send_filters_although_a_handler_raised_where_it_was_called(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "before_send_struck")
    result.assert_exactly_once(1)
    (arrival,) = server.arrivals(api_key)
    assert arrival["body"]["properties"]["filtered"] is True
