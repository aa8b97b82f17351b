"""What falls between the sender's last look and its end; run by test_windows.py.

The sender is paused exactly there. `looked` is the latest moment: it has decided to end.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import lab
from whisperr._loop import DeliveryLoop
from whisperr._schedule import Schedule
from whisperr._sender import Sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from whisperr import Whisperr, WhisperrError

FLUSH_INTERVAL = 1.0

reached, released = threading.Event(), threading.Event()


def pause() -> None:
    """Hold the sender here, the first time that it comes by."""
    if not reached.is_set():
        reached.set()
        released.wait(20)


def after_the_last_turn() -> None:
    """It holds the token, and has seen that nothing is left."""
    run = DeliveryLoop.run_until_idle

    def paused(loop: DeliveryLoop) -> None:
        run(loop)
        pause()

    DeliveryLoop.run_until_idle = paused  # type: ignore[assignment,method-assign]


def after_giving_back_the_token() -> None:
    """It has not looked again."""
    run = Sender._run_once

    def paused(sender: Sender) -> bool:
        ran = run(sender)
        pause()
        return ran

    Sender._run_once = paused  # type: ignore[assignment,method-assign]


def looked() -> None:
    """It looked again, and the answer was that nothing came."""
    look = DeliveryLoop.has_work

    def paused(loop: DeliveryLoop) -> bool:
        answer = look(loop)
        if not answer and threading.current_thread() is not threading.main_thread():
            pause()
        return answer

    DeliveryLoop.has_work = paused  # type: ignore[assignment,method-assign]


def track(client: Whisperr) -> None:
    lab.track(client)
    released.set()


def track_in_a_signal_handler(client: Whisperr) -> None:
    signal.signal(signal.SIGUSR1, lambda *_: lab.track(client))
    signal.raise_signal(signal.SIGUSR1)
    released.set()


def flush(client: Whisperr) -> None:
    _flush(client)


def flush_in_a_signal_handler(client: Whisperr) -> None:
    signal.signal(signal.SIGUSR1, lambda *_: _flush(client))
    signal.raise_signal(signal.SIGUSR1)


def _flush(client: Whisperr) -> None:
    """The flush waits before the sender goes on."""
    lab.track(client)
    loop = client._local.get()._loop
    returned = threading.Event()

    def release() -> None:
        while not (loop._waiters or returned.is_set()):
            time.sleep(0.001)
        released.set()

    threading.Thread(target=release).start()
    result = client.flush(timeout=10)
    returned.set()
    assert result, result


def refuse(client: Whisperr) -> None:
    """Nothing is queued, but something is to be said."""
    started = time.monotonic()
    client.track("", "refused")
    released.set()
    while not said:
        assert time.monotonic() < started + 20
        time.sleep(0.005)
    lab.note("refused", seconds=time.monotonic() - started)
    lab.track(client)


said: list[WhisperrError] = []


def on_error(error: WhisperrError) -> None:
    said.append(error)
    lab.note("reports", reason=error.reason)


def run(window: Callable[[], None], act: Callable[[Whisperr], None]) -> None:
    # An idle sender ends at once, not after a second or three intervals.
    Schedule.is_idle = lambda *_: True  # type: ignore[method-assign]
    window()
    client = lab.client(flush_interval=FLUSH_INTERVAL, on_error=on_error)
    lab.track(client)
    assert client.flush(timeout=10)
    assert reached.wait(10)
    _assert_served(client, act)
    _assert_served(client, lab.track)  # and by whoever came after it
    lab.record_stats(client)


def _assert_served(client: Whisperr, act: Callable[[Whisperr], Any]) -> None:
    started = time.monotonic()
    before = client.stats().delivered
    act(client)
    while (stats := client.stats()).delivered < before + 1:
        assert time.monotonic() < started + 20, stats
        time.sleep(0.005)
    lab.note("served", seconds=time.monotonic() - started)


if __name__ == "__main__":
    run(globals()[sys.argv[1]], globals()[sys.argv[2]])
