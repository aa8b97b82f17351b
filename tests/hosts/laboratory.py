"""One host under test: its processes, its requests, its journal, and the server's arrivals."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from harness import wait_until
from hosts.environments import ROOT
from whisperr.server.ledger import Ledger, arrivals_from, judge

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from pathlib import Path

    from harness import LocalServer, Row
    from hosts.environments import Environment

HOST = "127.0.0.1"
#: How long a host may take to start, to do its work, and to end. A child of Celery's that has had
#: its last task waits up to 30 s until its main process took note, which one that ends does not.
SECONDS = 45.0
_REQUEST_SECONDS = 15.0
#: Requests that are made at a time.
_REQUESTS = 4
#: Below the ports that the kernel gives to clients, so that nothing takes a free one meanwhile.
_PORTS = range(20_000, 32_000)
#: A host that starts does not listen yet: the same port over UDP, kept while this process lives,
#: says to the tests in other processes that it is taken.
_CLAIMS: list[socket.socket] = []


class Laboratory:
    """Starts hosts and ends them all; nothing outlives the `with` block.

    Attributes:
        environment: where the hosts are installed.
        folder: of this cell alone; notes and output are in it.
        server: the local server, over http or TLS.
        port: a free port of the loopback address, for a host or a broker.
        ending: the name of the ending that this cell is about.
        expected_report: text of the reports that belong to this host; others are failures.
        main: the host's main process, the first that was launched with `main=True`.
    """

    def __init__(
        self, environment: Environment, folder: Path, server: LocalServer, api_key: str, ending: str
    ) -> None:
        self.environment = environment
        self.folder = folder
        self.server = server
        self.api_key = api_key
        self.ending = ending
        self.port = free_port()
        self.variables: dict[str, str] = {}
        self.expected_report: str | None = None
        self._main: subprocess.Popen[bytes] | None = None
        self._launched: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Laboratory:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._launched:
            _kill(self._family(process))
            process.wait()

    # Starting

    def launch(
        self, command: Collection[str], *, main: bool = True, **variables: str
    ) -> subprocess.Popen[bytes]:
        """Start a process in a session of its own, its output in the cell's file.

        Args:
            command: what to run.
            main: whether this is the host; a broker or a second process is not.
            variables: for its environment, besides the laboratory's.
        """
        environ = {**os.environ, **self._environ(), **self.variables, **variables}
        with (self.folder / "output").open("ab") as output:
            process = subprocess.Popen(
                list(command),
                env=environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._launched.append(process)
        if main:
            self._main = process
        return process

    def _environ(self) -> dict[str, str]:
        bundle = self.server.bundle
        return {
            "LAB_FOLDER": str(self.folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")]),
            "PYTHONFAULTHANDLER": "1",
            "WHISPERR_API_KEY": self.api_key,
            "WHISPERR_BASE_URL": self.server.url,
            **({"REQUESTS_CA_BUNDLE": bundle} if bundle else {}),
        }

    @property
    def main(self) -> subprocess.Popen[bytes]:
        """The host's main process."""
        assert self._main is not None, "no host was launched"
        return self._main

    # Processes

    def pids(self) -> set[int]:
        """Every process of the host that runs now."""
        family = [process for launched in self._launched for process in self._family(launched)]
        return {process.pid for process in family if not has_ended(process.pid)}

    def _family(self, launched: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """Whoever is in its session, also orphans, and its descendants in other sessions."""
        family: dict[int, psutil.Process] = {}
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(launched.pid)
            family = {process.pid: process for process in parent.children(recursive=True)}
        for pid in psutil.pids():
            with suppress(OSError, psutil.NoSuchProcess):
                if os.getsid(pid) == launched.pid:
                    family[pid] = psutil.Process(pid)
        return list(family.values())

    def signal(self, number: signal.Signals, pid: int | None = None) -> None:
        """Send a signal to the host's main process, or to another."""
        os.kill(self.main.pid if pid is None else pid, number)

    def wait_for_end(self, pids: Iterable[int], seconds: float = SECONDS) -> None:
        """Wait until these processes are gone; fail with their stacks when they hang."""
        waited_for = set(pids)
        self._wait_for_none(lambda: {pid for pid in waited_for if not has_ended(pid)}, seconds)

    def wait_for_host(self, seconds: float = SECONDS) -> None:
        """Wait until the host, with every process that it made, is gone."""
        self._wait_for_none(self._alive_of_main, seconds)

    def _alive_of_main(self) -> set[int]:
        if self.main.poll() is None:
            return {self.main.pid}  # whoever else is there: looking for them takes time
        family = {process.pid for process in self._family(self.main)}
        return {pid for pid in family | {self.main.pid} if not has_ended(pid)}

    def _wait_for_none(self, alive: Callable[[], set[int]], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while left := alive():
            self.main.poll()
            if time.monotonic() > deadline:
                self._fail_hung(left | self.pids())
            time.sleep(0.03)

    def _fail_hung(self, pids: Collection[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGABRT)  # faulthandler writes every thread's stack
        time.sleep(1.0)  # nobody can be asked whether it has written
        pytest.fail(f"Processes {sorted(pids)} hung.\n{self.output}")

    # Work over HTTP, for hosts that serve it

    def request(self, path: str, seconds: float = _REQUEST_SECONDS) -> str:
        """Get a path from the host; returns the body of its answer, which must be a 200."""
        status, body = self.exchange(path, seconds)
        assert status == 200, f"{path}: {status} {body}\n{self.output}"
        return body

    def exchange(self, path: str, seconds: float = _REQUEST_SECONDS) -> tuple[int, str]:
        """Get a path on a connection of its own: status and body, 0 where there is no answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=seconds)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, http.client.HTTPException) as problem:
            return 0, repr(problem)
        finally:
            connection.close()

    def request_all(self, path: str, times: int) -> None:
        """The same request several times, a few at a time, so that each worker has some."""
        with ThreadPoolExecutor(_REQUESTS) as pool:
            list(pool.map(self.request, [path] * times))

    def answers(self) -> bool:
        """Whether the host answers; fails when its main process has ended."""
        assert self.main.poll() is None, f"The host ended at its start.\n{self.output}"
        return self.exchange("/ready", 2.0)[0] == 200

    def wait_until(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Return once the condition holds; fail with the host's output when it does not."""
        try:
            wait_until(condition, seconds)
        except AssertionError as failure:
            pytest.fail(f"{failure}\n{self.account()}\n{self.output}")

    # What the application wrote

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The lines that the host's processes wrote under this name; see lab.py."""
        path = self.folder / name
        if not path.exists():
            return []
        whole, _, _ = path.read_text().rpartition("\n")  # the last may be being written
        return [json.loads(line) for line in whole.splitlines()]

    def unexpected_reports(self) -> list[dict[str, Any]]:
        """What `on_error` was told, but for the reports that belong to this host."""
        expected = self.expected_report
        return [
            report
            for report in self.lines("reports")
            if expected is None or expected not in report["message"]
        ]

    def tracked(self, pids: Collection[int] | None = None) -> set[str]:
        """The ids in the journal, of these processes or of all."""
        journal = self.lines("journal")
        return {line["id"] for line in journal if pids is None or line["pid"] in pids}

    def workers(self) -> set[int]:
        """The processes that tracked anything after the boot."""
        boot = {line["pid"] for line in self.lines("boot")}
        return {line["pid"] for line in self.lines("journal")} - boot

    @property
    def output(self) -> str:
        """What the host printed."""
        return (self.folder / "output").read_text(errors="replace")

    # What arrived

    def arrivals(self) -> list[Row]:
        """Every arrival that the server stored."""
        return self.server.arrivals(self.api_key)

    def arrived(self) -> int:
        """How many operations arrived, cheaply."""
        counts = self.server.counts(self.api_key)
        return counts["events"] + counts["identifies"]

    def ledger(self, pids: Collection[int] | None = None) -> Ledger:
        """The judgement over what these processes tracked, or all."""
        tracked = self.tracked(pids)
        arrivals = arrivals_from(self.arrivals())
        if pids is not None:
            arrivals = [arrival for arrival in arrivals if arrival.id in tracked]
        return judge(tracked, arrivals)

    def arm_delay(self, seconds: float) -> None:
        """Have the server hold back its answer to the next batch."""
        self.server.fault(
            key=self.api_key, path="/v1/events/batch", action="delay", delay=seconds, times=1
        )

    def delay_is_armed(self) -> bool:
        """Whether no batch has met the delay yet."""
        return bool(self.server.get("/control/faults", key=self.api_key))

    def account(self, pids: Collection[int] | None = None) -> str:
        """What is wrong, in numbers."""
        ledger = self.ledger(pids)
        lost = {line["pid"] for line in self.lines("journal") if line["id"] in ledger.lost}
        return (
            f"tracked {len(ledger.tracked)} arrived {len(ledger.arrived)} lost {len(ledger.lost)} "
            f"(of processes {sorted(lost)}) twice {len(ledger.twice)} "
            f"resent {len(ledger.resent)} unknown {len(ledger.unknown)} "
            f"reports {self.lines('reports')[:3]}"
        )


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or a zombie that only waits to be collected."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def free_port() -> int:
    """A port of the loopback address that nobody listens on, and no test that runs beside takes."""
    while True:
        port = random.choice(_PORTS)
        claim = socket.socket(type=socket.SOCK_DGRAM)
        with suppress(OSError), socket.socket() as probe:
            claim.bind((HOST, port))
            probe.bind((HOST, port))
            _CLAIMS.append(claim)
            return port
        claim.close()


def _kill(family: Iterable[psutil.Process]) -> None:
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
