"""The runs as JSON, a table and a chart in docs/."""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.peers import INCUMBENT, PEERS
from bench.plan import GOALS, RATE, ROWS, Goal, Row

if TYPE_CHECKING:
    from pathlib import Path

END = "<!-- end -->"
_NO_METADATA = {"Date": None, "Creator": None}


def write(folder: Path, result: dict[str, Any]) -> None:
    """Write performance.json, performance.svg and between the marks of performance.md."""
    (folder / "performance.json").write_text(json.dumps(result, indent=1) + "\n")
    document = folder / "performance.md"
    for begin, make in TABLES.items():
        text = make(result)
        before, rest = document.read_text().split(begin, 1)
        after = rest.split(END, 1)[1]
        document.write_text(f"{before}{begin}\n{text}\n{END}{after}")
    plot(folder / "performance.svg", result)


def figures(result: dict[str, Any], row: Row, peer: str) -> list[float]:
    """The row's figure in each run of the peer that counts."""
    return [
        run["figures"][row.figure] * row.scale
        for run in result["runs"]
        if (run["peer"], run["measure"], tuple(run["arguments"]))
        == (peer, row.measure, row.arguments)
        and row.figure in run["figures"]
    ]


def table(result: dict[str, Any]) -> str:
    """A row for each figure, a column for each peer: the median, the spread, and the ratio."""
    peers = [peer.name for peer in PEERS if any(run["peer"] == peer.name for run in result["runs"])]
    lines = [["", *peers], ["---", *["---:"] * len(peers)]]
    for row in ROWS:
        cells = [_cell(result, row, peer) for peer in peers]
        if any(cells):
            lines.append([row.title, *cells])
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    where = f"{result['rounds']} rounds on Python {result['python']}."
    return "\n".join([*rows, "", where, *_problems(result)])


def goals_table(result: dict[str, Any]) -> str:
    """What our figures should be, what they are, and whether that is reached."""
    head = ("", "of", "over", "goal", "measured", "reached")
    lines = [head, ("---", "---", "---", "---:", "---:", "---")]
    for goal in GOALS:
        value = _measured(result, goal)
        if value is None:
            continue
        over = (goal.base or goal.over.name) if goal.over else ""
        at_least = goal.row == RATE
        kept = value >= goal.bound if at_least else value <= goal.bound
        bound = f"{'at least' if at_least else 'at most'} {goal.bound:.3g}"
        verdict = "yes" if kept else "no"
        lines.append((goal.row, goal.peer.name, over, bound, _short(value), verdict))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _measured(result: dict[str, Any], goal: Goal) -> float | None:
    """The median that the goal is about, divided as it says; None where nobody measured it."""
    rows = {row.title: row for row in ROWS}
    own = figures(result, rows[goal.row], goal.peer.name)
    if goal.over is None:
        return median(own) if own else None
    base = figures(result, rows[goal.base or goal.row], goal.over.name)
    return median(own) / median(base) if own and base and median(base) else None


def parts_table(result: dict[str, Any]) -> str:
    """The steps of a call and of a child's first calls: the median of the rounds."""
    lines = []
    for title in result["parts"][0] if result["parts"] else ():
        lines += ["", f"| {title} | |", "| --- | ---: |"]
        rounds = [steps[title] for steps in result["parts"]]
        for step in rounds[0]:
            found = median(steps[step] for steps in rounds)
            number = f"{found * 1e6:.2f}" if title.endswith("µs") else f"{found:.0f}"
            lines.append(f"| {step} | {number} |")
    return "\n".join(lines[1:])


def _problems(result: dict[str, Any]) -> list[str]:
    """What was not as it should be, once for each peer and measure."""
    found = dict.fromkeys(
        f"- {run['peer']}, {run['measure']} {' '.join(run['arguments'])}: {run['problem']}."
        for run in result["runs"]
        if run["problem"]
    )
    return ["", *found] if found else []


def _cell(result: dict[str, Any], row: Row, peer: str) -> str:
    found = figures(result, row, peer)
    if not found:
        return ""
    spread = f"{min(found):{row.form}} to {max(found):{row.form}}"
    cell = f"**{median(found):{row.form}}** ({spread})"
    base = figures(result, row, INCUMBENT.name)
    if base and median(base) > 0 < median(found):
        cell += f" x{_short(median(found) / median(base))}"
    return cell


def _short(value: float) -> str:
    """Three digits, or all of a larger number."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def plot(path: Path, result: dict[str, Any]) -> None:
    """Each peer's medians over the incumbent's."""
    rows = [row for row in ROWS if row.measure in ("calls", "delivery", "memory", "imports")]
    with mpl.rc_context({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 0.45 * len(rows) + 1.5), layout="constrained")
        axes = figure.subplots()
        for peer in PEERS:
            points = []
            for number, row in enumerate(rows):
                own, base = (figures(result, row, name) for name in (peer.name, INCUMBENT.name))
                if own and base and median(own) > 0 < median(base):
                    points.append((median(own) / median(base), number))
            if points:
                axes.plot(*zip(*points, strict=True), "o", label=peer.name)
        axes.set(xscale="log", xlabel="÷ incumbent", yticks=range(len(rows)))
        axes.set_yticklabels([row.title for row in rows])
        axes.invert_yaxis()
        axes.legend()
        figure.savefig(path, format="svg", metadata=_NO_METADATA)


#: Mark in the document to what stands there.
TABLES = {
    "<!-- written by make bench -->": table,
    "<!-- its goals -->": goals_table,
    "<!-- its steps -->": parts_table,
}
