"""What the calling thread is in the middle of, read from its stack: nothing can leave it stale."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container
    from types import CodeType, FrameType


def is_inside(methods: Container[CodeType], of: object) -> bool:
    """Whether the calling thread runs one of these methods of that object."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code in methods and frame.f_locals.get("self") is of:
            return True
        frame = frame.f_back
    return False
