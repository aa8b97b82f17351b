"""Processes that make and drop many clients; run by test_many_clients.py, one name each."""

from __future__ import annotations

import atexit
import gc
import multiprocessing.util
import os
import sys
import time
import weakref
from typing import TYPE_CHECKING, NoReturn

import psutil

import lab
from whisperr import Whisperr, _client, _exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whisperr._process import ProcessState

MANY = 10_000
USED = 25
#: Longer than any test: what ends sooner did not wait for a timer.
FLUSH_INTERVAL = 100.0


def main() -> None:
    gc.disable()  # what is left behind must not need a collection to go
    globals()[sys.argv[1]](*map(float, sys.argv[2:]))


def never_used() -> None:
    """Ten thousand at once, then none, several times."""
    for _ in range(6):
        clients = [Whisperr(os.environ["WHISPERR_API_KEY"]) for _ in range(MANY)]
        lab.note("made", clients=len(_client._clients))
        del clients
        _note_figures()


def delivered() -> None:
    """Each client tracks, delivers and is dropped; several times."""
    for _ in range(4):
        for _ in range(USED):
            _deliver(lab.client(flush_interval=FLUSH_INTERVAL))
        _wait_for_one_thread()
        _note_figures()


def _deliver(client: Whisperr) -> None:
    lab.track(client)
    assert client.flush()
    lab.record_stats(client)


def idle() -> None:
    """The sender thread had ended before its client is dropped."""
    for _ in range(3):
        client = lab.client(flush_interval=0.1)
        _deliver(client)
        _wait_for_one_thread()
        del client
        _note_figures()


def shut_down() -> None:
    """The clients live on, without threads and connections; the second's thread ends before."""
    clients = [lab.client(flush_interval=seconds) for seconds in (FLUSH_INTERVAL, 0.05)]
    for client in clients:
        _deliver(client)
        if client is clients[-1]:
            _wait_for_one_thread()
        client.shutdown()
        _wait_for_one_thread()
        _note_figures()


def not_delivered(flush_interval: float) -> NoReturn:
    """What a dropped client holds is delivered, although no timer and no exit does it."""
    states: list[ProcessState | None] = []
    for _ in range(USED):
        client = lab.client(flush_interval=flush_interval, flush_at=MANY)
        for _ in range(3):
            lab.track(client)
        states.append(client._local.peek())
        del client
    _wait_for_one_thread()
    _note_states(states)
    os._exit(0)


def by_its_own_callback() -> NoReturn:
    """The last reference goes in on_error, so on the sender thread itself."""
    clients: list[Whisperr] = []
    clients.append(lab.client(flush_interval=FLUSH_INTERVAL, on_error=lambda _: clients.clear()))
    states = [clients[0]._local.get()]
    lab.track(clients[0])
    clients[0].track("", "refused")
    _wait_for_one_thread()
    assert not clients
    _note_states(states)
    os._exit(0)


def in_a_cycle() -> NoReturn:
    """The garbage collector drops it."""
    client = lab.client(flush_interval=FLUSH_INTERVAL)
    cycle = [client]
    cycle.append(cycle)  # type: ignore[arg-type]
    states = [client._local.get()]
    lab.track(client)
    del client, cycle
    assert len(_client._clients) == 1
    gc.collect()
    _wait_for_one_thread()
    _note_states(states)
    os._exit(0)


def at_the_very_end() -> None:
    """The interpreter drops it when the exit hooks are over."""
    client = lab.client(flush_interval=FLUSH_INTERVAL)
    lab.track(client)
    lab.record_stats(client)
    sys.modules["kept for the end"] = client  # type: ignore[assignment]


def _note_states(states: Sequence[ProcessState | None]) -> None:
    for state in states:
        assert state is not None
        assert state.stats().queued == state.stats().in_flight == 0
        lab.record_stats(state)
    assert not _exit._kept


def _wait_for_one_thread() -> None:
    deadline = time.monotonic() + 15
    while psutil.Process().num_threads() > 1:
        assert time.monotonic() < deadline, "A sender thread did not end."
        time.sleep(0.001)


def _note_figures() -> None:
    process = psutil.Process()
    counts = {
        "threads": process.num_threads(),
        "descriptors": process.num_fds(),
        "exit handlers": atexit._ncallbacks(),
        "finalizers of multiprocessing": len(multiprocessing.util._finalizer_registry),  # type: ignore[attr-defined]
        "finalizers": len(weakref.finalize._registry),  # type: ignore[attr-defined]
        "kept for the exit": len(_exit._kept),
        "clients": len(_client._clients),
        "states": sum(reference() is not None for reference in _exit._known.values()),
    }
    known = len(_exit._known)
    gc.collect()  # for the memory alone: requests, urllib3 and classes make cycles
    lab.note(
        "figures",
        counts=counts,
        known=known,
        blocks=sys.getallocatedblocks(),
        memory=process.memory_full_info().uss,
    )


if __name__ == "__main__":
    main()
