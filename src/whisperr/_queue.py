"""The bounded queue of a process. Operations get in and out by four ways only.

append (any thread, signal handler or finaliser), take, settle and requeue (whoever
holds the sender's token). Every move is one C call that takes an operation from one
place, puts it into the next and counts it, so an exception of someone else's (a
signal handler that raises) never finds an operation in no place or in two.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from itertools import repeat, takewhile
from operator import itemgetter
from typing import TYPE_CHECKING

from ._operation import Operation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._stats import Counter, Counters

#: An operation, its number in the order of acceptance, from 0, and the bytes accepted before it.
_Entry = tuple[Operation, int, int]
_entry = itemgetter(0, 1, 3)
_first, _bytes_before = itemgetter(0), itemgetter(2)

MAX_BATCH_BYTES = 3 * 1024 * 1024
#: The brackets of a batch's JSON and a comma for each event are little beside this reserve.
_ENVELOPE_BYTES = 1024


class OperationQueue:
    """Operations in the order in which the process accepted them.

    Args:
        max_size: operations kept at most; beyond it the oldest are dropped and counted.
        max_bytes: bytes of their JSON kept at most; no less than one operation has.
        counters: where called, accepted and dropped are counted.
    """

    __slots__ = ("_batch", "_bytes", "_counters", "_entries", "_look_at", "_max_bytes", "_max_size")

    def __init__(self, max_size: int, max_bytes: int, counters: Counters) -> None:
        self._max_size = max_size
        self._max_bytes = max_bytes
        self._bytes = 0
        #: How many bytes may be accepted in all before their sum is looked at again.
        self._look_at = max_bytes
        self._counters = counters
        self._entries: deque[_Entry] = deque()
        self._batch: list[_Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def in_flight(self) -> int:
        """Operations taken and neither settled nor requeued."""
        return len(self._batch)

    @property
    def accepted(self) -> int:
        """How many operations were ever accepted: the number that the next one gets."""
        return self._counters.accepted.value

    def append(self, *operations: Operation) -> None:
        """Accept operations; drop the oldest where the queue is full. Takes no lock."""
        counters, entries, before = self._counters, self._entries, self._bytes
        # Where threads meet here one's bytes may be forgotten. Only the difference between
        # entries is looked at, so that is over as soon as these have left the queue.
        self._bytes = before + sum(map(_size, operations))
        # The operations come first, see Counter.advance; itemgetter leaves the call's number out.
        numbered = zip(operations, counters.accepted, counters.called, repeat(before))
        entries.extend(map(_entry, numbered))
        if len(entries) > self._max_size or self._bytes > self._look_at:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        # Asked before each in the same C call: threads that overflow at once drop none too many.
        entries = repeat(self._entries)
        too_many = takewhile(self._max_size.__lt__, map(len, entries))
        self._drop_while(too_many)
        floor = self._bytes - self._max_bytes
        too_big = takewhile(floor.__gt__, map(_bytes_before, map(_first, entries)))
        with suppress(IndexError):  # whoever delivers took the last of them meanwhile
            self._drop_while(too_big)
        with suppress(IndexError):
            self._look_at = self._entries[0][2] + self._max_bytes

    def _drop_while(self, condition: Iterable[object]) -> None:
        oldest = zip(condition, map(deque.popleft, repeat(self._entries)))  # noqa: B905
        self._counters.dropped["overflow"].advance(oldest)

    def oldest(self) -> int | None:
        """The number of the oldest operation not settled; for the holder of the token."""
        with suppress(IndexError):
            return self._entries[0][1] if not self._batch else self._batch[0][1]
        return None

    def unsettled(self, before: int, since: int = 0) -> int:
        """How many operations with a number from `since` to below `before` wait or are in flight.

        Read twice and each counted once: whoever delivers may move them meanwhile.
        """
        entries = [*self._batch, *self._entries.copy(), *self._batch]
        return len({number for _, number, _ in entries if since <= number < before})

    def entries(self) -> list[tuple[Operation, int]]:
        """What is not settled, with the numbers; for a process that nobody delivers in."""
        return [entry[:2] for entry in (*self._batch, *self._entries)]

    def take(self, count: int, max_bytes: int = MAX_BATCH_BYTES) -> Sequence[Operation]:
        """Move the oldest operations that may share a request into flight.

        Consecutive events share one, up to `count` and `max_bytes` of them but at least one; an
        identify goes alone.
        """
        if self._batch:  # left by a delivery that someone else's exception ended
            self.requeue()
        batch = self._batch
        wanted = min(count, len(self._entries))
        with suppress(IndexError):  # an append that overflowed took some first
            batch.extend(map(deque.popleft, repeat(self._entries, wanted)))
        self._give_back(len(batch) - _fitting(batch, max_bytes))
        return [operation for operation, _, _ in batch]

    def settle(self, count: int, counter: Counter) -> None:
        """Remove `count` operations in flight for good and count them there."""
        counter.advance(map(list.pop, repeat(self._batch, count)))

    def requeue(self) -> None:
        """Put what is in flight back to the front, in its order."""
        self._give_back(len(self._batch))
        self._drop_oldest()

    def _give_back(self, count: int) -> None:
        self._entries.extendleft(map(list.pop, repeat(self._batch, count)))


def _size(operation: Operation) -> int:
    return len(operation.body)


def _fitting(entries: Sequence[_Entry], max_bytes: int) -> int:
    """How many of the first entries fit one request."""
    if entries and entries[0][0].kind == "identify":
        return 1
    size = _ENVELOPE_BYTES
    for index, (operation, _, _) in enumerate(entries):
        size += len(operation.body) + 1
        if operation.kind == "identify" or (size > max_bytes and index):
            return index
    return len(entries)
