"""What scripts under test share: a client, and lines that they leave for the test to read.

A script writes each id to a journal of its own before it calls track(); the local server
stores every arrival. Neither knows of the other; runs.py compares them.
"""

from __future__ import annotations

import functools
import json
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from children import examine_and_kill, status_of
from whisperr import Whisperr

if TYPE_CHECKING:
    from whisperr._process import ProcessState


def client(**options: Any) -> Whisperr:
    """A client configured by the environment that `run_script` sets."""
    options.setdefault("on_error", lambda error: note("reports", pid=os.getpid(), **vars(error)))
    return Whisperr(**options)


def track(to: Whisperr, **properties: Any) -> str:
    """Journal a new id, then track an event that carries it."""
    test_id = journal("event")
    to.track("user", "something_happened", {"test_id": test_id, "pid": os.getpid(), **properties})
    return test_id


def identify(to: Whisperr) -> str:
    """Journal a new id, then identify with it among the traits."""
    test_id = journal("identify")
    to.identify("user", traits={"test_id": test_id})
    return test_id


def record_stats(of: Whisperr | ProcessState) -> None:
    """Write the calling process's accounts, once no settlement is under way."""
    deadline = time.monotonic() + 5
    while not (stats := of.stats()).balanced and time.monotonic() < deadline:
        time.sleep(0.001)
    _append("stats", {"balanced": stats.balanced, "text": str(stats)})


def note(kind: str, **values: Any) -> None:
    """Write a line for the test to read, with the time (the monotonic clock is the machine's)."""
    _append(kind, {"at": time.monotonic(), **values})


def wait_for(child: int, seconds: float = 15.0) -> None:
    """Wait until a forked child ended, and note its status; one that hangs is examined."""
    status = status_of(child, seconds)
    if status is None:
        _append("hung", {"pid": child, "where": examine_and_kill(child)})
    else:
        _append("children", {"pid": child, "status": status})


def journal(kind: str) -> str:
    """Write down a new id before it is given to the client."""
    test_id = uuid.uuid4().hex
    _append("journal", {"id": test_id, "kind": kind, "pid": os.getpid()})
    return test_id


@functools.cache  # pathlib interns the parts of each path it makes: a soak would measure that
def _path(name: str) -> Path:
    return Path(os.environ["LAB_FOLDER"], name)


def _append(name: str, line: dict[str, Any]) -> None:
    """One write(2) to a file of this name: lines of several processes do not mix."""
    text = json.dumps(line, default=str) + "\n"
    descriptor = os.open(_path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
