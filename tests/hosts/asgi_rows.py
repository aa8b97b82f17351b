"""ASGI servers that run by themselves: uvicorn, hypercorn, granian."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import psutil

from hosts.endings import serve_until_all_ended, signal_main, touch_a_module, write_a_module
from hosts.laboratory import HOST, has_ended
from hosts.row import KILLED, RECYCLE, RELOAD, STOP, Ending, Row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hosts.laboratory import Laboratory

_OPERATIONS = 50
_MAX_REQUESTS = 50
_SERVES = re.compile(r"Application startup complete|Running on http|Started worker-")
BARE, WITH_MIDDLEWARE = "application:asgi", "asgi_application:application"
_TERMINATED = "All that the process holds: uvicorn ends by the signal itself, before any hook."
_HURRIED = "All that the others hold: hypercorn kills them once the first has shut down."
_NO_MASTER = "There is no process that would do it."
_NOT_KILLED = "No worker is killed while it is blocked."
_NOT_IN_TIME = "All that a worker holds that does not stop within --workers-kill-timeout."
_TOO_LONG = "A worker lives for a minute at least; its end is that of a reload."


def _hang_up(lab: Laboratory) -> Collection[int]:
    workers = lab.workers()
    started = _started(lab)
    lab.signal(signal.SIGHUP)
    lab.wait_until(lambda: _started(lab) == 2 * started)
    return workers


def _started(lab: Laboratory) -> int:
    """How many workers said that they serve."""
    return len(_SERVES.findall(lab.output))


def _hold_one_up(lab: Laboratory) -> Collection[int]:
    """The worker does not hear that it is to stop, and is killed in the middle of a request."""
    lab.exchange("/block?seconds=60", 0.5)
    lab.wait_until(lambda: lab.lines("blocked"))
    lab.signal(signal.SIGHUP)
    return {line["pid"] for line in lab.lines("blocked")} & lab.workers()


def _all_but_the_least(lab: Laboratory, pids: Collection[int]) -> int:
    """The first worker to end delivers all that it has."""
    held = [len(lab.tracked([pid])) for pid in pids]
    return sum(held) - min(held)


_STOPS = {
    STOP: Ending(signal_main(signal.SIGTERM), STOP, ends_host=True),
    "stop by INT": Ending(signal_main(signal.SIGINT), STOP, ends_host=True),
}
_RECYCLE = {RECYCLE: Ending(serve_until_all_ended, RECYCLE)}
_RELOAD = {RELOAD: Ending(_hang_up, RELOAD)}
_REPLACED = {
    RELOAD: Ending(signal_main(signal.SIGHUP), RELOAD),
    KILLED: Ending(_hold_one_up, KILLED, bound=_NOT_IN_TIME),
}
_LAST = {RECYCLE: Ending(serve_until_all_ended, RECYCLE, ends_host=True)}


@dataclass(frozen=True)
class Server:
    """How a server is started.

    Attributes:
        script: its command.
        options: of every run.
        workers: how many it has.
        needs: the options that one ending needs.
        ignores_term: whether its workers do.
        bind: how it is told its address.
        missing: what it does not have.
    """

    script: str
    options: tuple[str, ...] = ()
    workers: int = 1
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignores_term: bool = False
    bind: str = "--host {host} --port {port}"
    missing: Mapping[str, str] = field(default_factory=dict)


class AsgiRow(Row):
    """One server in one mode; each of its workers imports the application itself."""

    def __init__(
        self,
        title: str,
        server: Server,
        application: str,
        endings: Mapping[str, Ending],
        usual: tuple[str, str] | None = None,
    ) -> None:
        self.host = server.script
        self.name = title + " with middleware" * (application == WITH_MIDDLEWARE)
        self.endings = endings
        self.missing = server.missing
        self.usual = usual
        self._server = server
        self._application = application

    def start(self, lab: Laboratory) -> None:
        """Start it with what the ending to come needs."""
        write_a_module(lab)
        bind = self._server.bind.format(host=HOST, port=lab.port).split()
        options = [*self._server.options, *self._server.needs.get(lab.ending, ())]
        command = lab.environment.script(self._server.script)
        if (workers := self._server.workers) > 1:
            options += ["--workers", str(workers)]
        lab.launch(
            [*command, *bind, *options, f"hosts.{self._application}"],
            LAB_TERM="ignored" if self._server.ignores_term else "default",
        )
        lab.wait_until(lambda: _started(lab) >= self._server.workers and lab.answers())

    def work(self, lab: Laboratory, count: int) -> None:
        """Requests of fifty operations each."""
        lab.request_all(f"/work?count={_OPERATIONS}", count // _OPERATIONS)


class GranianRow(AsgiRow):
    """A worker of granian's loses the SIGTERM that comes before its event loop runs."""

    def start(self, lab: Laboratory) -> None:
        """Start it and wait until its workers hear signals."""
        super().start(lab)
        self._wait_for_workers(lab)

    def stop(self, lab: Laboratory) -> None:
        """By SIGTERM, which each worker must hear."""
        self._wait_for_workers(lab)
        lab.signal(signal.SIGTERM)

    def _wait_for_workers(self, lab: Laboratory) -> None:
        answered: set[int] = set()

        def all_have_answered() -> bool:
            status, body = lab.exchange("/ready", 2.0)
            answered.update([int(body)] if status == 200 else [])
            children = psutil.Process(lab.main.pid).children()
            alive = {child.pid for child in children if not has_ended(child.pid)}
            replaced = lab.output.count("Stopped old worker-")
            return alive <= answered and len(alive) == 2 and replaced in (0, 2)

        lab.wait_until(all_have_answered)


_LIMIT = {RECYCLE: ("--limit-max-requests", str(_MAX_REQUESTS))}
_UVICORN = Server("uvicorn", needs=_LIMIT, missing={RELOAD: _NO_MASTER, KILLED: _NO_MASTER})
_UVICORNS = Server("uvicorn", workers=2, needs=_LIMIT, missing={KILLED: _NOT_KILLED})
_RELOADER = Server(
    "uvicorn",
    ("--reload", "--reload-dir", "."),
    missing={RECYCLE: "A file that changes is what it waits for.", KILLED: _NOT_KILLED},
)
_HYPERCORN = Server(
    "hypercorn",
    needs={RECYCLE: ("--max-requests", str(_MAX_REQUESTS))},
    bind="--bind {host}:{port}",
    missing={KILLED: _NOT_KILLED},
)
_HYPERCORNS = replace(_HYPERCORN, workers=2)
_GRANIAN = Server(
    "granian",
    ("--interface", "asgi", "--respawn-interval", "0.1"),
    workers=2,
    needs={KILLED: ("--workers-kill-timeout", "3")},
    missing={RECYCLE: _TOO_LONG},
)
_USUAL = (STOP, "queued")
ROWS = [
    AsgiRow(
        "uvicorn",
        _UVICORN,
        BARE,
        {
            **_LAST,
            **_STOPS,
            STOP: Ending(signal_main(signal.SIGTERM), STOP, bound=_TERMINATED, ends_host=True),
        },
    ),
    AsgiRow("uvicorn", _UVICORN, WITH_MIDDLEWARE, {**_LAST, **_STOPS}, usual=_USUAL),
    AsgiRow("uvicorn workers", _UVICORNS, WITH_MIDDLEWARE, {**_RECYCLE, **_STOPS, **_RELOAD}),
    AsgiRow(
        "uvicorn reloader",
        _RELOADER,
        WITH_MIDDLEWARE,
        {**_STOPS, RELOAD: Ending(touch_a_module, RELOAD)},
    ),
    AsgiRow("hypercorn", _HYPERCORN, BARE, {**_RECYCLE, **_STOPS, **_RELOAD}, usual=_USUAL),
    AsgiRow("hypercorn", _HYPERCORN, WITH_MIDDLEWARE, {**_RECYCLE, **_STOPS, **_RELOAD}),
    AsgiRow(
        "hypercorn workers",
        _HYPERCORNS,
        WITH_MIDDLEWARE,
        {
            **_RECYCLE,
            **{
                name: replace(ending, bound=_HURRIED, most=_all_but_the_least)
                for name, ending in _STOPS.items()
            },
            **_RELOAD,
        },
    ),
    AsgiRow(
        "hypercorn workers that ignore SIGTERM",
        replace(_HYPERCORNS, ignores_term=True),
        WITH_MIDDLEWARE,
        {**_RECYCLE, **_STOPS, **_RELOAD},
    ),
    GranianRow("granian", _GRANIAN, BARE, {**_STOPS, **_REPLACED}, usual=_USUAL),
    GranianRow("granian", _GRANIAN, WITH_MIDDLEWARE, {**_STOPS, **_REPLACED}),
]
