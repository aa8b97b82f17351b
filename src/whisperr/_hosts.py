"""Wiring of hosts that are already imported: uWSGI's slots, Celery's signals.

Done when a client is made and again at its first use in each process, so that a module-level
client needs no code of the application's.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from . import _exit, _uwsgi

if TYPE_CHECKING:
    from collections.abc import Callable

#: By it Celery tells that a receiver is connected already.
_UID = "whisperr"


class _Chained:
    """Fills a slot that holds one function: calls the one that was there, then ours."""

    def __init__(self, previous: Callable[[], object] | None, ours: Callable[[], object]) -> None:
        self._previous = previous
        self._ours = ours

    def __call__(self) -> None:
        try:
            if self._previous is not None:
                self._previous()
        finally:
            self._ours()


class Wiring:
    """Connects this process's exit hook, and what a fork asks for, to the host.

    Args:
        after_fork: looks for a fork; in a worker of uWSGI's, has what the master queued delivered.
        before_exit: delivers where the process may go on all the same.
    """

    def __init__(
        self,
        after_fork: Callable[[], None],
        before_exit: Callable[[], object],
    ) -> None:
        self._after_fork = after_fork
        self._before_exit = before_exit
        self._signals: Any = None

    def connect(self) -> None:
        """Connect to the host that is there, if it is not done yet."""
        uwsgi = _uwsgi.host()
        if uwsgi is not None:
            self._connect_uwsgi(uwsgi)
        signals = sys.modules.get("celery.signals")
        if signals is not None and signals is not self._signals:
            self._connect_celery(signals)

    def _connect_uwsgi(self, uwsgi: Any) -> None:
        if _uwsgi.only_forks():
            self._join_post_fork(uwsgi)
        _chain(uwsgi, "atexit", self._at_uwsgi_exit)

    def _join_post_fork(self, uwsgi: Any) -> None:
        decorators = _decorators(uwsgi)
        if decorators is None:
            _chain(uwsgi, "post_fork_hook", self._after_fork)
        elif self._after_fork not in decorators.postfork_chain:
            decorators.postfork_chain.append(self._after_fork)

    def _at_uwsgi_exit(self) -> None:
        self._after_fork()
        _exit.run_exit_hook()

    def _connect_celery(self, signals: Any) -> None:
        hooks = {
            "worker_process_init": self._at_child_start,
            "worker_process_shutdown": self._at_child_exit,
            "worker_shutdown": self._at_worker_shutdown,
        }
        if not all(hasattr(signals, name) for name in hooks):
            return  # another thread is importing it
        self._signals = signals  # first: a child inherits what is connected
        for name, hook in hooks.items():
            getattr(signals, name).connect(hook, weak=False, dispatch_uid=_UID)

    def _at_child_start(self, **_: object) -> None:
        self._after_fork()  # with the solo pool it is the main process, which changes nothing

    def _at_child_exit(self, **_: object) -> None:
        _exit.run_exit_hook()  # os._exit() comes next

    def _at_worker_shutdown(self, **_: object) -> None:
        self._before_exit()  # a reload replaces the process without an exit handler


def _chain(uwsgi: Any, slot: str, ours: Callable[[], object]) -> None:
    previous = getattr(uwsgi, slot, None)
    if not isinstance(previous, _Chained):
        setattr(uwsgi, slot, _Chained(previous, ours))


def _decorators(uwsgi: Any) -> Any:
    """uwsgidecorators, None where it cannot be imported: without a master, for instance.

    Imported before the application does: its import takes the slot of post-fork hooks.
    """
    name = "uwsgidecorators"
    if name in sys.modules:
        return sys.modules[name]
    slots = ("post_fork_hook", "spooler", "mule_msg_hook")
    before = {slot: getattr(uwsgi, slot) for slot in slots if hasattr(uwsgi, slot)}
    try:
        decorators = importlib.import_module(name)
    except Exception:  # noqa: BLE001 - it raises plain exceptions
        return None
    earlier = before.pop("post_fork_hook", None)
    if earlier is not None:
        decorators.postfork_chain.append(earlier)
    for slot, value in before.items():  # the application's own
        setattr(uwsgi, slot, value)
    return decorators
