"""What the host that runs this process calls it. Imports no host: asks those that are here.

A fork copies all that a host knew. So its word counts only where it names the calling
process, or, where it knows no more than that, its parent.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import _uwsgi
from ._fork import identity

if TYPE_CHECKING:
    from types import FrameType

    from psutil import Process


def role_of(process: Process) -> str | None:
    """The role of the calling process, None where it cannot be told; never raises."""
    for ask in (_uwsgi_role, _gunicorn, _celery, _multiprocessing):
        with suppress(Exception):  # hosts differ by version, a parent may be gone or another's
            role = ask(process)
            if role is not None:
                return role
    return None


def _uwsgi_role(process: Process) -> str | None:
    return _uwsgi.role(process.ppid())


def _gunicorn(process: Process) -> str | None:
    arbiter, base = sys.modules.get("gunicorn.arbiter"), sys.modules.get("gunicorn.workers.base")
    if arbiter is None:
        return None
    # Master and workers handle signals by methods of an object that has its process's pid.
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGCHLD):
        host = getattr(signal.getsignal(number), "__self__", None)
        if getattr(host, "pid", None) != process.pid:
            continue
        if isinstance(host, arbiter.Arbiter):
            return "gunicorn master"
        if base is not None and isinstance(host, base.Worker):
            return "gunicorn worker"
    return _gunicorn_by_stack(process, arbiter.Arbiter)


def _gunicorn_by_stack(process: Process, arbiter: Any) -> str | None:
    """Before these handlers are set, or where asyncio's took their place."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code is arbiter.spawn_worker.__code__:
            own = frame.f_locals["worker"].pid == process.pid
            return "gunicorn worker" if own else None
        if frame.f_code is arbiter.__init__.__code__:  # imports a preloaded application
            return None if _may_be_forked(process) else "gunicorn master"
        frame = frame.f_back
    return None


def _may_be_forked(process: Process) -> bool:
    """Whether a fork may have made this process of another that runs the same command."""
    if identity()[1]:
        return True
    parent = process.parent()
    if parent is None or os.environ.get("GUNICORN_PID") == str(parent.pid):
        return False  # in the latter case (USR2) gunicorn's old master started it anew
    return parent.cmdline() == process.cmdline()


def _celery(process: Process) -> str | None:
    billiard = sys.modules.get("billiard.process")
    if billiard is None or "celery.concurrency.prefork" not in sys.modules:
        return None
    current = billiard.current_process()
    if _is_in_celery_pool(current) and current._parent_pid == process.ppid():
        return "Celery child"
    for child in list(billiard._children):
        if _is_in_celery_pool(child) and child._parent_pid == process.pid:
            return "Celery worker"
    return None


def _is_in_celery_pool(process: Any) -> bool:
    """A pool that a task makes for itself has processes with longer identities."""
    return "PoolWorker-" in process.name and len(process._identity) == 1


def _multiprocessing(process: Process) -> str | None:
    multiprocessing = sys.modules.get("multiprocessing.process")
    maker = multiprocessing.parent_process() if multiprocessing is not None else None
    if maker is None:
        return None
    if maker.pid == process.ppid() or _is_from_fork_server(process):
        return "multiprocessing child"
    return None


def _is_from_fork_server(process: Process) -> bool:
    """Whether the parent is a fork server, and not a process that came from one."""
    server = process.parent()
    if server is None or not _runs_fork_server(server):
        return False
    starter = server.parent()
    return starter is None or not _runs_fork_server(starter)


def _runs_fork_server(process: Process) -> bool:
    return "multiprocessing.forkserver" in " ".join(process.cmdline())
