"""What docs/hosts.md says is what the rows declare."""

from __future__ import annotations

import pytest

from hosts.row import COLUMNS, Row
from hosts.rows import ALL_ROWS
from hosts.table import NONE, endings_of, note
from tables import DOCS, table

PAGE = (DOCS / "hosts.md").read_text()
DOCUMENTED = {cells[0]: cells[1:] for cells in table("hosts.md", "host")}


def test_the_document_has_every_row_in_its_order() -> None:
    assert list(DOCUMENTED) == [row.name for row in ALL_ROWS]


@pytest.mark.parametrize("row", ALL_ROWS, ids=lambda row: row.slug)
def test_each_cell_says_whether_there_is_such_an_ending_and_whether_it_loses(row: Row) -> None:
    for column, cell in zip(COLUMNS, DOCUMENTED[row.name], strict=True):
        names = endings_of(row, column)
        assert (column in row.missing) == (not names), f"no reason for {column}"
        if not names:
            assert cell == f"{NONE} ({note(row.missing[column])})"
            continue
        for name, part in zip(names, cell.split("<br>"), strict=True):
            bound = row.endings[name].bound if name in row.endings else None
            losses = part.split(": ")[-1]
            assert losses.endswith(f" (bound, {note(bound)})") if bound else losses[:5] == "0 of "


def test_the_document_has_every_note_under_its_number() -> None:
    sentences = {*(bound for row in ALL_ROWS for bound in _bounds(row)), *_reasons()}
    for sentence in sentences:
        assert f"\n{note(sentence).removeprefix('note ')}. {sentence}\n" in PAGE


def _bounds(row: Row) -> list[str]:
    return [ending.bound for ending in row.endings.values() if ending.bound is not None]


def _reasons() -> list[str]:
    return [reason for row in ALL_ROWS for reason in row.missing.values()]


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
