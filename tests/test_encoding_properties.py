"""Any value becomes valid JSON or is refused with a report, the same with and without orjson."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, seed
from hypothesis import strategies as st

from any_values import anything, arguments, deep, hashables, json_like, knots, trees
from drawn import LIMIT, REPEAT, SEED, SETTINGS
from encoders import OPERATION_WITH, OPERATION_WITHOUT, WITH, WITHOUT
from whisperr._json import TooManyValues

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = pytest.mark.timeout(LIMIT)
NOW = datetime(2026, 6, 14, tzinfo=timezone.utc)
#: Why an operation may be refused for its values.
REASONS = {"invalid", "too_large"}


@pytest.fixture(autouse=True)
def _say_how_to_repeat_it() -> None:
    print(REPEAT)


def parsed(body: bytes) -> Any:
    """What a strict reader of RFC 8259 makes of it."""
    value = json.loads(body.decode(), parse_constant=_refused, object_pairs_hook=_distinct)
    json.dumps(value, ensure_ascii=False).encode()  # no escape stands for a lone surrogate
    return value


def _refused(constant: str) -> None:
    pytest.fail(f"{constant} is no JSON.")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    assert len(found) == len(pairs), "A key occurs twice."
    return found


def encoded(encoding: ModuleType, value: dict[str, Any]) -> Any:
    """The value as it arrives, or why it does not."""
    try:
        body = encoding.encode(value)
    except TooManyValues:
        return "too_large"
    return parsed(body) if len(body) <= OPERATION_WITH.MAX_OPERATION_BYTES else "too_large"


def event(module: ModuleType, properties: Any, context: Any) -> Any:
    """The event as it arrives, or the reason of the report."""
    encoder = module.Encoder("1.0", None)
    return outcome(module, encoder.event("u", "seen", properties, context, NOW, "m"))


def identify(module: ModuleType, traits: Any) -> Any:
    """The identify as it arrives, or the reason of the report."""
    encoder = module.Encoder("1.0", None)
    return outcome(module, encoder.identify("u", traits, *[None] * 6))


def outcome(module: ModuleType, made: Any) -> Any:
    if isinstance(made, module.Refusal):
        assert made.reason in REASONS
        return made.reason
    assert len(made) <= module.MAX_OPERATION_BYTES
    return parsed(made)


#: What stands where a value holds itself; see docs/values.md.
CYCLE = "<cycle>"


def same(one: Any, other: Any) -> bool:
    """Whether they are equal and of equal types: 1, 1.0 and True are not the same."""
    return repr(one) == repr(other)


@seed(SEED)
@SETTINGS
@given(anything)
def test_any_value_is_valid_json_and_the_same_with_both(value: Any) -> None:
    assert same(encoded(WITH, {"value": value}), encoded(WITHOUT, {"value": value}))


@seed(SEED)
@SETTINGS
@given(arguments, arguments)
def test_any_properties_and_context_make_an_event_or_a_report(
    properties: Any, context: Any
) -> None:
    found = event(OPERATION_WITH, properties, context)
    assert same(found, event(OPERATION_WITHOUT, properties, context))
    if isinstance(found, str):
        return
    assert found["context"]["$message_id"] == "m"
    assert {"sdk_name", "sdk_version", "app_version"} < found["context"].keys()
    assert found.keys() == {
        "external_user_id",
        "event_type",
        "occurred_at",
        "properties",
        "context",
    }


@seed(SEED)
@SETTINGS
@given(arguments)
def test_any_traits_make_an_identify_or_a_report(traits: Any) -> None:
    found = identify(OPERATION_WITH, traits)
    assert same(found, identify(OPERATION_WITHOUT, traits))
    assert isinstance(found, str) or found["external_user_id"] == "u"


@seed(SEED)
@SETTINGS
@given(json_like)
def test_a_value_that_json_knows_arrives_as_it_is(value: Any) -> None:
    assert same(encoded(WITH, {"value": value}), {"value": value})
    assert same(encoded(WITHOUT, {"value": value}), {"value": value})


@seed(SEED)
@SETTINGS
@given(st.dictionaries(hashables, trees | knots() | deep, max_size=3))
def test_a_before_send_that_changes_nothing_changes_nothing(properties: dict[Any, Any]) -> None:
    plain = OPERATION_WITH.Encoder(None, None)
    filtered = OPERATION_WITH.Encoder(None, lambda fields, _kind: fields)
    arguments = ("u", "seen", properties, None, NOW, "m")
    found = outcome(OPERATION_WITH, plain.event(*arguments))
    copied = outcome(OPERATION_WITH, filtered.event(*arguments))
    # A cycle through a dataclass, of which there is no copy, is met one turn later.
    assert same(found, copied) or (CYCLE in repr(found) and CYCLE in repr(copied))
