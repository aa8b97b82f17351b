"""A gevent process forks while its sender waits: the copy of the sender does nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from runs import RUNS, over_http_and_tls, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

#: Half as often as others: two processes that import gevent take a second of the processor.
repeated = pytest.mark.parametrize("run", range(max(1, RUNS // 2)))
DELAY = 0.4
#: Only the parent's first request meets it: the child identifies, it tracks nothing.
FAULTS: dict[str, dict[str, Any]] = {
    "recv": {"action": "delay", "delay": DELAY},
    "backoff": {"action": "status", "status": 503},
}


@repeated
@over_http_and_tls
@pytest.mark.parametrize("state", FAULTS)
@pytest.mark.parametrize("fork", ["os_fork", "multiprocessing"])
def test_the_copy_of_a_waiting_sender_greenlet_neither_reads_nor_sends(
    server: LocalServer, api_key: str, tmp_path: Path, fork: str, state: str, run: int
) -> None:
    _fork_in(server, api_key, tmp_path, fork, state, "greenlet")


@repeated
@pytest.mark.parametrize("state", FAULTS)
def test_a_child_of_a_process_whose_sender_is_a_thread_of_gevents_pool_sends_its_own_alone(
    server: LocalServer, api_key: str, tmp_path: Path, state: str, run: int
) -> None:
    pytest.importorskip("gevent")
    _fork_in(server, api_key, tmp_path, "os_fork", state, "thread")


def _fork_in(
    server: LocalServer, key: str, folder: Path, fork: str, state: str, sender: str
) -> None:
    pytest.importorskip("gevent")
    server.fault(key=key, path="/v1/events/batch", times=1, **FAULTS[state])
    script = "forks/gevent_scenarios.py"
    result = run_script(
        server, key, folder, script, fork, state, sender, seconds=60, LAB_DELAY=str(DELAY)
    )
    assert result.status == 0, result.output
    (forked,) = result.lines("forked")
    assert forked["held"], "The state was over when the process forked."
    assert forked["sender"] == sender
    assert len(result.lines("children")) == 1
    assert len(result.lines("stats")) == 2
    result.assert_exactly_once(4)
