"""The phases of a fleet's life, measured, and whether the bounds hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleet.fleet import Fleet
from fleet.simulation import simulated_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds until the first deliveries of workers that boot together are as spread as later ones.
WARM_UP = 30
STEADY = 120
MINUTE = 60

#: The most requests in a second, in means of the steady state.
STEADY_BOUND = 1.5
DEPLOY_BOUND = 2.0
OUTAGE_BOUND = 5.0
AFTER_BOUND = 2.5


@dataclass(frozen=True)
class Phase:
    """A part of a fleet's life.

    Attributes:
        name: for the table.
        requests: how many arrived in each second.
        bound: the most that may arrive in a second, in means of the steady state.
    """

    name: str
    requests: Sequence[int]
    bound: float

    def peak(self, steady: float) -> float:
        """The most in a second, in means of the steady state."""
        return max(self.requests) / steady

    def holds(self, steady: float) -> bool:
        """Whether the bound does."""
        return self.peak(steady) <= self.bound


@dataclass(frozen=True)
class Life:
    """What a fleet went through.

    Attributes:
        title: what the service answers while it is down.
        beginning: the boot and the steady state, the same for all.
        rest: what came then.
    """

    title: str
    beginning: Sequence[Phase]
    rest: Sequence[Phase]

    @property
    def phases(self) -> list[Phase]:
        """All, in order."""
        return [*self.beginning, *self.rest]

    @property
    def steady(self) -> float:
        """Requests in a second, on average, in the steady state."""
        requests = self.beginning[-1].requests
        return sum(requests) / len(requests)

    def holds(self) -> bool:
        """Whether every bound does."""
        return all(phase.holds(self.steady) for phase in self.phases)


def _begin(fleet: Fleet) -> list[Phase]:
    return [
        Phase("boot of all at once", fleet.run(WARM_UP), STEADY_BOUND),
        Phase("steady state", fleet.run(STEADY), STEADY_BOUND),
    ]


def usual_life(workers: int, seed: int) -> Life:
    """Steady state, a rolling deploy and an outage of five minutes."""
    with simulated_time() as simulation:
        fleet = Fleet(simulation, workers, seed)
        beginning = _begin(fleet)
        phases = [
            Phase("rolling deploy over ten minutes", fleet.deploy(10 * MINUTE), DEPLOY_BOUND),
            Phase("quiet before the outage", fleet.run(MINUTE // 2), STEADY_BOUND),
        ]
        outage = fleet.outage(5 * MINUTE)
        phases += [
            Phase("outage of five minutes, the first", outage[:MINUTE], OUTAGE_BOUND),
            Phase("outage of five minutes, the rest", outage[MINUTE:], OUTAGE_BOUND),
            Phase("the ten minutes after it", fleet.run(10 * MINUTE), AFTER_BOUND),
        ]
        assert not fleet.lost()
    return Life("503 without Retry-After", beginning, phases)


def same_retry_after(workers: int, seed: int) -> Life:
    """An outage of a minute in which everyone is given the same seconds."""
    return _short_outage("503, Retry-After: 30 s", workers, seed, lambda _left: 30)


def announced_end(workers: int, seed: int) -> Life:
    """An outage of a minute in which everyone is asked to come back in the same moment."""
    return _short_outage(
        "503, Retry-After: the moment of its end", workers, seed, lambda left: left
    )


def _short_outage(
    title: str, workers: int, seed: int, retry_after: Callable[[float], float]
) -> Life:
    with simulated_time() as simulation:
        fleet = Fleet(simulation, workers, seed)
        beginning = _begin(fleet)
        phases = [
            Phase("outage of one minute", fleet.outage(MINUTE, retry_after), OUTAGE_BOUND),
            Phase("the two minutes after it", fleet.run(2 * MINUTE), AFTER_BOUND),
        ]
        assert not fleet.lost()
    return Life(title, beginning, phases)


#: What the document shows.
LIVES = (usual_life, same_retry_after, announced_end)
