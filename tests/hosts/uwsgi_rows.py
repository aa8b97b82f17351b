"""uWSGI: its modes of forking and of serving, mules and spoolers.

A worker that is answering a request when it is asked to end runs no exit hook at all. So every
ending waits until the workers are idle, by uWSGI's own account; the endings "while busy" do not.
"""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import psutil

from hosts.endings import serve_until_all_ended
from hosts.laboratory import HOST
from hosts.row import KILLED, NORMAL, RECYCLE, RELOAD, STOP, End, Ending, Row
from hosts.uwsgi_status import blocking_threads, is_idle, wait_until_idle, workers_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from hosts.environments import Environment
    from hosts.laboratory import Laboratory

#: The last version that runs no threads by default, and the Pythons that it can be built for.
THREADLESS = "2.0.26"
THREADLESS_VERSIONS = ("3.11",)
_WORKERS = 2
_THREADS = 4
_BOOT = 30
_OPERATIONS = 50
#: More requests than a worker has before the ending that is to recycle it.
_MAX_REQUESTS = 60
#: The master looks once a second.
_HARAKIRI = 2
#: What an ending needs on the command line.
_OPTIONS = {
    RECYCLE: ["--max-requests", str(_MAX_REQUESTS), "--min-worker-lifetime", "1"],
    KILLED: ["--harakiri", str(_HARAKIRI)],
    "stop by TERM": ["--die-on-term"],
}


# Whether the workers are idle


def _wait_until_asleep(lab: Laboratory) -> None:
    """Without a master nobody says who is idle: whoever waits for the next request sleeps."""
    lab.wait_until(lambda: all(psutil.Process(pid).status() == "sleeping" for pid in lab.pids()))


# Endings


def _host_by(number: signal.Signals) -> End:
    def end(lab: Laboratory) -> Collection[int]:
        wait_until_idle(lab)
        lab.signal(number)
        return lab.workers()

    return end


def _worker_by(number: signal.Signals) -> End:
    """Its master makes another."""

    def end(lab: Laboratory) -> Collection[int]:
        wait_until_idle(lab)
        worker = min(lab.workers())
        lab.signal(number, worker)
        return {worker}

    return end


def _harakiri(lab: Laboratory) -> Collection[int]:
    wait_until_idle(lab)  # the end of a request on another thread would disarm it
    lab.exchange("/block?seconds=60")  # its worker is ended in the middle of it
    return _blocked(lab)


def _stop_while_busy(lab: Laboratory) -> Collection[int]:
    """One worker is asked to end while it answers."""
    threading.Thread(target=lab.exchange, args=["/block?seconds=60"], daemon=True).start()
    lab.wait_until(lambda: lab.lines("blocked"))
    busy = {line["pid"] for line in lab.lines("blocked")}

    def others_are_idle() -> bool:
        others = [worker for worker in workers_of(lab) if worker["pid"] not in busy]
        return all(map(is_idle, others))

    lab.wait_until(others_are_idle)
    lab.signal(signal.SIGINT)
    return _blocked(lab)


def _blocked(lab: Laboratory) -> set[int]:
    return {line["pid"] for line in lab.lines("blocked")} & lab.workers()


def _stop_group(lab: Laboratory) -> Collection[int]:
    """Without a master only a signal to all processes reaches all."""
    _wait_until_asleep(lab)
    workers = lab.workers()
    os.killpg(lab.main.pid, signal.SIGINT)
    return workers


def _stop_first(lab: Laboratory) -> Collection[int]:
    """Without a master a signal to the first process leaves the second behind, serving."""
    _wait_until_asleep(lab)
    lab.signal(signal.SIGINT)
    return {lab.main.pid}


def _end_by(number: signal.Signals, kind: str) -> End:
    """End the mule or the spooler that tracked; its master makes another."""

    def end(lab: Laboratory) -> Collection[int]:
        pids = lab.workers()
        assert pids, f"no {kind} tracked"
        for pid in pids:
            lab.signal(number, pid)
        return pids

    return end


_SIGKILL = "Everything that the worker held: uWSGI kills it."
_NO_HOOK = "Everything that the worker held: uWSGI runs no hook."
_BUSY = "Everything that the busy worker held: uWSGI runs no hook in a worker that answers."
_SPOOLER = "Everything that the spooler held: uWSGI runs no hook in a spooler."
_TASK = "What the spool function under way tracked: uWSGI runs no hook in a spooler."
_NO_MASTER = "It takes a master."
_LONG = 4.0  # longer than it takes until uWSGI kills

MAIN_ENDINGS = {
    RECYCLE: Ending(serve_until_all_ended, RECYCLE),
    STOP: Ending(_host_by(signal.SIGINT), STOP, ends_host=True),
    RELOAD: Ending(_host_by(signal.SIGHUP), RELOAD),
}
ENDINGS = {**MAIN_ENDINGS, KILLED: Ending(_harakiri, KILLED, bound=_SIGKILL, delay=_LONG)}
FURTHER_ENDINGS = {
    "stop by TERM": Ending(_host_by(signal.SIGTERM), STOP, ends_host=True),
    "stop by QUIT": Ending(_host_by(signal.SIGQUIT), STOP, ends_host=True),
    "stop while busy": Ending(_stop_while_busy, STOP, bound=_BUSY, ends_host=True),
    "reload by TERM": Ending(_host_by(signal.SIGTERM), RELOAD),
    "worker ended by HUP": Ending(_worker_by(signal.SIGHUP), RECYCLE),
    "worker ended by TERM": Ending(_worker_by(signal.SIGTERM), RECYCLE),
    "worker ended by QUIT": Ending(_worker_by(signal.SIGQUIT), RECYCLE, bound=_NO_HOOK),
}


def _bound(sentence: str, *names: str) -> dict[str, Ending]:
    return {name: replace(ENDINGS[name], bound=sentence) for name in names}


# Modes


@dataclass(frozen=True)
class Mode:
    """Options of uWSGI, and what they come to."""

    title: str
    options: tuple[str, ...] = ()
    boot: int = _BOOT
    module: str = "hosts.application"
    endings: Mapping[str, Ending] = field(default_factory=lambda: ENDINGS)
    missing: Mapping[str, str] = field(default_factory=dict)
    versions: tuple[str, ...] | None = None
    usual: tuple[str, str] | None = None


class UwsgiRow(Row):
    """uWSGI with a master and two workers, in one mode."""

    host = "uwsgi"

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self.name = "uwsgi" + f" {mode.title}" * bool(mode.title)
        self.boot = mode.boot
        self.endings = mode.endings
        self.missing = mode.missing
        self.versions = mode.versions
        self.usual = mode.usual

    def executable(self, lab: Laboratory) -> Path:
        """The program."""
        return lab.environment.uwsgi

    def start(self, lab: Laboratory) -> None:
        """Start it with what the ending to come needs; what was queued at import arrives."""
        self.start_master(lab)
        lab.wait_until(lambda: lab.arrived() >= self.boot)

    def start_master(self, lab: Laboratory) -> None:
        """Start it and wait until all workers have started."""
        self.launch(lab, "--master", "--stats", "stats", "-p", str(_WORKERS))
        lab.wait_until(lab.answers)
        self.wait_until_ready(lab)

    def wait_until_ready(self, lab: Laboratory) -> None:
        """Until a signal ends every worker as it ends one that has served for long."""
        wait_until_idle(lab)

    def launch(self, lab: Laboratory, *options: str) -> None:
        """Start it."""
        executable = self.executable(lab)
        lab.launch(
            [
                *(str(executable), "-H", str(executable.parent.parent)),
                *("--http-socket", f"{HOST}:{lab.port}", "--need-app"),
                *(*options, *self._mode.options, *_OPTIONS.get(lab.ending, [])),
                *("--module", f"{self._mode.module}:application"),
            ]
        )

    def work(self, lab: Laboratory, count: int) -> None:
        """Requests of fifty operations each."""
        lab.request_all(f"/work?count={_OPERATIONS}", count // _OPERATIONS)

    def stop(self, lab: Laboratory) -> None:
        """Once it hears signals: after a reload it is a new program."""
        lab.wait_until(lambda: lab.exchange("/ready", 2.0)[0] == 200)
        self.wait_until_ready(lab)
        lab.signal(signal.SIGINT)


class GeventRow(UwsgiRow):
    """A worker that has not begun to serve runs no hook in a loop of gevent's."""

    def wait_until_ready(self, lab: Laboratory) -> None:
        """Until each worker has answered."""

        def all_have_answered() -> bool:
            lab.request_all("/ready", 4)
            workers = workers_of(lab)
            return bool(workers) and all(worker["delta_requests"] for worker in workers)

        lab.wait_until(all_have_answered)
        super().wait_until_ready(lab)


class ThreadedRow(UwsgiRow):
    """A worker's thread that has just begun may get the signal that is meant for its first one.

    Then it ends the interpreter in the wrong thread, which waits for the first for ever: with
    and without a client, until uWSGI kills the worker after 60 seconds.
    """

    def wait_until_ready(self, lab: Laboratory) -> None:
        """Until every thread of uWSGI's but the first blocks signals."""
        super().wait_until_ready(lab)
        pids = [worker["pid"] for worker in workers_of(lab)]
        lab.wait_until(lambda: all(blocking_threads(pid) >= _THREADS - 1 for pid in pids))


class MasterlessRow(UwsgiRow):
    """uWSGI without a master: the first process is a worker, too."""

    def __init__(self, mode: Mode, workers: int) -> None:
        super().__init__(mode)
        self._workers = workers

    def start(self, lab: Laboratory) -> None:
        """Start it; nothing is tracked at import, where the first worker imports."""
        self.launch(lab, "-p", str(self._workers))
        lab.wait_until(lab.answers)
        lab.wait_until(lambda: len(lab.pids()) == self._workers)

    def stop(self, lab: Laboratory) -> None:
        """All that are left."""
        _wait_until_asleep(lab)
        os.killpg(lab.main.pid, signal.SIGINT)


class ThreadlessRow(UwsgiRow):
    """An old uWSGI, which runs no threads unless it is asked to."""

    def executable(self, lab: Laboratory) -> Path:
        """Of an environment of its own."""
        return threadless_uwsgi(lab.environment)

    def start(self, lab: Laboratory) -> None:
        """What was queued at import waits, too; the client says that it misses threads."""
        lab.expected_report = "enable-threads"
        self.start_master(lab)


def threadless_uwsgi(environment: Environment) -> Path:
    """The last uWSGI whose threads are off by default."""
    folder = environment.pyuwsgi.parent.parent.parent
    return folder / f"pyuwsgi-{THREADLESS}-{environment.version}" / "bin" / "uwsgi"


class BackgroundRow(UwsgiRow):
    """A mule or a spooler tracks; a worker gives it the work."""

    def __init__(self, mode: Mode, path: str) -> None:
        super().__init__(mode)
        self._path = path

    def work(self, lab: Laboratory, count: int) -> None:
        """Tasks of a hundred operations each."""
        self._perform(lab, count // 100, 100)

    def stop(self, lab: Laboratory) -> None:
        """Once whoever tracks has started: until then it is deaf to signals."""
        lab.wait_until(lambda: lab.exchange("/ready", 2.0)[0] == 200)
        self._perform(lab, 1, 0)
        super().stop(lab)

    def _perform(self, lab: Laboratory, tasks: int, operations: int) -> None:
        before = len(lab.lines("done"))
        lab.request_all(f"{self._path}?count={operations}", tasks)
        lab.wait_until(lambda: len(lab.lines("done")) >= before + tasks)


_LATER = "Each worker imports the application itself."
_GEVENT = ("--gevent", "20")
_BOTH_STATES = {**ENDINGS, **FURTHER_ENDINGS}
_TO_STOP = {STOP: MAIN_ENDINGS[STOP]}
_MASTERLESS = {
    RECYCLE: _NO_MASTER,
    RELOAD: _NO_MASTER,
    KILLED: _NO_MASTER,
}
_THREADED = Mode("threads", ("--threads", str(_THREADS)))
MODES = [
    Mode("", endings=_BOTH_STATES, usual=(STOP, "queued")),
    Mode("lazy-apps", ("--lazy-apps",), boot=0),
    Mode("py-call-uwsgi-fork-hooks", ("--py-call-uwsgi-fork-hooks",)),
    Mode(
        "py-call-osafterfork",
        ("--py-call-osafterfork",),
        versions=("3.10", "3.11", "3.12"),
    ),
    _THREADED,
    Mode("skip-atexit-teardown", ("--skip-atexit-teardown",)),
    Mode(
        "skip-atexit",
        ("--skip-atexit",),
        endings=_bound(_NO_HOOK, RECYCLE, STOP),
        missing={RELOAD: "As a graceful stop.", KILLED: "As in the default mode."},
    ),
]
GEVENT_MODES = [
    Mode("gevent", _GEVENT),
    Mode("gevent, patched", _GEVENT, module="hosts.uwsgi_gevent_app"),
]
_MASTERLESS_ONE = Mode(
    "without a master",
    boot=0,
    endings={STOP: Ending(_stop_group, STOP, ends_host=True)},
    missing=_MASTERLESS,
)
_MASTERLESS_TWO = Mode(
    "without a master, two processes",
    boot=0,
    endings={
        STOP: Ending(_stop_group, STOP, ends_host=True),
        "stop of the first alone": Ending(_stop_first, STOP),
    },
    missing=_MASTERLESS,
)
_THREADLESS_MODE = Mode(
    "without enable-threads (up to 2.0.26)",
    endings={
        RECYCLE: replace(ENDINGS[RECYCLE], states=("queued",)),
        STOP: replace(ENDINGS[STOP], states=("queued",)),
        KILLED: replace(ENDINGS[KILLED], states=("queued",)),
    },
    missing={
        NORMAL: "What is no batch yet waits for the next call, or for the end.",
        RELOAD: "As in the default mode; this package of uWSGI cannot start itself again.",
    },
    versions=THREADLESS_VERSIONS,
)
_BACKGROUND = ("--mule", "--spooler", "spool", "--spooler-frequency", "1")
_MULE = Mode(
    "mule",
    _BACKGROUND,
    module="hosts.uwsgi_background_app",
    endings={
        RECYCLE: Ending(_end_by(signal.SIGHUP, "mule"), RECYCLE),
        STOP: MAIN_ENDINGS[STOP],
        RELOAD: MAIN_ENDINGS[RELOAD],
        KILLED: Ending(_end_by(signal.SIGKILL, "mule"), KILLED, bound=_SIGKILL),
    },
)
_SPOOLER_MODE = Mode(
    "spooler",
    _BACKGROUND,
    module="hosts.uwsgi_background_app",
    endings={
        STOP: replace(MAIN_ENDINGS[STOP], bound=_SPOOLER),
        RELOAD: replace(MAIN_ENDINGS[RELOAD], bound=_SPOOLER),
    },
    missing={RECYCLE: "As a graceful stop.", KILLED: "As a graceful stop."},
)
_SPOOLER_DELIVERING = replace(
    _SPOOLER_MODE,
    title="spooler with delivering()",
    endings={},
    missing={
        RECYCLE: "As in normal operation: nothing is left when a task has ended.",
        STOP: "As in normal operation: nothing is left when a task has ended.",
        RELOAD: "As in normal operation: nothing is left when a task has ended.",
        KILLED: _TASK,
    },
)
ROWS: list[Row] = [
    *(ThreadedRow(mode) if mode is _THREADED else UwsgiRow(mode) for mode in MODES),
    *map(GeventRow, GEVENT_MODES),
    MasterlessRow(_MASTERLESS_ONE, 1),
    MasterlessRow(_MASTERLESS_TWO, 2),
    ThreadlessRow(_THREADLESS_MODE),
    BackgroundRow(_MULE, "/mule"),
    BackgroundRow(_SPOOLER_MODE, "/spool"),
    BackgroundRow(_SPOOLER_DELIVERING, "/deliver"),
]
