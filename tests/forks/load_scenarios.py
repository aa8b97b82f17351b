"""Forks at seeded instants while four threads track; run by test_load.py, one name each."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from whisperr import Whisperr

SECONDS = 10.0
#: What a process may take to deliver at its end: little, for those that never will.
SHUTDOWN_TIMEOUT = 3.0
THREADS = 4
EACH = 25
CHILDREN = 2
GENERATIONS = 3
SPAWNS = 6
client: Whisperr


# --- Forks out of the middle of everything ----------------------------------------------------


def family(generation: int = 1) -> None:
    """Each process tracks from four threads and forks meanwhile; so do its children."""
    lab.note("born", pid=os.getpid(), generation=generation)
    random.seed(f"{sys.argv[2]} {os.getpid()}")
    threads = _tracking_threads(EACH)
    children = []
    if generation < GENERATIONS:
        for _ in range(CHILDREN):
            _wait_until_mid_request()
            child = os.fork()
            if child == 0:
                family(generation + 1)
                sys.exit(0)
            children.append(child)
    lab.identify(client)
    for thread in threads:
        thread.join()
    for child in children:
        lab.wait_for(child, SECONDS * 5 ** (GENERATIONS - generation - 1))  # its own may hang
    lab.record_stats(client)
    lab.note("ending", pid=os.getpid())


def _tracking_threads(each: int) -> list[threading.Thread]:
    pauses = [random.uniform(0, 0.002) for _ in range(each)]

    def work() -> None:
        for pause in pauses:
            lab.track(client)
            time.sleep(pause)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    return threads


def _wait_until_mid_request() -> None:
    """An exchange of this process is under way; then a seeded moment more."""
    queue = client._local.get()._queue
    deadline = time.monotonic() + SECONDS
    while not queue.in_flight:
        if len(queue) == 0:
            lab.track(client)  # the threads are through
        assert time.monotonic() < deadline
        time.sleep(0.0002)
    lab.note("mid_request", in_flight=queue.in_flight)
    time.sleep(random.uniform(0, 0.002))


# --- Forks that only start another program --------------------------------------------------


def preexec() -> None:
    """Subprocess with preexec_fn: Python code runs in the child, the fork hooks run."""
    seen = Path(os.environ["LAB_FOLDER"], "seen")

    def look() -> None:
        tasks = len(os.listdir("/proc/self/task")) if sys.platform == "linux" else 1
        made = client._local.peek() is not None
        with seen.open("a") as file:
            file.write(f"{tasks} {made}\n")

    def spawn() -> None:
        for _ in range(SPAWNS):
            _spawn(look)

    _beside_threads(spawn)
    assert seen.read_text().splitlines() == ["1 False"] * SPAWNS, seen.read_text()


def _spawn(look: Callable[[], None]) -> None:
    _wait_until_mid_request()
    process = subprocess.Popen([sys.executable, "-S", "-c", ""], preexec_fn=look)
    assert process.wait(SECONDS) == 0


def uvloop_subprocess() -> None:
    """A loop in C forks, and shares its memory with the child until that starts a program."""
    import asyncio

    import uvloop

    async def spawn() -> None:
        for _ in range(SPAWNS):
            _wait_until_mid_request()
            process = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "")
            assert await asyncio.wait_for(process.wait(), SECONDS) == 0

    loop = uvloop.new_event_loop()
    _beside_threads(lambda: loop.run_until_complete(spawn()))
    loop.close()


def _beside_threads(spawn: Callable[[], object]) -> None:
    """Spawn under load; this process stays who it is, with the thread that it has."""
    random.seed(sys.argv[2])
    threads = _tracking_threads(EACH)
    before = client._local.get()
    spawn()
    for thread in threads:
        thread.join()
    assert client._local.get() is before
    assert client.flush(SECONDS)
    lab.record_stats(client)


if __name__ == "__main__":
    client = lab.client(flush_interval=0.01, flush_at=5, shutdown_timeout=SHUTDOWN_TIMEOUT)
    globals()[sys.argv[1]]()
