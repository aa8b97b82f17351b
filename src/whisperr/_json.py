"""What is plain, and the JSON of it by the standard library.

Plain are exact str, int of 64 bits, finite float, bool, None, list, tuple and dict with str keys.
"""

from __future__ import annotations

import json
import json.encoder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: orjson's own limit, kept by both encoders so that the bytes mean the same.
MAX_DEPTH = 254
_SCALARS = frozenset({str, float, bool, type(None)})
#: What may be given to orjson unseen. No Enum: one whose `value` raises crashes the interpreter.
ORJSON_SCALARS = _SCALARS | {int}
CONTAINERS = frozenset({dict, list, tuple})
_KEYS = frozenset({str})
INT_MIN, INT_MAX = -(2**63), 2**64 - 1
#: As many values as an operation of a permitted size can hold: a digit and a comma each.
MAX_VALUES = 128 * 1024


class NotPlain(Exception):  # noqa: N818 - steers to the careful way
    """The value needs the careful way."""


class TooManyValues(Exception):  # noqa: N818 - `_operation` turns it into a Refusal
    """More values than an operation holds, each counted as often as something leads to it."""


class Allowance:
    """How many values may still be visited: few that know each other are met on many paths."""

    left = MAX_VALUES  # of the class: a constructor would take longer than most values

    def take(self, values: int) -> None:
        self.left -= values
        if self.left < 0:
            raise TooManyValues


_encoder = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
)
#: The JSON of a str.
quoted = json.encoder.encode_basestring
_make_encoder = getattr(json.encoder, "c_make_encoder", None)


def _dumps_of(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """Its encode(), without an encoder in C for each call, which takes as long as a small dict."""
    if _make_encoder is None:
        return encoder.encode
    parts = _make_encoder(None, encoder.default, quoted, None, ":", ",", False, False, False)
    return lambda value: "".join(parts(value, 0))


dumps = _dumps_of(_encoder)


def text_by_json(value: dict[str, Any], depth: int) -> str:
    """The JSON of a plain value at this depth; raises NotPlain or ValueError for another."""
    if not _is_flat(value):
        _require_plain(value, depth, Allowance())
    text = dumps(value)
    if not text.isascii():
        text.encode()  # raises for a lone surrogate
    return text


def _is_flat(value: dict[str, Any]) -> bool:
    """Whether it is plain and holds only scalars, as most do."""
    values = value.values()
    if not (ORJSON_SCALARS.issuperset(map(type, values)) and _KEYS.issuperset(map(type, value))):
        return False
    for item in values:  # noqa: SIM110 - a generator would take longer than they do
        if type(item) is int and not INT_MIN <= item <= INT_MAX:
            return False
    return True


def _require_plain(value: Any, depth: int, allowance: Allowance) -> None:
    """Raise NotPlain for what orjson would refuse, or json would write in another way."""
    if depth > MAX_DEPTH:
        raise NotPlain
    allowance.take(len(value))
    items = value
    if type(value) is dict:
        if not _KEYS.issuperset(map(type, value)):
            raise NotPlain
        items = value.values()
    if _SCALARS.issuperset(map(type, items)):  # one C call for most
        return
    for item in items:
        kind = type(item)
        if kind in CONTAINERS:
            _require_plain(item, depth + 1, allowance)
        elif kind not in _SCALARS and not (kind is int and INT_MIN <= item <= INT_MAX):
            raise NotPlain
