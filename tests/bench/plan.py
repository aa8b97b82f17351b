"""What is measured, how often, and what counts as a figure."""

from __future__ import annotations

from typing import NamedTuple

from bench.peers import INCUMBENT, LIMIT, OURS, PLAIN, Peer


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        title: what it says.
        measure: of measures.py.
        arguments: of the measure; the first is how many events are tracked, if any are.
        figure: which of the measure's figures, or of what the server saw.
        scale: the figure is multiplied by it.
        form: of the number.
    """

    title: str
    measure: str
    arguments: tuple[str, ...]
    figure: str
    scale: float = 1.0
    form: str = ".1f"


def tracked(measure: str, arguments: tuple[str, ...]) -> int:
    """How many events of such a run must arrive, exactly once each."""
    return int(arguments[0]) if measure in _TRACKING else 0


def _call(title: str, threads: int, size: str = "small") -> Row:
    return Row(f"track(), {title}, µs", "calls", ("20000", str(threads), size), "call", 1e6, ".2f")


_TRACKING = frozenset({"calls", "delivery", "tail", "memory", "latency"})
HOOK = "its hooks in a forked child, 100 clients, µs"
_LOOP = ("100000", "1", "small")
ROWS = (
    _call("1 thread", 1),
    _call("4 threads", 4),
    _call("16 threads", 16),
    _call("1 thread, 2 KiB", 1, "large"),
    Row("track() in a tight loop, µs", "delivery", _LOOP, "call", 1e6, ".2f"),
    Row("client CPU for 100,000 delivered, s", "delivery", _LOOP, "cpu", 1, ".2f"),
    Row("delivered events a second", "delivery", _LOOP, "rate", 1, ",.0f"),
    Row("requests for 100,000", "delivery", _LOOP, "requests", 1, ",.0f"),
    Row("connections for 100,000", "delivery", _LOOP, "connections", 1, ",.0f"),
    Row("bytes on the wire for an event", "delivery", _LOOP, "wire", 1e-5, ".0f"),
    Row("p99.9 while sending, µs", "tail", ("20000", "sending"), "p999", 1e6, ".0f"),
    Row("p99.9 beside a busy thread, µs", "tail", ("2000", "busy"), "p999", 1e6, ".0f"),
    Row("10,000 queued events, MB", "memory", ("50000",), "bytes", 1e-6, ".1f"),
    Row("import of requests, ms", "imports", (), "import_requests", 1e3, ".0f"),
    Row("import and client beyond requests, ms", "imports", (), "seconds", 1e3, ".0f"),
    Row("import and client beyond requests, MB", "imports", (), "bytes", 1e-6, ".1f"),
    Row("its hooks in a forked child, 1 client, µs", "hook", ("1",), "hook", 1e6, ".2f"),
    Row(HOOK, "hook", ("100",), "hook", 1e6, ".2f"),
    Row("they and the pages they copy, µs", "hook", ("100",), "hook_at_fork", 1e6, ".2f"),
    Row("fork to first track() in the child, µs", "fork", ("60",), "above", 1e6, ".0f"),
    Row("of it the fork of a larger process, µs", "fork", ("60",), "larger", 1e6, ".0f"),
    Row(
        "track() to arrival at 20 a second, median s", "latency", ("200", "20"), "median", 1, ".2f"
    ),
    Row("track() to arrival at 20 a second, p99 s", "latency", ("200", "20"), "p99", 1, ".2f"),
)


class Goal(NamedTuple):
    """What a figure of ours should be.

    Attributes:
        row: the title of its row.
        peer: with orjson or without.
        bound: at most so much; at least, where it is a rate.
        over: whose figure it is divided by.
        base: the title of that figure's row, where it is another.
    """

    row: str
    peer: Peer
    bound: float
    over: Peer | None = INCUMBENT
    base: str = ""


RATE = "delivered events a second"
GOALS = (
    Goal("track(), 1 thread, µs", OURS, 1 / 3),
    Goal("track(), 1 thread, µs", PLAIN, 1 / 2),
    Goal("track(), 4 threads, µs", OURS, 1 / 4),
    Goal("client CPU for 100,000 delivered, s", OURS, 1 / 5),
    Goal("client CPU for 100,000 delivered, s", PLAIN, 1 / 3),
    Goal("client CPU for 100,000 delivered, s", OURS, 2.0, LIMIT),
    Goal(RATE, OURS, 3.0),
    Goal(RATE, PLAIN, 2.0),
    Goal("connections for 100,000", OURS, 1.0, None),
    Goal("requests for 100,000", OURS, 400.0, None),
    Goal("p99.9 while sending, µs", OURS, 1 / 4),
    Goal("p99.9 beside a busy thread, µs", OURS, 1 / 4),
    Goal(HOOK, OURS, 1.0, None),
    Goal("fork to first track() in the child, µs", OURS, 300.0, None),
    Goal("10,000 queued events, MB", OURS, 1 / 2),
    Goal("import and client beyond requests, ms", PLAIN, 1 / 3, PLAIN, "import of requests, ms"),
    Goal("import and client beyond requests, MB", PLAIN, 4.0, None),
)
