"""Processes that end in the middle of a pause; run by test_waits.py."""

from __future__ import annotations

import _thread
import sys
from typing import TYPE_CHECKING, Any

import lab

if TYPE_CHECKING:
    from whisperr import Whisperr


def main() -> None:
    globals()[sys.argv[1]](sys.argv[2])


def resting(sender: str) -> None:
    """In a pause of the client's own, of 50 s at least."""
    _end_with(lab.client(flush_interval=100, flush_at=10_000, shutdown_timeout=60), sender)


def asked_to_wait(sender: str) -> None:
    """In a pause of the service's that is longer than the exit may take."""
    _end_with(lab.client(flush_interval=0, flush_at=10_000, shutdown_timeout=50), sender)


def _end_with(client: Whisperr, sender: str) -> None:
    if sender == "none":
        _refuse_threads()
    for _ in range(3):
        lab.track(client)
    assert client.flush(timeout=5).queued == 3
    lab.record_stats(client)
    lab.note("end")


def _refuse_threads() -> None:
    """As CPython 3.12 does at its end: the exit delivers on its own."""

    def refuse(*_: Any) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    _thread.start_new_thread = refuse  # type: ignore[assignment]


if __name__ == "__main__":
    main()
