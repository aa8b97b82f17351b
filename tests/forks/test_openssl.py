"""Children that hang in locks of OpenSSL's, which a fork copies held and nobody frees.

While Python runs they end in time and say what they did not deliver. After Python's end they
hang in OpenSSL's own cleanup, with any client and without: these are counted apart.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from c_stack import GDB
from runs import run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer
    from runs import Result

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="there is no fork"),
    pytest.mark.parametrize("server", ["https"], indirect=True),
]

SCRIPT = "forks/openssl_scenarios.py"
#: A few hundred seconds for a thousand.
FORKS = int(os.environ.get("WHISPERR_HANDSHAKE_FORKS", "20"))
#: A rate needs hundreds of forks, and only a rate needs the controls.
KINDS = ["client", "control", "untouched"] if FORKS >= 500 else ["client"]
SHUTDOWN_TIMEOUT = 2.0
HANGS = ["hang_in_context", "hang_in_socket", "hang_in_handshake"]

needs_gdb = pytest.mark.skipif(
    GDB is None,
    reason="gdb is not installed (apt-get install gdb): nothing else tells where a child hangs",
)


@pytest.mark.parametrize("hang", HANGS)
def test_a_child_that_hangs_in_openssl_ends_in_time_and_says_what_is_left(
    server: LocalServer, api_key: str, tmp_path: Path, hang: str
) -> None:
    """The hang is made: its sender blocks for ever, below Python and without the GIL."""
    result = run_script(server, api_key, tmp_path, SCRIPT, hang, "1")
    _assert_ended_in_time(result, 1)
    assert len(result.ledger.lost) == 1
    _assert_every_loss_reported(result)


@needs_gdb
@pytest.mark.timeout(120 + FORKS)
@pytest.mark.parametrize("kind", KINDS)
def test_children_beside_threads_that_make_contexts_and_handshakes(
    server: LocalServer, api_key: str, tmp_path: Path, kind: str
) -> None:
    """With the client, without it and the same exchange, and with a child that does nothing."""
    result = run_script(server, api_key, tmp_path, SCRIPT, kind, str(FORKS), seconds=90 + FORKS)
    assert result.status == 0, result.output
    hung = [line["where"] for line in result.lines("hung")]
    stalled = {line["pid"] for line in result.lines("reported")}
    print(
        f"{kind}: {FORKS} forks, {len(stalled)} stalled in a lock of OpenSSL's and ended in time, "
        f"{hung.count('cleanup')} hung in OPENSSL_cleanup, {hung.count('python')} in Python"
    )
    if kind == "control":
        return
    assert "python" not in hung, result.output
    _assert_ended_in_time(result, FORKS - len(hung))
    _assert_every_loss_reported(result)


def _assert_ended_in_time(result: Result, count: int) -> None:
    """Every child that ended did so within its time, and the time that any interpreter takes."""
    assert result.status == 0, result.output
    ended = result.lines("ended")
    assert [line["status"] for line in ended] == [0] * count, result.output
    ending = {line["pid"]: line["at"] for line in result.lines("ending")}
    teardown = max(line["at"] - ending[line["pid"]] for line in result.lines("teardown"))
    slowest = max(line["at"] - ending[line["pid"]] for line in ended)
    assert slowest < SHUTDOWN_TIMEOUT + 0.5 + teardown


def _assert_every_loss_reported(result: Result) -> None:
    """What did not arrive was reported by the child that tracked it, once; the rest is exact."""
    pids = {line["id"]: line["pid"] for line in result.lines("journal")}
    reports = result.lines("reported")
    assert {pids[lost] for lost in result.ledger.lost} <= {line["pid"] for line in reports}
    assert [_said(line) for line in reports] == [("undelivered", 1)] * len(reports)
    assert len({line["pid"] for line in reports}) == len(reports)
    assert not result.ledger.unknown | result.ledger.twice | result.ledger.resent
    assert all(line["balanced"] for line in result.lines("stats"))


def _said(report: dict[str, Any]) -> tuple[str, int]:
    return report["reason"], report["count"]
