"""Runs of scripts in fresh interpreters, judged from two independent sources; see lab.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from whisperr.server.ledger import Ledger, arrivals_from, judge

if TYPE_CHECKING:
    from harness import LocalServer

TESTS = Path(__file__).parent
#: How often each case runs; `make forks RUNS=200` raises it.
RUNS = int(os.environ.get("WHISPERR_RUNS", "5"))
#: How long a script may run before it counts as hanging.
SECONDS = float(os.environ.get("LAB_SECONDS", "30"))
repeated = pytest.mark.parametrize("run", range(RUNS))
over_http_and_tls = pytest.mark.parametrize("server", ["http", "https"], indirect=True)


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
        assert self.ledger.exactly_once, self.account()
        assert not self.lines("hung"), self.account()
        assert not self.lines("reports"), self.lines("reports")
        stats = self.lines("stats")
        assert stats
        assert all(line["balanced"] for line in stats), stats
        assert all(line["status"] == 0 for line in self.lines("children")), self.output

    def assert_exactly_once_but_for_openssl(self, tracked: int, seconds: float) -> None:
        """The same, but children may hang in locks of OpenSSL's that the fork copied held.

        Those that hang while Python runs deliver nothing and say so within `seconds` of the note
        `ending` that they made; those that hang after Python's end are counted apart.
        """
        assert self.status == 0, self.output
        assert len(self.ledger.tracked) == tracked, self.output
        assert not self.ledger.unknown | self.ledger.twice | self.ledger.resent, self.account()
        assert {line["where"] for line in self.lines("hung")} <= {"cleanup"}, self.account()
        pids = {line["id"]: line["pid"] for line in self.lines("journal")}
        lost = Counter(pids[test_id] for test_id in self.ledger.lost)
        reports = self.lines("reports")
        assert {line["reason"] for line in reports} <= {"undelivered"}, self.account()
        reported: Counter[int] = Counter()
        for line in reports:
            reported[line["pid"]] += line["count"]  # a second report of the same would show
        assert reported == lost, self.account()
        ending = {line["pid"]: line["at"] for line in self.lines("ending")}
        assert all(line["at"] - ending[line["pid"]] < seconds for line in reports), self.account()
        assert all(line["balanced"] for line in self.lines("stats")), self.account()
        assert all(line["status"] == 0 for line in self.lines("children")), self.account()

    def account(self) -> str:
        """What went wrong, and what the processes said about it."""
        lost = Counter(
            line["pid"] for line in self.lines("journal") if line["id"] in self.ledger.lost
        )
        said = {name: self.lines(name) for name in ("children", "hung", "reports", "stats")}
        return f"{_differences(self.ledger)}\nlost by pid {dict(lost)}\n{said}\n{self.output}"


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
        finally:
            _kill_group(process.pid)  # also orphans, whose parent hung and was killed
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
    _kill_group(process.pid)
    process.wait()


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, AttributeError):  # there are no groups on Windows
        os.killpg(group, signal.SIGKILL)


def _differences(ledger: Ledger) -> str:
    return (
        f"tracked {len(ledger.tracked)} arrived {len(ledger.arrived)} lost {sorted(ledger.lost)} "
        f"unknown {sorted(ledger.unknown)} twice {sorted(ledger.twice)} "
        f"resent {sorted(ledger.resent)}"
    )
