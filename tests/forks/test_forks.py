"""Exactly once over every kind of fork: each id arrived, none twice, none resent."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from lab import over_http_and_tls, repeated, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

OPERATIONS = {
    "os_fork": 12,
    "os_fork_busy": 1206,
    "os_fork_generations": 7,
    "untouched_child": 2,
    "raw_fork": 7,
    "mp_process": 8,
    "mp_one_event": 5,
    "mp_pool": 14,
    "process_pool_executor": 14,
    "mp_spawn": 8,
    "mp_forkserver": 8,
}


@repeated
@over_http_and_tls
@pytest.mark.parametrize("scenario", OPERATIONS)
def test_every_operation_arrives_exactly_once(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str, run: int
) -> None:
    result = run_script(server, api_key, tmp_path, "forks/fork_scenarios.py", scenario)
    result.assert_exactly_once(OPERATIONS[scenario])


#: How the child ends: its exit status, operations in all.
CALLBACK_ENDS = {
    "return": (0, 2),
    "raise": (1, 2),
    "sys_exit": (7, 2),
    "os_exit": (3, 2),
    "process": (0, 3),
}


@repeated
@pytest.mark.parametrize("end", CALLBACK_ENDS)
def test_a_child_forked_by_on_error_delivers_its_own_and_ends(
    server: LocalServer, api_key: str, tmp_path: Path, end: str, run: int
) -> None:
    script = "forks/callback_scenarios.py"
    result = run_script(server, api_key, tmp_path, script, "out_of_on_error", end)
    status, operations = CALLBACK_ENDS[end]
    assert [line["status"] for line in result.lines("children")] == [status]
    assert len(result.ledger.tracked) == operations
    assert result.ledger.exactly_once, result.output


@repeated
def test_a_child_forked_by_a_signal_handler_leaves_the_delivery_to_the_parent(
    server: LocalServer, api_key: str, tmp_path: Path, run: int
) -> None:
    server.fault(key=api_key, times=1, action="delay", delay=0.5)
    script = "forks/callback_scenarios.py"
    result = run_script(server, api_key, tmp_path, script, "out_of_a_signal_handler")
    result.assert_exactly_once(2)
    first, second = sorted(result.lines("flushed"), key=lambda line: line["at"])
    assert (first["child"], second["child"]) == (True, False), "The child waited for the answer."
