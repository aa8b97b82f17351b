"""The simple model: what a process's client owes, by its calls and by what arrived."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .service import SILENCE

if TYPE_CHECKING:
    from whisperr import FlushResult, Stats, WhisperrError

    from .service import Arrival

#: What no client waits longer for (CONTRACT: Retry-After).
_LONGEST_RETRY_AFTER = 60
_AUTH = frozenset({401, 403})
_REFUSED = frozenset({400, 413, 422})
_PATHS = {"event": "/v1/events/batch", "identify": "/v1/identify"}


@dataclass(frozen=True)
class Call:
    """One call of the client.

    Attributes:
        user: its user id, given once.
        kind: ``event``, ``malformed`` (an event that an older service answers 400 for),
            ``identify``, or why the client refuses it: ``invalid``, ``too_large``.
    """

    user: str
    kind: str

    @property
    def path(self) -> str:
        return _PATHS["identify" if self.kind == "identify" else "event"]


class Model:
    """Calls go in at one end of a queue, and what arrives must be its other end.

    So operations arrive in the order of acceptance, none is passed over, and none comes again
    once it was taken or lost.

    Args:
        max_queue_size: the option of the client's.
        max_batch_size: the option of the client's.
    """

    def __init__(self, max_queue_size: int, max_batch_size: int) -> None:
        self._max_queue_size = max_queue_size
        self._max_batch_size = max_batch_size
        #: Accepted and neither taken nor lost, the oldest first.
        self.owed: deque[Call] = deque()
        #: So many of the oldest are in a request that was not answered yet.
        self._in_flight = 0
        self._message_ids: dict[str, str] = {}
        self._not_before = 0.0
        self._auth_said = False
        self.auth_episodes = 0
        self.closed = False
        self.called = self.accepted = self.delivered = 0
        self.refused: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    def call(self, call: Call) -> None:
        """The client was called."""
        self.called += 1
        if self.closed or call.kind in ("invalid", "too_large"):
            self.refused["closed" if self.closed else call.kind] += 1
            return
        self.accepted += 1
        self.owed.append(call)
        self._overflow()

    def _overflow(self) -> None:
        """The oldest go, but not those in flight."""
        while len(self.owed) - self._in_flight > self._max_queue_size:
            del self.owed[self._in_flight]
            self.dropped["overflow"] += 1

    def arrive(self, arrival: Arrival) -> None:
        """The service got a request and answered it."""
        self._land()
        count = len(arrival.users)
        oldest = [self.owed[index] for index in range(min(count, len(self.owed)))]
        assert arrival.users == [call.user for call in oldest], (arrival, self.owed)
        assert {arrival.path} == {call.path for call in oldest}
        assert count <= (1 if arrival.path == _PATHS["identify"] else self._max_batch_size)
        assert arrival.at >= self._not_before, "The service had asked for a longer pause."
        for user, message_id in zip(arrival.users, arrival.message_ids, strict=True):
            assert self._message_ids.setdefault(user, message_id) == message_id
        self._answer(arrival, count)

    def _answer(self, arrival: Arrival, count: int) -> None:
        answer = arrival.answer
        if answer.taken:
            self.delivered += count - answer.rejected
            self.dropped["rejected"] += answer.rejected
            self._settle(count)
        elif answer == SILENCE:
            self._in_flight = count
        elif answer.status in _AUTH:
            self.auth_episodes += not self._auth_said
            self._auth_said = True
        elif answer.retry_after is not None:
            self._not_before = arrival.at + min(answer.retry_after, _LONGEST_RETRY_AFTER)
        elif answer.status in _REFUSED and count == 1:  # a batch is asked for in parts
            self.dropped["too_large" if answer.status == 413 else "rejected"] += 1
            self._settle(1)

    def _settle(self, count: int) -> None:
        for _ in range(count):
            self.owed.popleft()
        self._auth_said = False

    def _land(self) -> None:
        """What was in flight is back in the queue."""
        self._in_flight = 0
        self._overflow()

    def judge(self, stats: Stats) -> None:
        """The accounts balance, and say what the calls and the arrivals say."""
        assert stats.balanced, stats
        if not stats.in_flight:
            self._land()
        assert stats.in_flight == self._in_flight
        assert stats.in_flight + stats.queued == len(self.owed), (stats, self.owed)
        assert (stats.called, stats.accepted) == (self.called, self.accepted), stats
        assert stats.delivered == self.delivered, stats
        assert +Counter(stats.refused) == +self.refused
        assert +Counter(stats.dropped) == +self.dropped

    def judge_flush(self, result: FlushResult, before: tuple[int, int]) -> tuple[int, int]:
        """Its counts are those since the flush before, whose totals are given and returned."""
        totals = self.delivered, sum(self.dropped.values())
        assert (result.delivered, result.dropped) == (totals[0] - before[0], totals[1] - before[1])
        assert result.queued == len(self.owed)
        return totals

    def judge_reports(self, reports: list[WhisperrError], *, complete: bool) -> None:
        """Nothing is reported twice; where all must have been said, nothing is missing."""
        said: Counter[str] = Counter()
        for report in reports:
            if report.type == "dropped":
                said[str(report.reason)] += report.count
        lost = self.dropped + self.refused  # both have a too_large
        closed = lost.pop("closed", 0)
        assert said.pop("closed", 0) <= closed
        assert said <= lost, (said, lost)
        assert said == lost or not complete, (said, lost)
        assert sum(report.type == "auth" for report in reports) == self.auth_episodes
