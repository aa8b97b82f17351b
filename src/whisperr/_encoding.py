"""Any Python value to JSON bytes (RFC 8259, UTF-8). Performs no I/O.

Plain values (exact str, int, float, bool, None, list, tuple, dict with str keys)
are encoded at once. Anything else takes the careful way, which gives each value
the representation that docs/values.md lists, or a stand-in that names its type:
the methods of a type we do not know are never called, they may do anything.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

#: orjson's own limit, kept by both encoders so that the bytes mean the same.
MAX_DEPTH = 254
_SCALARS = frozenset({str, float, bool, type(None)})
_INT_MIN, _INT_MAX = -(2**63), 2**64 - 1

_dumps = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


class _NotPlain(Exception):  # noqa: N818 - steers to the careful way, never leaves this module
    """The value needs the careful way."""


def encode(value: dict[str, Any]) -> bytes:
    """JSON bytes of an operation.

    Raises:
        RecursionError, MemoryError: where the caller's stack or memory is used up.
    """
    try:
        return _encode_plain(value)
    except Exception:  # noqa: BLE001 - whatever it was, the careful way has an answer
        return _encode_plain(_careful(value, 1, ()))


def _encode_with_json(value: Any) -> bytes:
    _require_plain(value, 1)
    return _dumps(value).encode()


def _require_plain(value: Any, depth: int) -> None:
    """Raise _NotPlain for what orjson would refuse, or json would write in another way."""
    kind = type(value)
    if kind in _SCALARS or (kind is int and _INT_MIN <= value <= _INT_MAX):
        return
    if depth > MAX_DEPTH:
        raise _NotPlain
    if kind is dict:
        if not all(type(key) is str for key in value):
            raise _NotPlain
        items = value.values()
    elif kind is list or kind is tuple:
        items = value
    else:
        raise _NotPlain
    for item in items:
        if type(item) not in _SCALARS:
            _require_plain(item, depth + 1)


def _refuse(_value: Any) -> Any:
    raise _NotPlain


if orjson is not None:
    _OPTIONS = (
        orjson.OPT_PASSTHROUGH_SUBCLASS
        | orjson.OPT_PASSTHROUGH_DATACLASS
        | orjson.OPT_PASSTHROUGH_DATETIME
    )

    def _encode_with_orjson(value: Any) -> bytes:
        return orjson.dumps(value, _refuse, _OPTIONS)

    _encode_plain = _encode_with_orjson
else:
    _encode_plain = _encode_with_json


def _careful(value: Any, depth: int, parents: tuple[int, ...]) -> Any:
    """The value made of plain types only; never raises for what the value is."""
    try:
        if isinstance(value, (dict, list, tuple, set, frozenset)):
            return _careful_container(value, depth, parents)
        for kind, represent in _REPRESENTATIONS:
            if isinstance(value, kind):
                return represent(value)
        if isinstance(value, Enum):
            return _careful(value._value_, depth, parents)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return _careful({name: getattr(value, name) for name in names}, depth, parents)
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.generic):
            return _careful(value.item(), depth, parents)
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001 - a value's own fault costs no more than its value
        return _stand_in(value)
    return _stand_in(value)


def _careful_container(value: Any, depth: int, parents: tuple[int, ...]) -> Any:
    if id(value) in parents:
        return "<cycle>"
    if depth > MAX_DEPTH:
        return "<too deep>"
    parents = (*parents, id(value))
    if isinstance(value, dict):
        # dict's own methods: a subclass may override them with anything.
        items = list(dict.items(value))
        return {_key(key, depth): _careful(item, depth + 1, parents) for key, item in items}
    elements = [_careful(item, depth + 1, parents) for item in _elements(value)]
    if isinstance(value, (set, frozenset)):
        elements.sort(key=_dumps)
    return elements


def _elements(value: Any) -> Iterable[Any]:
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return list(kind.__iter__(value))
    raise TypeError


def _key(key: Any, depth: int) -> str:
    plain = _careful(key, depth, ())
    return plain if isinstance(plain, str) else _dumps(plain)


def _text(value: str) -> str:
    """Pairs of surrogates joined, lone ones replaced by U+FFFD: UTF-8 has no form for them."""
    return str.__str__(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _integer(value: int) -> int | str:
    exact = int.__index__(value)
    return exact if _INT_MIN <= exact <= _INT_MAX else int.__repr__(exact)


def _real(value: float) -> float | None:
    exact = float.__float__(value)
    return exact if math.isfinite(exact) else None


def _base64(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(bytes(value)).decode()


#: In this order: a datetime is a date, a bool is an int, an Enum may be a str.
_REPRESENTATIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (type(None), lambda value: value),
    (bool, lambda value: value),
    (str, lambda value: _text(value._value_ if isinstance(value, Enum) else value)),
    (int, lambda value: _integer(value._value_ if isinstance(value, Enum) else value)),
    (float, _real),
    (datetime, datetime.isoformat),
    (date, date.isoformat),
    (time, time.isoformat),
    (timedelta, timedelta.total_seconds),
    (Decimal, Decimal.__str__),
    (UUID, UUID.__str__),
    ((bytes, bytearray, memoryview), _base64),
)


def _stand_in(value: Any) -> str:
    return f"<{type.__dict__['__name__'].__get__(type(value))}>"
