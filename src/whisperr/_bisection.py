"""How the rest of a refused batch is asked for, until each offender stands alone. Pure.

Operations are named by their numbers in the order of acceptance.
"""

from __future__ import annotations

#: After so many refusals in a row the rest of the batch is sent in a few pieces.
MOST_REFUSALS = 70
MOST_PIECES = 10
#: How much larger each request may be after one that was accepted.
_GROWTH = 8


class Bisection:
    """Narrows down on one offender at a time, and asks for the rest in growing requests.

    What was refused as a whole is halved; where its first half is accepted, the offender is in
    the second, which is halved at once. An operation is dropped where it was refused alone.

    Args:
        first: the number of the batch's first operation.
        end: the number after its last.
    """

    def __init__(self, first: int, end: int) -> None:
        self._end = end
        #: Operations from the oldest to below this one were refused together.
        self._suspect = first
        self._probe = 1
        self._piece = 0
        self._refusals = 0

    def holds(self, oldest: int | None) -> bool:
        """Whether the batch has operations left.

        Args:
            oldest: the number of the first operation that waits, None where none does.
        """
        return oldest is not None and oldest < self._end

    @property
    def in_pieces(self) -> bool:
        """Whether the rest is sent in a few pieces, each of which is lost where it is refused."""
        return bool(self._piece)

    def size(self, oldest: int) -> int:
        """How many operations, from the oldest on, the next request may have."""
        wanted = self._piece or self._probe
        if oldest < self._suspect and not self._piece:
            wanted = (self._suspect - oldest) // 2
        return max(1, min(wanted, self._end - oldest))

    def accepted(self, oldest: int) -> None:
        """The request was taken whose first operation had this number."""
        self._refusals = 0
        if oldest >= self._suspect:
            self._probe *= _GROWTH

    def refused(self, oldest: int, count: int, *, for_size: bool) -> bool:
        """A request was refused.

        Args:
            oldest: the number of its first operation.
            count: how many it had.
            for_size: whether it was too large, which says nothing about a part of it.

        Returns:
            Whether its operations are lost: it was a single one, or a piece.
        """
        if self._piece:
            return True
        self._refusals += 1
        alone = count == 1
        self._probe = max(1, count // 2) if for_size else 1
        if alone or not for_size:
            self._suspect = oldest + count
        if self._refusals >= MOST_REFUSALS:
            left = self._end - oldest - alone
            self._piece = max(1, -(-left // MOST_PIECES))
        return alone
