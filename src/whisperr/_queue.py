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
    from collections.abc import Sequence

    from ._stats import Counter, Counters

#: An operation with its number in the order of acceptance, from 0.
_Entry = tuple[Operation, int]
_entry = itemgetter(0, 1)

MAX_BATCH_BYTES = 3 * 1024 * 1024
#: The brackets of a batch's JSON and a comma for each event are little beside this reserve.
_ENVELOPE_BYTES = 1024


class OperationQueue:
    """Operations in the order in which the process accepted them.

    Args:
        max_size: operations kept at most; beyond it the oldest are dropped and counted.
        counters: where called, accepted and dropped are counted.
    """

    __slots__ = ("_batch", "_counters", "_entries", "_max_size")

    def __init__(self, max_size: int, counters: Counters) -> None:
        self._max_size = max_size
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
        counters = self._counters
        # The operations come first, see Counter.advance; itemgetter leaves the call's number out.
        numbered = zip(operations, counters.accepted, counters.called)  # noqa: B905
        self._entries.extend(map(_entry, numbered))
        if len(self._entries) > self._max_size:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        # Asked before each in the same C call: threads that overflow at once drop none too many.
        too_long = takewhile(self._max_size.__lt__, map(len, repeat(self._entries)))
        oldest = zip(too_long, map(deque.popleft, repeat(self._entries)))  # noqa: B905
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
        return len({number for _, number in entries if since <= number < before})

    def entries(self) -> list[tuple[Operation, int]]:
        """What is not settled, with the numbers; for a process that nobody delivers in."""
        return [*self._batch, *self._entries]

    def take(self, count: int) -> Sequence[Operation]:
        """Move the oldest operations that may share a request into flight.

        Consecutive events share one, up to `count` and MAX_BATCH_BYTES; an identify goes alone.
        """
        if self._batch:  # left by a delivery that someone else's exception ended
            self.requeue()
        batch = self._batch
        wanted = min(count, len(self._entries))
        with suppress(IndexError):  # an append that overflowed took some first
            batch.extend(map(deque.popleft, repeat(self._entries, wanted)))
        self._give_back(len(batch) - _fitting(batch))
        return [operation for operation, _ in batch]

    def settle(self, count: int, counter: Counter) -> None:
        """Remove `count` operations in flight for good and count them there."""
        counter.advance(map(list.pop, repeat(self._batch, count)))

    def requeue(self) -> None:
        """Put what is in flight back to the front, in its order."""
        self._give_back(len(self._batch))
        self._drop_oldest()

    def _give_back(self, count: int) -> None:
        self._entries.extendleft(map(list.pop, repeat(self._batch, count)))


def _fitting(entries: Sequence[_Entry]) -> int:
    """How many of the first entries fit one request."""
    if entries and entries[0][0].kind == "identify":
        return 1
    size = _ENVELOPE_BYTES
    for index, (operation, _) in enumerate(entries):
        size += len(operation.body) + 1
        if operation.kind == "identify" or size > MAX_BATCH_BYTES:
            return index
    return len(entries)
