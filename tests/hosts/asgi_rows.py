"""ASGI servers that run by themselves: uvicorn, hypercorn, granian."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hosts.laboratory import HOST, has_ended
from hosts.row import KILLED, RECYCLE, RELOAD, STOP, End, Ending, Row

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
_TOO_LONG = "A worker lives for a minute at least; its end is that of a reload."


def _by(number: signal.Signals) -> End:
    def end(lab: Laboratory) -> Collection[int]:
        lab.signal(number)
        return lab.workers()

    return end


def _recycle(lab: Laboratory) -> Collection[int]:
    workers = lab.workers()

    def one_more_request() -> bool:
        lab.exchange("/ready")  # unanswered where the worker ends at that moment
        return all(map(has_ended, workers))

    lab.wait_until(one_more_request)
    return workers


def _hang_up(lab: Laboratory) -> Collection[int]:
    workers = lab.workers()
    started = _started(lab)
    lab.signal(signal.SIGHUP)
    lab.wait_until(lambda: _started(lab) == 2 * started)
    return workers


def _started(lab: Laboratory) -> int:
    """How many workers said that they serve: signals sent before may get lost in granian."""
    return len(_SERVES.findall(lab.output))


def _change_a_file(lab: Laboratory) -> Collection[int]:
    (lab.folder / "changed.py").write_text("changed = True\n")
    return lab.workers()


_STOPS = {
    STOP: Ending(_by(signal.SIGTERM), STOP, ends_host=True),
    "stop by INT": Ending(_by(signal.SIGINT), STOP, ends_host=True),
}
_RECYCLE = {RECYCLE: Ending(_recycle, RECYCLE)}
_RELOAD = {RELOAD: Ending(_hang_up, RELOAD)}
_LAST = {RECYCLE: Ending(_recycle, RECYCLE, ends_host=True)}


@dataclass(frozen=True)
class Server:
    """How a server is started: its command line, and what it takes for a recycling."""

    script: str
    options: tuple[str, ...] = ()
    workers: int = 1
    recycling: tuple[str, ...] = ("--limit-max-requests", str(_MAX_REQUESTS))
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
        recycling = self._server.recycling if lab.ending == RECYCLE else ()
        bind = self._server.bind.format(host=HOST, port=lab.port).split()
        options = [option.format(folder=lab.folder) for option in self._server.options]
        command = lab.environment.script(self._server.script)
        if (workers := self._server.workers) > 1:
            options += ["--workers", str(workers)]
        lab.launch([*command, *bind, *options, *recycling, f"hosts.{self._application}"])
        lab.wait_until(lambda: _started(lab) >= self._server.workers and lab.answers())

    def work(self, lab: Laboratory, count: int) -> None:
        """Requests of fifty operations each."""
        lab.request_all(f"/work?count={_OPERATIONS}", count // _OPERATIONS)


_UVICORN = Server("uvicorn", missing={RELOAD: _NO_MASTER, KILLED: _NO_MASTER})
_UVICORNS = Server("uvicorn", workers=2, missing={KILLED: _NOT_KILLED})
_RELOADER = Server(
    "uvicorn",
    ("--reload", "--reload-dir", "{folder}"),
    missing={RECYCLE: "A file that changes is what it waits for.", KILLED: _NOT_KILLED},
)
_HYPERCORN = Server(
    "hypercorn",
    recycling=("--max-requests", str(_MAX_REQUESTS)),
    bind="--bind {host}:{port}",
    missing={KILLED: _NOT_KILLED},
)
_HYPERCORNS = replace(_HYPERCORN, workers=2)
_GRANIAN = Server(
    "granian",
    ("--interface", "asgi"),
    workers=2,
    missing={RECYCLE: _TOO_LONG, KILLED: _NOT_KILLED},
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
            STOP: Ending(_by(signal.SIGTERM), STOP, bound=_TERMINATED, ends_host=True),
        },
    ),
    AsgiRow("uvicorn", _UVICORN, WITH_MIDDLEWARE, {**_LAST, **_STOPS}, usual=_USUAL),
    AsgiRow("uvicorn workers", _UVICORNS, WITH_MIDDLEWARE, {**_RECYCLE, **_STOPS, **_RELOAD}),
    AsgiRow(
        "uvicorn reloader",
        _RELOADER,
        WITH_MIDDLEWARE,
        {**_STOPS, RELOAD: Ending(_change_a_file, RELOAD)},
    ),
    AsgiRow("hypercorn", _HYPERCORN, BARE, {**_RECYCLE, **_STOPS, **_RELOAD}, usual=_USUAL),
    AsgiRow("hypercorn", _HYPERCORN, WITH_MIDDLEWARE, {**_RECYCLE, **_STOPS, **_RELOAD}),
    AsgiRow(
        "hypercorn workers",
        _HYPERCORNS,
        WITH_MIDDLEWARE,
        {
            **_RECYCLE,
            **{name: replace(ending, bound=_HURRIED) for name, ending in _STOPS.items()},
            **_RELOAD,
        },
    ),
    AsgiRow("granian", _GRANIAN, BARE, {**_STOPS, **_RELOAD}, usual=_USUAL),
    AsgiRow("granian", _GRANIAN, WITH_MIDDLEWARE, {**_STOPS, **_RELOAD}),
]
