"""The figures as a table and a plot in docs/."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from fleet.figures import Life, Phase

BEGIN, END = "<!-- written by make fleet -->", "<!-- end -->"
COLUMNS = (
    "Answered while down",
    "Phase",
    "Seconds",
    "Requests",
    "Mean per second",
    "Peak",
    "Peak ÷ steady",
    "Bound",
)
_NO_METADATA = {"Date": None, "Creator": None}


def write(folder: Path, summary: str, lives: Sequence[Life]) -> None:
    """Write the figures between the marks of fleet.md, and fleet.svg."""
    document = folder / "fleet.md"
    before, rest = document.read_text().split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    document.write_text(f"{before}{BEGIN}\n{summary}\n\n{table(lives)}\n{END}{after}")
    plot(folder / "fleet.svg", lives)


def table(lives: Sequence[Life]) -> str:
    """A row for each phase; they begin alike, so that is shown once."""
    rows = [COLUMNS, ("---", "---") + ("---:",) * (len(COLUMNS) - 2)]
    rows += [_row(life, phase) for life in lives[:1] for phase in life.beginning]
    rows += [_row(life, phase) for life in lives for phase in life.rest]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _row(life: Life, phase: Phase) -> tuple[str, ...]:
    seconds, requests = len(phase.requests), sum(phase.requests)
    figures = (seconds, requests, f"{requests / seconds:.0f}", max(phase.requests))
    ratios = (f"{phase.peak(life.steady):.2f}", f"{phase.bound:g}")
    return (life.title, phase.name, *map(str, figures), *ratios)


def plot(path: Path, lives: Sequence[Life]) -> None:
    """Requests in each second over the steady mean, beside the bounds; a panel for each life."""
    # The same figures give the same bytes, and text stays text.
    with mpl.rc_context({"svg.hashsalt": "fleet", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 2.7 * len(lives)), layout="constrained")
        for axes, life in zip(figure.subplots(len(lives)), lives, strict=True):
            _draw(axes, life)
        figure.savefig(path, format="svg", metadata=_NO_METADATA)


def _draw(axes: Axes, life: Life) -> None:
    begin = 0.0
    requests = [count for phase in life.phases for count in phase.requests]
    minutes = [second / 60 for second in range(len(requests))]
    axes.plot(minutes, [count / life.steady for count in requests], linewidth=0.8)
    for number, phase in enumerate(life.phases):
        end = begin + len(phase.requests) / 60
        axes.hlines(phase.bound, begin, end, colors="tab:red", linewidth=1)
        axes.axvspan(begin, end, color="0.93" if number % 2 else "white", zorder=0)
        begin = end
    axes.set(title=f"while down: {life.title}", xlim=(0, begin), ylim=(0, None))
    axes.set(xlabel="minutes", ylabel="requests ÷ steady mean")
