"""What every load test asks of the script that it ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runs import Result


def assert_nothing_lost(result: Result, tracked: int) -> None:
    """Each id arrived, none twice (though maybe resent), and every process's accounts balance."""
    ledger = result.ledger
    assert result.status == 0, result.output
    assert len(ledger.tracked) == tracked
    assert not ledger.lost | ledger.unknown | ledger.twice, result.account()
    assert not result.lines("hung"), result.account()
    assert all(line["status"] == 0 for line in result.lines("children")), result.output
    stats = result.lines("stats")
    assert stats
    assert all(line["balanced"] for line in stats), stats
