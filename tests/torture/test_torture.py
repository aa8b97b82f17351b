"""Exactly once through thousands of forks of random shapes under load; see docs/forks.md."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from harness import LocalServer
from runs import run_script
from seeds import named

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runs import Result

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

SCRIPT = "torture/main.py"
#: Forks for each seed, and the seeds as `seed:1,2`; conftest.py draws them for `make torture`.
FORKS = int(os.environ.get("WHISPERR_TORTURE_FORKS", "60"))
SEEDS = named("WHISPERR_TORTURE_SEEDS", ["1", "2"])
#: Of the notes in a failure.
_MOST_TEXT = 4000
#: Seconds for a run; five forks a second are far below what it makes.
SECONDS = 90 + FORKS / 5


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """One for each seed: it holds all that arrives in memory.

    Who sends is not looked up: that takes longer than all the rest, and an id that arrives
    again shows without.
    """
    server = LocalServer.start(":memory:", "--no-peers")
    yield server
    server.stop()


@pytest.mark.timeout(SECONDS * 1.5)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_id_arrives_exactly_once_whatever_forks_beside_it(
    server: LocalServer, api_key: str, tmp_path: Path, seed: str
) -> None:
    with _repeatable(seed, tmp_path):
        began = time.monotonic()
        result = run_script(server, api_key, tmp_path, SCRIPT, seed, str(FORKS), seconds=SECONDS)
        seconds = time.monotonic() - began
        _assert_sound(result)
    born = Counter(line["shape"] for line in result.lines("born"))
    print(f"seed {seed}: {born.total()} forks, {len(result.ledger.tracked)} ids, {seconds:.0f} s")
    print(dict(born))


def _assert_sound(result: Result) -> None:
    """No child ended otherwise than drawn, none hung, and everything arrived once."""
    assert not result.lines("hung"), result.output
    assert not result.lines("unexpected"), result.output
    assert not result.lines("broken"), result.output
    assert not result.lines("left"), result.output
    wrong = result.ledger.lost | result.ledger.twice | result.ledger.resent
    paths = {line["pid"]: (line["path"], line["shape"]) for line in result.lines("born")}
    by = Counter(
        paths.get(line["pid"], "r") for line in result.lines("journal") if line["id"] in wrong
    )
    assert not wrong, f"lost, twice or resent by {dict(by)}\n{result.account()}"
    result.assert_exactly_once(len(result.lines("journal")))
    assert len(result.lines("born")) >= FORKS


@contextmanager
def _repeatable(seed: str, folder: Path) -> Iterator[None]:
    """A failure says how to have the same again, and what the processes noted."""
    try:
        yield
    except (AssertionError, pytest.fail.Exception) as problem:
        notes = "".join(
            f"{name}: {(folder / name).read_text()[:_MOST_TEXT]}\n"
            for name in ("hung", "unexpected", "broken", "left", "reports")
            if (folder / name).exists()
        )
        pytest.fail(f"Repeat it: make torture SEED={seed} FORKS={FORKS}\n{problem}\n{notes}")
