"""Each offender is found alone, in few requests, and nothing else is dropped. Pure."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from whisperr._bisection import MOST_PIECES, MOST_REFUSALS, Bisection

if TYPE_CHECKING:
    from collections.abc import Collection

SIZE = 500


class Service:
    """Refuses each request that holds an offender, or is larger than it takes."""

    def __init__(self, offenders: Collection[int], most: int = SIZE) -> None:
        self._offenders = frozenset(offenders)
        self._most = most
        self.requests: list[range] = []
        self.accepted: list[int] = []
        self.dropped: list[range] = []

    def deliver(self, first: int = 0, end: int = SIZE) -> None:
        """Ask for a batch of these numbers until all of it is settled."""
        bisection: Bisection | None = None
        oldest = first
        while oldest < end:
            asked = (
                range(oldest, oldest + bisection.size(oldest)) if bisection else range(first, end)
            )
            assert asked.stop <= end
            self.requests.append(asked)
            if not self.refuses(asked):
                self.accepted += asked
                oldest = asked.stop
                if bisection:
                    bisection.accepted(asked.start)
                continue
            bisection = bisection or Bisection(first, end)
            for_size = len(asked) > self._most
            if bisection.refused(asked.start, len(asked), for_size=for_size):
                self.dropped.append(asked)
                oldest = asked.stop
        assert bisection is None or not bisection.holds(oldest)
        assert bisection is None or not bisection.holds(None)

    def refuses(self, asked: range) -> bool:
        """Whether it would answer such a request with a refusal."""
        return len(asked) > self._most or not self._offenders.isdisjoint(asked)

    @property
    def lost(self) -> set[int]:
        """Dropped without being an offender."""
        return {number for piece in self.dropped for number in piece} - self._offenders


def delivered(offenders: Collection[int]) -> Service:
    service = Service(offenders)
    service.deliver()
    assert service.accepted == sorted(service.accepted)
    assert len(service.accepted) + sum(map(len, service.dropped)) == SIZE
    return service


@pytest.mark.parametrize("offender", [0, 1, 249, 250, 251, 498, 499])
def test_a_single_offender_is_found_in_two_halvings_for_each_doubling(offender: int) -> None:
    service = delivered([offender])
    assert service.dropped == [range(offender, offender + 1)]
    assert len(service.requests) <= 15


@pytest.mark.parametrize("count", [2, 5, 10, 50])
def test_all_but_scattered_offenders_are_delivered(count: int) -> None:
    most = 0
    for seed in range(200):
        offenders = Random(seed).sample(range(SIZE), count)
        service = delivered(offenders)
        assert service.lost == set(), f"seed {seed}"
        assert [piece.start for piece in service.dropped] == sorted(offenders), f"seed {seed}"
        most = max(most, len(service.requests))
    if count == 5:
        assert most <= 70


@pytest.mark.parametrize(
    "offenders", [range(5), range(495, 500), range(0, 500, 100), range(99, 500, 100)], ids=str
)
def test_five_offenders_anywhere_take_at_most_seventy_requests(offenders: range) -> None:
    service = delivered(offenders)
    assert service.lost == set()
    assert len(service.requests) <= 70


@pytest.mark.parametrize("first", range(0, 401, 57))
def test_forty_in_a_row_cost_no_other(first: int) -> None:
    assert delivered(range(first, first + 40)).lost == set()


@pytest.mark.parametrize("first", range(0, 401, 57))
def test_a_hundred_in_a_row_cost_no_more_than_what_shares_a_piece_with_them(first: int) -> None:
    service = delivered(range(first, first + 100))
    pieces = [piece for piece in service.dropped if len(piece) > 1]
    assert service.lost <= {number for piece in pieces for number in piece}
    assert len(service.requests) <= MOST_REFUSALS + MOST_PIECES + 20


def test_a_batch_of_offenders_alone_takes_at_most_eighty_requests() -> None:
    service = delivered(range(SIZE))
    assert len(service.requests) <= MOST_REFUSALS + MOST_PIECES
    assert service.accepted == []


@pytest.mark.parametrize("count", [1, 5, 50])
def test_nothing_is_asked_again_as_a_whole_whose_other_half_was_accepted(count: int) -> None:
    for seed in range(100):
        service = delivered(Random(seed).sample(range(SIZE), count))
        for place, asked in enumerate(service.requests):
            known = [
                whole
                for whole in service.requests[:place]
                if whole.start < asked.start and whole.stop == asked.stop and service.refuses(whole)
            ]
            accepted = {*service.accepted}
            for whole in known:
                rest_is_good = accepted.issuperset(range(whole.start, asked.start))
                assert len(asked) == 1 or not rest_is_good, f"seed {seed}: {whole}, then {asked}"


@pytest.mark.parametrize("most", [1, 7, 100, 250])
def test_a_batch_that_is_too_large_is_sent_in_parts_and_nothing_is_dropped(most: int) -> None:
    service = Service((), most)
    service.deliver()
    assert service.accepted == list(range(SIZE))
    assert service.dropped == []


def test_a_single_operation_that_is_too_large_costs_no_other() -> None:
    service = Service([123], 200)
    service.deliver()
    assert service.dropped == [range(123, 124)]
    assert service.lost == set()


def test_an_overflow_in_between_leaves_it_with_what_is_there() -> None:
    bisection = Bisection(0, 100)
    assert not bisection.refused(0, 100, for_size=False)
    assert bisection.size(0) == 50
    assert bisection.size(90) == 5  # the first ninety were dropped meanwhile
    bisection.accepted(90)
    assert bisection.size(99) == 1  # refused with others, never alone: asked once more
    assert not bisection.holds(100)


def test_numbers_go_on_behind_an_earlier_batch() -> None:
    service = Service([1010], SIZE)
    service.deliver(1000, 1100)
    assert service.dropped == [range(1010, 1011)]
    assert len(service.accepted) == 99
