"""The public value types: channels, billing names, errors."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from whisperr import BillingEvent, Channel, WhisperrError

BLANK = {
    "verified": None,
    "kind": None,
    "platform": None,
    "push_env": None,
    "client_app_id": None,
    "provider_project": None,
}


def test_each_kind_of_channel_has_a_maker_that_opts_in() -> None:
    for kind, made in (
        ("email", Channel.email("a@example.com")),
        ("sms", Channel.sms("a@example.com")),
        ("push", Channel.push("a@example.com")),
    ):
        expected = {"channel": kind, "address": "a@example.com", "opted_in": True, **BLANK}
        assert vars(made) == expected


def test_consent_and_verification_are_the_second_and_third_argument() -> None:
    for make in (Channel.email, Channel.sms, Channel.push):
        made = make("x", False, True)
        assert (made.opted_in, made.verified) == (False, True)


def test_a_push_channel_says_where_its_token_comes_from() -> None:
    origin: dict[str, Any] = {
        "kind": "fcm",
        "platform": "android",
        "push_env": "production",
        "client_app_id": "com.example",
        "provider_project": "example",
    }
    made = Channel.push("token", **origin)
    assert {name: getattr(made, name) for name in origin} == origin


def test_a_channel_is_a_value() -> None:
    made = Channel.email("a@example.com")
    assert made == Channel("email", "a@example.com")
    assert hash(made) == hash(Channel("email", "a@example.com"))
    with pytest.raises(AttributeError):
        made.address = "other"  # type: ignore[misc]


def test_billing_names_are_plain_strings_too() -> None:
    event: str = BillingEvent.TRIAL_STARTED
    assert [event, str(event), f"{event}"] == ["trial_started"] * 3


def test_billing_names_are_the_contracts() -> None:
    assert [event.value for event in BillingEvent] == [
        *("trial_started", "trial_converted", "trial_auto_renew_disabled", "membership_started"),
        *("renewal_succeeded", "auto_renew_disabled", "auto_renew_enabled", "membership_ended"),
        *("billing_issue_started", "billing_recovered", "refund_granted"),
    ]
    assert all(event.name == event.value.upper() for event in BillingEvent)


def test_an_error_never_shows_what_the_service_said() -> None:
    error = WhisperrError("dropped", "Lost.", 400, count=1, service_message="of a@example.com")
    assert "a@example.com" not in str(error) + repr(error)
    assert error.service_message == "of a@example.com"
    assert str(error) == "Lost."


def test_an_error_can_be_pickled() -> None:
    """Loggers and task queues do that."""
    error = WhisperrError("auth", "Refused.", 401, count=3, reason="x", event_types=("a",))
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)
