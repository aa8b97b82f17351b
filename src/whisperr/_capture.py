"""Where operations go while tests capture them: into a file, and never to the service.

One line of JSON for each call, by one write(2): forked and started processes append to the same
file.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ._arguments import is_a
from ._encoding import json_text
from ._fork import Owner, ProcessLocal
from ._operation import Identify, Refusal
from ._stamp import now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from ._fork import Identity

#: Names the file to processes that are started while a test captures.
VARIABLE = "WHISPERR_CAPTURE_FILE"
_LONGEST_TYPE = 100


class Recorder:
    """Appends the calls of every client to a file, for each process under its own name.

    Args:
        path: of the file; where it is gone the capture is over, and nothing is written.
    """

    def __init__(self, path: str) -> None:
        self._local = ProcessLocal(lambda: Appender(path), Appender.adopt)

    def here(self) -> Appender:
        """What takes the calls of this process."""
        return self._local.get()


class Appender:
    """Takes the outcome of each call in one process. Performs I/O inside the call."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._owner = Owner()

    def adopt(self, owner: Identity) -> None:
        """Be the appender of that process from now on; idempotent."""
        self._owner.identity = owner

    def settle_call(self, outcome: bytes | Refusal) -> None:
        """Append an operation, or why there is none, with the process, the time and the caller.

        Raises:
            OSError: where the file cannot be written; a test must not pass for that.
        """
        if not self._owner.holds():
            return  # a signal handler forked inside the call, which is the parent's
        if isinstance(outcome, Refusal):
            kind, fields = "refusal", json.dumps(outcome._asdict())
        else:
            kind = "identify" if isinstance(outcome, Identify) else "event"
            fields = outcome.decode()  # as it would be sent
        pid = self._owner.identity[0]
        head = json.dumps({"kind": kind, "pid": pid, "at": now(), **_call()})
        self._append(f'{head[:-1]}, "fields": {fields}}}\n'.encode())

    def _append(self, line: bytes) -> None:
        with suppress(FileNotFoundError):
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(file, line)
            finally:
                os.close(file)


def _call() -> dict[str, Any]:
    """Where the application called which method, and whatever it gave as event type."""
    method: FrameType = sys._getframe(1)
    caller = method
    while _is_ours(caller) and caller.f_back is not None:
        method, caller = caller, caller.f_back
    given = method.f_locals.get("event_type")
    if given is not None:
        given = str.__str__(given) if is_a(given, str) else f"<{type(given).__name__}>"
        given = given[:_LONGEST_TYPE]
    return {
        "file": caller.f_code.co_filename,
        "line": caller.f_lineno,
        "method": method.f_code.co_name,
        "event_type": given,
    }


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] == __package__


def as_sent(values: dict[str, Any]) -> dict[str, Any]:
    """What is sent for these properties; to compare with what was."""
    sent: dict[str, Any] = json.loads(json_text(values, 2))
    return sent


@contextmanager
def recording() -> Iterator[str]:
    """Record into a new file, here and in the processes that are forked or started meanwhile.

    What recorded before does so again afterwards. A child that is forked inside the block leaves
    the file and all else to its parent, and goes on recording.

    Yields:
        The path of the file, which is removed at the end of the block.
    """
    global recorder
    import tempfile  # here: nobody else needs it

    owner = Owner()
    before, named = recorder, os.environ.get(VARIABLE)
    file, path = tempfile.mkstemp(prefix="whisperr-capture-", suffix=".jsonl")
    os.close(file)
    recorder, os.environ[VARIABLE] = Recorder(path), path
    try:
        yield path
    finally:
        if owner.holds():
            recorder = before
            os.environ.pop(VARIABLE, None)
            os.environ.update({} if named is None else {VARIABLE: named})
            os.unlink(path)


def follow_environment() -> None:
    """Record where the environment says: at import, and where a plugin says so later."""
    global recorder
    path = os.environ.get(VARIABLE)
    recorder = Recorder(path) if path else None


#: Takes every call while it is set. A forked child has it, too.
recorder: Recorder | None = None
follow_environment()
