"""Plants each defect in a copy of the repository and counts how often its tests fail there.

``make mutants``, or ``python tests/mutants/run.py [words of a name …] [--write docs/proof.md]``.
A run in which the test did not come to fail (an error of collection, of a fixture) is no catch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from defects import DEFECTS, Defect, apply
from recording import RESULTS, STARTED, WANTED

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
#: The environment with uWSGI; made by `make test`.
UWSGI = ".venv-uwsgi"
#: What the tests need of it.
COPIED = ("src", "tests", "docs", "README.md", "pyproject.toml")
RUNS = 10
#: How long pytest may take to end a test that hangs, and to start or to end itself.
_GRACE = 2.0
_START_SECONDS = 60.0
_POLL = 0.05
#: A test hangs on a defect when it takes longer than so many seconds and so often its usual time.
_FIXED_LIMIT = 4.0
_LIMIT_FACTOR = 4.0
_SOUND_SECONDS = 60.0
HUNG = "It hung."
_LONGEST_REASON = 120
_LONGEST_OUTPUT = 2000
#: Set for all that a run starts, so that whatever it leaves behind can be found and ended.
_MARK = "MUTANT_COPY"
BEGIN, END = "<!-- written by make mutants -->", "<!-- end -->"


class Outcome(NamedTuple):
    """A line of the recording plugin."""

    word: str
    test: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class Row:
    """What one test said of one defect.

    Attributes:
        defect: what was planted.
        test: who looked.
        sound: whether the test passes on the unchanged copy.
        caught: in how many of RUNS runs it failed on the defect.
    """

    defect: Defect
    test: str
    sound: bool
    caught: int

    @property
    def good(self) -> bool:
        return self.sound and self.caught == RUNS

    @property
    def verdict(self) -> str:
        """For the table."""
        return f"{self.caught} of {RUNS}" if self.sound else "void: fails on the unchanged client"


def main() -> int:
    arguments = _arguments()
    words = " ".join(arguments.words)
    chosen = [defect for defect in DEFECTS if words in defect.name]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        laboratory = Laboratory(Path(folder))
        with ThreadPoolExecutor(arguments.jobs) as pool:
            tests = sorted({test for defect in chosen for test in defect.tests})
            shares = [tests[start :: arguments.jobs] for start in range(arguments.jobs)]
            sound: dict[str, float] = {}
            for found in pool.map(laboratory.sound, filter(None, shares)):
                sound.update(found)
            pairs = [(defect, test) for defect in chosen for test in defect.tests]
            limits = [_FIXED_LIMIT + _LIMIT_FACTOR * sound.get(test, 0) for _, test in pairs]
            counts = list(pool.map(laboratory.caught, pairs, limits))
    rows = [
        Row(defect, test, test in sound, caught)
        for (defect, test), caught in zip(pairs, counts, strict=True)
    ]
    console = Console()
    console.print(_table(rows))
    bad = sum(not row.good for row in rows)
    seconds = time.monotonic() - began
    console.print(f"{len(chosen)} defects, {len(rows)} rows, {bad} not caught, {seconds:.0f} s")
    if arguments.write and not bad:
        _write(arguments.write, rows)
    return 1 if bad or not rows else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only defects whose name holds these words")
    parser.add_argument("--jobs", type=int, default=2, help="how many tests run at a time")
    parser.add_argument("--write", type=Path, help="the document whose rows to write anew")
    return parser.parse_args()


# --- Running ------------------------------------------------------------------------------


class Laboratory:
    """Runs tests in copies of the repository, all made from one snapshot of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._snapshot = folder / "snapshot"
        self._snapshot.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, self._snapshot / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, self._snapshot)
        (self._snapshot / UWSGI).symlink_to(ROOT / UWSGI)

    def sound(self, tests: Sequence[str]) -> dict[str, float]:
        """The tests that pass on the unchanged source, and the seconds that each takes there."""
        seconds: dict[str, float] = {}
        for outcome in self._outcomes(None, tests, _SOUND_SECONDS, 1):
            if outcome.word == "passed":
                seconds[outcome.test] = outcome.seconds
            else:
                print(f"UNSOUND  {outcome.test}: {outcome.word}: {outcome.reason}", flush=True)
        return seconds

    def caught(self, pair: tuple[Defect, str], seconds: float) -> int:
        """In how many of RUNS runs the test fails on the defect, or takes longer than that."""
        defect, test = pair
        outcomes: list[Outcome] = []
        # A hang ends pytest, so what is left is run again; each turn brings one outcome at least.
        while len(outcomes) < RUNS:
            more = self._outcomes(defect, [test], seconds, RUNS - len(outcomes))
            if not more:
                break
            outcomes += more
        failures = [outcome for outcome in outcomes if outcome.word == "failed"]
        reason = failures[0].reason[:_LONGEST_REASON] if failures else ""
        print(f"{len(failures):3} of {RUNS}  {defect.name}\n  {test}\n  {reason}", flush=True)
        return len(failures)

    def _outcomes(
        self, defect: Defect | None, tests: Sequence[str], seconds: float, count: int
    ) -> list[Outcome]:
        """How the tests came out, each run `count` times beside the defect (or none)."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        copy, results, output = folder / "copy", folder / "results", folder / "output"
        shutil.copytree(self._snapshot, copy, symlinks=True)
        if defect is not None:
            apply(defect, copy)
        results.touch()
        with output.open("wb") as stream:
            process = subprocess.Popen(
                _command(tests, seconds, count, folder / "tmp"),
                cwd=copy,
                env=_environment(copy, tests, results, seconds),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        try:
            _wait(process, results, seconds)
        finally:
            _end(process, str(copy))
        found = _read(results)
        if not found:
            print(output.read_text(errors="replace")[-_LONGEST_OUTPUT:], flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        return found


def _read(results: Path) -> list[Outcome]:
    """What the plugin wrote; a test that only started hangs."""
    outcomes: list[Outcome] = []
    started = 0.0
    running = ""
    for line in results.read_text().splitlines():
        word, test, reason, at = json.loads(line)
        if word == STARTED:
            started, running = at, test
        else:
            outcomes.append(Outcome(word, test, reason, at - started))
            running = ""
    return [*outcomes, Outcome("failed", running, HUNG, 0.0)] if running else outcomes


def _command(tests: Sequence[str], seconds: float, count: int, temporary: Path) -> list[str]:
    functions = sorted({test.split("[", 1)[0] for test in tests})
    options = ("-q", "-p", "recording", "-p", "no:cacheprovider", "-p", "no:xdist")
    limits = ("-o", f"timeout={seconds}", "--count", str(count), "--basetemp", str(temporary))
    return [sys.executable, "-m", "pytest", *options, *limits, *functions]


def _environment(copy: Path, tests: Sequence[str], results: Path, seconds: float) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WHISPERR_")}
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(copy / "src"), str(copy / "tests" / "mutants")]),
        "WHISPERR_RUNS": "1",
        "LAB_SECONDS": str(0.75 * seconds),
        RESULTS: str(results),
        WANTED: "\n".join(tests),
        _MARK: str(copy),
    }


def _wait(process: subprocess.Popen[bytes], results: Path, seconds: float) -> None:
    """Wait for pytest, unless a test neither ends nor is ended by pytest's own limit."""
    size, since = -1, time.monotonic()
    while process.poll() is None:
        now = results.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        outcomes = _read(results)
        running = bool(outcomes) and outcomes[-1].reason == HUNG
        if time.monotonic() - since > (seconds + _GRACE if running else _START_SECONDS):
            return
        time.sleep(_POLL)


def _end(process: subprocess.Popen[bytes], copy: str) -> None:
    """End pytest and whatever its tests left behind, also in other sessions."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for left in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if left.environ().get(_MARK) == copy:
                left.kill()


# --- Telling ------------------------------------------------------------------------------


def _table(rows: Sequence[Row]) -> Table:
    table = Table("Defect", "Invariants", "Test", "Caught", show_lines=True)
    for row in rows:
        style = None if row.good else "bold red"
        invariants = ", ".join(map(str, row.defect.invariants))
        table.add_row(row.defect.name, invariants, row.test, row.verdict, style=style)
    return table


def markdown(defect: Defect, test: str, verdict: str) -> str:
    """A row of the document's table."""
    invariants = ", ".join(map(str, defect.invariants))
    return f"| {defect.name} | {invariants} | `{test.removeprefix('tests/')}` | {verdict} |"


def _write(document: Path, rows: Sequence[Row]) -> None:
    """Replace what stands between the marks; a row that was not run now stays as it was."""
    before, rest = document.read_text().split(BEGIN, 1)
    table, after = rest.split(END, 1)
    found = [markdown(row.defect, row.test, row.verdict) for row in rows]
    known = {_first_cells(line): line for line in (*table.splitlines(), *found)}
    wanted = [markdown(defect, test, "") for defect in DEFECTS for test in defect.tests]
    where = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}"
    lines = [
        f"{len(DEFECTS)} defects, {RUNS} runs each, on {where}:",
        "",
        "| Defect | Invariants | Test in `tests/` | Caught |",
        "|---|---|---|---|",
        *(known[_first_cells(line)] for line in wanted if _first_cells(line) in known),
    ]
    document.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}")
    print(f"wrote {document}")


def _first_cells(line: str) -> tuple[str, ...]:
    return tuple(line.split("|")[1:4])


if __name__ == "__main__":
    sys.exit(main())
