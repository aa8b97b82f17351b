"""Parents that fork many times and look at what is left; run by test_leaks.py: NAME FORKS."""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

import lab
from children import status_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from whisperr import Whisperr

#: Forks after which the parent uses its connection, which no server keeps open for ever.
DELIVERS_EACH = 10
#: Longer than any test: an idle sender keeps its thread.
FLUSH_INTERVAL = 100.0
SECONDS = 15.0
PORT = urlsplit(os.environ["WHISPERR_BASE_URL"]).port


def one_client(forks: int) -> None:
    """One client and its live connection through all the forks.

    Each child uses it and forks once more; the grandchild uses it and says what it has.
    """
    client = _client()
    _deliver(client)
    _note_figures("before")

    def child() -> None:
        _deliver(client)
        _in_child(grandchild)

    def grandchild() -> None:
        _deliver(client)
        process = psutil.Process()
        lab.note("grandchild", threads=process.num_threads(), descriptors=process.num_fds())

    def fork(number: int) -> None:
        _in_child(child)
        if number % DELIVERS_EACH == 0:
            _deliver(client)

    _fork_many(forks, fork)
    lab.record_stats(client)


def made_anew(forks: int) -> None:
    """Made, used, inherited by a child that uses it, and dropped; again for each fork."""
    _note_figures("before")

    def fork(_: int) -> None:
        _use_a_client()
        _wait_for_one_thread()

    _fork_many(forks, fork)


def _use_a_client() -> None:
    """Made, and dropped when this returns."""
    client = _client()
    _deliver(client)
    _in_child(lambda: _deliver(client))
    lab.record_stats(client)


def _fork_many(forks: int, fork: Callable[[int], None]) -> None:
    """Look at the parent after a quarter of them, when all is warm, and twice more."""
    marks = (forks // 4, forks * 5 // 8, forks)
    for number in range(1, forks + 1):
        fork(number)
        if number in marks:
            _note_figures("parent", forks=number)


def _in_child(work: Callable[[], None]) -> None:
    """Run `work` in a forked child that runs no exit hook."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - the child ends here
            traceback.print_exc()
        finally:
            os._exit(status)
    assert status_of(child, SECONDS) == 0


def _client() -> Whisperr:
    return lab.client(flush_interval=FLUSH_INTERVAL)


def _deliver(client: Whisperr) -> None:
    lab.track(client)
    assert client.flush(), client.stats()


def _wait_for_one_thread() -> None:
    deadline = time.monotonic() + SECONDS
    while psutil.Process().num_threads() > 1:
        assert time.monotonic() < deadline, "A sender thread did not end."
        time.sleep(0.001)


def _note_figures(whose: str, forks: int = 0) -> None:
    counts = _counts()
    gc.collect()  # for the memory alone: requests, urllib3 and classes make cycles
    lab.note(
        whose,
        forks=forks,
        counts=counts,
        blocks=sys.getallocatedblocks(),
        memory=psutil.Process().memory_full_info().uss,
    )


def _counts() -> dict[str, int]:
    process = psutil.Process()
    connected = [each for each in process.net_connections("tcp") if each.raddr]
    return {
        "threads": process.num_threads(),
        "descriptors": process.num_fds(),
        "connections": sum(each.raddr.port == PORT for each in connected),
        "children": len(process.children()),  # zombies are among them
    }


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]))
