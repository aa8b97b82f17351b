"""Calls out of the middle of the last delivery of a process; run by test_last_calls.py."""

from __future__ import annotations

import _thread
import atexit
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from reentry_scenarios import TrackingHandler

import lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from whisperr import Whisperr, WhisperrError

clients: list[Whisperr] = []


def client(**options: Any) -> Whisperr:
    """A client whose operations only the end of the process delivers."""
    clients.append(lab.client(**{"flush_interval": 0, "flush_at": 10_000, **options}))
    return clients[-1]


def record_at_the_very_end() -> None:
    """Registered before the client's hook, so that it runs after it."""
    lab.record_stats(clients[0])


def refuse_threads() -> None:
    """As CPython 3.12 does at the end of an interpreter."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    _thread.start_new_thread = refuse  # type: ignore[assignment]


# --- Tracked while the last delivery is under way --------------------------------------------


def log_handler_on_the_sender() -> None:
    _log_handler()


def log_handler_on_the_ending_thread() -> None:
    refuse_threads()
    _log_handler()


def _log_handler() -> None:
    log_to(client())
    lab.track(clients[0])
    lab.record_stats(clients[0])


def log_to(tracking: Whisperr) -> None:
    """A log handler tracks once, in the middle of the exchange."""
    handler = TrackingHandler(1)
    logging.getLogger("urllib3").setLevel(logging.DEBUG)
    logging.getLogger("urllib3").addHandler(handler)
    handler.client = tracking


def on_error_on_the_sender() -> None:
    _on_error()


def on_error_on_the_ending_thread() -> None:
    refuse_threads()
    _on_error()


def _on_error() -> None:
    """The service refuses the operation, which is reported, and the callback tracks."""
    tracking = client(on_error=lambda _: lab.track(clients[0]))
    lab.track(tracking)
    lab.record_stats(tracking)


def thread_beside_the_last_delivery() -> None:
    """A daemon thread tracks while the main thread waits for the last answer."""
    tracked = threading.Event()
    atexit.register(tracked.wait, 10)
    tracking = client()
    lab.track(tracking)

    def work() -> None:
        while not tracking.stats().in_flight:
            time.sleep(0.001)
        lab.track(tracking)
        tracked.set()

    threading.Thread(target=work, daemon=True).start()


# --- flush() and track() where no thread can be started any more ----------------------------------


def flush_before_our_hook() -> None:
    """The flush delivers itself, and does not wait in vain."""
    client()
    atexit.register(_track_and_flush)


def flush_after_our_hook() -> None:
    atexit.register(_track_and_flush)
    client()


def flush_after_our_hook_and_a_log_handler_tracks() -> None:
    atexit.register(_track_and_flush)
    atexit.register(lambda: log_to(clients[0]))
    client()


def flush_of_what_is_left_and_a_log_handler_tracks() -> None:
    atexit.register(_flush_what_is_left)
    client(on_error=None)


def _flush_what_is_left() -> None:
    """The service refuses the key once, in the delivery inside track()."""
    refuse_threads()
    lab.track(clients[0])
    assert clients[0].stats().queued == 1
    log_to(clients[0])
    assert clients[0].flush(timeout=5)


def _track_and_flush() -> None:
    refuse_threads()
    lab.track(clients[0])
    started = time.monotonic()
    result = clients[0].flush(timeout=5)
    lab.note("flushed", true=bool(result), seconds=time.monotonic() - started)


def thread_outlives_main() -> None:
    """It works on: what it tracks does not wait for an end that may be far away."""
    tracking = client(flush_at=5)

    def work() -> None:
        threading.main_thread().join()
        refuse_threads()
        for _ in range(5):
            lab.track(tracking)
        lab.note("before_the_end", delivered=tracking.stats().delivered)

    threading.Thread(target=work).start()


# --- Nothing can be delivered, and a callback makes it worse -------------------------------------


def on_error_tracks() -> None:
    _in_vain(lambda _: clients[0].track("user", "failed"))


def on_error_flushes() -> None:
    _in_vain(lambda _: clients[0].flush())


def on_error_shuts_down() -> None:
    _in_vain(lambda _: clients[0].shutdown())


def log_handler_tracks() -> None:
    """It tracks at each line of the log, the one about itself included."""
    handler = TrackingHandler(10_000)
    logging.getLogger("whisperr").addHandler(handler)
    _in_vain(lambda _: None)
    handler.client = clients[0]


def _in_vain(act: Callable[[WhisperrError], object]) -> None:
    def on_error(error: WhisperrError) -> None:
        lab.note("said", type=error.type)
        act(error)

    atexit.register(lambda: clients[0].track("user", "late"))  # runs after our hook
    client(on_error=on_error, shutdown_timeout=1.0)
    clients[0].track("user", "happened")
    lab.note("end")


if __name__ == "__main__":
    atexit.register(record_at_the_very_end)
    globals()[sys.argv[1]]()
