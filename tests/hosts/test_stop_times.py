"""How much longer a graceful stop takes because of the client, in the usual row of each host."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from hosts import process_rows
from hosts.environments import VERSIONS, environments
from hosts.laboratory import Laboratory
from hosts.row import STOP, Row
from hosts.rows import ALL_ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

OPERATIONS = 1000
SHUTDOWN_TIMEOUT = 1.5
#: What a delivery to a service that answers may take.
LONGER = 1.0
#: What a wait for one that does not may take beyond shutdown_timeout.
MARGIN = 0.5
#: A slow machine is measured again.
ATTEMPTS = 3
STOP_SECONDS = 30.0

#: Programs that make processes themselves end with their work: there is no stop without it.
#: `make test` measures the host with two generations of processes.
ROWS = [
    row
    for row in ALL_ROWS
    if row not in process_rows.ROWS
    and row.usual is not None
    and row.usual[0] == STOP
    and ("WHISPERR_HOSTS" in os.environ or row.host == "celery")
]


@dataclass
class Stopwatch:
    """Measures graceful stops of one row."""

    row: Row
    folder: Path
    server: LocalServer
    api_key: str
    runs: int = 0

    def idle(self) -> float:
        """Seconds, where nothing was tracked."""
        return self._measure(boot=0, operations=0, silent=False)

    def busy(self, *, silent: bool) -> float:
        """Seconds, where every process holds what it tracked."""
        return self._measure(boot=self.row.boot, operations=OPERATIONS, silent=silent)

    def _measure(self, boot: int, operations: int, *, silent: bool) -> float:
        self.runs += 1
        folder = self.folder / str(self.runs)
        folder.mkdir()
        known = environments()
        environment = known.get(VERSIONS[-1]) or next(iter(known.values()))
        with Laboratory(environment, folder, self.server, self.api_key, STOP) as lab:
            lab.variables = {
                "LAB_STATE": "queued",
                "LAB_BOOT": str(boot),
                "LAB_SHUTDOWN_TIMEOUT": str(SHUTDOWN_TIMEOUT),
            }
            self.row.start(lab)
            if operations:
                self.row.work(lab, operations)
            if silent:
                self.server.fault(key=self.api_key, action="never", times=None)
            seconds = self._stop(lab)
            assert bool(lab.ledger().lost) == silent, lab.account()
        self.server.clear_faults(self.api_key)
        return seconds

    def _stop(self, lab: Laboratory) -> float:
        started = time.monotonic()
        self.row.endings[STOP].end(lab)
        lab.wait_for_host(STOP_SECONDS)
        return time.monotonic() - started


@pytest.fixture(params=ROWS, ids=lambda row: row.slug)
def stopwatch(
    request: pytest.FixtureRequest, tmp_path: Path, server: LocalServer, api_key: str
) -> Stopwatch:
    return Stopwatch(request.param, tmp_path, server, api_key)


def test_a_stop_is_hardly_longer_where_the_service_answers(stopwatch: Stopwatch) -> None:
    measured = []
    for _ in range(ATTEMPTS):
        measured.append(stopwatch.busy(silent=False) - stopwatch.idle())
        if measured[-1] <= LONGER:
            return
    pytest.fail(f"The stops took {measured} seconds longer.")


def test_a_stop_waits_once_in_each_generation_where_the_service_is_silent(
    stopwatch: Stopwatch,
) -> None:
    generations = 2 if stopwatch.row.boot else 1  # the workers, then the main process
    most = generations * (SHUTDOWN_TIMEOUT + MARGIN)
    measured = []
    for _ in range(ATTEMPTS):
        measured.append(stopwatch.busy(silent=True) - stopwatch.idle())
        if measured[-1] <= most:
            return
    pytest.fail(f"The stops took {measured} seconds longer, {most} allowed.")
