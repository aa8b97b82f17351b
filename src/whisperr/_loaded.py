"""Modules that a value may come from and that we never import: each costs every user's start.

A value of theirs comes with the module: one that was taken out of `sys.modules` is not known any
more. An import inside a call would not do: a child that was forked in the middle of one waits for
it for ever.
"""

from __future__ import annotations

import sys
from typing import Any


def loaded(module: str, name: str) -> Any:
    """What a module has under a name, or None where nobody imported it."""
    return getattr(sys.modules.get(module), name, None)


def loaded_class(module: str, name: str) -> Any:
    """A class of a module, or an empty tuple, of which `issubclass` finds none."""
    found = loaded(module, name)
    return found if isinstance(found, type) else ()  # a mock of a module has mocks of classes
