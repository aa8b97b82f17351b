"""A daemon: python -m hosts.daemon_host [hasty]; `hasty` delivers nothing before it forks.

What is started takes the part of init: it adopts the daemon, and ends when everybody has.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import nullcontext

from hosts import orders

_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER


def init(*arguments: str) -> None:
    """Start the program that becomes a daemon; collect every process that ends."""
    assert ctypes.CDLL(None).prctl(_ADOPT_ORPHANS, 1, 0, 0, 0) == 0
    starter = subprocess.Popen([sys.executable, "-m", __spec__.name, "start", *arguments])
    assert starter.wait() == 0
    while _collect():
        pass


def _collect() -> bool:
    try:
        return os.wait()[0] > 0
    except ChildProcessError:
        return False


def start(*, hasty: bool) -> None:
    """What is tracked while the application is imported is queued by now."""
    from hosts import application

    with nullcontext() if hasty else application.client.delivering():
        application.client.stats()  # the rest of what a program does before it is a daemon
    for step in (os.setsid, os.getpid):
        if os.fork():
            os._exit(0)
        step()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    orders.serve()


if __name__ == "__main__":
    if "start" in sys.argv:
        start(hasty="hasty" in sys.argv)
    else:
        init(*sys.argv[1:])
