"""The table of docs/hosts.md: made of what the cells recorded, and read again by a test."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from hosts.row import COLUMNS, NORMAL, Row
from hosts.rows import ALL_ROWS

BEGIN, END = "<!-- written by make hosts -->", "<!-- end -->"
#: In the table: there is no such ending, and no result.
NONE, NOT_RUN = "none", "not run"

Result = dict[str, Any]


def write(results: list[Result], document: Path) -> None:
    """Put the table between the two marks of a document."""
    before, rest = document.read_text().split(BEGIN, 1)
    _, after = rest.split(END, 1)
    document.write_text(f"{before}{BEGIN}\n{render(results)}\n{END}{after}")


def render(results: list[Result]) -> str:
    """The table, then its notes."""
    lines = [["host", *COLUMNS.values()], ["---"] * (len(COLUMNS) + 1)]
    lines += [[row.name, *(_cell(row, column, results) for column in COLUMNS)] for row in ALL_ROWS]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    notes = "\n".join(f"{number}. {text}" for number, text in enumerate(_sentences(), 1))
    return f"{table}\n\n{notes}"


def endings_of(row: Row, column: str) -> list[str]:
    """The names of a row's endings in a column; `normal` is in its own."""
    if column == NORMAL:
        return [] if NORMAL in row.missing else [NORMAL]
    return [name for name, ending in row.endings.items() if ending.column == column]


def _cell(row: Row, column: str, results: list[Result]) -> str:
    parts = []
    for name in endings_of(row, column):
        text = _losses(row, name, results)
        parts.append(text if name == column else f"{name}: {text}")
    return "<br>".join(parts) or f"{NONE} ({note(row.missing[column])})"


def _losses(row: Row, ending: str, results: list[Result]) -> str:
    cells = [
        result
        for result in results
        if (result["row"], result["ending"]) == (row.name, ending) and not result["control"]
    ]
    if not cells:
        return NOT_RUN
    lost, tracked = (sum(cell[name] for cell in cells) for name in ("lost", "tracked"))
    text = f"{lost:,} of {tracked:,}".replace(",", " ")
    bound = None if ending == NORMAL else row.endings[ending].bound
    return text if bound is None else f"{text} (bound, {note(bound)})"


def note(sentence: str) -> str:
    """Where the document says it, such as "note 3"."""
    return f"note {_sentences().index(sentence) + 1}"


def _sentences() -> list[str]:
    """What is said of bounds and of endings that a host does not have, as the table asks for it."""
    said = [
        sentence
        for row in ALL_ROWS
        for column in COLUMNS
        for sentence in (
            *(row.endings[name].bound for name in endings_of(row, column) if name != NORMAL),
            row.missing.get(column),
        )
        if sentence is not None
    ]
    return list(dict.fromkeys(said))


def main(path: str, *documents: str) -> None:
    """Print the table of a file of results, and write it into a document."""
    results = [json.loads(line) for line in Path(path).read_text().splitlines()]
    print(render(results))
    print(f"{len(results)} cells, {sum(result['seconds'] for result in results):.0f} s in all")
    for document in documents:
        write(results, Path(document))


if __name__ == "__main__":
    main(*sys.argv[1:])
