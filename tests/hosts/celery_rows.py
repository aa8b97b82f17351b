"""Celery: each pool, with nothing of ours but the module-level client."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hosts.endings import signal_main
from hosts.queues import MAX_TASKS, QueueRow, enqueue, recycle, wait_for
from hosts.row import KILLED, RECYCLE, RELOAD, STOP, End, Ending

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hosts.laboratory import Laboratory

_BOOT = 30


def _reload(lab: Laboratory) -> Collection[int]:
    """The same process begins anew."""
    lab.signal(signal.SIGHUP)
    wait_for(lab, "ready", 2)
    return lab.workers()


def _reload_and_stop(lab: Laboratory) -> Collection[int]:
    """Whoever tracked is the process that begins anew: it ends with the host."""
    workers = _reload(lab)
    lab.signal(signal.SIGTERM)
    return workers


def _blocked(lab: Laboratory, argument: str = "") -> set[int]:
    enqueue(lab, "block", argument)
    wait_for(lab, "blocked")
    return {line["pid"] for line in lab.lines("blocked")}


def _exceed_time_limit(lab: Laboratory) -> Collection[int]:
    return _blocked(lab, "limited") & lab.workers()


def _revoke_by(number: signal.Signals) -> End:
    def end(lab: Laboratory) -> Collection[int]:
        blocked = _blocked(lab)
        enqueue(lab, "revoke", number.name)
        return blocked & lab.workers()

    return end


def _terminate_one(lab: Laboratory) -> Collection[int]:
    child = min(lab.workers())
    lab.signal(signal.SIGTERM, child)
    return {child}


_HARD = "What the child held: Celery kills it 0.1 s after its SIGTERM."
_SIGKILL = "Everything that the child held."
STOPS = {
    STOP: Ending(signal_main(signal.SIGTERM), STOP, ends_host=True),
    "cold stop by QUIT": Ending(signal_main(signal.SIGQUIT), STOP, ends_host=True),
    "stop by INT": Ending(signal_main(signal.SIGINT), STOP, ends_host=True),
}
PREFORK = {
    RECYCLE: Ending(recycle, RECYCLE),
    **STOPS,
    RELOAD: Ending(_reload, RELOAD),
    KILLED: Ending(_exceed_time_limit, KILLED, bound=_HARD),
    "task revoked by TERM": Ending(_revoke_by(signal.SIGTERM), KILLED),
    "task revoked by KILL": Ending(_revoke_by(signal.SIGKILL), KILLED, bound=_SIGKILL),
    "child ended by TERM": Ending(_terminate_one, KILLED),
}
#: Where each task's operations are delivered after it: nothing is queued at any ending.
AFTER_TASKS = {
    name: replace(PREFORK[name], bound=None, states=("held",))
    for name in (RECYCLE, STOP, RELOAD, KILLED, "task revoked by KILL")
}
IN_ONE_PROCESS = {**STOPS, RELOAD: Ending(_reload_and_stop, RELOAD, ends_host=True)}
_NO_CHILDREN = {
    RECYCLE: "The pool has no processes to replace.",
    KILLED: "Celery kills no process of this pool.",
}


@dataclass(frozen=True)
class Pool:
    """A pool, what it knows, and whether the helper is called."""

    name: str
    helper: bool = False
    boot: int = 0
    endings: Mapping[str, Ending] = field(default_factory=lambda: IN_ONE_PROCESS)
    missing: Mapping[str, str] = field(default_factory=lambda: _NO_CHILDREN)
    usual: tuple[str, str] | None = None


class CeleryRow(QueueRow):
    """A worker with one pool."""

    host = "celery"
    module = "hosts.celery_app"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool.name
        self._helper = pool.helper
        self.name = f"Celery {pool.name}" + " with deliver_after_task()" * pool.helper
        self.boot = pool.boot
        self.endings = pool.endings
        self.missing = pool.missing
        self.usual = pool.usual

    def start(self, lab: Laboratory) -> None:
        """Start it with or without the helper."""
        lab.variables["LAB_HELPER"] = "on" if self._helper else "off"
        super().start(lab)

    def command(self, lab: Laboratory) -> list[str]:
        """Two children or threads; `lab.ending` may need an option."""
        options = ["--max-tasks-per-child", str(MAX_TASKS)] if lab.ending == RECYCLE else []
        return [
            *lab.environment.script("celery"),
            *("--app", self.module, "worker", "--pool", self._pool, "--concurrency", "2"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat", *options),
        ]

    def stop(self, lab: Laboratory) -> None:
        """A warm shutdown."""
        lab.signal(signal.SIGTERM)


ROWS = [
    CeleryRow(Pool("prefork", False, _BOOT, PREFORK, {}, usual=(STOP, "queued"))),
    CeleryRow(Pool("prefork", True, _BOOT, AFTER_TASKS, {})),
    CeleryRow(Pool("threads")),
    CeleryRow(Pool("solo")),
    CeleryRow(Pool("gevent")),
]
