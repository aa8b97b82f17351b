"""Thousands of events a second through random faults: the accounts, and what it costs.

`make soak` runs it for a minute, `make test` for some seconds.
"""

from __future__ import annotations

import os
import random
import secrets
import statistics
import sys
import threading
from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from load.judgement import assert_nothing_lost
from load.soak import PILE
from runs import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import LocalServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

SECONDS = float(os.environ.get("WHISPERR_SOAK_SECONDS", "6"))
RATE = float(os.environ.get("WHISPERR_SOAK_RATE", "2000"))
SEED = os.environ.get("WHISPERR_SOAK_SEED") or str(secrets.randbelow(10**6))
WORKERS = 4
KIB = 1024
#: Of the line through the samples, over the whole time.
MOST_GROWTH = 1024 * KIB
_ARMED_SECONDS = 0.1
FAULTS: tuple[dict[str, Any], ...] = (
    {"action": "status", "status": 503, "retry_after": 1},
    {"action": "status", "status": 429},
    {"action": "status", "status": 500, "stored": True},
    {"action": "status", "status": 502, "times": 3},
    {"action": "reset_before"},
    {"action": "reset_after"},
    {"action": "delay", "delay": 0.5},
    {"action": "never"},
    {"action": "trickle"},
)


@pytest.mark.timeout(4 * SECONDS + 240)
def test_through_random_faults_the_accounts_balance_and_nothing_grows(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    server.fault(key=api_key, action="status", status=503, retry_after=1, times=WORKERS)
    arguments = (str(SECONDS), str(RATE), str(WORKERS))
    with _stumbling(server, api_key) as met:
        result = run_script(
            server, api_key, tmp_path, "load/soak.py", *arguments, seconds=3 * SECONDS + 120
        )
    tracked = WORKERS * (PILE + int(RATE / WORKERS * SECONDS))
    again = f"Repeat it: make soak SEED={SEED} SECONDS={SECONDS:g} RATE={RATE:g}"
    try:
        assert_nothing_lost(result, tracked)
        assert {line["type"] for line in result.lines("reports")} <= {"stalled"}
        assert sum(line["delivered"] for line in result.lines("accounts")) == tracked
        _assert_nothing_grows(result.lines("samples"))
    except AssertionError as problem:
        pytest.fail(f"{again}\n{problem}")
    requests = sum(line["requests"] for line in result.lines("accounts"))
    print(f"{tracked} events, {requests} requests, {len(result.ledger.resent)} resent, {dict(met)}")


@contextmanager
def _stumbling(server: LocalServer, api_key: str) -> Iterator[Counter[str]]:
    """Arm a fault now and then; counts what was armed."""
    draw = random.Random(SEED)
    done = threading.Event()
    armed: Counter[str] = Counter()

    def stumble() -> None:
        while not done.wait(draw.uniform(0.1, 1.0)):
            fault = draw.choice(FAULTS)
            server.fault(key=api_key, **fault)
            armed[f"{fault['action']} {fault.get('status', '')}".rstrip()] += 1
            done.wait(_ARMED_SECONDS)
            server.clear_faults(api_key)  # where all pause, faults would pile up to an outage

    thread = threading.Thread(target=stumble)
    thread.start()
    try:
        yield armed
    finally:
        done.set()
        thread.join()


def _assert_nothing_grows(samples: list[dict[str, Any]]) -> None:
    by_pid = defaultdict(list)
    for sample in samples:
        by_pid[sample["pid"]].append(sample)
    assert len(by_pid) == WORKERS
    for own in by_pid.values():
        first, last = own[0], own[-1]
        times, memory = ([sample[name] for sample in own] for name in ("at", "rss"))
        growth = statistics.linear_regression(times, memory).slope * (times[-1] - times[0])
        print(
            f"{len(own)} samples: memory {first['rss'] / KIB:.0f} to {last['rss'] / KIB:.0f} KiB, "
            f"by the line {growth / KIB:+.0f} KiB; {first['threads']} threads, "
            f"{first['descriptors']} descriptors"
        )
        assert growth < MOST_GROWTH
        for name in ("threads", "descriptors"):
            assert max(sample[name] for sample in own) == first[name] == last[name], name
