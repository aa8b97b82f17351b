"""Makers of processes: python -m hosts.process_hosts NAME, the name of a function below.

Each has tracked LAB_BOOT operations before it makes any process. The workers obey the test's
orders until it says `end`; the maker goes on until it says `leave`.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from hosts import orders

_WORKERS = 2
_FORK: Any = multiprocessing.get_context("fork")


def fork() -> None:
    """Two processes, each a fork."""
    _processes("fork")


def spawn() -> None:
    """Two processes, each a new interpreter."""
    _processes("spawn")


def forkserver() -> None:
    """Two processes, each forked by a server."""
    _processes("forkserver")


def _processes(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    workers = [context.Process(target=orders.serve) for _ in range(_WORKERS)]
    for worker in workers:
        worker.start()
    if orders.wait_for("end", "terminate") == "terminate":
        for worker in workers:
            worker.terminate()
    for worker in workers:
        worker.join()
    orders.wait_for("leave")


def nested() -> None:
    """Two processes, each with one of its own."""
    workers = [_FORK.Process(target=_serve_beside_a_child) for _ in range(_WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    orders.wait_for("leave")


def _serve_beside_a_child() -> None:
    child = _FORK.Process(target=orders.serve)
    child.start()
    orders.serve()
    child.join()


def pool() -> None:
    """A pool that is closed and joined, or only left by its `with` block, with nothing to do."""
    with _FORK.Pool(_WORKERS) as workers:
        tasks = [workers.apply_async(orders.serve) for _ in range(_WORKERS)]
        for task in tasks:
            task.get()
        if orders.wait_for("close", "terminate") == "close":
            workers.close()
            workers.join()
    orders.wait_for("leave")


def recycling_pool() -> None:
    """A pool whose workers end after one task."""
    with _FORK.Pool(_WORKERS, maxtasksperchild=1) as workers:
        tasks = [workers.apply_async(orders.serve) for _ in range(_WORKERS)]
        for task in tasks:
            task.get()
        orders.wait_for("leave")
        workers.close()
        workers.join()


def executor() -> None:
    """An executor of forked processes, shut down by its `with` block."""
    _execute("fork")


def spawning_executor() -> None:
    """An executor of spawned processes."""
    _execute("spawn")


def recycling_executor() -> None:
    """An executor whose spawned processes end after one task."""
    _execute("spawn", max_tasks_per_child=1)


def _execute(method: str, **options: Any) -> None:
    context: Any = multiprocessing.get_context(method)
    with ProcessPoolExecutor(_WORKERS, mp_context=context, **options) as workers:
        tasks = [workers.submit(orders.serve) for _ in range(_WORKERS)]
        for task in tasks:
            task.result()
        if options:
            orders.wait_for("leave")
    orders.wait_for("leave")


def main(name: str) -> None:
    """Track, then make processes; those that import the application anew track nothing then."""
    from hosts import application  # noqa: F401

    os.environ["LAB_BOOT"] = "0"
    globals()[name]()


if __name__ == "__main__":
    main(sys.argv[1])
