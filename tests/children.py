"""Ends of forked children, each with a hard limit: one that hangs is examined, then killed."""

from __future__ import annotations

import os
import select
import signal
import time

from c_stack import is_over, stacks_of

#: What faulthandler may take to write the stacks of a child that hangs.
_DUMP_SECONDS = 5.0


def status_of(child: int, seconds: float) -> int | None:
    """The exit status, None when the child did not end in time."""
    if hasattr(os, "pidfd_open"):
        _wait_for_end(child, seconds)
        seconds = 0.0
    deadline = time.monotonic() + seconds
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.001)


def _wait_for_end(child: int, seconds: float) -> None:
    """Without the GIL: the scenarios' other threads work meanwhile."""
    descriptor = os.pidfd_open(child)
    try:
        select.select([descriptor], [], [], seconds)
    finally:
        os.close(descriptor)


def examine_and_kill(child: int) -> str:
    """Print where a child hangs, kill it, and return whether in `python` or in `cleanup`."""
    stacks = stacks_of(child)
    where = "cleanup" if is_over(stacks) else "python"
    print(f"Child {child} hangs ({where}):\n{stacks}", flush=True)
    os.kill(child, signal.SIGABRT)  # faulthandler writes what Python knows of it
    if status_of(child, _DUMP_SECONDS) is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return where
