"""A fleet does not hurt the service: thousands of clients in simulated time, see docs/fleet.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet import document
from fleet.figures import (
    AFTER_BOUND,
    DEPLOY_BOUND,
    MINUTE,
    OUTAGE_BOUND,
    STEADY_BOUND,
    WARM_UP,
    announced_end,
)
from fleet.fleet import Fleet
from fleet.simulation import simulated_time
from tables import table
from whisperr._operation import Identify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleet.simulation import Simulation

SEED = 1
#: What a process may send in a second, on average, while it catches up after an outage.
PACE_BOUND = 10


@pytest.fixture
def simulation() -> Iterator[Simulation]:
    with simulated_time() as simulation:
        yield simulation


def steady(fleet: Fleet) -> float:
    """Requests in a second, on average, as soon as the fleet is in its steady state."""
    fleet.run(WARM_UP)
    requests = fleet.run(WARM_UP)
    return sum(requests) / len(requests)


def test_workers_that_boot_together_do_not_post_together(simulation: Simulation) -> None:
    fleet = Fleet(simulation, 2000, SEED)
    requests = fleet.run(2 * WARM_UP)
    mean = sum(requests[WARM_UP:]) / WARM_UP
    assert mean == pytest.approx(200, rel=0.05)
    assert max(requests) <= STEADY_BOUND * mean


def test_a_rolling_deploy_adds_little_and_loses_nothing(simulation: Simulation) -> None:
    """Within one minute instead of ten, which is harder."""
    fleet = Fleet(simulation, 1000, SEED)
    mean = steady(fleet)
    assert max(fleet.deploy(MINUTE)) <= DEPLOY_BOUND * mean
    assert not fleet.lost()


def test_the_first_seconds_of_an_outage_are_its_worst(simulation: Simulation) -> None:
    fleet = Fleet(simulation, 1500, SEED)
    mean = steady(fleet)
    requests = fleet.outage(MINUTE // 2)
    assert max(requests) <= OUTAGE_BOUND * mean
    assert max(requests[MINUTE // 4 :]) <= 2 * mean


def test_the_minutes_after_an_outage_of_five(simulation: Simulation) -> None:
    fleet = Fleet(simulation, 500, SEED)
    mean = steady(fleet)
    fleet.outage(5 * MINUTE)
    requests = fleet.run(6 * MINUTE)
    assert max(requests) <= AFTER_BOUND * mean
    assert sum(requests[-WARM_UP:]) == pytest.approx(WARM_UP * mean, rel=0.1)
    assert not fleet.lost()


def test_a_return_for_which_everyone_is_given_the_same_moment(simulation: Simulation) -> None:
    fleet = Fleet(simulation, 1000, SEED)
    mean = steady(fleet)
    fleet.outage(MINUTE, lambda left: left)
    assert max(fleet.run(MINUTE)) <= AFTER_BOUND * mean


def test_a_return_for_which_everyone_is_given_the_same_seconds(simulation: Simulation) -> None:
    fleet = Fleet(simulation, 1000, SEED)
    mean = steady(fleet)
    fleet.outage(MINUTE, lambda _left: 30)
    assert max(fleet.run(MINUTE)) <= AFTER_BOUND * mean


def test_workers_that_failed_in_one_moment_do_not_come_back_in_one(simulation: Simulation) -> None:
    fleet = Fleet(simulation, 1000, SEED)
    mean = steady(fleet)
    fleet.flush()
    requests = fleet.outage(MINUTE)
    assert requests[0] >= 1000
    assert max(requests[3:]) <= OUTAGE_BOUND * mean


@pytest.mark.parametrize("body", [b"{}", Identify(b"{}")], ids=["event", "identify"])
def test_a_backlog_of_many_requests_goes_out_at_a_pace(simulation: Simulation, body: bytes) -> None:
    """An identify takes a request of its own, and so do so many events here."""
    rate, size = (2, 500) if type(body) is Identify else (20, 20)
    worker = Fleet(simulation, 1, SEED, rate=rate, body=body, options={"max_batch_size": size})
    worker.run(WARM_UP)
    worker.outage(2 * MINUTE)
    requests = worker.run(4 * MINUTE)
    first = next(second for second, count in enumerate(requests) if count)
    window = requests[first + 1 : first + 11]
    assert 0 < sum(window) <= PACE_BOUND * len(window)
    assert not worker.lost()


@pytest.mark.parametrize("outage", [20, 300])
def test_the_first_delivery_after_an_outage_without_any_flush(
    simulation: Simulation, outage: int
) -> None:
    """As docs/delivery.md says: within twice the outage and an interval, 30 s at least."""
    fleet = Fleet(simulation, 200, SEED)
    fleet.run(WARM_UP)
    fleet.outage(outage)
    recovery = fleet.now
    fleet.run(min(max(30, 2 * outage + 10), 300) + 1)
    assert fleet.silent_since(recovery) == 0


def test_the_figures_in_the_document_obey_the_bounds() -> None:
    rows = table("fleet.md", document.COLUMNS[0])
    bounds = {row[1]: float(row[-1]) for row in rows}
    assert bounds["steady state"] == STEADY_BOUND
    assert {DEPLOY_BOUND, OUTAGE_BOUND, AFTER_BOUND} <= {*bounds.values()}
    for row in rows:
        assert float(row[-2]) <= float(row[-1]), row


def test_the_same_figures_are_written_as_the_same_bytes(tmp_path: Path) -> None:
    life = announced_end(40, SEED)
    written = []
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "fleet.md").write_text(f"# A\n{document.BEGIN}\nold\n{document.END}\nafter\n")
        document.write(folder, "summary", [life, announced_end(40, SEED)])
        written.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert written[0] == written[1]
    assert b"old" not in written[0][0]
