"""The control: with LAB_HOOKS=off in the environment no hook of ours does anything.

Whatever a host loads first imports this before anything that takes one of these names.
"""

from __future__ import annotations

import contextlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import whisperr
from whisperr import _exit

if TYPE_CHECKING:
    from collections.abc import Iterator


def _nothing(*_: object, **__: object) -> whisperr.FlushResult:
    return whisperr.FlushResult()


@contextmanager
def _block(client: whisperr.Whisperr, timeout: float | None = None) -> Iterator[whisperr.Whisperr]:
    yield client


def _disable() -> None:
    """Everything that exit hooks and the helpers for hosts call."""
    _exit.run_exit_hook = _nothing  # type: ignore[assignment]
    for holder in (whisperr, whisperr._client, whisperr.Whisperr):
        for name in ("before_exit", "flush_all"):
            setattr(holder, name, _nothing)
    whisperr.Whisperr.delivering = contextlib.nullcontext  # type: ignore[assignment]
    whisperr._client._wiring._before_exit = _nothing
    whisperr.Whisperr.delivering = _block  # type: ignore[assignment,method-assign]


if os.environ.get("LAB_HOOKS") == "off":
    _disable()
