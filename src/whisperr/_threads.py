"""How the thread that delivers starts and ends, with what gevent and threading ask for."""

from __future__ import annotations

import _thread
import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING

from . import _uwsgi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: A thread's own; without a handler for them the process ends unexplained.
_FAULTS = {signal.SIGSEGV, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}


def start_thread(run: Callable[[], None]) -> None:
    """Start a thread without waiting until it runs, as `threading.Thread.start` would.

    Under gevent it is a greenlet, except where one of the threads of gevent's pool asks
    for it: a greenlet there would run only while that thread waits for something.

    Raises:
        RuntimeError: where no thread can be started, or none would run.
    """
    if not _uwsgi.runs_threads():
        raise RuntimeError("Threads do not run without uWSGI's enable-threads.")
    start = _thread.start_new_thread
    if in_gevent_pool():
        start = sys.modules["gevent.monkey"].get_original("_thread", "start_new_thread")
    if _uwsgi.host() is None:
        start(run, ())
        return
    with _signals_blocked():
        start(run, ())


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """What is started here handles no signal: it inherits that.

    uWSGI ends a process inside its handlers, in C, in whichever thread they run. In the sender's it
    would wait for the main thread for ever.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_thread() -> None:
    """Give back what a host made for the calling thread, which is about to end.

    A thread that holds a hub of gevent's at the end of the interpreter crashes it.
    """
    if in_gevent_pool():
        sys.modules["gevent"].get_hub().destroy(destroy_loop=True)


@contextlib.contextmanager
def stand_in_forgotten() -> Iterator[None]:
    """Have threading forget the object that a log record makes of the calling thread.

    threading did not start the sender thread. A fork there turns that object into the child's
    main thread, whose end fails (CPython before 3.11.8 and 3.12.2).
    """
    active: dict[int, object] = threading._active  # type: ignore[attr-defined]
    here = _thread.get_ident()
    known = here in active
    try:
        yield
    finally:
        if not known:
            active.pop(here, None)


def in_gevent_pool() -> bool:
    """Whether this is a real thread under gevent; its sockets cannot be closed after its end."""
    gevent, monkey = sys.modules.get("gevent"), sys.modules.get("gevent.monkey")
    if gevent is None or monkey is None or not monkey.is_module_patched("threading"):
        return False
    return not gevent.get_hub().main_hub
