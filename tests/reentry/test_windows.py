"""What falls between the sender's last look and its end is served in time."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from runs import repeated, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

SCRIPT = "reentry/window_scenarios.py"
FLUSH_INTERVAL = 1.0
WINDOWS = ["after_the_last_turn", "after_giving_back_the_token", "looked"]
ACTS = ["track", "flush"]
if sys.platform != "win32":
    ACTS += ["track_in_a_signal_handler", "flush_in_a_signal_handler"]


@repeated
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("act", ACTS)
def test_what_falls_between_the_last_look_and_the_end_is_served_within_the_interval(
    server: LocalServer, api_key: str, tmp_path: Path, window: str, act: str, run: int
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, window, act)
    result.assert_exactly_once(3)
    served = [line["seconds"] for line in result.lines("served")]
    assert len(served) == 2
    assert max(served) < FLUSH_INTERVAL + 1.0


@pytest.mark.parametrize("window", WINDOWS)
def test_a_refusal_that_falls_there_is_reported(
    server: LocalServer, api_key: str, tmp_path: Path, window: str
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, window, "refuse")
    (report,) = result.lines("reports")
    (refused,) = result.lines("refused")
    assert report["reason"] == "invalid"
    assert refused["seconds"] < FLUSH_INTERVAL + 1.0
