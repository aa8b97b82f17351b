"""Whether the machine had time for its processes, or deadlines passed while nobody ran."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

_BEAT = 0.05
#: Below every request's timeout.
_LATE = 0.25


class Metronome:
    """Wants to run at every beat, from the begin to the end of a `with`."""

    def __init__(self) -> None:
        self._latest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def in_time(self) -> bool:
        """Whether it never had to wait for long."""
        return self._latest < _LATE

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic() + _BEAT
        while not self._stop.wait(_BEAT):
            now = time.monotonic()
            self._latest = max(self._latest, now - due)
            due = now + _BEAT
