"""multiprocessing, daemons, Django's development server, pytest's plug-ins."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from hosts import orders
from hosts.endings import signal_main, touch_a_module, write_a_module
from hosts.laboratory import has_ended
from hosts.row import KILLED, RECYCLE, RELOAD, STOP, Ending, Row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hosts.laboratory import Laboratory
    from hosts.row import End

_BOOT = 30
_OPERATIONS = 50
#: Longer than any exit takes: a second signal would interrupt it.
_REPEAT = 10.0

_ONE_LIFE = "Its processes live until their work is done."
_NO_RELOAD = "It does not reload."
_NO_KILL = "It kills nobody by itself."
_REASONS = {RECYCLE: _ONE_LIFE, RELOAD: _NO_RELOAD, KILLED: _NO_KILL}
_TERMINATED = "Everything that the process holds: terminate() is a SIGTERM."
_LEFT = "What workers hold that are terminated before they have heard of the end: it is a race."
_RELOADER = "Everything that its child holds: the reloader kills it."
_QUARTER = "What the child has not delivered a quarter of a second after Ctrl-C: it is killed then."
_DEFAULT = "Everything: SIGTERM has no handler there."
_NO_HOOK = "Everything that the process holds: it ends by os._exit()."
_QUEUED_BEFORE = "What was queued before the first fork: that process ends by os._exit()."


def _missing(endings: Mapping[str, Ending]) -> dict[str, str]:
    columns = {ending.column for ending in endings.values()}
    return {column: reason for column, reason in _REASONS.items() if column not in columns}


def _say(*words: str) -> End:
    def end(lab: Laboratory) -> Collection[int]:
        orders.say(lab, *words)
        return lab.workers()

    return end


class ProcessRow(Row):
    """A maker of processes, each of which obeys the test's orders; see process_hosts.py."""

    host = "multiprocessing"
    boot = _BOOT

    def __init__(
        self,
        name: str,
        makers: Mapping[str, str],
        endings: Mapping[str, Ending],
        *,
        workers: int = 2,
        usual: tuple[str, str] | None = None,
    ) -> None:
        self.name = name
        self._makers = makers
        self._workers = workers
        self.endings = endings
        self.missing = _missing(endings)
        self.usual = usual

    def start(self, lab: Laboratory) -> None:
        """Start the maker that this ending needs; wait until its workers serve."""
        maker = self._makers.get(lab.ending, self._makers[STOP])
        lab.launch([lab.environment.python, "-m", "hosts.process_hosts", maker])
        orders.wait_until_ready(lab, self._workers)

    def work(self, lab: Laboratory, count: int) -> None:
        """Orders for whichever worker is free."""
        orders.give(lab, count)

    def stop(self, lab: Laboratory) -> None:
        """All tasks end, then the maker does."""
        orders.say(lab, "end", "close", "leave")


class DaemonRow(Row):
    """A process that forks twice; see daemon_host.py."""

    name = host = "double fork"
    boot = _BOOT
    missing = _REASONS
    usual = (STOP, "queued")

    def __init__(self) -> None:
        self.endings = {
            STOP: Ending(self._terminate, STOP, ends_host=True),
            "without delivering()": Ending(
                self._terminate_all,
                STOP,
                bound=_QUEUED_BEFORE,
                most=lambda *_: _BOOT,
                ends_host=True,
                states=("queued",),
            ),
        }

    def _terminate(self, lab: Laboratory) -> Collection[int]:
        (daemon,) = lab.workers()
        lab.signal(signal.SIGTERM, daemon)
        return [daemon]

    def _terminate_all(self, lab: Laboratory) -> Collection[int]:
        return [*self._terminate(lab), *{line["pid"] for line in lab.lines("boot")}]

    def start(self, lab: Laboratory) -> None:
        """Start the init that starts it."""
        hasty = ["hasty"] * (lab.ending == "without delivering()")
        lab.launch([lab.environment.python, "-m", "hosts.daemon_host", *hasty])
        orders.wait_until_ready(lab, 1)

    def work(self, lab: Laboratory, count: int) -> None:
        """Orders for the daemon."""
        orders.give(lab, count)

    def stop(self, lab: Laboratory) -> None:
        """The daemon turns SIGTERM into an exit."""
        self._terminate(lab)


def _interrupt_all(lab: Laboratory) -> Collection[int]:
    """As a terminal does at Ctrl-C."""
    os.killpg(lab.main.pid, signal.SIGINT)
    return lab.workers()


class DjangoRow(Row):
    """Django's development server; see django_project.py."""

    host = "django"

    def __init__(
        self,
        name: str,
        endings: Mapping[str, Ending],
        options: tuple[str, ...] = (),
        *,
        boot: int = 0,
        usual: tuple[str, str] | None = None,
    ) -> None:
        self.name = name
        self.endings = endings
        self._options = options
        self.missing = _missing(endings)
        self.boot = boot
        self.usual = usual

    def start(self, lab: Laboratory) -> None:
        """Start it on a project with a module that can be changed."""
        write_a_module(lab)
        address = f"127.0.0.1:{lab.port}"
        lab.launch(
            [lab.environment.python, "-m", "django", "runserver", address, *self._options],
            DJANGO_SETTINGS_MODULE="hosts.django_project",
        )
        lab.wait_until(lab.answers)

    def stop(self, lab: Laboratory) -> None:
        """SIGTERM; again where it came right before the reloader began to wait for its child.

        Python looks for signals between two calls into C: one that comes after the look and
        before waitpid() began is seen when that returns, which here it never does. One that comes
        while the reloader starts the child leaves that running: so the child must serve first.
        """
        lab.wait_until(lab.answers)
        signalled = 0.0

        def has_stopped() -> bool:
            nonlocal signalled
            if time.monotonic() - signalled > _REPEAT:
                lab.signal(signal.SIGTERM)
                signalled = time.monotonic()
            return has_ended(lab.main.pid)

        lab.wait_until(has_stopped)

    def work(self, lab: Laboratory, count: int) -> None:
        """Requests of fifty operations each."""
        lab.request_all(f"/work?count={_OPERATIONS}", count // _OPERATIONS)


class PytestRow(Row):
    """A run of pytest with a plug-in; see pytest_tests.py."""

    missing = _REASONS

    def __init__(
        self,
        name: str,
        options: tuple[str, ...],
        endings: Mapping[str, Ending],
        *,
        workers: int,
        usual: tuple[str, str],
        boot: int = 0,
    ) -> None:
        self.name = self.host = name
        self._options = options
        self.endings = endings
        self._workers = workers
        self.usual = usual
        self.boot = boot

    def start(self, lab: Laboratory) -> None:
        """Start a run whose tests go on until the test of this cell lets them end."""
        configuration = lab.folder / "pytest.ini"
        configuration.write_text("[pytest]\n")
        lab.launch(
            [
                *(lab.environment.python, "-m", "pytest", "-c", str(configuration)),
                *("--noconftest", "-p", "no:cacheprovider", *self._options),
                *("--pyargs", "hosts.pytest_tests"),
            ],
            LAB_DELIVERING="on" if lab.ending == _DELIVERING else "off",
        )
        orders.wait_until_ready(lab, self._workers)

    def work(self, lab: Laboratory, count: int) -> None:
        """Orders for the tests that run."""
        orders.give(lab, count)

    def stop(self, lab: Laboratory) -> None:
        """The tests end."""
        orders.say(lab, "end")


_DELIVERING = "in delivering()"
_JOINED = Ending(_say("end"), STOP)
_KILLED = Ending(_say("terminate"), KILLED, bound=_TERMINATED)
_ENDED = Ending(_say("end"), STOP, ends_host=True)

ROWS: list[Row] = [
    *(
        ProcessRow(
            f"multiprocessing {method}",
            {STOP: method},
            {STOP: _JOINED, KILLED: _KILLED},
            usual=(STOP, "queued") if method == "fork" else None,
        )
        for method in ("fork", "spawn", "forkserver")
    ),
    ProcessRow("multiprocessing nested", {STOP: "nested"}, {STOP: _JOINED}, workers=4),
    ProcessRow(
        "multiprocessing Pool",
        {STOP: "pool", RECYCLE: "recycling_pool"},
        {
            STOP: Ending(_say("end", "close"), STOP),
            RECYCLE: Ending(_say("end"), RECYCLE),
            KILLED: Ending(_say("end", "terminate"), KILLED, bound=_LEFT),
        },
    ),
    ProcessRow("ProcessPoolExecutor fork", {STOP: "executor"}, {STOP: _JOINED}),
    ProcessRow(
        "ProcessPoolExecutor spawn",
        {STOP: "spawning_executor", RECYCLE: "recycling_executor"},
        {STOP: _JOINED, RECYCLE: Ending(_say("end"), RECYCLE)},
    ),
    DaemonRow(),
    DjangoRow(
        "Django runserver",
        {
            STOP: Ending(signal_main(signal.SIGTERM), STOP, bound=_RELOADER, ends_host=True),
            "stop by INT": Ending(_interrupt_all, STOP, bound=_QUARTER, ends_host=True),
            RELOAD: Ending(touch_a_module, RELOAD, delay=2.0),
        },
        boot=_BOOT,
        usual=(RELOAD, "queued"),
    ),
    DjangoRow(
        "Django runserver --noreload",
        {
            STOP: Ending(signal_main(signal.SIGTERM), STOP, bound=_DEFAULT, ends_host=True),
            "stop by INT": Ending(_interrupt_all, STOP, ends_host=True),
        },
        ("--noreload",),
    ),
    PytestRow("pytest-xdist", ("-n", "2"), {STOP: _ENDED}, workers=2, usual=(STOP, "queued")),
    PytestRow(
        "pytest-forked",
        ("--forked",),
        {
            STOP: Ending(_say("end"), STOP, bound=_NO_HOOK, ends_host=True),
            _DELIVERING: _ENDED,
        },
        workers=1,
        usual=(_DELIVERING, "queued"),
        boot=_BOOT,
    ),
]
