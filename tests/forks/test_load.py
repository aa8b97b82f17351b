"""Exactly once when a process forks in the middle of everything, in every generation."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from forks.load_scenarios import (
    CHILDREN,
    EACH,
    GENERATIONS,
    SHUTDOWN_TIMEOUT,
    SPAWNS,
    THREADS,
)
from runs import over_http_and_tls, repeated, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer
    from runs import Result

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

SCRIPT = "forks/load_scenarios.py"
PROCESSES = sum(CHILDREN**generation for generation in range(GENERATIONS))


@pytest.mark.timeout(240)  # over TLS, where children that hang are waited for
@repeated
@over_http_and_tls
def test_three_generations_fork_while_four_threads_track_and_a_request_is_under_way(
    server: LocalServer, api_key: str, tmp_path: Path, run: int
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "family", str(run), seconds=150)
    forks = result.lines("mid_request")
    assert len(forks) == PROCESSES - 1
    assert all(fork["in_flight"] for fork in forks)
    calls = result.lines("journal")
    assert len({line["pid"] for line in calls}) == PROCESSES
    assert len(calls) >= PROCESSES * (THREADS * EACH + 1)
    if server.bundle is None:
        result.assert_exactly_once(len(calls))
        return
    seconds = SHUTDOWN_TIMEOUT + 0.5
    result.assert_exactly_once_but_for_openssl(len(calls), seconds)
    _tell_by_generation(result)


def _tell_by_generation(result: Result) -> None:
    for generation in range(2, GENERATIONS + 1):
        born = {p["pid"] for p in result.lines("born") if p["generation"] == generation}
        stalled, hung = (
            len(born & {line["pid"] for line in result.lines(name)}) for name in ("reports", "hung")
        )
        print(f"Generation {generation}: {stalled} ended in time, {hung} hung in OPENSSL_cleanup")


@repeated
@over_http_and_tls
@pytest.mark.parametrize("scenario", ["preexec", "uvloop_subprocess"])
def test_starting_a_program_under_load_starts_nothing_and_costs_nothing(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str, run: int
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario, str(run))
    assert len(result.lines("mid_request")) == SPAWNS
    result.assert_exactly_once(len(result.lines("journal")))
    assert server.counts(api_key)["connections"] == 1
