"""Processes that end in some way with operations queued; run by test_ends.py."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

import psutil

import lab
from whisperr import Whisperr, WhisperrError, flush_all

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = 50


def main() -> None:
    globals()[sys.argv[1]]()


def _loaded(**options: Any) -> Whisperr:
    """A client whose operations the end of the process delivers, with the sender of SENDERS."""
    client = lab.client(**{"flush_interval": 0, "flush_at": 10_000, **options, **_sender()})
    _load(client)
    if os.environ.get("LAB_SENDER") == "in recv":
        _wait(lambda: client._local.get()._queue.in_flight)
    return client


def _sender() -> dict[str, int]:
    """Arrange for a sender thread that is idle, in `recv`, or refused by the interpreter."""
    sender = os.environ.get("LAB_SENDER", "idle")
    if sender == "none":
        _refuse_threads()
    return {"flush_at": 1} if sender == "in recv" else {}


def _refuse_threads() -> None:
    """As CPython 3.12 does at its end: no thread can be started any more."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    _thread.start_new_thread = refuse  # type: ignore[assignment]


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "The condition was not met within 10 s."
        time.sleep(0.001)


def _load(client: Whisperr) -> None:
    for _ in range(EVENTS - 1):
        lab.track(client)
    lab.identify(client)


def fall_through() -> None:
    lab.record_stats(_loaded())


def sys_exit() -> None:
    lab.record_stats(_loaded())
    sys.exit(0)


def uncaught_exception() -> NoReturn:
    lab.record_stats(_loaded())
    raise RuntimeError("the application's own")


def keyboard_interrupt() -> None:
    lab.record_stats(_loaded())
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)


def dropped_client() -> None:
    """Nothing but the sender thread knows of the client any more."""
    client = _loaded()
    lab.record_stats(client)
    del client


def delivering_before_os_exit() -> NoReturn:
    client = lab.client(**_sender())
    with client.delivering(), client.delivering():
        _load(client)
    lab.record_stats(client)
    os._exit(0)


def with_client() -> None:
    with lab.client() as client:
        _load(client)
    lab.record_stats(client)


def in_the_middle_of_an_exchange() -> None:
    """The sender thread waits for an answer when the process ends."""
    client = _loaded(flush_at=EVENTS)
    deadline = time.monotonic() + 10
    while not client.stats().in_flight:
        assert time.monotonic() < deadline, "The sender took nothing."
        time.sleep(0.001)
    lab.record_stats(client)


def idle_end_then_exit() -> None:
    """The sender thread has ended for want of work; what comes later is delivered at the exit."""
    client = lab.client(flush_interval=0.1, flush_at=10_000)
    lab.track(client)
    assert client.flush()
    _wait(lambda: not client._local.get()._sender.running)
    for _ in range(EVENTS - 1):
        lab.track(client)
    lab.record_stats(client)


def no_new_thread_at_exit() -> None:
    """No thread can be started any more when the exit hooks run, and nobody knows the client."""
    client = lab.client(flush_interval=0)
    _refuse_threads()
    _load(client)
    lab.record_stats(client)
    del client


def made_and_not_used() -> None:
    """A client that is made starts no thread, and its process ends at once."""
    before = psutil.Process().num_threads()
    client = lab.client()
    assert psutil.Process().num_threads() == before
    lab.track(client)
    assert psutil.Process().num_threads() == before + 1
    lab.record_stats(client)


def atexit_handlers() -> None:
    """Track in handlers that run before ours, after ours, and were registered in the child."""
    clients: list[Whisperr] = []
    atexit.register(lambda: lab.track(clients[0]))  # runs after ours
    clients.append(lab.client())
    atexit.register(lambda: lab.track(clients[0]))  # runs before ours
    lab.track(clients[0])
    lab.record_stats(clients[0])


def flush_in_atexit() -> None:
    """A handler of the application's flushes where no thread can be started any more."""
    client = lab.client(flush_interval=0)
    atexit.register(_track_and_flush, client)
    _refuse_threads()


def _track_and_flush(client: Whisperr) -> None:
    _load(client)
    assert client.flush()
    lab.record_stats(client)


def first_use_in_atexit() -> None:
    """A client whose first operation comes after our exit hook."""
    clients: list[Whisperr] = []
    atexit.register(lambda: lab.record_stats(clients[0]))
    atexit.register(lambda: lab.track(clients[0]))
    clients.append(lab.client())


def thread_outlives_main() -> None:
    client = lab.client()

    def work() -> None:
        threading.main_thread().join()
        lab.track(client)
        lab.record_stats(client)

    threading.Thread(target=work).start()


def threads_outlive_their_target() -> None:
    """Children of multiprocessing whose threads track long after the hook at their end ran."""
    from multiprocessing import get_context, util

    seconds = 2.0
    client = lab.client(shutdown_timeout=seconds)

    def go_on() -> None:
        _wait(util.is_exiting)
        too_late = time.monotonic() + seconds
        _wait(lambda: time.monotonic() > too_late)
        for _ in range(2):
            lab.track(client)
        lab.record_stats(client)

    def run(*, used: bool) -> None:
        if used:
            lab.track(client)
            assert client.flush()
        threading.Thread(target=go_on).start()

    context = get_context("fork")
    children = [context.Process(target=run, kwargs={"used": used}) for used in (True, False)]
    for child in children:
        child.start()
    for child in children:
        child.join(15)
        assert child.exitcode == 0


def two_clients() -> None:
    """One client's service hangs; the other's operations arrive all the same."""
    healthy = _loaded(shutdown_timeout=1.0)
    _hanging()
    lab.record_stats(healthy)
    lab.note("end")


def two_clients_the_hanging_one_first() -> None:
    _hanging()
    lab.record_stats(_loaded(shutdown_timeout=1.0))
    lab.note("end")


def two_clients_flushed() -> None:
    """What helpers of hosts call before a process is ended by os._exit."""
    _hanging()
    healthy = _loaded()
    result = flush_all(1)
    assert (result.delivered, result.queued) == (EVENTS, EVENTS)
    lab.record_stats(healthy)
    lab.note("end")
    os._exit(0)


def _hanging() -> Whisperr:
    """A client whose service never answers, with operations."""
    client = lab.client(
        **{
            "base_url": os.environ["LAB_HANGING_URL"],
            "flush_interval": 0,
            "flush_at": 10_000,
            "shutdown_timeout": 1.0,
            "on_error": None,
            **_sender(),
        }
    )
    for _ in range(EVENTS):
        client.track("user", "never_arrives")
    return client


def refused_at_the_end() -> None:
    """There is no time to deliver; what was refused is reported all the same."""
    lab.client(shutdown_timeout=0).track("", "refused")


def late_in_vain() -> None:
    """An atexit handler tracks after our exit hook, and the service never answers."""
    clients: list[Whisperr] = []
    atexit.register(lambda: lab.track(clients[0]))
    clients.append(lab.client(shutdown_timeout=0.5))


class _TracksAtItsEnd:
    def __init__(self, client: Whisperr) -> None:
        self.client = client

    def __del__(self) -> None:
        started = time.monotonic()
        lab.track(self.client)
        lab.note("tracked", seconds=time.monotonic() - started)


def track_in_teardown() -> None:
    """A finaliser tracks when the modules are gone already."""
    client = lab.client()
    lab.track(client)
    sys.modules["kept_until_teardown"] = _TracksAtItsEnd(client)  # type: ignore[assignment]


def nothing_to_deliver() -> None:
    """The control: how long an interpreter takes to end on this machine now."""
    client = lab.client()
    client.stats()
    lab.note("end")


def several_ends() -> None:
    """Three of them: shutdown(), the hook of atexit and that of multiprocessing."""
    import multiprocessing.util  # noqa: F401 - before the client

    client = _loaded(shutdown_timeout=0.3)
    assert not client.shutdown()
    lab.record_stats(client)


def on_error_forks_at_the_end() -> None:
    """The child returns from shutdown() as the parent does, and reports nothing."""

    def fork(error: WhisperrError) -> None:
        lab.note("reports", **vars(error))
        if error.reason == "undelivered":
            children.append(os.fork())

    children: list[int] = []
    client = _loaded(shutdown_timeout=0.3, on_error=fork)
    lab.record_stats(client)
    client.shutdown()
    lab.note("returned", pid=os.getpid())
    if children[0]:
        lab.wait_for(children[0])


def on_error_forks_in_the_exit_hook() -> None:
    """The child returns into the hook, where another client of the parent's is next."""

    def fork(error: WhisperrError) -> None:
        lab.note("reports", **vars(error))
        if not children:
            children.append(os.fork())

    def wait() -> None:
        if children[0]:
            lab.wait_for(children[0])

    children: list[int] = []
    atexit.register(wait)  # runs after ours
    clients = [_loaded(shutdown_timeout=0.3, on_error=fork) for _ in range(2)]
    for client in clients:
        lab.record_stats(client)


def delivering_in_vain() -> NoReturn:
    client = lab.client(**_sender())
    with client.delivering(0.3):
        _load(client)
        with client.delivering(0.3):
            lab.record_stats(client)
    os._exit(0)


def on_error_tracks_at_the_end() -> None:
    """What the last delivery of all meets makes the application track once more."""

    def on_error(error: WhisperrError) -> None:
        if error.reason == "rejected":
            lab.track(client)

    client = lab.client(flush_interval=0, on_error=on_error, **_sender())
    lab.track(client)
    lab.record_stats(client)


def struck_at_the_end() -> None:
    """Ctrl-C while the exit hook waits for a service that never answers."""
    client = _loaded(shutdown_timeout=20.0)
    lab.record_stats(client)
    threading.Thread(target=_strike_the_exit, args=(client,), daemon=True).start()


def _strike_the_exit(client: Whisperr) -> None:
    threading.main_thread().join()
    _wait(lambda: client._local.get()._loop._waiters)
    lab.note("end")
    os.kill(os.getpid(), signal.SIGINT)


def flush_in_vain() -> None:
    client = _loaded(shutdown_timeout=0.1)
    started = time.monotonic()
    result = client.flush(timeout=1)
    lab.note(
        "flushed",
        seconds=time.monotonic() - started,
        true=bool(result),
        queued=result.queued,
        timed_out=result.timed_out,
    )
    lab.record_stats(client)


def flush_everything() -> None:
    first, second = lab.client(flush_interval=0), lab.client(flush_interval=0)
    for client in (first, second):
        lab.track(client)
    assert flush_all(5)
    for client in (first, second):
        assert client.stats().delivered == 1
        lab.record_stats(client)
    os._exit(0)


if __name__ == "__main__":
    main()
