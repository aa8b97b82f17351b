"""What a client reports, kept for the test to read."""

from __future__ import annotations

from whisperr import WhisperrError


class Errors(list[WhisperrError]):
    """An on_error that keeps what it is told."""

    def __call__(self, error: WhisperrError) -> None:
        self.append(error)
