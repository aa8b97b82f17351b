"""Each cell of the table in docs/hosts.md, in the real host; see laboratory.py and row.py."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from hosts.environments import environments
from hosts.laboratory import Laboratory
from hosts.row import NORMAL, STOP, Cell, Ending, Row, cells_of
from hosts.rows import ALL_ROWS

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from harness import LocalServer

#: What the workers track, beside what is tracked at import.
OPERATIONS = 1000
#: The last of them meet the delay, so that it has not passed when the ending begins.
LAST = 100
HOLDS = 5
#: How often a cell is tried whose host counts seconds; see `Ending.hurry`.
TRIES = 3
#: Without an ending, all that is queued is delivered by the timer: 10 s by default.
TIMER_SECONDS = 20.0


CELLS = [
    pytest.param(
        cell, cell.row.scheme, id=cell.id, marks=[] if cell.is_usual else [pytest.mark.hosts]
    )
    for version in environments()
    for row in ALL_ROWS
    for cell in cells_of(row, version)
    if cell.is_usual or "WHISPERR_HOSTS" in os.environ
]


@pytest.mark.parametrize(("cell", "server"), CELLS, indirect=["server"])
def test_a_host_loses_nothing_but_what_its_row_declares(
    cell: Cell, server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    hurry = None if cell.ending == NORMAL else cell.row.endings[cell.ending].hurry
    for again in range(TRIES - 1) if hurry else ():
        folder = tmp_path / str(again)
        folder.mkdir()
        try:
            _run(cell, server, f"{api_key}{again}", folder)
        except AssertionError:
            if hurry is None or hurry not in (folder / "output").read_text():
                raise
        else:
            return
    _run(cell, server, api_key, tmp_path)


def _run(cell: Cell, server: LocalServer, api_key: str, folder: Path) -> None:
    started = time.monotonic()
    environment = environments()[cell.version]
    with Laboratory(environment, folder, server, api_key, cell.ending) as lab:
        lab.variables = {
            "LAB_STATE": "queued" if cell.state == "queued" else "held",
            "LAB_BOOT": str(cell.row.boot),
            "LAB_HOOKS": "off" if cell.control else "on",
        }
        cell.row.start(lab)
        assert len(lab.tracked()) == cell.row.boot
        if cell.ending == NORMAL:
            _operate(lab, cell)
        else:
            _end(lab, cell)
        _record(lab, cell, time.monotonic() - started)


def _operate(lab: Laboratory, cell: Cell) -> None:
    """Everything arrives while the host goes on; then its stop changes nothing."""
    cell.row.work(lab, OPERATIONS)
    expected = OPERATIONS + cell.row.boot
    lab.wait_until(lambda: lab.arrived() >= expected, TIMER_SECONDS)
    _assert_exactly_once(lab, expected=expected)
    _stop(lab, cell)
    _assert_exactly_once(lab, expected=expected)


def _end(lab: Laboratory, cell: Cell) -> None:
    """Work, see that the state is as it should be, end, and judge what arrived by that."""
    ending = cell.row.endings[cell.ending]
    _queue(lab, cell.row) if cell.state == "queued" else _hold(lab, cell.row, ending.delay)
    tracked = len(lab.tracked())
    assert tracked >= OPERATIONS + cell.row.boot
    ended = ending.end(lab)
    assert ended, "the ending ends nobody who tracked"
    if ending.ends_host:
        lab.wait_for_host()
    lab.wait_for_end(ended)
    if cell.control:
        _assert_lost(lab, ended)
    elif ending.bound is None:
        _assert_exactly_once(lab, ended)
    else:
        _assert_bound(lab, ended, ending)
    if not ending.ends_host:
        _stop(lab, cell)
    if not (cell.control or ending.bound):
        _assert_exactly_once(lab, expected=tracked)
    elif not (cell.control or _stop_loses(cell.row)):
        assert lab.ledger().lost <= lab.tracked(ended), f"{lab.account()}\n{lab.output}"


def _stop_loses(row: Row) -> bool:
    return STOP in row.endings and row.endings[STOP].bound is not None


def _queue(lab: Laboratory, row: Row) -> None:
    """Everything that the workers tracked is queued."""
    row.work(lab, OPERATIONS)
    assert not lab.ledger(lab.workers()).arrived, "something was delivered before the ending"


def _hold(lab: Laboratory, row: Row, delay: float) -> None:
    """A worker waits for an answer that the server holds back."""
    row.work(lab, OPERATIONS - LAST)
    for _ in range(HOLDS):  # again where this machine was too slow
        armed = time.monotonic()
        lab.arm_delay(delay)
        row.work(lab, LAST)
        lab.wait_until(lambda: not lab.delay_is_armed())
        if time.monotonic() - armed < delay:
            return
    pytest.fail("no exchange was under way when the workers had worked")


def _stop(lab: Laboratory, cell: Cell) -> None:
    cell.row.stop(lab)
    lab.wait_for_host()


def _assert_exactly_once(
    lab: Laboratory, pids: Collection[int] | None = None, expected: int = 1
) -> None:
    ledger = lab.ledger(pids)
    assert ledger.exactly_once, f"{lab.account(pids)}\n{lab.output}"
    assert len(ledger.tracked) >= expected, lab.account(pids)
    assert not lab.lines("reports"), f"{lab.lines('reports')[:3]}\n{lab.output}"


def _assert_lost(lab: Laboratory, pids: Collection[int]) -> None:
    """The control: with hooks that do nothing the ending loses, so that the cell can fail."""
    ledger = lab.ledger(pids)
    assert ledger.lost, "everything arrived although the hooks do nothing"
    assert not ledger.twice | ledger.resent | ledger.unknown, lab.account()


def _assert_bound(lab: Laboratory, pids: Collection[int], ending: Ending) -> None:
    """No hook runs in these processes: they lose no more than declared."""
    ledger = lab.ledger(pids)
    most = len(ledger.tracked) if ending.most is None else ending.most(lab, pids)
    assert len(ledger.lost) <= most, lab.account()
    assert not ledger.twice | ledger.resent | ledger.unknown, lab.account()


def _record(lab: Laboratory, cell: Cell, seconds: float) -> None:
    """One line for table.py."""
    path = os.environ.get("WHISPERR_HOSTS_RESULTS")
    if path is None:
        return
    ledger = lab.ledger()
    line = {
        "row": cell.row.name,
        "ending": cell.ending,
        "state": cell.state,
        "version": cell.version,
        "control": cell.control,
        "tracked": len(ledger.tracked),
        "lost": len(ledger.lost),
        "twice": len(ledger.twice),
        "resent": len(ledger.resent),
        "seconds": round(seconds, 1),
    }
    with open(path, "a", encoding="utf-8") as results:
        results.write(json.dumps(line) + "\n")
