"""A real client against the local server, with a layer between them that fails at random."""

from __future__ import annotations

import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from faults.application import forks_of, options_of
from faults.fates import Schedule
from faults.judgement import judge_schedule
from faults.layer import Layer
from faults.metronome import Metronome
from runs import run_script
from seeds import named

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import LocalServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its reading of a RST is Linux's")

SCRIPT = "faults/application.py"
OPERATIONS = 200
#: The seeds as `seed:1,2`; conftest.py draws them for `make faults`.
SEEDS = named("WHISPERR_FAULT_SEEDS", [str(seed) for seed in range(1, 21)])
#: A process that takes longer hangs; some five are enough where the machine is not busy.
SECONDS = 240.0
_MOST_TEXT = 4000


@pytest.mark.timeout(SECONDS * 1.5)
@pytest.mark.parametrize("seed", SEEDS)
def test_everything_accepted_is_delivered_once_and_in_order_or_reported(
    server: LocalServer, api_key: str, tmp_path: Path, seed: str
) -> None:
    schedule = Schedule(seed, (tmp_path / "calm").exists)
    layer = Layer(
        server.url,
        schedule.greeting,
        schedule.fate,
        timeout=options_of(seed)["request_timeout"],
        forks=forks_of(seed) > 0,
    )
    with _repeatable(seed, tmp_path, layer):
        began = time.monotonic()
        with layer.listen() as front, Metronome() as metronome:
            result = run_script(
                server,
                api_key,
                tmp_path,
                SCRIPT,
                seed,
                str(OPERATIONS),
                seconds=SECONDS,
                url=front.url,
            )
        seconds = time.monotonic() - began
        assert not front.problems, front.problems
        judgement = judge_schedule(
            server, api_key, result, layer, OPERATIONS, in_time=metronome.in_time
        )
        assert not judgement.problems, "\n".join(judgement.problems)
    if judgement.undelivered:
        pytest.skip(f"The machine was too busy: {judgement.undelivered} were left, and reported.")
    fates = Counter(exchange.fate for exchange in layer.exchanges)
    ledger = judgement.ledger
    print(
        f"seed {seed}: {len(layer.exchanges)} requests over {front.connections} connections, "
        f"{len(ledger.resent)} resent, {len(ledger.lost)} lost, {judgement.reported} reported, "
        f"{seconds:.1f} s{'' if metronome.in_time else ' on a busy machine'}\n{dict(fates)}"
    )


@contextmanager
def _repeatable(seed: str, folder: Path, layer: Layer) -> Iterator[None]:
    """A failure says how to have the same again, what was noted, and what met what."""
    try:
        yield
    except (AssertionError, pytest.fail.Exception) as problem:
        notes = "".join(
            f"{name}: {(folder / name).read_text()[:_MOST_TEXT]}\n"
            for name in ("output", "reports", "hung", "children", "stats", "memory")
            if (folder / name).exists()
        )
        exchanges = "\n".join(map(str, layer.exchanges))
        pytest.fail(
            f"Repeat it: make faults SEED={seed}\n{problem}\n{options_of(seed)}, "
            f"{forks_of(seed)} forks\n{notes}\n{exchanges}"
        )
    finally:
        layer.close()
