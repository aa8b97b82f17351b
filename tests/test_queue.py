"""The queue loses and doubles nothing, whatever interrupts it; the accounts balance exactly."""

from __future__ import annotations

import itertools
import sys
import threading
from collections import deque
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pytest

from interruptions import storm
from whisperr._operation import Identify
from whisperr._queue import MAX_BATCH_BYTES, Batch, OperationQueue
from whisperr._stats import Counter, Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def event(name: object = "a", size: int = 0) -> bytes:
    return str(name).encode().ljust(size)


def identify(name: object = "i") -> Identify:
    return Identify(str(name).encode())


def names(batch: Batch) -> list[str]:
    return [body.decode() for body in batch.bodies]


def filled(
    *operations: bytes, max_size: int = 1000, max_bytes: int = 10**9
) -> tuple[OperationQueue, Counters]:
    counters = Counters()
    queue = OperationQueue(max_size, max_bytes, counters)
    for operation in operations:
        queue.append(operation)
    return queue, counters


def accounts(queue: OperationQueue, counters: Counters) -> tuple[int, int, int, int, int]:
    """Accepted, delivered, dropped, queued, in flight."""
    dropped = sum(counter.value for counter in counters.dropped.values())
    delivered = counters.delivered.value
    return counters.accepted.value, delivered, dropped, len(queue), queue.in_flight


def assert_balanced(queue: OperationQueue, counters: Counters) -> None:
    accepted, *rest = accounts(queue, counters)
    assert accepted == sum(rest), (accepted, rest)
    assert counters.calls == accepted


# --- One thread, nothing interrupts -------------------------------------------------------


def test_operations_leave_in_the_order_in_which_they_were_accepted() -> None:
    queue, counters = filled(*map(event, "abcde"))
    assert names(queue.take(3)) == ["a", "b", "c"]
    queue.settle(3, counters.delivered)
    assert names(queue.take(3)) == ["d", "e"]
    assert accounts(queue, counters) == (5, 3, 0, 0, 2)


def test_what_is_taken_is_in_flight_until_it_is_settled_or_requeued() -> None:
    queue, counters = filled(*map(event, "abc"))
    queue.take(2)
    assert (len(queue), queue.in_flight) == (1, 2)
    queue.requeue()
    assert (len(queue), queue.in_flight) == (3, 0)
    assert_balanced(queue, counters)


def test_a_requeued_batch_goes_to_the_front_in_its_order() -> None:
    queue, _ = filled(*map(event, "abc"))
    queue.take(2)
    queue.append(event("d"))
    queue.requeue()
    assert names(queue.take(9)) == ["a", "b", "c", "d"]


def test_an_empty_queue_gives_an_empty_batch() -> None:
    queue, counters = filled()
    assert not queue.take(5)
    queue.requeue()
    assert accounts(queue, counters) == (0, 0, 0, 0, 0)


def test_an_identify_goes_alone_in_its_place_between_the_events() -> None:
    queue, counters = filled(event("a"), identify("i"), identify("j"), event("b"), event("c"))
    batches = []
    while batch := queue.take(500):
        batches.append(names(batch))
        queue.settle(len(batch), counters.delivered)
    assert batches == [["a"], ["i"], ["j"], ["b", "c"]]


def test_a_batch_ends_before_it_is_too_large() -> None:
    size = 256 * 1024
    queue, _ = filled(*(event(number, size) for number in range(20)))
    batch = queue.take(500)
    assert len(batch) == 11
    body = b'{"events":[' + b",".join(batch.bodies) + b"]}"
    assert len(body) <= MAX_BATCH_BYTES < len(body) + size
    assert (len(queue), queue.in_flight) == (9, 11)


def test_commas_count_towards_the_size_of_a_batch() -> None:
    """Three million events of one byte would be six million bytes."""
    queue, _ = filled(*([event("1")] * 2_000_000), max_size=2_000_000)
    batch = queue.take(2_000_000)
    assert 2 * len(batch) < MAX_BATCH_BYTES < 2 * len(batch) + 2000


def test_a_full_queue_drops_the_oldest() -> None:
    queue, counters = filled(*map(event, "abcde"), max_size=3)
    assert names(queue.take(9)) == ["c", "d", "e"]
    assert counters.dropped["overflow"].value == 2
    assert_balanced(queue, counters)


def test_a_batch_that_comes_back_to_a_full_queue_is_the_oldest() -> None:
    queue, counters = filled(*map(event, "abc"), max_size=3)
    queue.take(2)
    queue.append(event("d"))
    queue.append(event("e"))
    queue.requeue()
    assert names(queue.take(9)) == ["c", "d", "e"]
    assert counters.dropped["overflow"].value == 2
    assert_balanced(queue, counters)


def test_a_queue_of_too_many_bytes_drops_the_oldest() -> None:
    queue, counters = filled(*(event("x" * 10 + str(n)) for n in range(6)), max_bytes=33)
    assert names(queue.take(10)) == ["x" * 10 + "3", "x" * 10 + "4", "x" * 10 + "5"]
    assert counters.dropped["overflow"].value == 3
    assert_balanced(queue, counters)


def test_an_operation_as_large_as_the_ceiling_is_kept() -> None:
    """Small operations share the number of bytes before them; a large one has its own."""
    most = 256 * 1024
    queue, counters = filled(*[event(size=50)] * 3, max_bytes=most)
    queue.settle(len(queue.take(3)), counters.delivered)
    queue.append(event(size=most))
    assert accounts(queue, counters) == (4, 3, 0, 1, 0)


def test_the_ceiling_holds_and_little_is_dropped_before_it() -> None:
    most, size = 256 * 1024, 50
    queue, _ = filled(max_size=10**9, max_bytes=most)
    for _turn in range(20_000):
        queue.append(event(size=size))
        assert len(queue) * size <= most
    assert len(queue) * size >= most - most // 1024 - size


def test_bytes_that_have_left_the_queue_count_no_more() -> None:
    queue, counters = filled(max_bytes=100)
    for _ in range(50):
        queue.append(event("x" * 40))
        queue.append(event("y" * 40))
        queue.settle(len(queue.take(2)), counters.delivered)
    assert counters.delivered.value == 100
    assert counters.dropped["overflow"].value == 0


def test_a_batch_has_no_more_bytes_than_asked_for_but_one_operation() -> None:
    queue, _ = filled(*(event("x" * 1000) for _ in range(3)), event("y" * 5000))
    assert len(queue.take(10, 1024 + 2 * 1001)) == 2
    queue.requeue()
    assert len(queue.take(10, 1)) == 1


def test_a_batch_is_settled_in_parts() -> None:
    queue, counters = filled(*map(event, "abc"))
    queue.take(3)
    queue.settle(2, counters.delivered)
    queue.settle(1, counters.dropped["rejected"])
    assert accounts(queue, counters) == (3, 2, 1, 0, 0)


def test_a_batch_that_was_left_behind_comes_first_again() -> None:
    """A delivery that someone else's exception ended left it."""
    queue, counters = filled(*map(event, "abcd"))
    queue.take(2)
    assert names(queue.take(3)) == ["a", "b", "c"]
    assert_balanced(queue, counters)


def test_numbers_say_what_is_unsettled() -> None:
    queue, counters = filled(*map(event, "abcd"))
    assert (queue.accepted, queue.oldest()) == (4, 0)
    queue.take(2)
    assert (queue.oldest(), queue.unsettled(3), queue.unsettled(99)) == (0, 3, 4)
    queue.settle(2, counters.delivered)
    assert (queue.oldest(), queue.unsettled(3), queue.unsettled(2)) == (2, 1, 0)
    queue.take(2)
    queue.settle(2, counters.delivered)
    assert (queue.oldest(), queue.unsettled(99), queue.accepted) == (None, 0, 4)


# --- Threads ------------------------------------------------------------------------------


def in_threads(work: Callable[[int], object], threads: int = 8) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    started = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    try:
        for thread in started:
            thread.start()
        for thread in started:
            thread.join(60)
            assert not thread.is_alive()
    finally:
        sys.setswitchinterval(interval)


def test_threads_that_overflow_at_once_drop_exactly_what_is_too_much() -> None:
    """A full queue is never short of one: two threads must not drop for the same surplus."""
    for _ in range(10):
        queue, counters = filled(*map(event, range(10)), max_size=10)
        short: list[int] = []

        def work(number: int, queue: OperationQueue = queue, short: list[int] = short) -> None:
            for turn in range(300):
                queue.append(event((number, turn)))
                if (size := len(queue)) < 10:
                    short.append(size)

        in_threads(work)
        assert short == []
        assert accounts(queue, counters) == (2410, 0, 2400, 10, 0)


def test_each_thread_s_operations_keep_their_order_beside_a_sender() -> None:
    queue, counters = filled(max_size=10**6)
    taken: list[str] = []
    finished = threading.Event()

    def sender() -> None:
        for turn in itertools.count():
            done = finished.is_set()
            batch = queue.take(7)
            if not batch and done:
                return
            if turn % 3:
                taken.extend(names(batch))
                queue.settle(len(batch), counters.delivered)
            else:
                queue.requeue()

    def work(number: int) -> None:
        for turn in range(1000):
            queue.append(event(f"{number} {turn:04}"))

    thread = threading.Thread(target=sender)
    thread.start()
    in_threads(work)
    finished.set()
    thread.join(60)
    assert not thread.is_alive()
    assert accounts(queue, counters) == (8000, 8000, 0, 0, 0)
    for number in range(8):
        own = [name for name in taken if name.startswith(f"{number} ")]
        assert own == [f"{number} {turn:04}" for turn in range(1000)]


def test_a_sender_beside_an_overflow_loses_nothing_uncounted() -> None:
    queue, counters = filled(max_size=20)

    def work(number: int) -> None:
        for turn in range(2000):
            if number:
                queue.append(event(turn))
            elif batch := queue.take(15):
                queue.settle(len(batch) // 2, counters.delivered)
                queue.requeue()

    in_threads(work)
    assert_balanced(queue, counters)
    assert queue.accepted == 14_000


# --- A signal handler that raises ---------------------------------------------------------


class Recorder(Counter):
    """A counter that keeps what it counted; both in its one C call."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: deque[tuple[Any, Any]] = deque()

    def advance(self, steps: Iterable[Any]) -> None:
        self.entries.extend(map(itemgetter(0), zip(steps, self, strict=False)))


class RecordingCounters(Counters):
    """Keeps every operation that left the queue."""

    def __init__(self) -> None:
        super().__init__()
        self.recorders = [Recorder(), Recorder(), Recorder()]
        self.delivered, self.dropped["overflow"], self.dropped["rejected"] = self.recorders


class Traffic:
    """What a process does to its queue, each operation with a name of its own."""

    def __init__(
        self,
        make: Callable[[int, int, Counters], OperationQueue],
        max_size: int,
        max_bytes: int = 10**9,
    ) -> None:
        self.counters = RecordingCounters()
        self.queue = make(max_size, max_bytes, self.counters)
        self.serial = itertools.count()

    def run(self) -> None:
        for _ in range(5):
            self.queue.append(event(next(self.serial)))
        self.queue.append(identify(next(self.serial)))
        batch = self.queue.take(4)
        self.queue.settle(len(batch) // 2, self.counters.delivered)
        self.queue.requeue()
        if batch := self.queue.take(4):
            self.queue.settle(len(batch) - 1, self.counters.delivered)
            self.queue.settle(1, self.counters.dropped["rejected"])

    def problems(self) -> list[str]:
        """What does not balance; nothing is right when this is empty."""
        found = []
        accepted, *rest = accounts(self.queue, self.counters)
        if accepted != sum(rest):
            found.append(f"accepted {accepted}, the rest {rest}")
        if accepted != self.counters.calls:
            found.append(f"accepted {accepted}, called {self.counters.calls}")
        left = [*self.queue._batch, *self.queue._entries]
        numbers = [number for _, number, _ in left]
        if numbers != sorted(numbers):
            found.append("out of order")
        gone = [entry for recorder in self.counters.recorders for entry in recorder.entries]
        # An overflow is recorded together with the length, or the bytes, that were too much.
        everything: list[Any] = [*left]
        everything += [entry[1] if len(entry) == 2 else entry for entry in gone]
        if sorted(number for _, number, _ in everything) != list(range(accepted)):
            found.append("a number is lost or doubled")
        if len({body for body, _, _ in everything}) != accepted:
            found.append("an operation is lost or doubled")
        return found


class NaiveQueue(OperationQueue):
    """The same moves in ordinary statements."""

    __slots__ = ()

    def append(self, body: bytes) -> None:
        number = next(self._numbers[type(body)])
        self._entries.append((body, number, 0))
        while len(self._entries) > self._max_size:
            oldest = self._entries.popleft()
            self._overflow.advance([oldest])

    def take(self, most: int, max_bytes: int = 0) -> Batch:
        del max_bytes
        while self._entries and len(self._batch) < most:
            self._batch.append(self._entries.popleft())
        return Batch([body for body, _, _ in self._batch])

    def settle(self, count: int, counter: Counter) -> None:
        for _ in range(count):
            counter.advance([self._batch.pop()])

    def requeue(self) -> None:
        while self._batch:
            self._entries.appendleft(self._batch.pop())


@pytest.mark.parametrize(
    ("max_size", "max_bytes"), [(10, 10**9), (10**9, 10**9), (10**9, 60)], ids=str
)
def test_thousands_of_interruptions_lose_and_double_nothing(max_size: int, max_bytes: int) -> None:
    traffic = Traffic(OperationQueue, max_size, max_bytes)
    storm(traffic.run, 5000)
    assert traffic.problems() == []
    assert traffic.queue.accepted > 5000


def test_every_single_interruption_leaves_the_accounts_balanced() -> None:
    """Not only their sum at the end, where two mistakes could hide each other."""
    traffic = Traffic(OperationQueue, 10)

    def balances() -> None:
        assert traffic.problems() == []

    storm(traffic.run, 300, after_each=balances)


def test_the_same_storm_finds_the_mistakes_of_a_naive_queue() -> None:
    """So the tests above can fail."""
    traffic = Traffic(NaiveQueue, 10)
    storm(traffic.run, 5000)
    assert len(traffic.problems()) >= 2


def test_a_signal_handler_that_tracks_is_counted_like_everyone() -> None:
    """It may come between any two lines of a move, and raise after its own."""
    traffic = Traffic(OperationQueue, 10)
    storm(traffic.run, 2000, in_handler=lambda: traffic.queue.append(event(next(traffic.serial))))
    assert traffic.problems() == []
