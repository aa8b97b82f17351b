"""Reading the tables of the documents, so that a document is a part of the test."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
_CELLS = re.compile(r"(?<!\\)\|")


def table(document: str, first_column: str) -> list[list[str]]:
    """The rows of the table in docs/ whose first column has this name."""
    rows: list[list[str]] = []
    for line in (DOCS / document).read_text().splitlines():
        cells = [cell.strip() for cell in _CELLS.split(line.strip().strip("|"))]
        if line.startswith(f"| {first_column} |"):
            rows = [cells]
        elif rows and not line.startswith("|"):
            break
        elif rows:
            rows.append(cells)
    assert len(rows) > 2, f"docs/{document} has no table {first_column}"
    return rows[2:]


def codes(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def python_block(document: str) -> str:
    """The first Python block of a document."""
    found = re.search(r"```python\n(.*?)```", (DOCS / document).read_text(), re.DOTALL)
    assert found, f"docs/{document} has no Python block"
    return found[1]
