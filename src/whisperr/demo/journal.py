"""The file in which the shop notes what it is about to track, and its only owner."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["event", "identify"]


class Entry(NamedTuple):
    """One call of track() or identify()."""

    id: str
    pid: int
    kind: str


def append(file: str | Path, kind: Kind) -> Entry:
    """Note a call that is about to be made, under a new id.

    A process that is killed after it leaves the line behind, as nothing of it is buffered.
    """
    entry = Entry(str(uuid.uuid4()), os.getpid(), kind)
    # Opened each time: no descriptor is shared over a fork. One write: lines never mix.
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{entry.id} {entry.pid} {entry.kind}\n".encode())
    finally:
        os.close(descriptor)
    return entry


def read(file: Path) -> list[Entry]:
    """Return what was noted, in order."""
    if not file.exists():
        return []
    lines = [line.split() for line in file.read_text().splitlines()]
    return [Entry(name, int(pid), kind) for name, pid, kind in lines]
