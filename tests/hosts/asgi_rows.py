"""Servers of ASGI applications: uvicorn, hypercorn, granian."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hosts.endings import serve_until_all_ended, signal_main, touch_a_module, write_a_module
from hosts.row import KILLED, RECYCLE, RELOAD, STOP, Ending, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from hosts.laboratory import Laboratory

_OPERATIONS = 50
#: More requests than a worker has before the ending that is to recycle it.
_MAX_REQUESTS = "40"
#: A replacement starts before the old worker is asked to stop, which must meet the exchange.
_DELAY = 2.0
#: Seconds that granian gives a worker where it is to kill one.
_KILL_SECONDS = "3"


def _hold_a_worker_up(lab: Laboratory) -> Collection[int]:
    """The worker does not hear that it is to stop, and is killed in the middle of a request."""
    lab.exchange("/block?seconds=60", 0.5)
    lab.wait_until(lambda: lab.lines("blocked"))
    lab.signal(signal.SIGHUP)
    return {line["pid"] for line in lab.lines("blocked")} & lab.workers()


def _all_started(lab: Laboratory) -> bool:
    """Granian loses a signal to a worker that has not started yet, and waits for ever."""
    started, spawned = (lab.output.count(f"{word} worker-") for word in ("Started", "Spawning"))
    return started >= spawned


def _all_but_the_least(lab: Laboratory, pids: Collection[int]) -> int:
    """The first worker to end delivers all that it has."""
    held = [len(lab.tracked([pid])) for pid in pids]
    return sum(held) - min(held)


@dataclass(frozen=True)
class Mode:
    """A server with its options, and what it serves.

    Attributes:
        title: the name of the row.
        command: the server's script and its options.
        options: that one ending needs.
        address: how the server is told its address and port.
        application: with the middleware or without.
        ignores_term: whether its workers do.
        settled: whether all workers hear signals.
    """

    title: str
    command: tuple[str, ...]
    endings: Mapping[str, Ending]
    missing: Mapping[str, str]
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    address: tuple[str, ...] = ("--host", "127.0.0.1", "--port", "{port}")
    application: str = "hosts.asgi_application:application"
    ignores_term: bool = False
    settled: Callable[[Laboratory], object] = bool
    usual: tuple[str, str] | None = None


class AsgiRow(Row):
    """A server in one mode."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self.name = mode.title
        self.host = mode.command[0]
        self.endings = mode.endings
        self.missing = mode.missing
        self.usual = mode.usual

    def start(self, lab: Laboratory) -> None:
        """Start it with what the ending to come needs."""
        mode = self._mode
        script, *options = mode.command
        write_a_module(lab)
        lab.launch(
            [
                *lab.environment.script(script),
                *options,
                *(part.format(port=lab.port) for part in mode.address),
                *mode.options.get(lab.ending, ()),
                mode.application,
            ],
            LAB_TERM="ignored" if mode.ignores_term else "default",
        )
        lab.wait_until(lab.answers)
        self._settle(lab)

    def work(self, lab: Laboratory, count: int) -> None:
        """Requests of fifty operations each."""
        lab.request_all(f"/work?count={_OPERATIONS}", count // _OPERATIONS)

    def stop(self, lab: Laboratory) -> None:
        """By SIGTERM, which all workers must hear."""
        self._settle(lab)
        lab.signal(signal.SIGTERM)

    def _settle(self, lab: Laboratory) -> None:
        lab.wait_until(lambda: self._mode.settled(lab))


_TERM, _INT = signal_main(signal.SIGTERM), signal_main(signal.SIGINT)
_KILLS_ITSELF = "Everything: uvicorn kills its process by the signal once the lifespan is over."
_OTHERS_TERMINATED = (
    "What other workers still hold when the first one has ended: hypercorn terminates them then."
)
_NO_RELOAD = "It does not reload."
_NO_KILL = "It kills no worker that can still hear it."
_NO_RECYCLE = "A reloading uvicorn does not recycle."
_LONG_LIFE = "It recycles by age alone, of a minute at least, in the way of its reload."

_STOPS = {
    STOP: Ending(_TERM, STOP, ends_host=True),
    "stop by INT": Ending(_INT, STOP, ends_host=True),
}
_HUP = Ending(signal_main(signal.SIGHUP), RELOAD, delay=_DELAY)
_RECYCLED = Ending(serve_until_all_ended, RECYCLE)
_LAST_REQUEST = Ending(serve_until_all_ended, RECYCLE, ends_host=True)

_UVICORN = {RECYCLE: ("--limit-max-requests", _MAX_REQUESTS)}
_HYPERCORN = {RECYCLE: ("--max-requests", _MAX_REQUESTS)}
_GRANIAN = ("granian", "--interface", "asgi", "--workers", "2", "--respawn-interval", "0.1")
_BIND = ("--bind", "127.0.0.1:{port}")

MODES = [
    Mode(
        "uvicorn",
        ("uvicorn",),
        {**_STOPS, RECYCLE: _LAST_REQUEST},
        {RELOAD: _NO_RELOAD, KILLED: _NO_KILL},
        options=_UVICORN,
        usual=(STOP, "queued"),
    ),
    Mode(
        "uvicorn without middleware",
        ("uvicorn",),
        {
            **_STOPS,
            STOP: Ending(_TERM, STOP, bound=_KILLS_ITSELF, ends_host=True),
            RECYCLE: _LAST_REQUEST,
        },
        {RELOAD: _NO_RELOAD, KILLED: _NO_KILL},
        options=_UVICORN,
        application="hosts.application:asgi",
    ),
    Mode(
        "uvicorn --workers",
        ("uvicorn", "--workers", "2"),
        {**_STOPS, RECYCLE: _RECYCLED, RELOAD: _HUP},
        {KILLED: _NO_KILL},
        options=_UVICORN,
    ),
    Mode(
        "uvicorn --reload",
        ("uvicorn", "--reload", "--reload-dir", "."),
        {**_STOPS, RELOAD: Ending(touch_a_module, RELOAD)},
        {RECYCLE: _NO_RECYCLE, KILLED: _NO_KILL},
    ),
    Mode(
        "hypercorn",
        ("hypercorn", "--workers", "2"),
        {
            name: Ending(end, STOP, _OTHERS_TERMINATED, _all_but_the_least, ends_host=True)
            for name, end in ((STOP, _TERM), ("stop by INT", _INT))
        }
        | {RECYCLE: _RECYCLED, RELOAD: Ending(_HUP.end, RELOAD)},
        {KILLED: _NO_KILL},
        options=_HYPERCORN,
        address=_BIND,
    ),
    Mode(
        "hypercorn, SIGTERM ignored by workers",
        ("hypercorn", "--workers", "2"),
        {**_STOPS, RECYCLE: _RECYCLED, RELOAD: Ending(_HUP.end, RELOAD)},
        {KILLED: _NO_KILL},
        options=_HYPERCORN,
        address=_BIND,
        ignores_term=True,
        usual=(STOP, "queued"),
    ),
    Mode(
        "granian",
        _GRANIAN,
        {
            **_STOPS,
            RELOAD: _HUP,
            KILLED: Ending(
                _hold_a_worker_up, KILLED, "What a worker holds that does not stop in time."
            ),
        },
        {RECYCLE: _LONG_LIFE},
        options={KILLED: ("--workers-kill-timeout", _KILL_SECONDS)},
        settled=_all_started,
        usual=(STOP, "queued"),
    ),
]
ROWS = [AsgiRow(mode) for mode in MODES]
