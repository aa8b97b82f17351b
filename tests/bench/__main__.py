"""Measure: `make bench`, or `PYTHONPATH=tests python -m bench --help`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.arrivals import take
from bench.peers import OURS, PEERS, Peer, install, versions
from bench.plan import ROWS, tracked
from bench.report import TABLES, write

if TYPE_CHECKING:
    from collections.abc import Iterator

_CAPTURE, _MEASURES, _PARTS = (
    Path(__file__).with_name(name) for name in ("capture.py", "measures.py", "parts.py")
)
_LONGEST = 120.0


def main() -> int:
    arguments = _arguments()
    peers = [peer for peer in PEERS if not arguments.only or peer.name in arguments.only]
    for peer in peers:
        install(peer, arguments.environments)
    with capture() as url:
        runs = [
            run(peer, *what, url, arguments.environments)
            for _ in range(arguments.rounds)
            for what in dict.fromkeys((row.measure, row.arguments) for row in ROWS)
            if not arguments.measure or what[0] in arguments.measure
            for peer in peers  # interleaved, so that what the machine does meets all
        ]
        steps = [
            parts(OURS, url, arguments.environments)
            for _ in range(arguments.rounds)
            if OURS in peers
        ]
    result = {
        "python": sys.version.split()[0],
        "rounds": arguments.rounds,
        "versions": {peer.name: versions(peer, arguments.environments) for peer in peers},
        "runs": runs,
        "parts": steps,
    }
    print(*(make(result) for make in TABLES.values()), sep="\n\n")
    if arguments.write:
        write(arguments.write, result)
    return 0


def run(peer: Peer, measure: str, given: tuple[str, ...], url: str, folder: Path) -> dict[str, Any]:
    """One measure of one peer, in a process of its own, with what the server saw of it."""
    command = [str(peer.python(folder)), "-E", str(_MEASURES), measure, peer.client, url, *given]
    print(peer.name, measure, *given, file=sys.stderr, flush=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST)
    except subprocess.TimeoutExpired as late:
        done = subprocess.CompletedProcess(command, 1, "", str(late))
    arrivals = take(url)
    if done.returncode or not done.stdout:
        problem, figures = done.stderr.strip().split("\n")[-1], {}
    else:
        problem, figures = (
            arrivals.problem(tracked(measure, given)),
            json.loads(done.stdout.split("\n")[-2]),
        )
    if measure == "fork" and figures:
        figures["above"] = figures["first"] - figures["bare"]
        figures["larger"] = figures["fork"] - figures["bare"]
    return {
        "peer": peer.name,
        "measure": measure,
        "arguments": given,
        "problem": problem,
        "figures": {**figures, **arrivals.figures},
    }


def parts(peer: Peer, url: str, folder: Path) -> dict[str, dict[str, float]]:
    """The steps of ours, one table for each name."""
    command = [str(peer.python(folder)), "-E", str(_PARTS), url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST, check=True)
    take(url)
    return dict(json.loads(done.stdout))


@contextmanager
def capture() -> Iterator[str]:
    """The server, in a process of its own."""
    server = subprocess.Popen(
        [sys.executable, str(_CAPTURE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
    finally:
        server.communicate(timeout=10)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often all is measured")
    parser.add_argument("--environments", type=Path, default=Path(".venv-bench"))
    parser.add_argument("--only", action="append", help="the name of a peer")
    parser.add_argument("--measure", action="append", help="the name of a measure")
    parser.add_argument("--write", type=Path, help="the folder of performance.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
