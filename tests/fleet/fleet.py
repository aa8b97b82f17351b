"""Thousands of workers on hosts that boot, are replaced and outlive outages of the service."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING

from fleet.service import Service
from fleet.worker import Tracking, Worker
from whisperr._options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleet.simulation import Simulation
    from whisperr._options import OptionArguments

#: Workers that boot and end together.
_HOST = 8
#: How long a host takes from the end of its old workers to the start of its new ones.
_BOOT_SECONDS = 2.0


class Fleet:
    """Workers with one client each, and the service that they post to.

    Args:
        simulation: its time.
        workers: how many; all boot in this moment.
        seed: draws everything that is drawn.
        rate: operations of a worker in a second, on average.
        body: of all operations.
        options: of the clients, where they are not the defaults.
    """

    def __init__(
        self,
        simulation: Simulation,
        workers: int,
        seed: int,
        rate: float = 1.0,
        body: bytes = b"{}",
        options: OptionArguments | None = None,
    ) -> None:
        self.service = Service(simulation)
        self._simulation = simulation
        self._random = Random(seed)
        self._tracking = Tracking((body, 0, 0.0), rate)
        self._options = Options(api_key="wrk_fleet", **(options or {}))
        self._all: list[Worker] = []
        sizes = [min(_HOST, workers - first) for first in range(0, workers, _HOST)]
        self._hosts = [self._boot(size) for size in sizes]

    @property
    def now(self) -> float:
        """Seconds since the fleet was booted."""
        return self._simulation.now

    def run(self, seconds: float) -> list[int]:
        """Let time go by; returns how many requests arrived in each second."""
        begin = self.now
        self._simulation.run_until(begin + seconds)
        return self.service.requests(begin, self.now)

    def outage(
        self, seconds: float, retry_after: Callable[[float], float] | None = None
    ) -> list[int]:
        """Let time go by while the service is down, see `Service.go_down`."""
        self.service.go_down(seconds, retry_after)
        return self.run(seconds)

    def deploy(self, seconds: float) -> list[int]:
        """Replace the workers of each host once within so many seconds."""
        for host in range(len(self._hosts)):
            moment = self.now + self._random.uniform(0, seconds - _BOOT_SECONDS)
            self._simulation.at(moment, None, partial(self._replace, host))
        return self.run(seconds)

    def flush(self) -> None:
        """Have every worker flush in the moment that comes."""
        for worker in self._all:
            self._simulation.at(self.now, worker, worker.flush)

    def _replace(self, host: int) -> None:
        old = self._hosts[host]
        for worker in old:
            self._simulation.at(self.now, worker, worker.exit)

        def boot() -> None:
            self._hosts[host] = self._boot(len(old))

        self._simulation.at(self.now + _BOOT_SECONDS, None, boot)

    def _boot(self, size: int) -> list[Worker]:
        seeds = [Random(self._random.getrandbits(64)) for _ in range(size)]
        workers = [
            Worker(self._simulation, self.service, self._options, self._tracking, random)
            for random in seeds
        ]
        self._all += workers
        return workers

    def lost(self) -> int:
        """How many operations were dropped, or left where a worker ended."""
        return sum(worker.lost() for worker in self._all)

    def silent_since(self, moment: float) -> int:
        """How many workers delivered nothing since then."""
        return sum(worker.delivered_at < moment for worker in self._all)
