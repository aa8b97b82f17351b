"""The laboratory: scripts in fresh interpreters, judged from two independent sources.

A script under test writes each id to a journal of its own before it calls track();
the local server stores every arrival. Neither knows of the other.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from whisperr import Whisperr
from whisperr.server.ledger import Ledger, arrivals_from, judge

if TYPE_CHECKING:
    from harness import LocalServer
    from whisperr._process import ProcessState

TESTS = Path(__file__).parent
#: How often each case runs; `make repeat RUNS=50` raises it.
RUNS = int(os.environ.get("WHISPERR_RUNS", "5"))
repeated = pytest.mark.parametrize("run", range(RUNS))
#: How long a script may run before it counts as hanging.
SECONDS = float(os.environ.get("LAB_SECONDS", "30"))
over_http_and_tls = pytest.mark.parametrize("server", ["http", "https"], indirect=True)


# --- In the script under test -------------------------------------------------------------


def client(**options: Any) -> Whisperr:
    """A client configured by the environment that `run_script` sets."""
    options.setdefault("on_error", lambda error: _append("reports", dict(vars(error))))
    return Whisperr(**options)


def track(to: Whisperr, **properties: Any) -> str:
    """Journal a new id, then track an event that carries it."""
    test_id = _journal("event")
    to.track("user", "something_happened", {"test_id": test_id, "pid": os.getpid(), **properties})
    return test_id


def identify(to: Whisperr) -> str:
    """Journal a new id, then identify with it among the traits."""
    test_id = _journal("identify")
    to.identify("user", traits={"test_id": test_id})
    return test_id


def record_stats(of: Whisperr | ProcessState) -> None:
    """Write the calling process's accounts, once no settlement is under way."""
    deadline = time.monotonic() + 5
    while not (stats := of.stats()).balanced and time.monotonic() < deadline:
        time.sleep(0.001)
    _append("stats", {"balanced": stats.balanced, "text": str(stats)})


def note(kind: str, **values: Any) -> None:
    """Write a line for the test to read, with the time (the monotonic clock is the machine's)."""
    _append(kind, {"at": time.monotonic(), **values})


def wait_for(child: int) -> None:
    """Wait until a forked child ended, and note its status."""
    _, status = os.waitpid(child, 0)
    _append("children", {"status": os.waitstatus_to_exitcode(status)})


def _journal(kind: str) -> str:
    test_id = uuid.uuid4().hex
    _append("journal", {"id": test_id, "kind": kind, "pid": os.getpid()})
    return test_id


def _append(name: str, line: dict[str, Any]) -> None:
    """One write(2) to a file of this name: lines of several processes do not mix."""
    text = json.dumps(line, default=str) + "\n"
    path = Path(os.environ["LAB_FOLDER"], name)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


# --- In the test --------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What a script did, and what arrived."""

    status: int
    ended_at: float
    output: str
    folder: Path
    ledger: Ledger

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The lines that the script wrote under this name."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def seconds_since(self, kind: str) -> float:
        """From the script's only note of this kind until the process was gone."""
        (line,) = self.lines(kind)
        return self.ended_at - float(line["at"])

    def assert_exactly_once(self, tracked: int, status: int = 0) -> None:
        """Each of the `tracked` ids arrived once, every process's accounts balance."""
        assert self.status == status, self.output
        assert len(self.ledger.tracked) == tracked, self.output
        assert self.ledger.exactly_once, f"{_differences(self.ledger)}\n{self.output}"
        assert not self.lines("reports"), self.lines("reports")
        stats = self.lines("stats")
        assert stats
        assert all(line["balanced"] for line in stats), stats
        assert all(line["status"] == 0 for line in self.lines("children")), self.output


def run_script(
    server: LocalServer,
    api_key: str,
    folder: Path,
    script: str,
    *args: str,
    seconds: float = SECONDS,
    url: str | None = None,
    python: tuple[str, ...] = (),
    wrapper: tuple[str, ...] = (),
    **environment: str,
) -> Result:
    """Run a script of tests/ in a fresh interpreter and judge it; a hang ends in its stacks."""
    command = [*wrapper, sys.executable, *python, str(TESTS / script), *args]
    environ = {
        **os.environ,
        "LAB_FOLDER": str(folder),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])),
        "PYTHONFAULTHANDLER": "1",
        "WHISPERR_API_KEY": api_key,
        "WHISPERR_BASE_URL": url or server.url,
        **({"REQUESTS_CA_BUNDLE": server.bundle} if server.bundle else {}),
        **environment,
    }
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command, env=environ, stdout=output, stderr=output, start_new_session=True
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            _dump_and_kill(process)
            pytest.fail(f"{command} hung.\n{(folder / 'output').read_text()}")
    ended_at = time.monotonic()
    journal = folder / "journal"
    tracked = (
        [json.loads(line)["id"] for line in journal.read_text().splitlines()]
        if journal.exists()
        else []
    )
    ledger = judge(tracked, arrivals_from(server.arrivals(api_key)))
    return Result(status, ended_at, (folder / "output").read_text(), folder, ledger)


def _dump_and_kill(process: subprocess.Popen[bytes]) -> None:
    """SIGABRT makes faulthandler write every thread's stack, in each process of the group."""
    os.killpg(process.pid, signal.SIGABRT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _differences(ledger: Ledger) -> str:
    return (
        f"tracked {len(ledger.tracked)} arrived {len(ledger.arrived)} lost {sorted(ledger.lost)} "
        f"unknown {sorted(ledger.unknown)} twice {sorted(ledger.twice)} "
        f"resent {sorted(ledger.resent)}"
    )
