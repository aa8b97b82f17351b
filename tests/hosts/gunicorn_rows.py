"""gunicorn: each worker class, with and without preload, over http and TLS."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from hosts.endings import serve_until_all_ended, signal_main
from hosts.laboratory import has_ended
from hosts.row import KILLED, RECYCLE, RELOAD, STOP, Ending, Row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hosts.laboratory import Laboratory

_WORKERS = 2
_BOOT = 30
_OPERATIONS = 50
#: More requests than a worker has before the ending that is to recycle it.
_MAX_REQUESTS = 50
_CONFIGURATION = Path(__file__).parent / "gunicorn_conf.py"


def _wait_for_workers(lab: Laboratory, master: int, count: int = _WORKERS) -> None:
    """Wait until a master has so many workers, and all that it has hear signals."""

    def all_are_ready() -> bool:
        ready = {line["pid"] for line in lab.lines("ready")}
        workers = {child.pid for child in psutil.Process(master).children()}
        workers -= {pid for pid in workers if has_ended(pid)}
        return len(workers) >= count and workers <= ready

    lab.wait_until(all_are_ready)


def _reload(lab: Laboratory) -> Collection[int]:
    lab.signal(signal.SIGHUP)
    return lab.workers()


def _time_out(lab: Laboratory) -> Collection[int]:
    lab.exchange("/block?seconds=60")  # its worker is ended in the middle of it
    return {line["pid"] for line in lab.lines("blocked")} & lab.workers()


def _take_one_out(lab: Laboratory) -> Collection[int]:
    """Gunicorn ends the oldest worker."""
    workers = lab.workers()
    lab.signal(signal.SIGTTOU)
    lab.wait_until(lambda: any(map(has_ended, workers)))
    return {pid for pid in workers if has_ended(pid)}


def _upgrade(lab: Laboratory) -> Collection[int]:
    """A new master beside the old one, which is then asked to stop."""
    workers = lab.workers()
    lab.signal(signal.SIGUSR2)
    new = lab.folder / "pid.2"
    lab.wait_until(lambda: new.exists() and new.read_text().strip())
    _wait_for_workers(lab, int(new.read_text()))
    lab.signal(signal.SIGTERM)
    lab.wait_for_end([lab.main.pid])
    return workers


_NOTHING_RUNS = "All that the worker holds: the signal itself ends a process of uvicorn's."
_ABORTED = "All that the worker holds: SIGABRT ends a process of uvicorn's at once."
_DEAF = "All that the worker holds: a blocked event loop does not hear SIGABRT, SIGKILL comes next."
_NO_TIME_OUT = "A request cannot hold up the thread that reports to the master."
ENDINGS = {
    RECYCLE: Ending(serve_until_all_ended, RECYCLE),
    STOP: Ending(signal_main(signal.SIGTERM), STOP, ends_host=True),
    RELOAD: Ending(_reload, RELOAD),
    # The abort comes after two to three seconds, the kill a second later.
    KILLED: Ending(_time_out, KILLED, delay=1.5, hurry="SIGKILL"),
}
FURTHER_ENDINGS = {
    "stop by INT": Ending(signal_main(signal.SIGINT), STOP, ends_host=True),
    "stop by QUIT": Ending(signal_main(signal.SIGQUIT), STOP, ends_host=True),
    "one worker fewer": Ending(_take_one_out, STOP),
    "upgrade": Ending(_upgrade, RELOAD),
}


@dataclass(frozen=True)
class Mode:
    """A class of workers, and how the application is served and wired."""

    title: str
    worker: str
    application: str = "application:application"
    helper: bool = False
    scheme: str = "http"
    endings: Mapping[str, Ending] = field(default_factory=lambda: ENDINGS)
    missing: Mapping[str, str] = field(default_factory=dict)
    usual: tuple[str, str] | None = None


class GunicornRow(Row):
    """gunicorn in one mode, with or without preload."""

    host = "gunicorn"

    def __init__(self, mode: Mode, *, preload: bool) -> None:
        self._mode = mode
        self._preload = preload
        self.name = f"gunicorn {mode.title}" + ", preload" * preload
        self.boot = _BOOT * preload
        self.endings = mode.endings
        self.missing = mode.missing
        self.scheme = mode.scheme
        self.usual = mode.usual if preload else None

    def start(self, lab: Laboratory) -> None:
        """Start it with what the ending to come needs."""
        options = ["--preload"] * self._preload
        if lab.ending == RECYCLE:
            options += ["--max-requests", str(_MAX_REQUESTS)]
        if lab.ending == KILLED:
            options += ["--timeout", "2"]
        lab.launch(
            [
                *lab.environment.script("gunicorn"),
                *("--config", str(_CONFIGURATION), "--bind", f"127.0.0.1:{lab.port}"),
                *("--pid", "pid", "--workers", str(_WORKERS)),
                *("--worker-class", self._mode.worker, *options),
                f"hosts.{self._mode.application}",
            ],
            LAB_HELPER="on" if self._mode.helper else "off",
        )
        lab.wait_until(lab.answers)
        _wait_for_workers(lab, lab.main.pid)

    def work(self, lab: Laboratory, count: int) -> None:
        """Requests of fifty operations each."""
        lab.request_all(f"/work?count={_OPERATIONS}", count // _OPERATIONS)
        if lab.ending == KILLED:  # whichever worker is blocked then has tracked
            lab.wait_until(lambda: self._all_tracked(lab))

    def _all_tracked(self, lab: Laboratory) -> bool:
        """Whether each worker has tracked; makes one more request where one has not."""
        if len(lab.workers()) >= _WORKERS:
            return True
        lab.request_all(f"/work?count={_OPERATIONS}", 1)
        return False

    def stop(self, lab: Laboratory) -> None:
        """Its master need not be the process that was launched: see `_upgrade`."""
        file = lab.folder / "pid"
        lab.wait_until(lambda: file.exists() and file.read_text().strip())
        master = int(file.read_text())
        # One that is booting would not hear its master's signal.
        _wait_for_workers(lab, master, 1 if lab.ending == "one worker fewer" else _WORKERS)
        lab.signal(signal.SIGTERM, master)


def _bound(bound: str, *names: str) -> dict[str, Ending]:
    return {
        name: replace(ending, bound=bound) if name in names else ending
        for name, ending in ENDINGS.items()
    }


_UVICORN = "uvicorn_worker.UvicornWorker"
_BARE_UVICORN = {
    **_bound(_NOTHING_RUNS, STOP, RELOAD),
    KILLED: replace(ENDINGS[KILLED], bound=_ABORTED),
}
MODES = [
    Mode("sync", "sync", endings={**ENDINGS, **FURTHER_ENDINGS}, usual=(STOP, "queued")),
    Mode(
        "gthread",
        "gthread",
        endings={name: ending for name, ending in ENDINGS.items() if name != KILLED},
        missing={KILLED: _NO_TIME_OUT},
    ),
    Mode("gevent", "gevent"),
    Mode("gevent over TLS", "gevent", scheme="https"),
    Mode("asgi", "asgi", "application:asgi", endings=_bound(_DEAF, KILLED)),
    Mode("uvicorn", _UVICORN, "application:asgi", endings=_BARE_UVICORN),
    Mode(
        "uvicorn with middleware",
        _UVICORN,
        "asgi_application:application",
        endings=_bound(_ABORTED, KILLED),
    ),
    Mode(
        "uvicorn with hooks",
        _UVICORN,
        "application:asgi",
        helper=True,
        endings=_bound(_ABORTED, KILLED),
    ),
]
ROWS = [GunicornRow(mode, preload=preload) for mode in MODES for preload in (True, False)]
