"""Record what would be sent, and assert on it; nothing leaves the machine. See docs/testing.md."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from whisperr import _capture
from whisperr.testing.events import Events
from whisperr.testing.records import Call, CapturedEvent, CapturedIdentify

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Call", "CapturedEvent", "CapturedIdentify", "Events", "capture"]


@contextmanager
def capture() -> Iterator[Events]:
    """Record what every client of this process tracks, instead of sending it.

    Also in the processes that are forked or started meanwhile. A client made meanwhile needs no
    key. Captures nest: the inner one records. For one thread at a time; what other threads track
    is recorded as well.

    Yields:
        What was recorded so far; still readable after the block.

    Raises:
        AssertionError: at the end of a block that raised nothing, where a call broke the
            contract: nothing of it would have reached the service, or the service would have
            rejected it.
    """
    __tracebackhide__ = True
    with _capture.recording() as path:
        events = Events(path)
        try:
            yield events
        finally:
            events._settle()
    events.check()
