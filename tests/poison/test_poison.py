"""Good events arrive as they are beside poisoned ones, which come to what docs/values.md says."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from runs import run_script
from tables import codes, table

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer
    from runs import Result

SCRIPT = "poison/poison_scenarios.py"
GOOD = POISONED = 100
ROWS = {(poison, example): rest for poison, example, *rest in table("values.md", "Poison")}
NAMED = (
    *("datetime", "Decimal", "UUID", "Enum", "set", "object", "NaN", "lone surrogate", "2 MiB"),
    *("cyclic", "64 bits", "bytes", "numpy", "items()", "never comes", "tracks", "right after"),
)


@pytest.mark.parametrize("name", NAMED)
def test_the_document_says_what_becomes_of(name: str) -> None:
    assert any(name in poison for poison, _ in ROWS), ROWS


@pytest.mark.parametrize("encoder", ["with_orjson", "without_orjson"])
def test_good_events_arrive_unchanged_and_poisoned_ones_as_documented(
    server: LocalServer, api_key: str, tmp_path: Path, encoder: str
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, encoder, seconds=60)
    assert result.status == 0, result.output
    arrivals = server.arrivals(api_key)
    arrived = {row["message_id"]: row["body"]["properties"] for row in arrivals}
    assert len(arrived) == len(arrivals)
    good, poisoned = result.lines("good"), result.lines("poison")
    assert (len(good), len(poisoned)) == (GOOD, POISONED)
    for line in good:
        assert as_text(arrived.pop(line["id"])) == as_text(line["passed"])
    for line in poisoned:
        assert_as_documented(line, arrived.pop(line["id"], None))
    assert not arrived, "what nobody tracked"
    assert_reported(result)
    assert [line["balanced"] for line in result.lines("stats")] == [True]


def assert_as_documented(line: dict[str, Any], properties: Any) -> None:
    """The event arrived in its row's form, or did not where the row says so."""
    arrives, _ = ROWS[line["poison"], line["example"]]
    if arrives == "nothing":
        assert properties is None, line
    elif "…" in arrives:
        assert codes(arrives)[0] in as_text(properties), line
    else:
        assert as_text(properties) == as_text(json.loads(codes(arrives)[0])), line


def assert_reported(result: Result) -> None:
    """What did not arrive was reported with its reason and count, and nothing else was."""
    expected: Counter[str] = Counter()
    for line in result.lines("poison"):
        arrives, reported = ROWS[line["poison"], line["example"]]
        assert (arrives == "nothing") == bool(codes(reported))
        expected.update(codes(reported))
    counted: Counter[str] = Counter()
    for report in result.lines("reports"):
        assert (report["type"], report["event_types"]) == ("dropped", ["something_happened"])
        counted[report["reason"]] += report["count"]
    assert counted == expected


def as_text(value: Any) -> str:
    """JSON in which what differs in kind differs: 1, 1.0 and true are three values."""
    return json.dumps(value, sort_keys=True)
