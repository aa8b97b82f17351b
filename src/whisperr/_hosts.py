"""What hosts that are already imported ask for; imports none of them itself."""

from __future__ import annotations

import _thread
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def start_thread(run: Callable[[], None]) -> None:
    """Start a thread without waiting until it runs, as `threading.Thread.start` would.

    Under gevent it is a greenlet, except where one of the threads of gevent's pool asks
    for it: a greenlet there would run only while that thread waits for something.

    Raises:
        RuntimeError: where no thread can be started.
    """
    start = _thread.start_new_thread
    if in_gevent_pool():
        start = sys.modules["gevent.monkey"].get_original("_thread", "start_new_thread")
    start(run, ())


def end_thread() -> None:
    """Give back what a host made for the calling thread, which is about to end.

    A thread that holds a hub of gevent's at the end of the interpreter crashes it.
    """
    if in_gevent_pool():
        sys.modules["gevent"].get_hub().destroy(destroy_loop=True)


def in_gevent_pool() -> bool:
    """Whether this is a real thread under gevent; its sockets cannot be closed after its end."""
    gevent, monkey = sys.modules.get("gevent"), sys.modules.get("gevent.monkey")
    if gevent is None or monkey is None or not monkey.is_module_patched("threading"):
        return False
    return not gevent.get_hub().main_hub
