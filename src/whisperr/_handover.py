"""What a uWSGI master queued before it forked, and which of its workers delivers it.

The operations are in the memory that every worker has a copy of. Shared is one anonymous file
that says up to which of them are settled; whoever delivers them holds its lock, which the
kernel frees when that process dies.
"""

from __future__ import annotations

import os
import struct
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

from . import _uwsgi
from ._fork import Identity, identity
from ._schedule import NEVER
from ._waiter import Waiter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._queue import Entry, OperationQueue

try:
    import fcntl
except ImportError:  # Windows, where uWSGI does not run
    fcntl = None  # type: ignore[assignment]

#: What the file holds: operations with a number below the first are settled; so many calls that
#: came too late are reported.
_RECORD = struct.Struct("=QQ")
_TOO_LATE = (
    b"whisperr: track() was called in a uWSGI master after it had forked its workers, or no file "
    b"can be made that they share. Nothing can be delivered from there; such calls are refused and "
    b"counted. Track in a worker, a mule or a spooler.\n"
)


class Record:
    """The shared file; made in the master, inherited by its workers.

    Raises:
        OSError: where none can be made.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._file = os.memfd_create("whisperr")
        else:
            with tempfile.TemporaryFile() as file:
                self._file = os.dup(file.fileno())
        self._inode = self._here()
        os.pwrite(self._file, _RECORD.pack(0, 0), 0)

    def _here(self) -> tuple[int, int]:
        status = os.fstat(self._file)
        return status.st_dev, status.st_ino

    def lock(self) -> bool:
        """Take the lock unless another process has it; the end of this process gives it back."""
        with suppress(OSError):
            if self._here() == self._inode:  # a number that was closed may be another file's
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
        return False

    def unlock(self) -> None:
        """Give the lock back."""
        with suppress(OSError):
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def read(self) -> tuple[int, int]:
        """What is settled and what is reported; asked once, right after lock()."""
        settled, reported = _RECORD.unpack(os.pread(self._file, _RECORD.size, 0))
        return settled, reported

    def write(self, settled: int, reported: int) -> None:
        """Say what is settled and what is reported."""
        with suppress(OSError):
            if self._here() == self._inode:
                os.pwrite(self._file, _RECORD.pack(settled, reported), 0)


class Handover:
    """From a client's queue in a master to the same client's queue in one worker."""

    def __init__(self) -> None:
        self._queue: OperationQueue | None = None
        self._record: Record | None = None
        self._too_late = 0
        self._claims: dict[Identity, object] = {}

    @property
    def offered(self) -> bool:
        """Whether a master left something to its workers, if only the count of late calls."""
        return self._record is not None

    def offer(self, queue: OperationQueue) -> bool:
        """Leave what a master queues to its workers; before it forks.

        Returns:
            Whether that is possible: nothing is shared where no file can be made.
        """
        if self._record is None:
            self._queue = queue
            with suppress(OSError):
                self._record = Record()
        return self._record is not None

    def count_too_late(self) -> None:
        """A call that no worker can be told of; says so once, without a lock of logging's."""
        self._too_late += 1
        if self._too_late == 1:
            with suppress(OSError):
                os.write(2, _TOO_LATE)

    def claim(self) -> Takeover | None:
        """What this process is to deliver, if it is a worker and no other process does."""
        record, queue = self._record, self._queue
        if record is None or queue is None or not _uwsgi.is_worker():
            return None
        here, claim = identity(), object()
        if self._claims.setdefault(here, claim) is not claim:
            return None  # the lock is the process's: it keeps no thread out
        if not record.lock():
            self._claims.pop(here)  # another worker delivers; it may die before it has
            return None
        settled, reported = record.read()
        entries = [entry for entry in queue.entries() if entry[1] >= settled]
        too_late = max(self._too_late - reported, 0)
        record.write(settled, reported + too_late)
        if not entries and not too_late:
            record.unlock()
            return None
        return Takeover(record, entries, too_late, reported + too_late)


class Takeover(Waiter):
    """Waits until all that was taken over is settled, and notes how far that has come.

    Args:
        record: the shared file, locked.
        entries: the master's operations that are not settled.
        too_late: calls in the master that nobody reported yet.
        reported: those that are, with these.
    """

    def __init__(
        self,
        record: Record,
        entries: Sequence[Entry],
        too_late: int,
        reported: int,
    ) -> None:
        super().__init__(0, NEVER)
        self.too_late = too_late
        self._reported = reported
        self._record = record
        self._entries = entries
        self._numbers = [number for _, number, _ in entries]

    def queue_into(self, queue: OperationQueue) -> None:
        """Accept the operations here."""
        queue.extend(self._entries)
        # Asked afterwards: what another thread appends meanwhile makes it note less, never more.
        self.mark = queue.accepted

    def is_served(self, oldest: int | None) -> bool:
        """Note how many are settled; the last one gives the lock back."""
        left = 0 if oldest is None else max(self.mark - oldest, 0)
        done = max(len(self._numbers) - left, 0)
        if done:
            self._record.write(self._numbers[done - 1] + 1, self._reported)
        if not left:
            self._record.unlock()
        return not left

    def give_up(self) -> None:
        """Nobody waits here: tried again later, as everything that is queued."""
