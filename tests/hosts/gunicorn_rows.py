"""gunicorn: each worker class, with and without preload, over http and TLS."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from hosts.laboratory import has_ended
from hosts.row import KILLED, RECYCLE, RELOAD, STOP, Ending, Row

if TYPE_CHECKING:
    from collections.abc import Collection

    from hosts.laboratory import Laboratory

_BOOT = 30
_OPERATIONS = 20
#: More requests than a worker has before the ending that is to recycle it.
_MAX_REQUESTS = 100
_CONFIGURATION = Path(__file__).parent / "gunicorn_conf.py"


def _stop(lab: Laboratory) -> Collection[int]:
    lab.signal(signal.SIGTERM)
    return lab.workers()


def _reload(lab: Laboratory) -> Collection[int]:
    lab.signal(signal.SIGHUP)
    return lab.workers()


def _recycle(lab: Laboratory) -> Collection[int]:
    workers = lab.workers()

    def one_more_request_each() -> bool:
        lab.exchange("/ready")  # unanswered where the worker ends at that moment
        return all(map(has_ended, workers))

    lab.wait_until(one_more_request_each)
    return workers


def _time_out(lab: Laboratory) -> Collection[int]:
    lab.exchange("/block?seconds=60")  # its worker is ended in the middle of it
    return {line["pid"] for line in lab.lines("blocked")} & lab.workers()


ENDINGS = {
    RECYCLE: Ending(_recycle, RECYCLE),
    STOP: Ending(_stop, STOP, ends_host=True),
    RELOAD: Ending(_reload, RELOAD),
    # The abort comes within two seconds, the kill a second later.
    KILLED: Ending(_time_out, KILLED, delay=1.5),
}


class GunicornRow(Row):
    """gunicorn with one class of workers."""

    host = "gunicorn"
    endings = ENDINGS

    def __init__(self, worker: str, *, preload: bool, application: str = "application") -> None:
        self.name = f"gunicorn {worker}" + ", preload" * preload
        self._worker = worker
        self._application = application
        self._preload = preload
        self.boot = _BOOT * preload
        if (worker, preload) == ("sync", True):
            self.usual = (STOP, "queued")

    def start(self, lab: Laboratory) -> None:
        """Start it with what the ending to come needs."""
        options = ["--preload"] * self._preload
        if lab.ending == RECYCLE:
            options += ["--max-requests", str(_MAX_REQUESTS)]
        if lab.ending == KILLED:
            options += ["--timeout", "1"]
        lab.launch(
            [
                *lab.environment.script("gunicorn"),
                *("--config", str(_CONFIGURATION), "--bind", f"127.0.0.1:{lab.port}"),
                *("--workers", "2", "--worker-class", self._worker, *options),
                f"hosts.application:{self._application}",
            ]
        )
        lab.wait_until(lab.answers)

    def work(self, lab: Laboratory, count: int) -> None:
        """Requests of twenty operations each."""
        lab.request_all(f"/work?count={_OPERATIONS}", count // _OPERATIONS)


ROWS = [GunicornRow("sync", preload=True)]
