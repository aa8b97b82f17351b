"""Forks in random shapes under load; run by test_torture.py: SEED FORKS."""

from __future__ import annotations

import gc
import importlib
import os
import random
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import lab
from torture import lives, shapes
from torture.lives import ALIVE, LIMIT, Child, Process

if TYPE_CHECKING:
    from whisperr import Whisperr

#: Nothing takes so long; who hangs then is one that nobody waits for with a limit (a pool).
_LONGEST_SHAPE = 6 * LIMIT
#: Imported before the first fork, as every application should: an import that is half done
#: in another thread never ends in a child.
_EARLY = (
    "concurrent.futures.process",
    "multiprocessing.forkserver",
    "multiprocessing.pool",
    "multiprocessing.popen_fork",
    "multiprocessing.popen_forkserver",
    "multiprocessing.popen_spawn_posix",
    "multiprocessing.resource_tracker",
    "multiprocessing.synchronize",
    "psutil",
)


def main(seed: int, forks: int) -> None:
    """Make so many forks and some more, beside threads; then judge the own accounts."""
    for name in _EARLY:
        importlib.import_module(name)
    lives.seed = seed
    here = Process(Child("r", "first", lives.ALL, "exit", 0))
    lives.clients[:] = _clients(here.random)
    if here.random.random() < 0.8:
        gc.freeze()  # as a preloading master does: an exit of a child takes half of the time
    stop = threading.Event()
    threads = [
        threading.Thread(target=_track_until, args=(stop, number), daemon=True)
        for number in range(here.random.randint(1, 3))
    ]
    for thread in threads:
        thread.start()
    _fork_and_fork(here, forks)
    stop.set()
    for thread in threads:
        thread.join()
    for client in lives.clients:
        lives.flush(client)
        lab.record_stats(client)


def _clients(draw: random.Random) -> list[Whisperr]:
    return [
        lab.client(
            flush_at=draw.choice((1, 5, 20, 100)),
            flush_interval=draw.choice((0.01, 0.1, 0.5)),
            shutdown_timeout=draw.uniform(LIMIT / 2, LIMIT),
            on_error=lives.on_error,
            before_send=before_send,
        )
        for before_send in (lives.before_send, None)[: draw.randint(1, 2)]
    ]


def _track_until(stop: threading.Event, number: int) -> None:
    draw = random.Random(f"{lives.seed} thread {number}")
    while not stop.wait(draw.uniform(0.001, 0.02)):
        lab.track(draw.choice(lives.clients))


def _fork_and_fork(here: Process, forks: int) -> None:
    """Each shape once, in a random order, then as their weights say; no more after a hang."""
    shuffled = list(shapes.SHAPES)
    here.random.shuffle(shuffled)
    weights = list(shapes.SHAPES.values())
    began = [time.monotonic()]
    threading.Thread(target=_end_who_hang, args=(began,), daemon=True).start()
    while (here.forks < forks or shuffled) and not lives.found_hung:
        if shuffled:
            shape = shuffled.pop()
        else:
            (shape,) = here.random.choices(list(shapes.SHAPES), weights)
        here.wait_for_children(ALIVE - 1)
        shape(here)
        here.check()
        began[0] = time.monotonic()
    here.wait_for_children()


def _end_who_hang(began: list[float]) -> None:
    """All processes of the group write their stacks and end."""
    while time.monotonic() < began[0] + _LONGEST_SHAPE:
        time.sleep(1)
    os.killpg(0, signal.SIGABRT)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
