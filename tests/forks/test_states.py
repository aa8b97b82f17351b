"""Exactly once when another thread is held in any state that matters at the fork."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from forks.state_scenarios import SHUTDOWN_TIMEOUT
from runs import over_http_and_tls, repeated, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

SCRIPT = "forks/state_scenarios.py"
#: What the server does to the first request, so that the sender comes into the state.
FAULTS: dict[str, dict[str, Any]] = {
    "recv": {"action": "delay", "delay": 1.0},
    "backoff": {"action": "status", "status": 503},
    "retry_after": {"action": "status", "status": 503, "retry_after": 1},
}
SENDER_STATES = [
    "waiting",
    "encoding",
    "connecting",
    "handshake",
    "send",
    "recv",
    "backoff",
    "retry_after",
    "last_look",
]
LOCKS = ["manager_lock", "pool_queue_lock", "logging_lock", "import_lock"]
#: Where every other thread is blocked in a system call and holds no lock of the interpreter's.
RAW_STATES = [*SENDER_STATES, "manager_lock", "pool_queue_lock"]
CASES = [
    *((state, "os_fork") for state in (*SENDER_STATES, *LOCKS, "malloc")),
    *((state, "raw_fork") for state in RAW_STATES),
]


@repeated
@over_http_and_tls
@pytest.mark.parametrize(("state", "fork"), CASES, ids=["-".join(case) for case in CASES])
def test_every_operation_arrives_exactly_once_whatever_was_held_at_the_fork(
    server: LocalServer, api_key: str, tmp_path: Path, state: str, fork: str, run: int
) -> None:
    if state == "handshake" and not server.bundle:
        pytest.skip("there is no handshake over http")
    if state in FAULTS:
        server.fault(key=api_key, times=1, **FAULTS[state])
    result = run_script(server, api_key, tmp_path, SCRIPT, state, fork, str(run))
    assert [line["held"] for line in result.lines("held")] == [True], result.output
    tracked = 5 + (state in LOCKS)  # one is delivered before
    if state == "malloc" and server.bundle:  # nothing is held: the sender may be inside OpenSSL
        result.assert_exactly_once_but_for_openssl(tracked, SHUTDOWN_TIMEOUT + 0.5)
    else:
        result.assert_exactly_once(tracked)
