"""What a uWSGI master says of its workers: it is started with `--stats stats`."""

from __future__ import annotations

import json
import re
import signal
import socket
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hosts.laboratory import has_ended

if TYPE_CHECKING:
    from hosts.laboratory import Laboratory

_ASLEEP = re.compile(r"^State:\s*S", re.MULTILINE).search
_BLOCKED = re.compile(r"^SigBlk:\s*(\w+)", re.MULTILINE).search


def workers_of(lab: Laboratory) -> list[dict[str, Any]]:
    """Each with its pid and its status; none while the master is about to start."""
    with closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(5.0)
        try:
            connection.connect(str(lab.folder / "stats"))
            text = b"".join(iter(lambda: connection.recv(65536), b""))
            workers: list[dict[str, Any]] = json.loads(text)["workers"]
        except (OSError, ValueError):
            return []
    return workers


def wait_until_idle(lab: Laboratory) -> None:
    """Until every worker waits for a request; only then do its exit hooks run."""

    def all_are_idle() -> bool:
        workers = workers_of(lab)
        return bool(workers) and all(map(is_idle, workers))

    lab.wait_until(all_are_idle)


def is_idle(worker: dict[str, Any]) -> bool:
    """Whether it has started, and answers nobody: while it starts it is deaf to signals."""
    started = worker["accepting"] and not has_ended(worker["pid"])
    return bool(started) and worker["status"] == "idle"


def blocking_threads(pid: int) -> int:
    """How many threads of a process sleep and block SIGINT; each does at its birth, awake."""
    count = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with suppress(FileNotFoundError, ProcessLookupError):
            text = status.read_text()
            blocked = _BLOCKED(text)
            deaf = blocked is not None and int(blocked[1], 16) >> (signal.SIGINT - 1) & 1
            count += bool(deaf and _ASLEEP(text))
    return count
