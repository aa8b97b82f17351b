"""The benchmark measures what it says, and counts no run whose work was not done."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.__main__ import capture, parts, run
from bench.arrivals import take
from bench.peers import INCUMBENT, OURS, Peer
from bench.plan import ROWS
from bench.report import figures, goals_table, table, write

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it measures on Linux")

HERE = Path(sys.prefix)
DOCS = Path(__file__).parents[2] / "docs"
#: In the environment that runs the tests.
CLIENTS = [Peer(HERE.name, client, ()) for client in ("whisperr", "limit")]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with capture() as url:
        yield url


def post(url: str, *ids: str) -> None:
    body = " ".join(ids).encode()
    with urllib.request.urlopen(f"{url}/batch", body) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("client", CLIENTS, ids=lambda peer: peer.client)
@pytest.mark.parametrize(
    ("measure", "given", "figure"),
    [
        ("calls", ("400", "4", "large"), "call"),
        ("delivery", ("1200", "1", "small"), "cpu"),
        ("tail", ("400", "sending"), "p999"),
        ("tail", ("400", "busy"), "p999"),
        ("memory", ("2000",), "bytes"),
        ("imports", (), "seconds"),
        ("hook", ("2",), "hook"),
        ("fork", ("3",), "above"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_measure_gives_its_figure_and_everything_arrived_once(
    url: str, client: Peer, measure: str, given: tuple[str, ...], figure: str
) -> None:
    result = run(client, measure, given, url, HERE.parent)
    assert result["problem"] == ""
    assert figure in result["figures"]
    if measure == "delivery":
        assert result["figures"]["requests"] >= 3
        assert result["figures"]["wire"] > 1200 * 200


def test_every_row_is_a_measure_and_the_table_has_its_medians() -> None:
    runs = [
        {
            "peer": OURS.name,
            "measure": row.measure,
            "arguments": list(row.arguments),
            "problem": "",
            "figures": {row.figure: figure},
        }
        for row in ROWS
        for figure in (1.0, 3.0, 2.0)
    ]
    result = {"runs": runs, "rounds": 3, "python": "3"}
    lines = table(result).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:-2]] == [row.title for row in ROWS]
    assert figures(result, ROWS[0], OURS.name) == [1e6, 3e6, 2e6]
    assert "**2000000.00** (1000000.00 to 3000000.00)" in lines[2]


def test_a_goal_is_reached_or_not_by_the_medians() -> None:
    def runs(peer: Peer, figures: list[float]) -> list[dict[str, object]]:
        row = ROWS[0]
        what = {"measure": row.measure, "arguments": list(row.arguments)}
        return [{"peer": peer.name, **what, "figures": {row.figure: it}} for it in figures]

    def verdict(ours: list[float]) -> str:
        lines = goals_table({"runs": [*runs(OURS, ours), *runs(INCUMBENT, [6, 9, 7])]}).split("\n")
        assert len(lines) == 3
        return lines[2].split(" | ")[-1].split()[0]

    assert verdict([2.0, 1.0, 9.0]) == "yes"
    assert verdict([1.0, 3.0, 9.0]) == "no"


def test_the_steps_of_a_call_add_up_to_it_and_a_child_s_are_found(url: str) -> None:
    seconds, faults, forks, call = parts(CLIENTS[0], url, HERE.parent).values()
    *steps, whole = call.values()
    assert sum(steps) == pytest.approx(whole)
    assert seconds.keys() == faults.keys()
    assert faults["the state of the process"] > faults["the third call"]
    assert forks["nothing"] < forks["whisperr"]


def test_the_page_has_what_the_runs_say(tmp_path: Path) -> None:
    page = (DOCS / "performance.md").read_text()
    (tmp_path / "performance.md").write_text(page)
    write(tmp_path, json.loads((DOCS / "performance.json").read_text()))
    assert (tmp_path / "performance.md").read_text() == page
    # Not the chart: its bytes are another release of matplotlib's others.
    assert (tmp_path / "performance.json").read_text() == (DOCS / "performance.json").read_text()


def test_what_arrived_twice_or_changed_or_not_at_all_is_a_problem(url: str) -> None:
    take(url)
    post(url, "ev0000001.", "ev0000002.")
    assert take(url).problem(2) == ""
    post(url, "ev0000001.", "ev0000002.")
    assert "1 did not arrive" in take(url).problem(3)
    post(url, "ev0000001.", "ev0000001.")
    assert "1 arrived twice" in take(url).problem(1)
    post(url, "ev0000001.", "changed after the call")
    assert "1 of 2 did not arrive with the values" in take(url).problem(2)
    post(url, "ev0000003.", "ev0000003.", "ev0000003.")
    assert "2 of 3 did not arrive with the values" in take(url).problem(3)


def test_a_peer_that_fails_is_a_problem_with_its_last_words(url: str) -> None:
    broken = Peer(HERE.name, "nobody", ())
    result = run(broken, "calls", ("10", "1", "small"), url, HERE.parent)
    assert "KeyError" in result["problem"]
    assert result["figures"].keys() == {"requests", "connections", "wire"}
