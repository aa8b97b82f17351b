"""Hosts that change what a thread is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runs import repeated, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

GEVENT = {"pool_first": 40, "greenlet_first": 80, "both_at_once": 241}


@repeated
@pytest.mark.parametrize("scenario", GEVENT)
def test_under_gevent_it_does_not_matter_who_tracks_first(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str, run: int
) -> None:
    result = run_script(server, api_key, tmp_path, "threads_gevent.py", scenario)
    result.assert_exactly_once(GEVENT[scenario])


def test_under_gevent_a_sender_that_waits_stops_no_other_greenlet(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(server, api_key, tmp_path, "threads_gevent.py", "hub_stays_free")
    result.assert_exactly_once(1)


def test_an_idle_thread_of_gevents_pool_leaves_no_connection(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(server, api_key, tmp_path, "threads_gevent.py", "pool_ends_idle")
    result.assert_exactly_once(2)
