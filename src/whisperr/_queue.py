"""The bounded queue of a process. Operations get in and out by four ways only.

append, or extend for many (any thread, signal handler or finaliser), take, settle and
requeue (whoever holds the sender's token). Every move is one C call that takes an
operation from one place, puts it into the next and counts it, so an exception of someone
else's (a signal handler that raises) never finds an operation in no place or in two.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from contextlib import suppress
from itertools import accumulate, repeat, takewhile
from itertools import count as count_from
from operator import add, itemgetter
from typing import TYPE_CHECKING

from ._operation import Identify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ._operation import Kind
    from ._stats import Counter, Counters

#: An operation's JSON, its number in the order of acceptance, from 0, and how many bytes were
#: accepted before it, or a few less. A plain tuple, since that takes the least memory.
Entry = tuple[bytes, int, float]
_first = _body = itemgetter(0)
_bytes_before = itemgetter(2)
#: The first match is it: a quote in the user id before it is escaped.
_EVENT_TYPE = rb',"event_type":"([a-z0-9_]+)"'

MAX_BATCH_BYTES = 3 * 1024 * 1024
#: The brackets of a batch's JSON and a comma for each event are little beside this reserve.
_ENVELOPE_BYTES = 1024
#: Operations that fit together into this part of the ceiling share a float: it takes 32 bytes.
_GRAINS = 1024


class Batch:
    """Operations that share a request: events, or one identify.

    Attributes:
        bodies: the JSON of each.
    """

    __slots__ = ("bodies",)

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self.bodies = bodies

    def __len__(self) -> int:
        return len(self.bodies)

    @property
    def kind(self) -> Kind:
        """What they are."""
        return "identify" if Identify in map(type, self.bodies) else "event"

    def event_types(self) -> list[str]:
        """The type of each event, empty for an identify; found again, since few ever ask."""
        found = (re.search(_EVENT_TYPE, body) for body in self.bodies)
        return [match[1].decode() if match else "" for match in found]


class OperationQueue:
    """Operations in the order in which the process accepted them.

    Args:
        max_size: operations kept at most; beyond it the oldest are dropped and counted.
        max_bytes: bytes of their JSON kept at most; no less than one operation has.
        counters: where called, accepted and dropped are counted.
    """

    __slots__ = (
        "_accepted",
        "_batch",
        "_bytes",
        "_entries",
        "_grain",
        "_look_at",
        "_mark",
        "_max_bytes",
        "_max_size",
        "_numbers",
        "_overflow",
    )

    def __init__(self, max_size: int, max_bytes: int, counters: Counters) -> None:
        self._max_size = max_size
        self._max_bytes = max_bytes
        self._bytes = self._mark = 0.0
        self._grain = max_bytes // _GRAINS
        #: How many bytes may be accepted in all before their sum is looked at again.
        self._look_at: float = max_bytes
        self._accepted = counters.accepted
        #: The next number of each kind: taking it counts the operation as called and accepted.
        self._numbers: dict[type[bytes], Iterator[int]] = {
            bytes: map(_first, zip(counters.accepted, counters.called["event"])),  # noqa: B905
            Identify: map(_first, zip(counters.accepted, counters.called["identify"])),  # noqa: B905
        }
        self._overflow = counters.dropped["overflow"]
        self._entries: deque[Entry] = deque()
        self._batch: list[Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def in_flight(self) -> int:
        """Operations taken and neither settled nor requeued."""
        return len(self._batch)

    @property
    def accepted(self) -> int:
        """How many operations were ever accepted: the number that the next one gets."""
        return self._accepted.value

    def append(self, body: bytes) -> None:
        """Accept an operation; drop the oldest where the queue is full. Takes no lock."""
        entries, before = self._entries, self._bytes
        # Where threads meet here one's bytes may be forgotten. Only the difference between
        # entries is looked at, so that is over as soon as these have left the queue.
        self._bytes = after = before + len(body)
        mark = self._mark
        if after - mark > self._grain:
            self._mark = mark = before
        # The body comes first, see Counter.advance; the numbers have no end.
        entries.extend(zip((body,), self._numbers[type(body)], (mark,)))  # noqa: B905
        if len(entries) > self._max_size or after > self._look_at:
            self._drop_oldest()

    def extend(self, entries: Sequence[Entry]) -> None:
        """Accept what another queue held, all in one C call."""
        bodies = [*map(_body, entries)]
        sizes = [*accumulate(map(len, bodies), initial=self._bytes)]
        self._bytes = sizes[-1]
        numbers = map(next, map(self._numbers.__getitem__, map(type, bodies)))
        self._entries.extend(zip(bodies, numbers, sizes))  # noqa: B905
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
            self._look_at = _bytes_before(self._entries[0]) + self._max_bytes

    def _drop_while(self, condition: Iterable[object]) -> None:
        oldest = zip(condition, map(deque.popleft, repeat(self._entries)))  # noqa: B905
        self._overflow.advance(oldest)

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

    def entries(self) -> list[Entry]:
        """What is not settled; for a process that nobody delivers in."""
        return [*self._batch, *self._entries]

    def take(self, most: int, max_bytes: int = MAX_BATCH_BYTES) -> Batch:
        """Move the oldest operations that may share a request into flight.

        Consecutive events share one, up to `most` and `max_bytes` of them but at least one; an
        identify goes alone.
        """
        if self._batch:  # left by a delivery that someone else's exception ended
            self.requeue()
        batch = self._batch
        wanted = min(most, len(self._entries))
        with suppress(IndexError):  # an append that overflowed took some first
            batch.extend(map(deque.popleft, repeat(self._entries, wanted)))
        self._give_back(len(batch) - _fitting(batch, max_bytes))
        return Batch([*map(_body, batch)])

    def settle(self, count: int, counter: Counter) -> None:
        """Remove `count` operations in flight for good and count them there."""
        counter.advance(map(list.pop, repeat(self._batch, count)))

    def requeue(self) -> None:
        """Put what is in flight back to the front, in its order."""
        self._give_back(len(self._batch))
        self._drop_oldest()

    def _give_back(self, count: int) -> None:
        self._entries.extendleft(map(list.pop, repeat(self._batch, count)))


def _fitting(entries: Sequence[Entry], max_bytes: int) -> int:
    """How many of the first entries share a request."""
    bodies = [*map(_body, entries)]
    kinds = [*map(type, bodies)]
    events = kinds.index(Identify) if Identify in kinds else len(kinds)
    sizes = accumulate(map(len, bodies))
    ends = [*map(add, sizes, count_from(_ENVELOPE_BYTES + 1))]  # a comma each
    return min(len(entries), max(1, min(events, bisect_right(ends, max_bytes))))
