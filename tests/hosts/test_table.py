"""What docs/hosts.md says is what the rows declare."""

from __future__ import annotations

import pytest

from hosts.row import COLUMNS, Row
from hosts.rows import ALL_ROWS
from hosts.table import NONE, endings_of
from tables import table

DOCUMENTED = {cells[0]: cells[1:] for cells in table("hosts.md", "host")}


def test_the_document_has_every_row_in_its_order() -> None:
    assert list(DOCUMENTED) == [row.name for row in ALL_ROWS]


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.slug)
def test_each_cell_says_whether_there_is_such_an_ending_and_whether_it_loses(row: Row) -> None:
    for column, cell in zip(COLUMNS, DOCUMENTED[row.name], strict=True):
        names = endings_of(row, column)
        assert (cell == NONE) == (not names), (column, cell)
        assert (column in row.missing) == (not names), f"no reason for {column}"
        bounds = [name for name in names if name in row.endings and row.endings[name].bound]
        assert cell.count("(bound)") == len(bounds), (column, cell)
        for part in cell.split("<br>") if names else []:
            assert "(bound)" in part or part.split(": ")[-1].startswith("0 of "), (column, cell)


def test_every_host_has_one_usual_cell() -> None:
    for host in {row.host for row in ALL_ROWS}:
        usual = [row.usual for row in ALL_ROWS if row.host == host and row.usual is not None]
        assert len(usual) == 1, (host, usual)


def test_names_and_endings_are_told_apart_in_the_ids() -> None:
    assert len({row.slug for row in ALL_ROWS}) == len(ALL_ROWS)
    for row in ALL_ROWS:
        assert all(
            ending.column in COLUMNS and ending.column not in row.missing
            for ending in row.endings.values()
        )
