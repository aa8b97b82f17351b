"""Calls of the client out of the middle of the client; run by test_reentry.py."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import lab
from whisperr import Whisperr
from whisperr._delivery import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

    from whisperr import WhisperrError

#: So often a finaliser or a callback tracks, so that none feeds itself for ever.
OFTEN = 40
TRACK = Whisperr.track.__code__
STEP = Delivery.step.__code__


noted: list[str] = []


def main() -> None:
    globals()[sys.argv[1]]()


def settle(client: Whisperr) -> None:
    """See that what is tracked from now on is delivered, then record the accounts."""
    for _ in range(5):
        lab.track(client)
    deadline = time.monotonic() + 10
    while not client.flush(timeout=5):
        assert time.monotonic() < deadline, client.stats()
    lab.record_stats(client)


def note(kind: str, **values: Any) -> None:
    lab.note(kind, **values)
    noted.append(kind)


def inside(code: CodeType) -> bool:
    """Whether the calling thread is in the middle of this function."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


# --- Finalisers and weak references ---------------------------------------------------------


class Garbage:
    """A cycle that only the collector finds."""

    def __init__(self) -> None:
        self.cycle = self


class Finalised(Garbage):
    """Its finaliser tracks."""

    def __init__(self, client: Whisperr) -> None:
        super().__init__()
        self.client = client

    def __del__(self) -> None:
        collected(self.client)


def collected(client: Whisperr) -> None:
    """Track and, on the sender's thread, flush, which must not wait there."""
    lab.track(client)
    if threading.current_thread() is threading.main_thread():
        note("collected", where="track" if inside(TRACK) else "elsewhere")
        return
    started = time.monotonic()
    client.flush(timeout=20)
    note("collected", where="sender", seconds=time.monotonic() - started)


def finalisers() -> None:
    """A finaliser tracks, inside track() and inside the sender's exchange."""
    client = lab.client(flush_interval=0)
    _collect(client, lambda: Finalised(client))


def weak_references() -> None:
    """The callback of a weak reference tracks, there as well."""
    client = lab.client(flush_interval=0)
    watching = []
    _collect(client, lambda: watching.append(weakref.ref(Garbage(), lambda _: collected(client))))


def _collect(client: Whisperr, leave: Callable[[], object]) -> None:
    """Leave garbage before calls of track(), then before steps of the sender."""
    gc.disable()
    gc.set_threshold(1)
    to: Any = Collecting(client, leave)
    for _ in range(OFTEN):
        lab.track(to)
    _collect_in_steps(leave)
    for _ in range(OFTEN):
        lab.track(client)
        client.flush(timeout=5)
    gc.collect()  # what lived through its first collection
    settle(client)


class Collecting:
    """Passes each call to the client; the first allocation in it begins a collection."""

    def __init__(self, client: Whisperr, leave: Callable[[], object]) -> None:
        self.client = client
        self.leave = leave

    def track(self, user: str, event_type: str, properties: dict[str, Any]) -> None:
        self.leave()
        gc.enable()
        self.client.track(user, event_type, properties)
        gc.disable()


def _collect_in_steps(leave: Callable[[], object]) -> None:
    """The next steps begin with a collection in their first allocation."""
    steps, step = iter(range(OFTEN)), Delivery.step

    def collecting(*arguments: Any, **keywords: Any) -> None:
        for _turn in steps:
            leave()
            gc.enable()
            break
        step(*arguments, **keywords)
        gc.disable()

    Delivery.step = collecting  # type: ignore[method-assign]


# --- Callbacks --------------------------------------------------------------------------------


def on_error() -> None:
    """It tracks what is valid and what is not, flushes, and raises."""
    left = iter(range(OFTEN))

    def report(_: WhisperrError) -> None:
        for _turn in left:
            lab.track(client)
            client.track("", "refused_again")
            started = time.monotonic()
            assert client.flush(timeout=20).timed_out
            note("flushed", seconds=time.monotonic() - started)
            raise RuntimeError("the application's own")

    client = lab.client(on_error=report, flush_interval=0.05)
    client.track("", "refused")
    lab.track(client)
    for _ in range(OFTEN):  # whoever waits hears of everything, others at a bounded rate
        client.flush(timeout=5)
    _wait_for("flushed", OFTEN)
    settle(client)


class TrackingHandler(logging.Handler):
    """Tracks at each record, so many times."""

    def __init__(self, often: int) -> None:
        super().__init__()
        self.left = iter(range(often))
        self.client: Whisperr | None = None

    def emit(self, _: logging.LogRecord) -> None:
        for _turn in self.left:
            assert self.client is not None
            lab.track(self.client)
            self.client.flush(timeout=20)
            note("logged", in_exchange=inside(STEP))
            return


def log_of_whisperr() -> None:
    """Reports are logged; the handler tracks, and what it is refused is logged again."""
    client = _logged_client("whisperr", on_error=None)
    for _ in range(OFTEN):
        client.track("", "refused")
        client.flush(timeout=5)
    _wait_for("logged", OFTEN)
    settle(client)


def log_of_urllib3() -> None:
    """It logs in the middle of the sender's exchange: each exchange makes the next one."""
    client = _logged_client("urllib3")
    lab.track(client)
    _wait_for("logged", OFTEN)
    settle(client)


def _logged_client(name: str, **options: Any) -> Whisperr:
    handler = TrackingHandler(OFTEN)
    logging.getLogger(name).setLevel(logging.DEBUG)
    logging.getLogger(name).addHandler(handler)
    handler.client = lab.client(flush_at=1, **options)
    return handler.client


def before_send() -> None:
    """It tracks, too; its own operation does not pass through it."""

    def filtered(operation: dict[str, Any], _: str) -> dict[str, Any]:
        lab.track(client)
        return operation

    client = lab.client(before_send=filtered)
    for _ in range(OFTEN):
        lab.track(client)
    lab.record_stats(client)


class Striking(set[int]):
    """Who is inside before_send; a signal comes when the first is."""

    struck = False

    def add(self, thread: int) -> None:
        super().add(thread)
        if not self.struck:
            self.struck = True
            signal.raise_signal(signal.SIGUSR1)


def before_send_struck() -> None:
    """A handler raises where before_send is about to be called: later it is called all the same."""

    def handler(*_: object) -> None:
        raise InterruptedError

    def filtered(operation: dict[str, Any], _: str) -> dict[str, Any]:
        operation["properties"]["filtered"] = True
        return operation

    signal.signal(signal.SIGUSR1, handler)
    client = lab.client(before_send=filtered)
    client._encoder._in_before_send = Striking()
    with suppress(InterruptedError):
        client.track("user", "struck")
    lab.track(client)
    lab.record_stats(client)


def _wait_for(kind: str, often: int) -> None:
    deadline = time.monotonic() + 20
    while noted.count(kind) < often:
        assert time.monotonic() < deadline, f"{noted.count(kind)} of {often}"
        time.sleep(0.005)


if __name__ == "__main__":
    signal.alarm(60)  # a hang ends
    main()
