"""When the next try may be made. Pure: it is fed with the time and never waits.

All times are seconds of the monotonic clock.
"""

from __future__ import annotations

from random import Random

FIRST_DELAY = 0.5
#: In the first seconds of an outage every process makes its first retries. If the pauses only
#: doubled, a fleet would send six times as much as usual then (docs/fleet.md).
DELAY_GROWTH = 3
LONGEST_DELAY = 30.0
LONGEST_RETRY_AFTER = 60.0
LONGEST_REST = 300.0
#: Others were given the same Retry-After: the return is spread over this part of it.
RETRY_AFTER_SPREAD = 0.5
#: After so many failures in a row the service may be coming back for everyone: what piled up
#: meanwhile goes out at most every so many seconds on average, for a while.
OUTAGE_FAILURES = 3
CATCH_UP_PAUSE = 0.1
LONGEST_CATCH_UP = 60.0
#: At an exit a refused connection is tried twice, this far apart.
EXIT_REFUSED_DELAY = 0.25
_EXIT_REFUSED_TRIES = 2


class Backoff:
    """Full jitter, with the service's Retry-After as a floor.

    Args:
        max_retries: tries after the first of a round; then the round is spent.
        rest: seconds of the first pause after a spent round; it grows from round to round.
        random: where the jitter comes from; None seeds one at the first failure, since
            seeding takes a system call that gives up the GIL, and forked children share what
            was made before.
    """

    def __init__(self, max_retries: int, rest: float, random: Random | None = None) -> None:
        self._max_retries = max_retries
        self._rest = max(rest, 1.0)
        self._random = random
        self._failures = 0
        self._rounds = 0
        self._exit_refusals = 0
        self._floor = 0.0
        self.resume_at = 0.0
        #: Until when what piled up in an outage waits, unless someone waits for it.
        self.paced_until = 0.0
        self._catch_up_until = 0.0
        self.spent = False

    def jitter(self, least: float, most: float) -> float:
        """A random number of seconds between the two."""
        if self._random is None:
            self._random = Random()
        return self._random.uniform(least, most)

    def succeeded(self, now: float, *, behind: bool) -> None:
        """The service took something: the episode is over.

        Args:
            now: the time.
            behind: whether something is waiting.
        """
        if self._failures >= OUTAGE_FAILURES or self._rounds:
            self._catch_up_until = now + LONGEST_CATCH_UP
        if not behind:
            self._catch_up_until = 0.0
        elif now < self._catch_up_until:
            self.paced_until = now + self.jitter(0, 2 * CATCH_UP_PAUSE)
        self._failures = self._rounds = self._exit_refusals = 0
        self._floor = self.resume_at = 0.0
        self.spent = False

    def failed(self, now: float, retry_after: float | None) -> None:
        """A try failed; `retry_after` is the service's least pause in seconds, or None."""
        self._failures += 1
        if retry_after is not None:
            least = min(max(retry_after, 0.0), LONGEST_RETRY_AFTER)
            self._floor = now + least + self.jitter(0, least * RETRY_AFTER_SPREAD)
        if self._failures > self._max_retries:
            self.give_up(now)
            return
        longest = min(LONGEST_DELAY, FIRST_DELAY * DELAY_GROWTH ** min(self._failures - 1, 16))
        self.resume_at = max(self._floor, now + self.jitter(0, longest))

    def refused_at_exit(self, now: float) -> None:
        """Nothing listens and the process is ending: one more try, soon."""
        self._exit_refusals += 1
        if self._exit_refusals >= _EXIT_REFUSED_TRIES:
            self.give_up(now)
            return
        self.resume_at = max(self._floor, now + EXIT_REFUSED_DELAY)

    def give_up(self, now: float) -> None:
        """End the round; the next begins after a rest, or when something is flushed."""
        self.spent = True
        longest = min(LONGEST_REST, self._rest * 2 ** min(self._rounds, 16))
        self._rounds += 1
        self.resume_at = max(self._floor, now + self.jitter(longest / 2, longest))

    def hurry(self) -> None:
        """Someone waits: end our own pause and begin a new round. The service's pause stays."""
        if self.spent:
            self._failures = 0
        self._exit_refusals = 0
        self.spent = False
        self.resume_at = self._floor
