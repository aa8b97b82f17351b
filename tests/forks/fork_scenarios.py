"""Processes that fork around a module-level client; run by test_forks.py, one name each."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import forked
import lab

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.process import BaseProcess

    from whisperr import Whisperr

CHILDREN = 3
client: Whisperr


def main() -> None:
    global client
    client = lab.client()
    name = sys.argv[1]
    globals()[name]()


# --- os.fork --------------------------------------------------------------------------------


def os_fork() -> None:
    """Track before and after, in parent and child; children end by sys.exit. 12 operations."""
    lab.track(client)
    children = []
    for _ in range(CHILDREN):
        child = os.fork()
        if child == 0:
            lab.track(client)
            lab.identify(client)
            lab.record_stats(client)
            sys.exit(0)
        children.append(child)
        lab.track(client)
    for child in children:
        lab.wait_for(child)
    lab.track(client)
    lab.identify(client)
    lab.record_stats(client)


def os_fork_busy() -> None:
    """Fork while the sender works: the parent tracks in a loop. 3 * (400 + 2) operations."""
    for _ in range(CHILDREN):
        for _ in range(200):
            lab.track(client)
        child = os.fork()
        if child == 0:
            lab.track(client)
            lab.identify(client)
            lab.record_stats(client)
            sys.exit(0)
        for _ in range(200):
            lab.track(client)
        lab.wait_for(child)
    lab.record_stats(client)


def os_fork_generations() -> None:
    """A child forks a grandchild, each tracks before and after its fork. 7 operations."""
    lab.track(client)
    child = os.fork()
    if child == 0:
        lab.track(client)
        grandchild = os.fork()
        if grandchild == 0:
            lab.track(client)
            lab.track(client)
            lab.record_stats(client)
            sys.exit(0)
        lab.track(client)
        lab.wait_for(grandchild)
        lab.record_stats(client)
        sys.exit(0)
    lab.track(client)
    lab.wait_for(child)
    lab.track(client)
    lab.record_stats(client)


def untouched_child() -> None:
    """Children that never use the inherited client and end by sys.exit. 2 operations."""
    lab.track(client)
    client.flush()
    for _ in range(CHILDREN):
        child = os.fork()
        if child == 0:
            sys.exit(0)
        lab.wait_for(child)
    lab.track(client)
    lab.record_stats(client)


# --- A fork in C, which runs no Python hook -------------------------------------------------


def raw_fork() -> None:
    """Two generations, each tracks before and after its fork. 7 operations."""
    lab.track(client)
    child = _raw_fork()
    if child == 0:
        lab.track(client)
        grandchild = _raw_fork()
        if grandchild == 0:
            lab.track(client)
            lab.identify(client)
            lab.record_stats(client)
            sys.exit(0)
        lab.track(client)
        lab.wait_for(grandchild)
        lab.record_stats(client)
        sys.exit(0)
    lab.track(client)
    lab.wait_for(child)
    lab.track(client)
    lab.record_stats(client)


def _raw_fork() -> int:
    """Fork as uWSGI does, while the sender waits for operations."""
    client.flush()
    loop = client._local.get()._sender._loop
    deadline = time.monotonic() + 10
    while not loop.idle:  # set right before the sender waits for operations
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return forked.raw_fork()


# --- multiprocessing ------------------------------------------------------------------------


def _work(_: int = 0) -> None:
    lab.track(client)
    lab.identify(client)
    lab.record_stats(client)


def _track_one() -> None:
    lab.track(client)


def mp_process() -> None:
    """Children of Process with the inherited client. 8 operations."""
    _in_processes(multiprocessing.get_context("fork"), _work)


def mp_one_event() -> None:
    """Children that track one event and return. 5 operations."""
    _in_processes(multiprocessing.get_context("fork"), _track_one)


def _in_processes(context: multiprocessing.context.ForkContext, target: Callable[[], None]) -> None:
    lab.track(client)
    processes = [context.Process(target=target) for _ in range(CHILDREN)]
    for process in processes:
        process.start()
    lab.track(client)
    _join(processes)
    lab.record_stats(client)


def _join(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.join()
        lab.note("children", status=process.exitcode)


def mp_pool() -> None:
    """A Pool that is closed and joined. 2 + 12 operations."""
    lab.track(client)
    pool = multiprocessing.get_context("fork").Pool(2)
    pool.map(_work, range(6), chunksize=1)
    pool.close()
    pool.join()
    lab.track(client)
    lab.record_stats(client)


def process_pool_executor() -> None:
    """A ProcessPoolExecutor. 2 + 12 operations."""
    lab.track(client)
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        list(pool.map(_work, range(6)))
    lab.track(client)
    lab.record_stats(client)


def _work_with(passed: Whisperr) -> None:
    lab.track(passed)
    lab.identify(passed)
    lab.record_stats(passed)


def mp_spawn() -> None:
    """The client as an argument of a spawned process. 8 operations."""
    _with_argument("spawn")


def mp_forkserver() -> None:
    """The client as an argument of a process of the fork server. 8 operations."""
    _with_argument("forkserver")


def _with_argument(method: str) -> None:
    passed = lab.client(on_error=None)
    lab.track(passed)
    context = multiprocessing.get_context(method)
    processes = [
        context.Process(target=_work_with, args=(passed,))  # type: ignore[attr-defined]
        for _ in range(CHILDREN)
    ]
    for process in processes:
        process.start()
    lab.track(passed)
    _join(processes)
    lab.record_stats(passed)


if __name__ == "__main__":
    main()
