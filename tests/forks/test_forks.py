"""Exactly once over every kind of fork: each id arrived, none twice, none resent."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from runs import over_http_and_tls, repeated, run_script

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
