"""Any Python value to JSON bytes (RFC 8259, UTF-8). Performs no I/O.

Plain values are encoded at once. Anything else takes the careful way, which gives each value
the representation that docs/values.md lists, or a stand-in that names its type:
the methods of a type we do not know are never called, they may do anything. So
`issubclass(type(value), …)` everywhere: `isinstance` asks a proxy for its `__class__`.
"""

from __future__ import annotations

import base64
import math
from datetime import date, datetime, time, timedelta
from enum import Enum
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

from ._json import (
    CONTAINERS,
    INT_MAX,
    INT_MIN,
    MAX_DEPTH,
    ORJSON_SCALARS,
    Allowance,
    NotPlain,
    TooManyValues,
    dumps,
    text_by_json,
)
from ._loaded import loaded, loaded_class

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]

#: What a value can be at fault with. No more: what a signal handler raises (Celery's soft
#: time limit) is not ours to keep.
_FAULTS = (TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError)


def encode(value: dict[str, Any]) -> bytes:
    """The JSON of an operation; see `json_text`."""
    return json_text(value, 1).encode()


def json_text(value: dict[str, Any], depth: int) -> str:
    """The JSON of an operation, or of a part of it; UTF-8 can encode it.

    Args:
        value: anything.
        depth: 1 for an operation, 2 for the value of one of its fields.

    Raises:
        TooManyValues: where it would take longer than a call may.
        RecursionError, MemoryError: where the caller's stack or memory is used up.
    """
    try:
        if type(value) is dict:
            return _plain_text(value, depth)
    except (*_FAULTS, NotPlain):
        pass
    return _plain_text(_careful(value, depth, (), Allowance()), depth)


def dict_items(value: Any) -> list[tuple[Any, Any]]:
    """The items of a dict, by dict's own methods: a subclass may override them with anything."""
    try:
        return list(dict.items(value))
    except RuntimeError:  # up to 3.11 a garbage collection in between lets others change it
        return list(dict.copy(value).items())


def copied(value: Any, copies: dict[int, Any]) -> Any:
    """A deep copy of the dicts and lists; their leaves are not asked to copy themselves.

    Args:
        value: anything.
        copies: those made so far by the id of the original, for what is met twice.
    """
    if id(value) in copies:
        return copies[id(value)]
    copy: Any
    if issubclass(type(value), dict):
        copy = copies[id(value)] = {}
        for key, item in dict_items(value):
            copy[key] = copied(item, copies)
        return copy
    if issubclass(type(value), list):
        copy = copies[id(value)] = []
        copy.extend(copied(item, copies) for item in list(list.__iter__(value)))
        return copy
    if type(value) is tuple:
        copy = copies[id(value)] = tuple(copied(item, copies) for item in value)
        return copy
    return set(value) if type(value) is set else value


def _require_known(value: Any, depth: int, allowance: Allowance) -> None:
    """Raise NotPlain for what only the careful way knows."""
    if depth > MAX_DEPTH:
        raise NotPlain
    allowance.take(len(value))
    items = value.values() if type(value) is dict else value
    if ORJSON_SCALARS.issuperset(map(type, items)):  # one C call for most
        return
    for item in items:
        kind = type(item)
        if kind in CONTAINERS:
            _require_known(item, depth + 1, allowance)
        elif kind not in ORJSON_SCALARS:
            if kind is not loaded_class("uuid", "UUID"):
                raise NotPlain
            _require_whole(item)


def _require_whole(value: UUID) -> None:
    """Raise for a UUID without its number (unpickling makes one): it would crash in orjson."""
    if type(value.int) is not int or not 0 <= value.int < 2**128:
        raise NotPlain


if orjson is not None:

    def _text_by_orjson(value: dict[str, Any], depth: int) -> str:
        if not ORJSON_SCALARS.issuperset(map(type, value.values())):  # one C call for most
            _require_known(value, depth, Allowance())
        return orjson.dumps(value).decode()

    _plain_text = _text_by_orjson
else:
    _plain_text = text_by_json


def _careful(value: Any, depth: int, parents: tuple[int, ...], allowance: Allowance) -> Any:
    """The value made of plain types only; never raises for what the value is."""
    kind = type(value)
    if issubclass(kind, (dict, list, tuple, set, frozenset)):
        return _careful_container(value, depth, parents, allowance)
    try:
        if issubclass(kind, Enum):
            assigned = object.__getattribute__(value, "_value_")
            return _careful(assigned, depth, parents, allowance)
        represent = _representation(kind)
        if represent is not None:
            return represent(value)
        fields = _fields_of_dataclass(value)
        if fields is None:
            return _scalar_of_numpy(value, depth, allowance)
    except RecursionError:
        raise
    except _FAULTS:  # costs no more than the value
        return _stand_in(value)
    if id(value) in parents:
        return "<cycle>"
    return _careful_container(fields, depth, (*parents, id(value)), allowance)


def _representation(kind: type) -> Callable[[Any], Any] | None:
    """What makes a plain value of a scalar of this type, None where no type of ours fits."""
    for known, represent in _REPRESENTATIONS:
        if issubclass(kind, known):
            return represent
    for module, name in _TEXTS:
        known = loaded_class(module, name)
        if issubclass(kind, known):
            return known.__str__  # type: ignore[no-any-return]
    return None


def _careful_container(
    value: Any, depth: int, parents: tuple[int, ...], allowance: Allowance
) -> Any:
    if id(value) in parents:
        return "<cycle>"
    if depth > MAX_DEPTH:
        return "<too deep>"
    parents = (*parents, id(value))
    kind = type(value)
    if issubclass(kind, dict):
        items = dict_items(value)
        allowance.take(len(items))
        keys = [_key(key, depth, parents, allowance) for key, _ in items]
        values = [_careful(item, depth + 1, parents, allowance) for _, item in items]
        return dict(zip(keys, values, strict=True))
    found = _elements(value)
    allowance.take(len(found))
    elements = [_careful(item, depth + 1, parents, allowance) for item in found]
    if issubclass(kind, (set, frozenset)):
        elements.sort(key=dumps)
    return elements


def _fields_of_dataclass(value: Any) -> dict[str, Any] | None:
    """The fields of a dataclass's instance by their names, None for anything else."""
    fields_of = loaded("dataclasses", "fields")
    find = loaded("inspect", "getattr_static")  # what defines dataclasses imports it, too
    if fields_of is None or find(type(value), "__dataclass_fields__", None) is None:
        return None
    return {field.name: _stored(value, find(value, field.name)) for field in fields_of(type(value))}


def _stored(value: Any, found: Any) -> Any:
    """A field as it is stored: a property in its place may do anything."""
    return found.__get__(value) if type(found) is MemberDescriptorType else found  # a slot


def _scalar_of_numpy(value: Any, depth: int, allowance: Allowance) -> Any:
    generic = loaded_class("numpy", "generic")
    if not issubclass(type(value), generic):
        return _stand_in(value)
    item = generic.item(value)
    if issubclass(type(item), generic):  # a longdouble has no Python type
        return _stand_in(value)
    return _careful(item, depth, (), allowance)


def _elements(value: Any) -> list[Any]:
    for kind in (list, tuple, set, frozenset):
        if issubclass(type(value), kind):
            return list(kind.__iter__(value))
    raise TypeError


def key_text(key: Any) -> str:
    """The text that a dictionary's key becomes."""
    try:
        return key if type(key) is str else _key(key, 1, (), Allowance())
    except TooManyValues:
        return _stand_in(key)


def _key(key: Any, depth: int, parents: tuple[int, ...], allowance: Allowance) -> str:
    plain = _careful(key, depth, parents, allowance)
    return plain if isinstance(plain, str) else dumps(plain)


def _text(value: str) -> str:
    """Pairs of surrogates joined, lone ones replaced by U+FFFD: UTF-8 has no form for them."""
    return str.__str__(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _integer(value: int) -> int | str:
    exact = int.__index__(value)
    return exact if INT_MIN <= exact <= INT_MAX else int.__repr__(exact)


def _real(value: float) -> float | None:
    exact = float.__float__(value)
    return exact if math.isfinite(exact) else None


def _moment(value: Any, isoformat: Callable[[Any], str]) -> str:
    try:
        return isoformat(value)
    except Exception:  # noqa: BLE001 - its tzinfo is user code
        return _stand_in(value)


def _base64(value: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(memoryview(value).tobytes()).decode()


#: In this order: a datetime is a date, a bool is an int.
_REPRESENTATIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (type(None), lambda value: value),
    (bool, lambda value: value),
    (str, _text),
    (int, _integer),
    (float, _real),
    (datetime, lambda value: _moment(value, datetime.isoformat)),
    (date, date.isoformat),
    (time, lambda value: _moment(value, time.isoformat)),
    (timedelta, timedelta.total_seconds),
    ((bytes, bytearray, memoryview), _base64),
)


#: Classes whose text is their representation, with their modules.
_TEXTS = (("decimal", "Decimal"), ("uuid", "UUID"))


def _stand_in(value: Any) -> str:
    return f"<{type.__dict__['__name__'].__get__(type(value))}>"
