"""The testing kit: questions, assertions that say what differs, and the service's own rules."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from forked import in_child
from whisperr import BillingEvent, BillingProperties, Channel, Whisperr, _capture
from whisperr.testing import Events, capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "wrk_test_testing"
NOW = datetime.now(timezone.utc)


class Plan(Enum):
    PRO = "pro"


@pytest.fixture
def client() -> Whisperr:
    return Whisperr(KEY)


@pytest.fixture
def events() -> Iterator[Events]:
    with capture() as events:
        yield events


def failure_of(assertion: Callable[[], object]) -> str:
    """What the assertion says that must not hold."""
    with pytest.raises(AssertionError) as failed:
        assertion()
    return str(failed.value)


def violation_in(block: Callable[[Whisperr], object], **options: Any) -> str:
    """What a capture says at its end."""

    def run() -> None:
        with capture():
            block(Whisperr(KEY, **options))

    return failure_of(run)


# --- Questions --------------------------------------------------------------------------------


def test_an_event_is_what_would_be_sent_and_who_tracked_it(
    events: Events, client: Whisperr
) -> None:
    happened = NOW.replace(microsecond=250_000)
    client.track(7, "order_paid", {"a": 1}, {"b": 2}, occurred_at=happened, message_id="evt_1")
    event = events.one("order_paid")
    assert (event.user, event.event_type, event.properties) == ("7", "order_paid", {"a": 1})
    assert event.context["b"] == 2
    assert event.context["sdk_name"] == "whisperr-python"
    assert (event.occurred_at, event.message_id) == (happened, "evt_1")
    assert event.occurred_at.tzinfo is not None
    assert (event.pid, event.call.file) == (os.getpid(), __file__)
    with pytest.raises(FrozenInstanceError):
        event.user = "8"  # type: ignore[misc]


def test_an_identify_is_what_would_be_sent(events: Events, client: Whisperr) -> None:
    client.identify(
        "u1",
        traits={"plan": Plan.PRO},
        phone="+15551234567",
        channels=[Channel.push("token", kind="fcm")],
        preferred_channel="sms",
        anonymous_id="anon",
    )
    client.identify("u2")
    identify = events.one_identify(user="u1")
    assert (identify.user, identify.traits, identify.pid) == ("u1", {"plan": "pro"}, os.getpid())
    assert identify.channels == [
        {"channel": "sms", "address": "+15551234567", "opted_in": True},
        {"channel": "push", "address": "token", "opted_in": True, "kind": "fcm"},
    ]
    assert (identify.preferred_channel, identify.anonymous_id) == ("sms", "anon")
    empty = events.one_identify(user="u2")
    assert (empty.traits, empty.channels) == ({}, [])
    assert (empty.preferred_channel, empty.anonymous_id) == (None, None)


def test_all_are_in_the_order_of_the_calls_and_each_condition_narrows_them(
    events: Events, client: Whisperr
) -> None:
    client.track("u1", "order_paid", {"amount": 5, "plan": "pro"})
    client.track("u2", "order_paid", {"amount": 5})
    client.identify("u1")
    client.track("u1", "order_shipped")
    assert [event.event_type for event in events.all()] == ["order_paid"] * 2 + ["order_shipped"]
    assert [event.user for event in events.all("order_paid")] == ["u1", "u2"]
    assert len(events.all(user="u1")) == 2
    assert len(events.all("order_paid", user="u1")) == 1
    assert len(events.all(properties={"amount": 5})) == 2
    assert len(events.all(properties={"amount": 5, "plan": "pro"})) == 1
    assert len(events.identifies()) == len(events.identifies("u1")) == 1
    assert events.all("order") == events.all(user="u") == []
    assert events.identifies("u2") == []


@pytest.mark.parametrize(
    ("tracked", "asked"),
    [(7, "7"), ("7", 7), (0, 0), (UUID(int=1), str(UUID(int=1))), ("u", "u")],
)
def test_users_are_compared_as_text(
    events: Events, client: Whisperr, tracked: Any, asked: Any
) -> None:
    for user in (tracked, "another"):
        client.track(user, "order_paid")
        client.identify(user)
    assert events.one("order_paid", user=asked)
    assert events.one_identify(user=asked)


@pytest.mark.parametrize(
    "value", [Decimal("9.90"), NOW, UUID(int=1), Plan.PRO, (1, 2), {"a", "b"}, b"\x00", None, 5]
)
def test_a_property_is_asked_for_as_it_was_tracked_or_as_it_is_sent(
    events: Events, client: Whisperr, value: Any
) -> None:
    client.track("u", "order_paid", {"value": value, "more": 1})
    sent = events.one("order_paid", properties={"value": value}).properties["value"]
    events.one("order_paid", properties={"value": sent})
    events.none("order_paid", properties={"value": "another"})
    events.none("order_paid", properties={"valu": value})


def test_a_reserved_name_is_asked_for_by_its_constant(events: Events, client: Whisperr) -> None:
    client.track("u", BillingEvent.REFUND_GRANTED, BillingProperties(price=Decimal("49.9")))
    event = events.one(BillingEvent.REFUND_GRANTED, properties={"price": 49.9})
    assert event.event_type == "refund_granted"
    assert "event refund_granted of user u2" in failure_of(
        lambda: events.one(BillingEvent.REFUND_GRANTED, user="u2")
    )


def test_what_comes_later_is_seen_by_the_next_question(events: Events, client: Whisperr) -> None:
    events.none()
    client.track("u", "order_paid")
    assert events.one("order_paid")
    client.track("u", "order_paid")
    assert len(events.all("order_paid")) == 2


def test_any_text_may_stand_in_a_value(events: Events, client: Whisperr) -> None:
    text = "a\nb\r\x0b\x85\u2028\U0001f600"
    client.track("u", "order_paid", {text: text})
    assert events.one("order_paid").properties == {text: text}


def test_a_line_that_another_process_is_writing_is_left_for_the_next_question(
    events: Events, client: Whisperr
) -> None:
    client.track("u", "order_paid")
    path = Path(os.environ[_capture.VARIABLE])
    line = path.read_bytes()
    with path.open("ab", buffering=0) as file:
        file.write(line[:20])
        assert len(events.all()) == 1
        file.write(line[20:])
        assert len(events.all()) == 2


def test_what_was_recorded_can_be_asked_for_after_the_block(client: Whisperr) -> None:
    with capture() as events:
        client.track("u", "order_paid")
    client_after = Whisperr(disabled=True)
    client_after.track("u", "order_shipped")
    assert [event.event_type for event in events.all()] == ["order_paid"]
    assert repr(events) == "<Events: 1 events, 0 identifies, 0 refused>"


def test_a_capture_inside_another_has_what_comes_meanwhile(client: Whisperr) -> None:
    with capture() as outer:
        client.track("u", "before")
        with capture() as inner:
            client.track("u", "inside")
        client.track("u", "after")
    assert [event.event_type for event in inner.all()] == ["inside"]
    assert [event.event_type for event in outer.all()] == ["before", "after"]


# --- Assertions that do not hold --------------------------------------------------------------


def test_one_says_what_was_asked_how_the_nearest_differs_and_what_was_recorded(
    events: Events, client: Whisperr
) -> None:
    client.track("u2", "order_shipped")
    client.track("u1", "payment_failed", {"amount": 4800, "reason": "card", "card": {"last": 1}})
    client.identify("u1", traits={"plan": "pro"})
    text = failure_of(
        lambda: events.one("payment_failed", user="u1", properties={"amount": 4900, "try": 2})
    )
    first, *rest = text.split("\n")
    assert first == (
        'Not recorded: event payment_failed of user u1 with {"amount": 4900, "try": 2}.'
    )
    assert f"test_testing.py:{events.one('payment_failed').call.line}, pid {os.getpid()}" in rest[0]
    assert [line.strip() for line in rest if line.lstrip()[:2] in ("- ", "+ ")] == [
        '-    "amount": 4900,',
        '+    "amount": 4800,',
        '-    "reason": "card",',
        '-    "try": 2',
        '+    "reason": "card"',
    ]
    assert "Recorded:" in rest
    assert any("event order_shipped of user u2 {} at " in line for line in rest)
    assert any('identify of user u1 {"channels": [], "traits": {"plan": "pro"}}' in x for x in rest)


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ({"event_type": "payment_faild"}, "payment_failed"),
        ({"event_type": "order_paid", "user": "u2"}, "order_paid"),
        ({"event_type": "something", "user": "u3"}, "logged_in"),
        ({"event_type": "something", "properties": {"method": "sso"}}, "logged_in"),
    ],
)
def test_the_nearest_is_by_name_then_by_user_then_by_properties(
    events: Events, client: Whisperr, asked: dict[str, Any], nearest: str
) -> None:
    client.track("u2", "payment_failed")
    client.track("u1", "order_paid")
    client.track("u3", "logged_in", {"method": "sso"})
    text = failure_of(lambda: events.one(**asked))
    shown = text[text.index("The nearest") : text.index("Recorded:")]
    assert f'"event_type": "{nearest}"' in shown


def test_where_nothing_is_near_nothing_is_compared(events: Events, client: Whisperr) -> None:
    client.track("u1", "logged_in")
    text = failure_of(lambda: events.one("xyz", user="u2"))
    assert "nearest" not in text
    assert "logged_in" in text


def test_where_nothing_was_recorded_it_says_why_that_may_be(events: Events) -> None:
    text = failure_of(lambda: events.one("order_paid"))
    assert "Nothing was recorded. A client that is disabled (WHISPERR_DISABLED)" in text


def test_one_says_where_each_was_tracked_when_there_are_several(
    events: Events, client: Whisperr
) -> None:
    for amount in (1, 2):
        client.track("u1", "order_paid", {"amount": amount})
    text = failure_of(lambda: events.one("order_paid", user="u1"))
    assert text.startswith("2 times instead of once: event order_paid of user u1.\n")
    assert text.count("event order_paid of user u1 {") == 2


def test_none_lists_what_there_is(events: Events, client: Whisperr) -> None:
    client.track("u1", "order_paid", {"amount": 5})
    client.track("u2", "order_paid")
    events.none("order_shipped")
    events.none(user="u3")
    events.none(properties={"amount": 6})
    text = failure_of(lambda: events.none("order_paid", properties={"amount": 5}))
    assert text.startswith("Recorded, although none was to be: event order_paid with")
    assert "u1" in text
    assert "u2" not in text


def test_one_identify_says_what_was_recorded(events: Events, client: Whisperr) -> None:
    client.identify("u1")
    text = failure_of(lambda: events.one_identify(user="u2"))
    assert text.startswith("Not recorded: identify of user u2.\n")
    assert "identify of user u1" in text
    client.identify("u1")
    assert "2 times instead of once" in failure_of(lambda: events.one_identify())


def test_long_values_and_many_records_are_cut(events: Events, client: Whisperr) -> None:
    for number in range(200):
        client.track("u1", "order_paid", {"number": number, "text": "x" * 10_000})
    text = failure_of(lambda: events.one("order_paid", properties={"number": -1, "text": "y"}))
    assert len(text) < 10_000
    assert "and 175 more." in text


def test_an_assertion_that_fails_says_what_would_not_arrive(client: Whisperr) -> None:
    def run() -> None:
        with capture() as events:
            client.track("u1", "payment-failed")
            events.one("payment_failed")

    text = failure_of(run)
    assert text.startswith("Not recorded: event payment_failed.")
    assert "Not recorded, since it would not arrive:" in text
    assert "track('payment-failed') at " in text


def test_what_before_send_discards_and_what_is_taken_back_is_named_there_and_no_violation() -> None:
    def before_send(operation: dict[str, Any], _kind: str) -> dict[str, Any] | None:
        return operation if operation["event_type"] == "order_paid" else None

    with capture() as events:
        client = Whisperr(KEY, before_send=before_send)
        client.track("u1", "page_opened")
        draft = client.draft()
        draft.track("u1", "order_paid")
        draft.take_back()
        text = failure_of(lambda: events.one("page_opened"))
    assert "track('page_opened') at " in text
    assert "(discarded)" in text
    assert "(rolled_back)" in text


# --- What the service would not take ----------------------------------------------------------


def naive(client: Whisperr) -> None:
    client.track("u", "order_paid", occurred_at=NOW.replace(tzinfo=None))


VIOLATIONS: list[tuple[Callable[[Whisperr], object], str, str]] = [
    (lambda client: client.track("u", "payment-failed"), "'payment-failed'", "snake_case"),
    (lambda client: client.track("u", ""), "''", "snake_case"),
    (lambda client: client.track("", "order_paid"), "'order_paid'", "external_user_id"),
    (lambda client: client.track("u", "order_paid", {"x": "x" * 2**18}), "'order_paid'", "262144"),
    (naive, "'order_paid'", "occurred_at must be aware"),
    (
        lambda client: client.track("u", "refund_granted", BillingProperties(currency="eur")),
        "'refund_granted'",
        "currency must be",
    ),
    (lambda client: client.identify("u", channels=[{"type": "fax"}]), "identify()", "email, sms"),
    (lambda client: client.identify("u", email="ada"), "identify()", "an e-mail address"),
    (lambda client: client.identify("u", phone="555-1234"), "identify()", "E.164"),
    (lambda client: client.identify("u", traits={"app_language": "en_US"}), "identify()", "BCP 47"),
    (lambda client: client.identify("u", traits={"app_language": 7}), "identify()", "BCP 47"),
    (lambda client: client.identify("u", traits={"x": "x" * 2**18}), "identify()", "262144"),
]


@pytest.mark.parametrize(("block", "call", "rule"), VIOLATIONS)
def test_a_violation_names_the_call_the_line_and_the_rule(
    block: Callable[[Whisperr], object], call: str, rule: str
) -> None:
    first, source = violation_in(block).split("\n")
    assert call in first
    assert f"test_testing.py:{block.__code__.co_firstlineno + (block is naive)}, pid" in first
    assert rule in first
    assert "client." in source


@pytest.mark.parametrize(
    ("ago", "taken"),
    [
        (timedelta(days=30, minutes=1), False),
        (timedelta(days=30, minutes=-1), True),
        (timedelta(minutes=-4), True),
        (timedelta(minutes=-6), False),
        (timedelta(days=-400), False),
    ],
)
def test_an_event_is_within_the_services_window(ago: timedelta, taken: bool) -> None:
    def block(client: Whisperr) -> None:
        client.track("u", "order_paid", occurred_at=datetime.now(timezone.utc) - ago)

    if taken:
        with capture() as events:
            block(Whisperr(KEY))
        assert events.one("order_paid")
    else:
        assert "the last 30 days and the next 5 minutes" in violation_in(block)


def test_the_window_is_that_of_the_call_also_where_the_test_stopped_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped = 1_500_000_000_000_000_000
    with capture() as events:
        monkeypatch.setattr("time.time_ns", lambda: stopped)
        Whisperr(KEY).track("u", "order_paid")
        monkeypatch.undo()
    assert events.one("order_paid").occurred_at.timestamp() * 1e9 == stopped


@pytest.mark.parametrize(
    "text",
    ["2026-02-30T12:00:00.000Z", "2026-06-14T25:00:00.000Z", "\uff12026-06-14T12:00:00.000Z"],
)
def test_a_time_that_before_send_makes_up_is_a_violation(text: str) -> None:
    def before_send(operation: dict[str, Any], _kind: str) -> dict[str, Any]:
        return {**operation, "occurred_at": text}

    said = violation_in(lambda client: client.track("u", "order_paid"), before_send=before_send)
    assert "occurred_at must be a time that looks like" in said


def test_a_before_send_that_raises_is_a_violation() -> None:
    def before_send(_operation: dict[str, Any], _kind: str) -> dict[str, Any]:
        raise LookupError

    said = violation_in(lambda client: client.track("u", "order_paid"), before_send=before_send)
    assert "before_send raised LookupError" in said


def test_what_would_be_rejected_is_no_event_of_the_capture(client: Whisperr) -> None:
    kept: list[Events] = []

    def run() -> None:
        with capture() as events:
            kept.append(events)
            client.track("u", "order_paid", occurred_at=NOW - timedelta(days=60))
            client.identify("u", phone="555")

    assert "the last 30 days" in failure_of(run)
    kept[0].none()
    assert kept[0].identifies() == []
    assert repr(kept[0]) == "<Events: 0 events, 0 identifies, 2 refused>"


@pytest.mark.parametrize(
    "addresses",
    [
        {"email": "ada@example.com", "phone": "+15551234567", "push_token": "any token"},
        {"traits": {"app_language": "pt-BR"}},
        {"traits": {"app_language": "de"}},
        {"channels": [Channel.email("ä@例え.jp", opted_in=False)]},
    ],
)
def test_what_keeps_the_rules_is_no_violation(client: Whisperr, addresses: dict[str, Any]) -> None:
    with capture() as events:
        client.identify("u", **addresses)
    assert events.one_identify()


def test_every_violation_is_said_at_the_end_and_once(client: Whisperr) -> None:
    with capture() as events:
        client.track("u", "payment-failed")
        assert "payment-failed" in failure_of(events.check)
        events.check()
        client.track("u", "order-paid")
        client.track("u", "order-shipped")
        text = failure_of(events.check)
    assert "payment-failed" not in text
    assert text.index("order-paid") < text.index("order-shipped")


def test_a_block_that_raises_is_not_talked_over(client: Whisperr) -> None:
    def block() -> None:
        with capture():
            client.track("u", "payment-failed")
            raise LookupError("the application's own")

    with pytest.raises(LookupError, match="the application's own"):
        block()
    assert _capture.recorder is None


# --- Other processes --------------------------------------------------------------------------


def test_children_that_were_waited_for_are_seen(events: Events, client: Whisperr) -> None:
    def child() -> int:
        client.track("u", "order_paid")
        return os.getpid()

    pid = in_child(child)
    script = "import os, whisperr; whisperr.Whisperr().track(os.getpid(), 'report_made')"
    started = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert started.wait(60) == 0
    assert events.one("order_paid").pid == pid != os.getpid()
    assert events.one("report_made", user=started.pid).pid == started.pid


def test_a_violation_in_a_forked_child_fails_the_capture_of_its_parent(client: Whisperr) -> None:
    pids: list[int] = []

    def child() -> int:
        client.track("u", "payment-failed")
        return os.getpid()

    def block(_client: Whisperr) -> None:
        pids.append(in_child(child))

    text = violation_in(block)
    assert "track('payment-failed') at " in text
    assert f"pid {pids[0]}: event_type must be lower snake_case" in text


def test_the_kit_needs_nothing_that_the_package_does_not() -> None:
    script = (
        "import sys, whisperr; before = set(sys.modules); import whisperr.testing;"
        "print({name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    new = eval(result.stdout) - set(sys.stdlib_module_names)
    assert new <= {"whisperr"}
