"""Exit handlers that run after all others: imported before all others, registered first."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

handlers: list[Callable[[], None]] = []


def _run() -> None:
    for handler in handlers:
        handler()


atexit.register(_run)
