"""The encoding and the operations as they are, and made anew where `import orjson` fails."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

import pytest

import whisperr._encoding
import whisperr._operation

if TYPE_CHECKING:
    from types import ModuleType


def _made_anew(module: ModuleType, **instead: ModuleType | None) -> ModuleType:
    """A second copy of a module, which imports these in the place of others."""
    assert module.__file__
    name = f"{module.__name__}_without_orjson"
    spec = importlib.util.spec_from_file_location(name, module.__file__)
    assert spec
    assert spec.loader
    copy = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for imported, other in instead.items():
            patch.setitem(sys.modules, imported, other)
        spec.loader.exec_module(copy)
    return copy


WITH = whisperr._encoding
WITHOUT = _made_anew(WITH, orjson=None)
OPERATION_WITH = whisperr._operation
OPERATION_WITHOUT = _made_anew(OPERATION_WITH, **{WITH.__name__: WITHOUT})
