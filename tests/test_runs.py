"""What the laboratory accepts where children may hang in OpenSSL, and what it does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from runs import Result
from whisperr.server.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 3.5
LINES: dict[str, list[dict[str, Any]]] = {
    "journal": [{"id": "a", "pid": 1}, {"id": "b", "pid": 2}],
    "ending": [{"pid": 2, "at": 10.0}],
    "reports": [{"pid": 2, "at": 13.1, "count": 1, "reason": "undelivered"}],
    "children": [{"pid": 2, "status": 0}],
    "stats": [{"balanced": True}],
}
HUNG_IN_CLEANUP: dict[str, list[dict[str, Any]]] = {
    "hung": [{"pid": 2, "where": "cleanup"}],
    "children": [],
}
FAILURES: dict[str, dict[str, list[dict[str, Any]]]] = {
    "a loss that nobody reported": {"reports": []},
    "a loss that was reported twice": {"reports": LINES["reports"] * 2},
    "a loss that another process reported": {"reports": [{**LINES["reports"][0], "pid": 1}]},
    "a late report": {"reports": [{**LINES["reports"][0], "at": 13.6}]},
    "another report": {"reports": [{**LINES["reports"][0], "reason": "overflow"}]},
    "a child that hangs in Python": {"hung": [{"pid": 2, "where": "python"}]},
    "a child that failed": {"children": [{"pid": 2, "status": 1}]},
    "accounts that do not balance": {"stats": [{"balanced": False}]},
}


def result(folder: Path, lines: dict[str, list[dict[str, Any]]], arrived: str = "a") -> Result:
    for name, values in {**LINES, **lines}.items():
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in values))
    lost = frozenset("ab") - frozenset(arrived)
    nothing: frozenset[str] = frozenset()
    ledger = Ledger(
        frozenset("ab"), frozenset(arrived), len(arrived), lost, nothing, nothing, nothing
    )
    return Result(0, 20.0, "", folder, ledger)


@pytest.mark.parametrize("lines", [{}, HUNG_IN_CLEANUP], ids=["in time", "in OPENSSL_cleanup"])
def test_a_loss_that_was_reported_in_time_is_accepted(
    tmp_path: Path, lines: dict[str, list[dict[str, Any]]]
) -> None:
    result(tmp_path, lines).assert_exactly_once_but_for_openssl(2, SECONDS)


@pytest.mark.parametrize("case", FAILURES)
def test_anything_else_is_not(tmp_path: Path, case: str) -> None:
    with pytest.raises(AssertionError):
        result(tmp_path, FAILURES[case]).assert_exactly_once_but_for_openssl(2, SECONDS)


def test_exactly_once_accepts_no_hung_child(tmp_path: Path) -> None:
    lines: dict[str, list[dict[str, Any]]] = {"reports": [], **HUNG_IN_CLEANUP}
    with pytest.raises(AssertionError):
        result(tmp_path, lines, "ab").assert_exactly_once(2)
    result(tmp_path, {"reports": [], "hung": []}, "ab").assert_exactly_once(2)
