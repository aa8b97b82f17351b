"""An application whose service fails now and then; run by test_schedules.py: SEED OPERATIONS."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import requests

import lab
from faults.layer import PROCESS

if TYPE_CHECKING:
    from whisperr import Whisperr

#: Seconds in which everything is delivered once all is calm.
LIMIT = 20.0
#: Seconds after which a child hangs.
_LONGEST_LIFE = 120.0
_MOST_FORKS = 2


def options_of(seed: str) -> dict[str, Any]:
    """The client's options."""
    draw = random.Random(f"{seed} options")
    return {
        "flush_at": draw.choice((1, 3, 10, 20, 50)),
        "flush_interval": draw.choice((0, 0.02, 0.2)),
        "max_batch_size": draw.choice((5, 20, 500)),
        "max_retries": draw.choice((0, 1, 6)),
        "request_timeout": draw.uniform(0.3, 0.5),
    }


def forks_of(seed: str) -> int:
    """How many children the application has."""
    return max(0, random.Random(f"{seed} forks").randint(-4, _MOST_FORKS))


def main(seed: str, operations: int) -> None:
    draw = random.Random(f"{seed} application")
    options = options_of(seed)
    client = lab.client(shutdown_timeout=LIMIT, session_factory=_session, **options)
    before = _peak_kibibytes()
    children = _operate_and_fork(client, draw, seed, operations)
    lab.note("calm")  # from now on the layer lets everything through
    for child in children:
        lab.wait_for(child, _LONGEST_LIFE)
    # Without retries one answer that is late ends the others, but flush() is called again.
    ways = ("flush", "shutdown", "exit") if options["max_retries"] else ("flush",)
    _end(client, draw.choice(ways))
    lab.record_stats(client)
    lab.note("memory", growth_kibibytes=_peak_kibibytes() - before)


def _session() -> requests.Session:
    session = requests.Session()
    session.headers[PROCESS] = str(os.getpid())
    return session


def _operate_and_fork(
    client: Whisperr, draw: random.Random, seed: str, operations: int
) -> list[int]:
    """Make all the operations, some of them in children."""
    children: list[int] = []
    for number in range(forks_of(seed)):
        share, own = (operations // 10 * draw.randint(1, 2) for _ in range(2))
        operations -= share + own
        _operate(client, draw, own)
        child = os.fork()
        if child == 0:
            _live(client, random.Random(f"{seed} child {number}"), share)
        children.append(child)
    _operate(client, draw, operations)
    return children


def _live(client: Whisperr, draw: random.Random, operations: int) -> NoReturn:
    _operate(client, draw, operations)
    _end(client, "flush")
    client.shutdown()  # reports what was left
    lab.record_stats(client)
    os._exit(0)


def _operate(client: Whisperr, draw: random.Random, operations: int) -> None:
    for _ in range(operations):
        if draw.random() < 0.1:
            lab.identify(client)
        else:
            lab.track(client)
        chance = draw.random()
        if chance < 0.06:
            client.flush(draw.choice((0, 0.05, 0.3, 1.0)))
        elif chance < 0.3:
            time.sleep(draw.uniform(0, 0.03))


def _end(client: Whisperr, way: str) -> None:
    """By flushing until all is delivered, by shutdown(), or by leaving it to the exit."""
    deadline = time.monotonic() + LIMIT
    if way == "flush":
        while not client.flush(LIMIT) and time.monotonic() < deadline:
            pass
    elif way == "shutdown":
        client.shutdown()


def _peak_kibibytes() -> int:
    """The most memory that this process ever had; ru_maxrss has its parent's in it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
