"""Any value becomes JSON that docs/values.md names, the same with and without orjson."""

from __future__ import annotations

import gc
import inspect
import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock
from uuid import UUID

import numpy as np
import orjson
import pytest

from encoders import WITH, WITHOUT
from interruptions import storm
from tables import codes, python_block, table
from whisperr._json import MAX_DEPTH, TooManyValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Encode = Callable[[dict[str, Any]], bytes]


@pytest.fixture(params=["orjson", "json"])
def encode(request: pytest.FixtureRequest) -> Encode:
    module = WITH if request.param == "orjson" else WITHOUT
    encoder: Encode = module.encode
    return encoder


def definitions() -> dict[str, Any]:
    """The names that the examples of docs/values.md use."""
    names: dict[str, Any] = {"__name__": "values"}
    exec(compile(python_block("values.md"), "values.md", "exec", dont_inherit=True), names)
    return names


def test_one_of_the_encoders_uses_orjson_and_the_other_cannot() -> None:
    assert WITH._plain_text.__name__ == "_text_by_orjson"
    assert WITHOUT._plain_text.__name__ == "text_by_json"
    assert WITHOUT.orjson is None


ROWS = table("values.md", "Value")


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_value_becomes_what_the_document_says(encode: Encode, row: list[str]) -> None:
    _, example, expected = row
    value = eval(codes(example)[0], definitions())
    body = encode({"value": value})
    if expected.startswith("…"):
        assert codes(expected)[0].encode() in body
    else:
        assert json.loads(body) == {"value": json.loads(codes(expected)[0])}


def test_the_document_knows_every_kind_that_the_encoder_knows() -> None:
    examples = [eval(codes(example)[0], definitions()) for _, example, _ in ROWS]
    known: list[Any] = [dict, list, tuple, set, Enum, np.generic]
    known += [kind for kinds, _ in WITH._REPRESENTATIONS for kind in _each(kinds)[:1]]
    for kind in known:
        assert any(isinstance(example, kind) for example in examples), kind


def _each(kinds: Any) -> tuple[type, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


def nested(levels: int, kind: type) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = {"a": value} if kind is dict else kind([value])
    return value


@pytest.mark.parametrize("kind", [list, dict, tuple])
@pytest.mark.parametrize("levels", range(250, 260))
def test_nesting_ends_at_the_same_level_with_both(kind: type, levels: int) -> None:
    value = {"value": nested(levels, kind)}
    body = WITH.encode(value)
    assert body == WITHOUT.encode(value)
    assert (b'"<too deep>"' in body) == (levels + 1 > MAX_DEPTH)


def test_the_deepest_level_is_orjson_s_own() -> None:
    assert MAX_DEPTH == 254
    assert orjson.dumps(nested(254, list))
    with pytest.raises(TypeError):
        orjson.dumps(nested(255, list))


def test_any_mixture_of_values_means_the_same_with_both() -> None:
    """A thousand random trees of everything that the document names."""
    random = Random(7)
    leaves = [eval(codes(example)[0], definitions()) for _, example, _ in ROWS[:-2]]
    leaves += [-(2**63), -(2**63) - 1, 1e16, 1e-7, -0.0, 5e-324, '\u2028\x00\x7f"\\', "\ufeff", ""]

    def tree(depth: int) -> Any:
        if depth == 0 or random.random() < 0.3:
            return random.choice(leaves)
        children = [tree(depth - 1) for _ in range(random.randrange(4))]
        if random.random() < 0.5:
            return children
        return {random.choice(["a", "b", "\ud800", 1, None, 2.5]): child for child in children}

    for _ in range(1000):
        value = {"value": tree(4)}
        assert json.loads(WITH.encode(value)) == json.loads(WITHOUT.encode(value))


_METHODS = (
    *("__str__", "__repr__", "__iter__", "__eq__", "__hash__", "__len__", "__bool__", "__int__"),
    *("__float__", "__index__", "__bytes__", "__format__", "__reduce__", "__copy__"),
    *("__deepcopy__", "__getattr__", "__contains__", "items", "keys", "values", "isoformat"),
    *("tolist", "item", "utcoffset", "astimezone", "total_seconds"),
)


class Loud:
    """Says what was called, and raises."""

    called: list[str]

    def __init_subclass__(cls) -> None:
        cls.called = []
        for name in _METHODS:
            setattr(cls, name, _loud(cls, name))

    @property
    def __class__(self) -> Any:
        type(self).called.append("__class__")
        raise RuntimeError

    @__class__.setter
    def __class__(self, _: Any) -> None: ...


def _loud(cls: type[Loud], name: str) -> Any:
    def method(*_args: Any, **_named: Any) -> Any:
        cls.called.append(name)
        raise RuntimeError(name)

    return method


class LoudObject(Loud): ...


class LoudDict(Loud, dict[str, Any]): ...


class LoudList(Loud, list[Any]): ...


class LoudTuple(Loud, tuple[Any, ...]): ...


class LoudSet(Loud, set[Any]): ...


class LoudStr(Loud, str): ...


class LoudInt(Loud, int): ...


class LoudFloat(Loud, float): ...


class LoudBytes(Loud, bytes): ...


class LoudDecimal(Loud, Decimal): ...


class LoudDatetime(Loud, datetime): ...


class LoudTimedelta(Loud, timedelta): ...


class LoudUUID(Loud, UUID): ...


LOUD: list[tuple[Any, Any]] = [
    (LoudObject(), "<LoudObject>"),
    (LoudDict(a=1), {"a": 1}),
    (LoudList([1]), [1]),
    (LoudTuple((1,)), [1]),
    (LoudSet({1}), [1]),
    (LoudStr("text"), "text"),
    (LoudInt(5), 5),
    (LoudFloat(1.5), 1.5),
    (LoudBytes(b"a"), "YQ=="),
    (LoudDecimal("1.50"), "1.50"),
    (LoudDatetime(2026, 6, 14), "2026-06-14T00:00:00"),
    (LoudTimedelta(seconds=1), 1.0),
]


@pytest.mark.parametrize(
    ("value", "expected"), LOUD, ids=[type(value).__name__ for value, _ in LOUD]
)
def test_no_method_of_an_unknown_type_is_called(encode: Encode, value: Any, expected: Any) -> None:
    """Such a method may do I/O, raise, or call the client; the same goes for its properties."""
    type(value).called.clear()
    assert json.loads(encode({"value": value, "more": [value]})) == {
        "value": expected,
        "more": [expected],
    }
    assert type(value).called == []


def test_a_key_of_an_unknown_type_is_called_only_by_the_dict_that_holds_it(encode: Encode) -> None:
    class Key:
        quiet = False

        def __hash__(self) -> int:
            assert not self.quiet
            return 1

        def __eq__(self, _other: object) -> bool:
            raise AssertionError

        __str__ = __repr__ = __eq__  # type: ignore[assignment]

    key = Key()
    value = {"value": {key: 1, "other": 2}}
    key.quiet = True
    assert json.loads(encode(value)) == {"value": {"<Key>": 1, "other": 2}}


def test_a_proxy_that_computes_its_class_is_not_asked(encode: Encode) -> None:
    """Django's lazy objects are: asking one for its class makes a database query."""
    assert b'"<MagicMock>"' in encode({"value": MagicMock(spec=dict)})


def test_a_property_in_the_place_of_a_dataclass_field_is_not_read(encode: Encode) -> None:
    """An ORM puts one there: reading it may load a row."""

    @dataclass
    class Row:
        name: str
        total: int = field(init=False)

    def load(_row: Row) -> int:
        raise AssertionError

    row = Row("a")
    Row.total = property(load, lambda _row, _value: None)  # type: ignore[assignment]
    assert json.loads(encode({"value": row})) == {"value": {"name": "a", "total": "<property>"}}


def test_a_dataclass_with_slots_is_read_like_any_other(encode: Encode) -> None:
    @dataclass(slots=True)
    class Slotted:
        name: str
        rest: list[Any]

    value = Slotted("a", [Decimal(1)])
    assert json.loads(encode({"value": value})) == {"value": {"name": "a", "rest": ["1"]}}


def test_objects_that_know_their_parents_end_in_a_cycle_and_not_in_a_forest(encode: Encode) -> None:
    """Were each followed to the deepest level, three children would make 3**127 of them."""

    @dataclass(eq=False)
    class Node:
        parent: Node | None
        children: list[Node]

    root = Node(None, [])
    root.children += [Node(root, []) for _ in range(3)]
    leaf = {"parent": "<cycle>", "children": []}
    assert json.loads(encode({"value": root})) == {
        "value": {"parent": None, "children": [leaf, leaf, leaf]}
    }
    assert json.loads(encode({"value": {root: 1}}))["value"]


def test_objects_that_all_know_each_other_end_at_the_size_of_an_operation(encode: Encode) -> None:
    """The ways from one to the others are as many as the permutations of them."""

    @dataclass(eq=False)
    class Member:
        friends: list[Member]

    members = [Member([]) for _ in range(30)]
    for member in members:
        member.friends += members
    with pytest.raises(TooManyValues):
        encode({"value": members[0]})


def test_a_dict_that_a_garbage_collection_changes_is_read_all_the_same(encode: Encode) -> None:
    """Up to CPython 3.11 one runs while a dict's items are listed, and finalisers in it."""
    value: dict[Any, Any] = {"a": Decimal(1), **dict.fromkeys(range(100), 0)}
    numbers = iter(range(1000, 10**6))
    thresholds = gc.get_threshold()

    def change(_phase: str, _info: object) -> None:
        value[next(numbers)] = 0

    gc.callbacks.append(change)
    gc.set_threshold(1)
    try:
        body = encode({"value": value})
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(change)
    assert {"a", "0", "99"} <= json.loads(body)["value"].keys()


def test_the_same_value_twice_is_no_cycle(encode: Encode) -> None:
    shared = {"at": Decimal(1)}
    assert json.loads(encode({"value": [shared, shared]})) == {"value": [{"at": "1"}, {"at": "1"}]}


def test_a_time_zone_that_raises_costs_its_own_value_alone(encode: Encode) -> None:
    class Broken(tzinfo):
        def utcoffset(self, _moment: object) -> timedelta:
            raise OSError

        dst = tzname = utcoffset  # type: ignore[assignment]

    value = {"value": datetime(2026, 6, 14, tzinfo=Broken()), "other": 1}
    assert json.loads(encode(value)) == {"value": "<datetime>", "other": 1}


def test_a_released_memoryview_costs_its_own_value_alone(encode: Encode) -> None:
    view = memoryview(b"a")
    view.release()
    assert json.loads(encode({"value": view, "other": 1})) == {"value": "<memoryview>", "other": 1}


def test_an_enum_that_overrides_value_is_encoded_as_what_was_assigned(encode: Encode) -> None:
    class Colour(Enum):
        RED = "red"

        @property
        def value(self) -> Any:
            raise AssertionError

    assert encode({"value": Colour.RED}) == b'{"value":"red"}'


def test_an_enum_that_keeps_no_value_costs_its_own_value_alone(encode: Encode) -> None:
    armed = False

    class Odd(Enum):
        A = 1
        B = 2

        def __getattribute__(self, name: str) -> Any:
            if name == "_value_" and armed:
                raise OSError
            return super().__getattribute__(name)

    odd = [Odd.A, Odd.B]
    del Odd.B._value_
    armed = True
    assert json.loads(encode({"value": odd})) == {"value": [1, "<Odd>"]}


def test_an_enum_whose_value_raises_does_not_crash_the_interpreter() -> None:
    """It does where orjson is given one, so the proof needs an interpreter of its own."""
    script = (
        "from enum import Enum\n"
        "from whisperr._encoding import encode\n"
        "class Bad(Enum):\n"
        "    X = 1\n"
        "    value = property(lambda self: 1 / 0)\n"
        "print(encode({'value': [{'deep': Bad.X}]}).decode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, '{"value":[{"deep":1}]}\n'), done.stderr


def test_a_uuid_without_its_number_does_not_crash_the_interpreter() -> None:
    """It does where orjson is given one, so the proof needs an interpreter of its own."""
    script = (
        "from uuid import UUID\n"
        "from whisperr._encoding import encode\n"
        "values = [UUID.__new__(UUID) for _ in range(3)]\n"
        "object.__setattr__(values[1], 'int', 'text')\n"
        "object.__setattr__(values[2], 'int', -1)\n"
        "for value in values:\n"
        "    print(encode({'value': value}).decode())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ['{"value":"<UUID>"}'] * 2


def test_a_numpy_scalar_is_known_and_an_array_is_not(encode: Encode) -> None:
    values = [np.int64(3), np.float64("nan"), np.bool_(True), np.str_("a"), np.array([1])]
    assert json.loads(encode({"v": values})) == {"v": [3, None, True, "a", "<ndarray>"]}


@pytest.mark.parametrize("module", ["numpy", "decimal", "uuid"])
def test_a_mock_of_a_module_costs_no_more_than_the_value(
    encode: Encode, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As documentation builders and tests put into sys.modules."""
    monkeypatch.setitem(sys.modules, module, MagicMock())
    assert json.loads(encode({"v": [Unknown(), 1]})) == {"v": ["<Unknown>", 1]}


class Unknown:
    """No type of ours."""


def test_a_caller_with_next_to_no_stack_left_gets_a_recursion_error_and_no_crash() -> None:
    def descend(frames: int) -> bytes:
        return descend(frames - 1) if frames else WITH.encode({"value": {Decimal(1)}})

    def end(frames: int) -> bytes:
        try:
            return descend(frames)
        except RecursionError:
            return b"RecursionError"

    limit = sys.getrecursionlimit() - len(inspect.stack())
    ends = {end(limit - left) for left in range(60)}
    assert ends == {b"RecursionError", b'{"value":["1"]}'}


def test_an_exception_of_a_signal_handler_passes_through(encode: Encode) -> None:
    """Celery's soft time limit is one: swallowed here, the task would never hear of it."""
    plain = {"a": 1, "b": "text", "c": [1, 2, {"d": None}]}
    careful = {**plain, "e": {Decimal(1), b"a"}, "f": UUID(int=1), "g": np.float32(1), "h": 2**64}
    storm(lambda: encode(plain), 1000)
    storm(lambda: encode(careful), 1000)


def test_keys_that_become_the_same_text_leave_the_later_value(encode: Encode) -> None:
    assert encode({"value": {1: "first", "1": "second"}}) == b'{"value":{"1":"second"}}'


@pytest.fixture(autouse=True)
def _loud_values_stay_quiet() -> Iterator[None]:
    yield
    for value, _ in LOUD:
        type(value).called.clear()
