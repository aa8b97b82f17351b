"""hypothesis strategies: what an application may put into properties, traits or context."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from enum import Enum, IntEnum, IntFlag
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Values = st.SearchStrategy[Any]


class Text(str): ...


class Whole(int): ...


class Real(float): ...


class Row(dict[Any, Any]): ...


class Rows(list[Any]): ...


class Tags(set[Any]): ...


class Flags(IntFlag):
    READ = 1
    WRITE = 2


@dataclass
class Record:
    first: Any
    second: Any = None


@dataclass(frozen=True, slots=True)
class Frozen:
    first: Any


Pair = namedtuple("Pair", "first second")


class Broken(tzinfo):
    def utcoffset(self, _moment: datetime | None) -> timedelta:
        raise OSError

    dst = utcoffset

    def tzname(self, _moment: datetime | None) -> str:
        raise OSError


class Unknown:
    """Its methods are nobody's business."""

    def __str__(self) -> str:
        raise AssertionError

    __repr__ = __str__


text = st.text(st.characters(exclude_categories=[])) | st.text('a\ud83d\ude00\0\u2028\ufeff"\\')
#: Of orjson's and json's common range.
integers = st.integers(-(2**63), 2**64 - 1)
huge_integers = st.integers() | st.builds(lambda digits: 10**digits, st.integers(19, 5000))
zones = (
    st.none()
    | st.timezones()
    | st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
)
moments: Values = st.one_of(
    st.datetimes(timezones=zones),
    st.dates(),
    st.times(timezones=zones),
    st.timedeltas(),
)
moments_of_a_broken_zone: Values = st.one_of(
    st.datetimes(timezones=st.builds(Broken)), st.times(timezones=st.builds(Broken))
)
binary: Values = st.binary(max_size=40)
mixed_enums: Values = st.one_of(
    text.map(lambda value: Enum("Name", {"A": value}, type=str).A),  # type: ignore[attr-defined]
    st.integers().map(lambda value: IntEnum("Level", {"A": value}).A),  # type: ignore[attr-defined]
    st.sampled_from([Flags.READ, Flags.READ | Flags.WRITE]),
)
#: What a dict may have for a key, and a set may hold, but for what holds others.
hashable_leaves: Values = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    huge_integers,
    st.floats(),
    text,
    text.map(Text),
    st.integers().map(Whole),
    st.floats().map(Real),
    binary,
    moments,
    st.decimals(allow_nan=False),
    st.uuids(),
    st.fractions(),
    st.complex_numbers(),
    st.ip_addresses(),
    mixed_enums,
    st.builds(Unknown),
    st.sampled_from(
        [int, len, ..., NotImplemented, np.int8(1), np.float32(0.1), np.str_("\ud800")]
    ),
)
hashables: Values = st.recursive(
    hashable_leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner),
        st.frozensets(inner, max_size=3),
        st.builds(Frozen, inner),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=4,
)
leaves: Values = hashable_leaves | st.one_of(
    moments_of_a_broken_zone,
    st.decimals(),
    binary.map(bytearray),
    binary.map(lambda octets: memoryview(octets)),
    st.binary(min_size=4, max_size=4).map(lambda four: memoryview(four).cast("H")),
    st.builds(np.zeros, st.integers(0, 3)),
)


def _holding(inner: Values) -> Values:
    some = st.lists(inner, max_size=4)
    keyed = st.dictionaries(hashables, inner, max_size=4)
    return st.one_of(
        some,
        keyed,
        st.dictionaries(text, inner, max_size=4),
        some.map(tuple),
        some.map(Rows),
        keyed.map(Row),
        keyed.map(OrderedDict),
        keyed.map(lambda found: defaultdict(list, found)),
        st.sets(hashables, max_size=4),
        st.sets(hashables, max_size=4).map(Tags),
        st.builds(Record, inner, inner),
        st.builds(Pair, inner, inner),
        inner.map(lambda value: Enum("Plan", {"A": [value]}).A),  # type: ignore[attr-defined]
    )


trees: Values = st.recursive(leaves, _holding, max_leaves=15)


def _all_in(value: Any) -> list[Any]:
    """The lists, dicts and records of a tree, the value itself first."""
    inner: list[Any] = []
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, (list, tuple)):
        inner = list(value)
    elif isinstance(value, Record):
        inner = [value.first, value.second]
    found = [value] if isinstance(value, (dict, list, Record)) else []
    return found + [deep for item in inner for deep in _all_in(item)]


@st.composite
def knots(draw: Callable[[Values], Any]) -> Any:
    """A tree in which some lead back to others: cycles, and values met on several paths."""
    root = draw(_holding(trees).filter(_all_in))
    found = st.sampled_from(_all_in(root))
    for source, target in draw(st.lists(st.tuples(found, found), min_size=1, max_size=3)):
        if isinstance(source, dict):
            source[draw(hashables)] = target
        elif isinstance(source, list):
            source.append(target)
        else:
            source.second = target
    return root


_WRAPPERS: list[Callable[[Any], Any]] = [
    lambda value: [value],
    lambda value: (value,),
    lambda value: {"a": value},
    lambda value: {1: value},
    Record,
]


def _nested(levels: int, wrappers: Sequence[Callable[[Any], Any]], value: Any) -> Any:
    for level in range(levels):
        value = wrappers[level % len(wrappers)](value)
    return value


wrappers = st.lists(st.sampled_from(_WRAPPERS), min_size=1, max_size=4)
deep: Values = st.builds(_nested, st.integers(0, 300), wrappers, leaves)
deep_keys: Values = st.builds(
    lambda levels, value: {_nested(levels, [lambda inner: (inner,)], value): 1},
    st.integers(0, 300),
    hashables,
)
#: Around 256 KiB, and around as many values as they can hold.
big: Values = st.builds(
    lambda count, value: value * count,
    st.sampled_from([2**16, 2**17 - 1, 2**17, 2**18 - 1, 2**18]),
    st.sampled_from(["x", "é", "\ud800", b"x", [0], [None], (1.5,), [set()]]),
)

json_like: Values = st.recursive(
    st.none()
    | st.booleans()
    | integers
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
#: Keys of which some become the same text.
_ALIKE = [1, "1", None, "null", True, "true", 2.5, "2.5", b"a", "YQ==", (1,), "[1]"]
#: What JSON knows but for one value at most, so that the quick way meets it.
odd = st.sampled_from([math.nan, math.inf]) | huge_integers | text | st.uuids()
nearly_plain: Values = st.one_of(
    st.tuples(json_like, odd),
    st.fixed_dictionaries({"plain": json_like, "odd": st.lists(odd, max_size=1)}),
    st.dictionaries(text, json_like, min_size=1, max_size=1),
    st.dictionaries(st.sampled_from(_ALIKE), json_like, min_size=2, max_size=4),
)

anything = st.one_of(nearly_plain, nearly_plain, trees, trees, knots(), deep, deep_keys, big)
#: Mostly what the arguments have to be.
keys = text | hashables | st.just("$message_id")
arguments = st.dictionaries(keys, anything, max_size=4) | anything
