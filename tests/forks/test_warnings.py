"""CPython's warning about forks beside threads: who has nothing to send causes none."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from runs import run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer
    from runs import Result

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

#: Before, there is no such warning; the threads that it warns of are counted all the same.
WARNS = sys.version_info >= (3, 12)
FORKS = int(os.environ.get("WHISPERR_FORKS", "20"))
#: Three without an operation, up to one until the next look, and one for a slow machine.
INTERVALS = 5
#: Scenario: how many operations, how many threads that rested.
IDLE = {"never_used": (0, 0), "idle_master": (1, 1), "idle_worker": (2, 2)}


@pytest.mark.parametrize("scenario", IDLE)
def test_a_process_that_has_nothing_to_send_forks_without_a_warning(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str
) -> None:
    operations, rested = IDLE[scenario]
    ours, without = _run_both(server, api_key, tmp_path, scenario)
    assert _at_forks(ours, "threads") == _at_forks(without, "threads") == [1] * FORKS
    assert sum(_at_forks(ours, "warnings")) - sum(_at_forks(without, "warnings")) == 0
    intervals = [line["intervals"] for line in ours.lines("rested")]
    assert len(intervals) == rested
    assert all(each < INTERVALS for each in intervals), intervals
    if operations:
        ours.assert_exactly_once(operations)


def test_a_fork_while_the_sender_works_warns_once_at_most(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    server.fault(key=api_key, times=FORKS, action="delay", delay=0.05)
    ours, without = _run_both(server, api_key, tmp_path, "busy")
    assert _at_forks(ours, "threads") == [2] * FORKS
    assert _at_forks(without, "threads") == [1] * FORKS
    assert _at_forks(without, "warnings") == [0] * FORKS
    # Where the interpreter counts at all, so that the zeros above mean something.
    assert _at_forks(ours, "warnings") == [int(WARNS)] * FORKS
    ours.assert_exactly_once(FORKS)


def _run_both(
    server: LocalServer, api_key: str, folder: Path, scenario: str
) -> tuple[Result, Result]:
    """The script without the client, then with it."""
    results = []
    for mode in ("without", "with"):
        (folder / mode).mkdir()
        script = "forks/warning_scenarios.py"
        arguments = (script, scenario, mode)
        result = run_script(
            server, api_key, folder / mode, *arguments, seconds=100, LAB_FORKS=str(FORKS)
        )
        assert result.status == 0, result.output
        results.append(result)
    return results[1], results[0]


def _at_forks(result: Result, name: str) -> list[int]:
    values = [line[name] for line in result.lines("fork")]
    assert len(values) == FORKS, result.output
    return values
