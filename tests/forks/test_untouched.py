"""A child that never uses the client that it inherited: it ends at once and closes nothing."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from runs import over_http_and_tls, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

SCRIPT = "forks/untouched_scenarios.py"
FORKS = int(os.environ.get("WHISPERR_FORKS", "30"))


@pytest.mark.timeout(120 + FORKS)
@over_http_and_tls
def test_children_that_do_nothing_end_and_leave_the_parents_connection_open(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(
        server, api_key, tmp_path, SCRIPT, "under_load", str(FORKS), seconds=60 + FORKS
    )
    assert not result.lines("hung"), result.output
    assert len(result.lines("children")) == FORKS
    tracked = len(result.ledger.tracked)
    assert tracked > FORKS, "There was no load."
    result.assert_exactly_once(tracked)
    _assert_one_connection(server, api_key)
    (line,) = result.lines("connections")
    assert line["said"] == ["open"] * FORKS


@over_http_and_tls
@pytest.mark.parametrize(("use", "operations", "connections"), [("exit", 1, 1), ("track", 2, 2)])
def test_no_lock_of_the_parents_client_is_waited_for(
    server: LocalServer,
    api_key: str,
    tmp_path: Path,
    use: str,
    operations: int,
    connections: int,
) -> None:
    """Each was held by another thread in the moment of the fork."""
    result = run_script(server, api_key, tmp_path, SCRIPT, "with_every_lock_held", use, seconds=60)
    (held,) = result.lines("held")
    assert held["locks"] > 0
    assert not result.lines("hung"), result.output
    result.assert_exactly_once(operations)
    assert len(_connections(server, api_key)) == connections
    (line,) = result.lines("connections")
    assert line["said"] == ["open"]


def _assert_one_connection(server: LocalServer, api_key: str) -> None:
    assert len(_connections(server, api_key)) == 1, "The parent's connection was broken."


def _connections(server: LocalServer, api_key: str) -> set[int]:
    return {row["connection"] for row in server.requests(api_key)}
