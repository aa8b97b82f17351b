"""Arguments become bytes inside the call, or a refusal; never an exception."""

from __future__ import annotations

import json
import random
import re
import sys
from collections import OrderedDict, UserDict
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from unittest.mock import MagicMock
from uuid import UUID

import pytest

from forked import in_child, raw_fork
from whisperr import BillingEvent, Channel
from whisperr._operation import (
    MAX_OPERATION_BYTES,
    Encoder,
    Refusal,
)
from whisperr._stamp import new_message_id
from whisperr._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

UTC = timezone.utc
SECRET = "a@example.com"


def event(encoder: Encoder | None = None, **given: Any) -> bytes | Refusal:
    """An event of these arguments and of good ones for the rest."""
    good = {"external_user_id": "u1", "event_type": "payment_failed"}
    rest = dict.fromkeys(("properties", "context", "occurred_at", "message_id"))
    return (encoder or Encoder(None, None)).event(**{**good, **rest, **given})


def identify(encoder: Encoder | None = None, **given: Any) -> bytes | Refusal:
    rest = dict.fromkeys(
        ("traits", "email", "phone", "push_token", "preferred_channel", "channels", "anonymous_id")
    )
    return (encoder or Encoder(None, None)).identify(**{"external_user_id": "u1", **rest, **given})


def sent(result: bytes | Refusal) -> dict[str, Any]:
    assert isinstance(result, bytes), result
    fields: dict[str, Any] = json.loads(result)
    return fields


def refused(result: bytes | Refusal, reason: str = "invalid") -> str:
    """The detail of a refusal, which is a sentence that quotes no value."""
    assert isinstance(result, Refusal), result
    assert result.reason == reason
    assert re.fullmatch(r"[A-Za-z].*\.", result.detail), result.detail
    assert SECRET not in result.detail + result.event_type
    return result.detail


def named(result: bytes | Refusal) -> str:
    """The event type that the refusal names."""
    assert isinstance(result, Refusal), result
    return result.event_type


# --- The form of an event -----------------------------------------------------------------


def test_an_event_has_the_contracts_fields_and_no_other() -> None:
    fields = sent(event(properties={"plan": "pro"}, context={"ip": "::1"}))
    assert list(fields) == [
        "external_user_id",
        "event_type",
        "occurred_at",
        "properties",
        "context",
    ]
    assert fields["properties"] == {"plan": "pro"}
    assert fields["context"] == {
        "sdk_name": "whisperr-python",
        "sdk_version": VERSION,
        "ip": "::1",
        "$message_id": fields["context"]["$message_id"],
    }


def test_absent_properties_are_an_empty_object() -> None:
    assert sent(event())["properties"] == {}
    assert sent(event(properties={}))["properties"] == {}


def test_the_application_s_release_is_in_the_context_when_it_is_configured() -> None:
    assert sent(event(Encoder("1.2", None)))["context"]["app_version"] == "1.2"
    assert "app_version" not in sent(event())["context"]


def test_the_caller_s_context_wins_over_the_sdk_s_own_keys() -> None:
    context = {"sdk_name": "mine", "app_version": "9", "$mode": "test"}
    assert sent(event(Encoder("1", None), context=context))["context"].items() >= context.items()


class Key(Enum):
    ID = "$message_id"


class TextKey(str):
    """A string that says it is another one."""

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return self is other

    def __str__(self) -> str:
        return "innocent"


@pytest.mark.parametrize(
    "context",
    [
        {"$message_id": "evil"},
        {Key.ID: "evil"},
        {TextKey("$message_id"): "evil"},
        {"$message_id": "evil", Key.ID: "evil"},
        {"$message_id": "evil", TextKey("$message_id"): "evil", Key.ID: "evil"},
        OrderedDict({"$message_id": "evil", Key.ID: "evil"}),
    ],
)
def test_no_spelling_of_the_message_id_in_the_context_replaces_it(context: Any) -> None:
    result = event(context=context, message_id="mine")
    assert isinstance(result, bytes)
    assert sent(result)["context"]["$message_id"] == "mine"
    assert result.count(b"$message_id") == 1
    assert b"evil" not in result


@pytest.mark.parametrize(
    ("given", "text"),
    [("x", "x"), (42, "42"), (-1, "-1"), (UUID(int=5), str(UUID(int=5))), ("Zoë", "Zoë")],
)
def test_ids_are_strings_ints_or_uuids_as_text(given: Any, text: str) -> None:
    assert sent(event(external_user_id=given))["external_user_id"] == text
    assert sent(event(message_id=given))["context"]["$message_id"] == text
    assert sent(identify(external_user_id=given))["external_user_id"] == text


def test_an_id_of_no_type_of_ours_is_refused_beside_a_mock_of_uuid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "uuid", MagicMock())
    assert "non-empty string" in refused(event(external_user_id=object()))


@pytest.mark.parametrize("given", ["", None, True, False, 1.0, b"x", [], {}, object(), "a\ud800"])
def test_any_other_id_is_refused(given: Any) -> None:
    assert "external_user_id" in refused(event(external_user_id=given))
    assert "external_user_id" in refused(identify(external_user_id=given))
    if given is not None:
        assert "message_id" in refused(event(message_id=given))


def test_an_id_of_more_digits_than_the_interpreter_writes_is_refused() -> None:
    test_any_other_id_is_refused(10**5000)


class Loud(str):
    """A string none of whose methods may be called."""

    def _called(self, *_args: Any) -> Any:
        raise AssertionError

    __str__ = __repr__ = __len__ = __bool__ = __eq__ = __hash__ = __iter__ = __format__ = _called


class LoudInt(int):
    __str__ = __repr__ = __index__ = __int__ = __eq__ = __hash__ = Loud._called


def test_no_method_of_a_subclass_is_called_for_any_argument() -> None:
    fields = sent(event(external_user_id=Loud("u"), event_type=Loud("a"), message_id=LoudInt(5)))
    assert (fields["external_user_id"], fields["event_type"]) == ("u", "a")
    assert fields["context"]["$message_id"] == "5"
    channel = {"type": Loud("push"), "address": Loud("token"), "kind": Loud("fcm")}
    fields = sent(
        identify(preferred_channel=Loud("sms"), anonymous_id=Loud("anon"), channels=[channel])
    )
    assert fields["anonymous_id"] == "anon"
    assert fields["preferred_channel"] == "sms"
    assert fields["channels"] == [
        {"address": "token", "kind": "fcm", "channel": "push", "opted_in": True}
    ]
    refused(event(event_type=Loud("No Such Name")))
    refused(event(external_user_id=Loud(""), event_type=Loud("a")))


class Proxy:
    """Computes its class, as Django's lazy objects do: here it has no database."""

    @property
    def __class__(self) -> Any:
        raise ConnectionError

    @__class__.setter
    def __class__(self, _: Any) -> None: ...


def mock_of(kind: type) -> Callable[[], Any]:
    return lambda: MagicMock(spec=kind)


@pytest.mark.parametrize("make", [Proxy, *map(mock_of, (dict, str, int, UUID, datetime, Channel))])
def test_a_proxy_for_something_else_is_refused_and_raises_nothing(make: Callable[[], Any]) -> None:
    stranger = make()
    for name in ("external_user_id", "event_type", "properties", "context", "message_id"):
        refused(event(**{name: stranger}))
    refused(event(occurred_at=stranger))
    for name in ("external_user_id", "traits", "preferred_channel", "channels", "anonymous_id"):
        refused(identify(**{name: stranger}))
    for channel in (stranger, {"type": stranger}, {"type": "sms", "address": stranger}):
        refused(identify(channels=[channel]))
    assert sent(event(properties={"user": stranger}))["properties"]["user"].startswith("<")


@pytest.mark.parametrize("name", ["a", "payment_failed", "v2", "2fa_enabled", "a_1_b", "x" * 300])
def test_a_snake_case_name_is_an_event_type(name: str) -> None:
    result = event(event_type=name)
    assert sent(result)["event_type"] == name


@pytest.mark.parametrize(
    "name",
    ["", "_a", "a_", "a__b", "A", "a b", "a-b", "a.b", "a\n", "é", "1²", None, 5, b"a", SECRET],
)
def test_any_other_name_is_refused_and_not_repeated(name: Any) -> None:
    result = event(event_type=name)
    assert "snake_case" in refused(result)
    assert named(result) == ""


def test_a_refusal_names_an_event_type_that_is_one() -> None:
    assert named(event(external_user_id="")) == "payment_failed"
    assert named(event(external_user_id="", event_type="a" * 101)) == ""


def test_a_billing_event_is_a_name() -> None:
    result = event(event_type=BillingEvent.TRIAL_STARTED)
    assert sent(result)["event_type"] == "trial_started"


# --- Time ---------------------------------------------------------------------------------


def test_an_event_is_stamped_when_it_is_made() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    stamp = sent(event())["occurred_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    assert before <= datetime.fromisoformat(stamp.replace("Z", "+00:00")) <= datetime.now(UTC)


def test_stamps_never_go_back_over_the_turn_of_a_second() -> None:
    stamps: list[str] = []
    end = datetime.now(UTC) + timedelta(seconds=1.1)
    while datetime.now(UTC) < end:
        stamps.append(sent(event())["occurred_at"])
    assert stamps == sorted(stamps)
    assert len({stamp[:19] for stamp in stamps}) >= 2


@pytest.mark.parametrize(
    ("moment", "stamp"),
    [
        (datetime(2026, 6, 14, 12, tzinfo=UTC), "2026-06-14T12:00:00.000Z"),
        (datetime(2026, 6, 14, 12, 0, 0, 999_999, tzinfo=UTC), "2026-06-14T12:00:00.999Z"),
        (
            datetime(2026, 6, 14, 1, tzinfo=timezone(timedelta(hours=2))),
            "2026-06-13T23:00:00.000Z",
        ),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_a_given_moment_is_brought_to_utc_and_truncated(moment: datetime, stamp: str) -> None:
    assert sent(event(occurred_at=moment))["occurred_at"] == stamp


class BrokenZone(tzinfo):
    def utcoffset(self, _moment: datetime | None) -> timedelta:
        raise KeyError(SECRET)

    dst = tzname = utcoffset  # type: ignore[assignment]


class Unruly(datetime):
    def _called(self, *_args: Any, **_named: Any) -> Any:
        raise AssertionError

    astimezone = utcoffset = replace = isoformat = _called


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 6, 14),
        datetime(2026, 6, 14, tzinfo=BrokenZone()),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
        "2026-06-14T12:00:00.000Z",
        1781438400,
        datetime(2026, 6, 14).date(),
    ],
)
def test_a_moment_that_is_not_one_in_utc_is_refused(moment: Any) -> None:
    assert "occurred_at" in refused(event(occurred_at=moment))


def test_a_subclass_of_datetime_is_read_by_datetime_s_own_methods() -> None:
    moment = Unruly(2026, 6, 14, 12, tzinfo=UTC)
    assert sent(event(occurred_at=moment))["occurred_at"] == "2026-06-14T12:00:00.000Z"


# --- Message ids --------------------------------------------------------------------------


def test_message_ids_are_128_bits_of_hexadecimal_and_never_repeat() -> None:
    ids = {new_message_id() for _ in range(100_000)}
    assert len(ids) == 100_000
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)


def test_every_event_has_its_own_and_an_identify_has_none() -> None:
    assert len({sent(event())["context"]["$message_id"] for _ in range(100)}) == 100
    result = identify(traits={"a": 1})
    assert isinstance(result, bytes)
    assert b"message_id" not in result


def test_a_seed_does_not_repeat_them() -> None:
    random.seed(1)
    first = new_message_id()
    random.seed(1)
    assert new_message_id() != first


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_a_child_s_ids_are_not_its_parent_s_nor_its_sibling_s() -> None:
    """Also where no hook ran at the fork, and `random` continues in each from one state."""
    random.seed(1)
    encoder = Encoder(None, None)

    def some() -> list[str]:
        return [sent(event(encoder))["context"]["$message_id"] for _ in range(100)]

    ids = [*in_child(some), *in_child(some), *in_child(some, raw_fork), *some()]
    assert len(set(ids)) == 400


# --- What is delivered is what was given then ---------------------------------------------


def test_what_happens_to_the_arguments_after_the_call_changes_nothing() -> None:
    inner = ["a"]
    properties: dict[str, Any] = {"inner": inner, "data": bytearray(b"x")}
    context, traits, channel = {"k": 1}, {"t": [1]}, {"type": "sms", "address": "+1"}
    results = [
        event(properties=properties, context=context),
        identify(traits=traits, channels=[channel]),
    ]
    before = [sent(result) for result in results]
    inner.append("b")
    properties["data"].extend(b"y")
    for given in (properties, context, traits, channel):
        given.clear()
    assert [sent(result) for result in results] == before
    assert before[0]["properties"] == {"inner": ["a"], "data": "eA=="}


def test_the_arguments_are_not_changed_by_the_call() -> None:
    context, channel = {"k": 1}, {"type": "sms", "address": "+1"}
    traits: dict[str, Any] = {}
    event(context=context, properties={})
    identify(channels=[channel], traits=traits)
    assert (context, channel, traits) == ({"k": 1}, {"type": "sms", "address": "+1"}, {})


class Overridden(dict[str, Any]):
    """A dict that shows something else to whoever asks it."""

    def _called(self, *_args: Any) -> Any:
        raise AssertionError

    items = keys = values = get = copy = _called
    __iter__ = __getitem__ = __len__ = __bool__ = __contains__ = _called


def test_a_dict_subclass_is_read_by_dict_s_own_methods() -> None:
    given = Overridden(a=1)
    fields = sent(event(properties=given, context=given))
    assert (fields["properties"], fields["context"]["a"]) == ({"a": 1}, 1)
    assert sent(identify(traits=given))["traits"] == {"a": 1}
    assert "traits" not in sent(identify(traits=Overridden()))
    channel = Overridden(type="sms", address="+1")
    assert sent(identify(channels=[channel]))["channels"][0]["address"] == "+1"


@pytest.mark.parametrize(
    "mapping", [UserDict(a=1), MappingProxyType({"a": 1}), [("a", 1)], "text", 5, True]
)
def test_another_mapping_is_refused(mapping: Any) -> None:
    assert "properties" in refused(event(properties=mapping))
    assert "context" in refused(event(context=mapping))
    assert "traits" in refused(identify(traits=mapping))


def test_values_that_json_does_not_know_cost_nothing_but_themselves() -> None:
    fields = sent(event(properties={"price": Decimal("9.90"), "odd": object(), 5: "five"}))
    assert fields["properties"] == {"price": "9.90", "odd": "<object>", "5": "five"}


def test_an_operation_that_is_too_large_is_refused_with_its_size() -> None:
    room = MAX_OPERATION_BYTES - len(as_operation(event())) - len('"a":""')
    assert len(as_operation(event(properties={"a": "x" * room}))) == MAX_OPERATION_BYTES
    result = event(properties={"a": "x" * (room + 1)})
    assert str(MAX_OPERATION_BYTES + 1) in refused(result, "too_large")
    assert named(result) == "payment_failed"
    refused(identify(traits={"a": "x" * MAX_OPERATION_BYTES}), "too_large")


@pytest.mark.parametrize("leaf", [0, Decimal(1)])
def test_a_value_that_is_met_on_too_many_paths_is_refused_at_once(leaf: Any) -> None:
    for kind in (list, tuple):
        value: Any = kind([leaf])
        for _ in range(40):  # 2**40 of them, would each path be followed
            value = kind([value, value])
        refused(event(properties={"value": value}), "too_large")
        passing = Encoder(None, lambda fields, _: fields)
        refused(event(passing, properties={"value": value}), "too_large")


def as_operation(result: bytes | Refusal) -> bytes:
    assert isinstance(result, bytes)
    return result


# --- The form of an identify --------------------------------------------------------------


def test_an_identify_holds_only_what_was_given() -> None:
    assert sent(identify()) == {"external_user_id": "u1"}
    assert sent(identify(traits={})) == {"external_user_id": "u1"}
    result = identify(traits={"plan": "pro"}, preferred_channel="sms", anonymous_id="a")
    assert sent(result) == {
        "external_user_id": "u1",
        "traits": {"plan": "pro"},
        "preferred_channel": "sms",
        "anonymous_id": "a",
    }


def test_shortcuts_are_opted_in_channels_before_the_explicit_ones() -> None:
    fields = sent(identify(email="e", phone="p", push_token="t", channels=[Channel.sms("s")]))
    assert fields["channels"] == [
        {"channel": "email", "address": "e", "opted_in": True},
        {"channel": "sms", "address": "p", "opted_in": True},
        {"channel": "push", "address": "t", "opted_in": True},
        {"channel": "sms", "address": "s", "opted_in": True},
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            Channel.email("e", opted_in=False, verified=True),
            {"channel": "email", "address": "e", "opted_in": False, "verified": True},
        ),
        ({"type": "sms", "address": "s"}, {"channel": "sms", "address": "s", "opted_in": True}),
        (
            {"channel": "sms", "address": "s", "verified": None},
            {"channel": "sms", "address": "s", "opted_in": True},
        ),
        (
            Channel.push("t", kind="fcm", platform="ios", push_env="sandbox", client_app_id="app"),
            {
                "channel": "push",
                "address": "t",
                "opted_in": True,
                "kind": "fcm",
                "platform": "ios",
                "push_env": "sandbox",
                "client_app_id": "app",
            },
        ),
        (
            {"type": "push", "address": "t", "provider_project": "p"},
            {"channel": "push", "address": "t", "opted_in": True, "provider_project": "p"},
        ),
    ],
)
def test_a_channel_goes_out_in_the_contract_s_form(given: Any, expected: dict[str, Any]) -> None:
    assert sent(identify(channels=[given]))["channels"] == [expected]
    assert sent(identify(channels=(given,)))["channels"] == [expected]


@pytest.mark.parametrize(
    "channels",
    [
        "email",
        {"type": "sms", "address": "s"},
        [SECRET],
        [None],
        [{}],
        [{"address": SECRET}],
        [{"type": "fax", "address": SECRET}],
        [{"type": "sms"}],
        [{"type": "sms", "address": ""}],
        [{"type": "sms", "address": 5}],
        [{"type": "sms", "address": "s", "opted_in": "no"}],
        [{"type": "sms", "address": "s", "opted_in": None}],
        [{"type": "sms", "address": "s", "verified": 1}],
        [{"type": "sms", "address": "s", "kind": "fcm"}],
        [{"type": "sms", "address": "s", SECRET: 1}],
        [{"type": "sms", "address": "s", 5: 1}],
        [{"type": "push", "address": "t", "kind": "smoke"}],
        [{"type": "push", "address": "t", "platform": None}],
        [{"type": "push", "address": "t", "client_app_id": ""}],
        [Channel("fax", SECRET)],  # type: ignore[arg-type]
        [Channel("email", None)],  # type: ignore[arg-type]
        [Channel.push("t", push_env="staging")],
    ],
)
def test_a_channel_that_the_contract_does_not_know_refuses_the_identify(channels: Any) -> None:
    assert "channel" in refused(identify(channels=channels))


def test_a_channel_in_the_place_of_the_list_is_told_so() -> None:
    text = refused(identify(channels=Channel.sms("+15551234567")))
    assert text == "channels must be a list of Channel objects or dicts."


@pytest.mark.parametrize("given", ["fax", "", 5, ["sms"]])
def test_a_preferred_channel_is_one_of_three(given: Any) -> None:
    assert "preferred_channel" in refused(identify(preferred_channel=given))


@pytest.mark.parametrize(
    ("given", "good"), [("a", True), ("a" * 128, True), ("", False), (5, False)]
)
def test_an_anonymous_id_has_up_to_128_characters(given: Any, good: bool) -> None:
    assert isinstance(identify(anonymous_id=given), bytes if good else Refusal)
    assert "anonymous_id" in refused(identify(anonymous_id="a" * 129))


# --- before_send --------------------------------------------------------------------------


def test_before_send_sees_the_fields_and_the_kind_and_its_result_is_sent() -> None:
    seen: list[tuple[str, list[str]]] = []

    def before_send(fields: dict[str, Any], kind: str) -> dict[str, Any]:
        seen.append((kind, list(fields)))
        key = "properties" if kind == "event" else "traits"
        return {**fields, key: {"only": "this"}}

    encoder = Encoder(None, before_send)
    assert sent(event(encoder, properties={"card": SECRET}))["properties"] == {"only": "this"}
    assert sent(identify(encoder, email="e"))["traits"] == {"only": "this"}
    names = ["external_user_id", "event_type", "occurred_at", "properties", "context"]
    assert seen == [("event", names), ("identify", ["external_user_id", "channels"])]


def test_before_send_may_change_its_copy_in_place_and_the_caller_s_stays() -> None:
    class Rows(list[Any]):
        """A framework's list."""

    def before_send(fields: dict[str, Any], _kind: str) -> dict[str, Any]:
        found = fields["properties"]
        found["deep"]["list"].append("added")
        found["rows"].append("added")
        found["set"].add("added")
        found["tuple"][0].append("added")
        del found["card"]
        return fields

    given: dict[str, Any] = {
        "deep": {"list": []},
        "rows": Rows(),
        "set": set(),
        "tuple": ([],),
        "card": SECRET,
    }
    fields = sent(event(Encoder(None, before_send), properties=given))
    added = ["added"]
    assert fields["properties"] == {
        "deep": {"list": added},
        "rows": added,
        "set": added,
        "tuple": [added],
    }
    assert given == {"deep": {"list": []}, "rows": [], "set": set(), "tuple": ([],), "card": SECRET}


def test_what_is_nested_too_deeply_for_its_copy_is_not_blamed_on_before_send() -> None:
    def before_send(fields: dict[str, Any], kind: str) -> dict[str, Any]:
        called.append(kind)
        return fields

    called: list[str] = []
    encoder = Encoder(None, before_send)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    refusal = refused(event(encoder, properties={"deep": deep}), "invalid")
    assert "too deeply" in refusal
    assert called == []


def test_before_send_may_be_given_a_cycle() -> None:
    given: dict[str, Any] = {}
    given["self"] = given
    fields = sent(event(Encoder(None, lambda fields, _: fields), properties=given))
    assert fields["properties"] == {"self": "<cycle>"}


@pytest.mark.parametrize(
    "raised", [ValueError(SECRET), RecursionError(), StopIteration(), AssertionError()]
)
def test_a_before_send_that_raises_costs_that_operation(raised: Exception) -> None:
    """It may have been redacting: what it did not finish is not sent."""

    def before_send(_fields: dict[str, Any], _kind: str) -> dict[str, Any]:
        raise raised

    encoder = Encoder(None, before_send)
    for result in (event(encoder, properties={"card": SECRET}), identify(encoder, email=SECRET)):
        assert type(raised).__name__ in refused(result, "before_send")


def test_a_before_send_that_returns_none_discards() -> None:
    encoder = Encoder(None, lambda _fields, _kind: None)
    refused(event(encoder), "discarded")
    assert named(event(encoder)) == "payment_failed"
    refused(identify(encoder), "discarded")


@pytest.mark.parametrize("rubbish", [0, "", "text", [], [("a", 1)], object(), True])
def test_a_before_send_that_returns_no_dict_costs_that_operation(rubbish: Any) -> None:
    encoder = Encoder(None, lambda _fields, _kind: rubbish)
    refused(event(encoder), "before_send")
    refused(identify(encoder), "before_send")


def test_nor_is_a_proxy_for_a_dict_one() -> None:
    refused(event(Encoder(None, lambda _fields, _kind: Proxy())), "before_send")  # type: ignore


class Hashless:
    def __hash__(self) -> int:
        if self.__dict__:
            raise AssertionError
        return 1


def hashless() -> dict[Any, Any]:
    key = Hashless()
    found = {key: 1}
    key.__dict__["quiet"] = True
    return found


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: {},
        lambda fields: {**fields, "more": 1},
        lambda fields: {**fields, 5: 1},
        lambda fields: hashless(),
        lambda fields: {**fields, "external_user_id": ""},
        lambda fields: {**fields, "event_type": "Not Snake"},
        lambda fields: {**fields, "occurred_at": "yesterday"},
        lambda fields: {**fields, "occurred_at": "2026-13-14T12:00:00.000Z"},
        lambda fields: {**fields, "occurred_at": "２０２６-06-14T12:00:00.000Z"},  # noqa: RUF001
        lambda fields: {**fields, "occurred_at": datetime(2026, 6, 14, tzinfo=UTC)},
        lambda fields: {**fields, "properties": None},
        lambda fields: {**fields, "properties": []},
        lambda fields: {**fields, "context": None},
        lambda fields: {name: fields[name] for name in list(fields)[1:]},
    ],
)
def test_the_result_of_before_send_is_judged_like_arguments(change: Any) -> None:
    refused(event(Encoder(None, lambda fields, _: change(fields))))


@pytest.mark.parametrize(
    "change", [{"traits": []}, {"channels": "x"}, {"more": 1}, {"anonymous_id": ""}]
)
def test_so_is_that_for_an_identify(change: Any) -> None:
    refused(identify(Encoder(None, lambda fields, _: {**fields, **change})))


def test_before_send_cannot_change_the_message_id() -> None:
    def before_send(fields: dict[str, Any], _kind: str) -> dict[str, Any]:
        assert "$message_id" not in fields["context"]
        return {**fields, "context": {"$message_id": "evil", Key.ID: "evil", "kept": 1}}

    context = sent(event(Encoder(None, before_send), message_id="mine"))["context"]
    assert (context["$message_id"], context["kept"]) == ("mine", 1)


def test_before_send_may_return_a_subclass_of_dict() -> None:
    encoder = Encoder(None, lambda fields, _: Overridden(fields))
    assert sent(event(encoder))["external_user_id"] == "u1"


def test_an_event_that_before_send_tracks_itself_does_not_pass_through_it_again() -> None:
    inner: list[bytes | Refusal] = []

    def before_send(fields: dict[str, Any], _kind: str) -> dict[str, Any]:
        inner.append(event(encoder, event_type="seen"))
        inner.append(identify(encoder))
        return {**fields, "properties": {"outer": True}}

    encoder = Encoder(None, before_send)
    for _ in range(2):
        assert sent(event(encoder))["properties"] == {"outer": True}
    assert [sent(result).get("properties") for result in inner] == [{}, None] * 2


def test_a_before_send_that_raised_is_asked_again_the_next_time() -> None:
    calls: list[str] = []

    def before_send(fields: dict[str, Any], kind: str) -> dict[str, Any]:
        calls.append(kind)
        if len(calls) == 1:
            raise ValueError
        return fields

    encoder = Encoder(None, before_send)
    refused(event(encoder), "before_send")
    sent(event(encoder))
    assert len(calls) == 2


def test_what_ends_the_program_passes_through_before_send() -> None:
    def before_send(_fields: dict[str, Any], _kind: str) -> dict[str, Any]:
        raise SystemExit

    encoder = Encoder(None, before_send)
    for _ in range(2):
        with pytest.raises(SystemExit):
            event(encoder)


def test_text_of_a_subclass_is_sent_as_its_text() -> None:
    """An Enum of strings may have another value than its text; JSON takes the value."""

    class Odd(str, Enum):
        EMAIL = "email"
        FCM = "fcm"

        def __new__(cls, text: str) -> Odd:
            made = str.__new__(cls, text)
            made._value_ = len(text)
            return made

    push = {"type": "push", "address": "token", "kind": Odd.FCM}
    fields = sent(
        identify(preferred_channel=Odd.EMAIL, anonymous_id=Odd.EMAIL, channels=[push]),
    )
    assert fields["preferred_channel"] == fields["anonymous_id"] == "email"
    assert fields["channels"][0]["kind"] == "fcm"


@pytest.mark.parametrize("name", ["email", "phone", "push_token"])
def test_an_empty_address_is_refused_with_the_way_to_leave_it_out(name: str) -> None:
    """Django's `user.email` is empty where there is none."""
    detail = refused(identify(None, traits={"plan": "pro"}, **{name: ""}))
    assert name in detail
    assert "pass None" in detail
