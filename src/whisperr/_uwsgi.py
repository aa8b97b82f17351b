"""What uWSGI says about this process. Its module is there from the start where it runs us."""

from __future__ import annotations

import os
import sys
from typing import Any

from ._fork import identity


def host() -> Any:
    """The module `uwsgi`, None where uWSGI is not the host."""
    module = sys.modules.get("uwsgi")
    return module if hasattr(module, "masterpid") else None  # `gunicorn uwsgi:app` has one, too


def only_forks() -> bool:
    """Whether this process runs no code of the application's but forks those that do.

    That is the master, and without one the first process until it is a worker itself. A thread
    there hangs what is forked: uWSGI forks without the GIL and without Python's knowledge.
    """
    uwsgi = host()
    return uwsgi is not None and _serves_nobody(uwsgi) and uwsgi.masterpid() in (0, _pid())


def is_master() -> bool:
    """Whether this process is a master, which never runs the exit handlers of Python."""
    uwsgi = host()
    return uwsgi is not None and _serves_nobody(uwsgi) and uwsgi.masterpid() == _pid()


def has_forked() -> bool:
    """Whether there are workers already."""
    uwsgi = host()
    return uwsgi is not None and any(worker["pid"] for worker in uwsgi.workers())


def is_worker() -> bool:
    """Whether this process is a worker: no mule, no spooler, no child of a worker's."""
    uwsgi = host()
    if uwsgi is None or not uwsgi.worker_id():
        return False
    if uwsgi.masterpid():
        # Its pid in workers() would be too late: the master writes it once the fork has returned.
        return bool(os.getppid() == uwsgi.masterpid())
    return bool(uwsgi.workers()[uwsgi.worker_id() - 1]["pid"] == _pid())


def role(parent: int) -> str | None:
    """What uWSGI calls this process, None for one that it did not fork.

    Args:
        parent: the pid of its parent.
    """
    uwsgi = host()
    if uwsgi is None:
        return None
    if is_master():
        return "uWSGI master"
    if is_worker():
        return f"uWSGI worker {uwsgi.worker_id()}"
    if uwsgi.mule_id() and uwsgi.masterpid() == parent:
        return f"uWSGI mule {uwsgi.mule_id()}"
    if uwsgi.i_am_the_spooler() and _pid() in uwsgi.spooler_pids():
        return "uWSGI spooler"
    return None


def runs_threads() -> bool:
    """Whether threads run: always, but not in a uWSGI without enable-threads."""
    uwsgi = host()
    return uwsgi is None or bool(uwsgi.has_threads)


def _serves_nobody(uwsgi: Any) -> bool:
    if uwsgi.worker_id() or uwsgi.mule_id():
        return False
    return not uwsgi.i_am_the_spooler()


def _pid() -> int:
    return identity()[0]
