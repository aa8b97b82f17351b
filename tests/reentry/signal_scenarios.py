"""Signal handlers that call the client in the middle of the client; run by test_signals.py."""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn

from reentry_scenarios import TRACK, settle

import lab
from whisperr import Whisperr, WhisperrError, _exit
from whisperr._connection import Exchange
from whisperr._exit import run_exit_hook
from whisperr._token import Token
from whisperr._waiter import Flag

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

SIGNALS = int(os.environ.get("WHISPERR_SIGNALS", "10000"))
OFTEN = 50

random = Random(20260614)
handled = interrupted = 0


class Struck(Exception):  # noqa: N818 - nothing went wrong
    """What the signal handler raises."""


class Journal:
    """Lines of ids; one call each, so that no handler that raises leaks a descriptor."""

    def __init__(self, name: str) -> None:
        path = Path(os.environ["LAB_FOLDER"], name)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, test_id: str) -> None:
        os.write(self._descriptor, b'{"id": "%s"}\n' % test_id.encode())


def ring_soon() -> None:
    """One alarm at a random moment; none is pending while a handler runs."""
    if handled < SIGNALS:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 6e-5))


def count(frame: FrameType | None) -> None:
    """Count a signal, and whether it interrupted track()."""
    global handled, interrupted
    handled += 1
    while frame is not None and frame.f_code is not TRACK:
        frame = frame.f_back
    interrupted += frame is not None


def track_in_a_storm() -> None:
    """Each handler tracks, and so does what it interrupts."""
    client = _client()
    journal = Journal("journal")

    def track() -> None:
        test_id = uuid.uuid4().hex
        journal.write(test_id)
        client.track("user", "something_happened", {"test_id": test_id})

    def handler(_: int, frame: FrameType | None) -> None:
        count(frame)
        track()
        ring_soon()

    signal.signal(signal.SIGALRM, handler)
    ring_soon()
    while handled < SIGNALS:
        track()
    lab.note("storm", handled=handled, interrupted=interrupted)
    _the_sender_goes_on(client)


def track_in_a_storm_that_raises() -> None:
    """The handler tracks, then raises. What returned from track() is in a journal of its own."""
    client = _client()
    journal, returned = Journal("journal"), Journal("returned")

    def track() -> None:
        test_id = uuid.uuid4().hex
        journal.write(test_id)
        client.track("user", "something_happened", {"test_id": test_id})
        returned.write(test_id)

    def handler(_: int, frame: FrameType | None) -> NoReturn:
        count(frame)
        track()
        raise Struck

    signal.signal(signal.SIGALRM, handler)
    while handled < SIGNALS:
        _until_struck(track)
    lab.note("storm", handled=handled, interrupted=interrupted)
    _the_sender_goes_on(client)


def _until_struck(track: Callable[[], None]) -> None:
    with suppress(Struck):
        ring_soon()
        _repeat(track)


def _repeat(track: Callable[[], None]) -> NoReturn:
    # Not inside the try: CPython 3.13.0 leaves a loop's jump back out of it.
    while True:
        track()


def _client() -> Whisperr:
    return lab.client(flush_interval=0.5, flush_at=200, max_queue_size=1_000_000)


def _the_sender_goes_on(client: Whisperr) -> None:
    """Without a flush or an end: the sender delivers by itself what comes later."""
    deadline = time.monotonic() + 20
    before = client.stats().delivered
    while client.stats().delivered == before:  # the start of one that was struck expires
        assert time.monotonic() < deadline, client.stats()
        lab.track(client)
        time.sleep(0.01)
    while (stats := client.stats()).delivered < stats.accepted:
        assert time.monotonic() < deadline, stats
        time.sleep(0.01)
    lab.note("accounts", accepted=stats.accepted, delivered=stats.delivered)
    lab.record_stats(client)


# --- flush() and shutdown() ---------------------------------------------------------------------


def flush_in_track() -> None:
    """Handlers track and flush at random moments of a main thread that tracks."""
    client = lab.client(flush_interval=0.5)

    def handler(_: int, frame: FrameType | None) -> None:
        count(frame)
        _track_and_flush(client)
        ring_soon()

    signal.signal(signal.SIGALRM, handler)
    ring_soon()
    while handled < SIGNALS:
        lab.track(client)
    settle(client)


def flush_in_flush() -> None:
    """The main thread waits in a flush for a slow answer."""
    client = lab.client()
    _signal_when(Flag.wait, lambda: _track_and_flush(client))
    _flush(client)
    settle(client)


def flush_in_an_inline_delivery() -> None:
    """The main thread reads the slow answer itself: the handler cannot wait for it."""
    _refuse_threads()
    client = lab.client(flush_interval=0, on_error=None)
    _signal_when(Exchange.wait_readable, lambda: _track_and_flush(client))
    _flush(client)
    settle(client)


def shutdown_in_flush() -> None:
    client = lab.client()
    _signal_when(Flag.wait, lambda: _shut_down(client))
    _flush(client)
    lab.record_stats(client)


def shutdown_in_an_inline_delivery() -> None:
    _refuse_threads()
    client = lab.client(flush_interval=0, on_error=_but_threads)
    _signal_when(Exchange.wait_readable, lambda: _shut_down(client))
    _flush(client)
    lab.record_stats(client)


def shutdown_in_track() -> None:
    """What was in the middle of track() is refused, or accepted and delivered at the end."""
    clients = [lab.client(on_error=None) for _ in range(OFTEN)]
    for client in clients:
        _shut_down_inside_track(client)
    # What a shutdown came too early for is delivered by the sender, or by the exit hook.
    atexit.unregister(run_exit_hook)
    run_exit_hook()
    for client in clients:
        stats = client.stats()
        assert stats.delivered == stats.accepted, stats
        lab.record_stats(client)
    lab.note("accounts", accepted=sum(client.stats().accepted for client in clients))


def _shut_down_inside_track(client: Whisperr) -> None:
    def handler(_: int, frame: FrameType | None) -> None:
        before = interrupted
        count(frame)
        if interrupted > before:
            client.shutdown(timeout=5)
        if client.ready:  # no alarm is left for the end of the interpreter
            ring_soon()

    signal.signal(signal.SIGALRM, handler)
    ring_soon()
    while client.ready:
        lab.track(client)
    signal.setitimer(signal.ITIMER_REAL, 0)
    lab.track(client)


def _track_and_flush(client: Whisperr) -> None:
    lab.track(client)
    started = time.monotonic()
    result = client.flush(timeout=10)
    lab.note(
        "flushed",
        true=bool(result),
        timed_out=result.timed_out,
        seconds=time.monotonic() - started,
    )


def _shut_down(client: Whisperr) -> None:
    started = time.monotonic()
    client.shutdown(timeout=10)
    lab.note("shut_down", seconds=time.monotonic() - started)


def _flush(client: Whisperr) -> None:
    """Flush in the main thread, and see that the signal came in the middle of it."""
    lab.track(client)
    result = client.flush(timeout=10)
    assert result, result
    assert handled == 1


def _refuse_threads() -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    _thread.start_new_thread = refuse  # type: ignore[assignment]


def _but_threads(error: WhisperrError) -> None:
    """That no thread can be started is said; everything else would be wrong."""
    if error.type != "environment":
        lab.note("reports", text=str(error))


def _signal_when(method: Callable[..., Any], act: Callable[[], None]) -> None:
    """Send a signal, whose handler acts, once the main thread is inside this method."""
    main = threading.get_ident()

    def handler(_: int, frame: FrameType | None) -> None:
        count(frame)
        act()

    def watch() -> None:
        while not _is_inside(sys._current_frames()[main], method):
            time.sleep(0.001)
        signal.pthread_kill(main, signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, handler)
    _start_os_thread(watch, ())


def _is_inside(frame: FrameType | None, method: Callable[..., Any]) -> bool:
    while frame is not None and frame.f_code is not method.__code__:
        frame = frame.f_back
    return frame is not None


_start_os_thread = _thread.start_new_thread


# --- A handler that raises at a moment that matters ----------------------------------------------


def _raise(*_: object) -> NoReturn:
    raise Struck


def strike() -> None:
    """A signal, whose handler raises, in the calling line."""
    signal.raise_signal(signal.SIGUSR1)


class StrikingDict(dict[int, Any]):
    """The first thing that is put into it is interrupted."""

    def __setitem__(self, key: int, value: Any) -> None:
        if not self:
            super().__setitem__(-1, lambda: None)
            strike()
        super().__setitem__(key, value)


def first_use_struck() -> None:
    """The first call is interrupted while it makes itself known to the exit hook."""
    signal.signal(signal.SIGUSR1, _raise)
    client = lab.client(flush_interval=0, flush_at=10_000)
    _exit._known = StrikingDict()
    with suppress(Struck):
        client.track("user", "struck")
    for _ in range(5):
        lab.track(client)
    lab.record_stats(client)


def construction_struck() -> None:
    """The first client is interrupted while it registers the exit hook; the second serves."""
    signal.signal(signal.SIGUSR1, _raise)
    register = atexit.register

    def struck(*_: object) -> None:
        atexit.register = register
        strike()

    atexit.register = struck  # type: ignore[assignment]
    with suppress(Struck):
        lab.client()
    client = lab.client(flush_interval=0, flush_at=10_000)
    for _ in range(5):
        lab.track(client)
    lab.record_stats(client)


def delivery_end_struck() -> None:
    """An inline delivery is interrupted where it gives its right back; a thread takes over."""
    signal.signal(signal.SIGUSR1, _raise)
    start, give = _thread.start_new_thread, Token.give

    def struck(*_: object) -> None:
        Token.give = give  # type: ignore[method-assign]
        strike()

    client = lab.client(flush_interval=0, flush_at=1, on_error=None)
    _refuse_threads()
    Token.give = struck  # type: ignore[method-assign,assignment]
    with suppress(Struck):
        lab.track(client)
    assert Token.give is give
    _thread.start_new_thread = start
    _the_sender_goes_on(client)


if __name__ == "__main__":
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_VIRTUAL, 60)  # a loop without an end ends
    globals()[sys.argv[1]]()
