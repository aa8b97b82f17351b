"""What the contract asks of arguments. Calls no method that the caller's types may override."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from ._encoding import dict_items
from ._loaded import loaded_class
from .billing import BillingProperties
from .channel import Channel

_SNAKE_CASE = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*").fullmatch
EVENT_FIELDS = ("external_user_id", "event_type", "occurred_at", "properties", "context")
_IDENTIFY_FIELDS = frozenset(
    {"external_user_id", "traits", "preferred_channel", "channels", "anonymous_id"}
)
is_timestamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII).fullmatch
CHANNEL_NAMES = ("email", "sms", "push")
_PUSH_VALUES = {
    "kind": ("fcm", "apns", "expo", "onesignal_sub"),
    "platform": ("ios", "android", "web", "macos", "windows", "linux"),
    "push_env": ("production", "sandbox"),
    "client_app_id": None,
    "provider_project": None,
}


class Invalid(Exception):  # noqa: N818 - `_operation` turns it into a Refusal
    """An argument breaks a rule of the contract; the message says which."""


def event_values(fields: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
    """The values of an event's fields, in their order; for fields that a callback made."""
    if len(fields) != len(EVENT_FIELDS) or not fields.keys() <= set(EVENT_FIELDS):
        raise Invalid("An event has the fields " + ", ".join(sorted(EVENT_FIELDS)) + ".")
    user, name, occurred_at, properties, context = map(fields.__getitem__, EVENT_FIELDS)
    if not is_a(occurred_at, str) or not _names_a_time(occurred_at):
        raise Invalid("occurred_at must be a time that looks like 2026-06-14T12:00:00.000Z.")
    return user, name, str.__str__(occurred_at), properties, context


def _names_a_time(text: str) -> bool:
    try:
        return bool(is_timestamp(text)) and bool(datetime.fromisoformat(str.__str__(text)[:-1]))
    except ValueError:  # such as a thirteenth month
        return False


def event_type_text(value: Any) -> str:
    """An event's type, as it may stand in JSON."""
    if not is_a(value, str) or not _SNAKE_CASE(value):
        raise Invalid("event_type must be lower snake_case, such as payment_failed.")
    return str.__str__(value)


def check_properties(properties: Any) -> None:
    """Raise Invalid unless it is a dict, and, where it is for billing, one by its rules."""
    items_of("properties", properties)
    problem = properties.problem if is_a(properties, BillingProperties) else None
    if problem:
        raise Invalid(problem)


def check_identify(fields: dict[str, Any]) -> None:
    if not fields.keys() <= _IDENTIFY_FIELDS:
        raise Invalid("An identify has the fields " + ", ".join(sorted(_IDENTIFY_FIELDS)) + ".")
    fields["external_user_id"] = identifier_text("external_user_id", fields.get("external_user_id"))
    if "traits" in fields and not items_of("traits", fields["traits"]):
        del fields["traits"]
    if "preferred_channel" in fields:
        if not _is_one_of(fields["preferred_channel"], CHANNEL_NAMES):
            raise Invalid("preferred_channel must be email, sms or push.")
        fields["preferred_channel"] = _text_of(fields["preferred_channel"])
    if "channels" in fields:
        fields["channels"] = checked_channels(fields["channels"])
    if "anonymous_id" in fields:
        fields["anonymous_id"] = _text_of(fields["anonymous_id"])
        if not 1 <= len(fields["anonymous_id"]) <= 128:
            raise Invalid("anonymous_id must be a string of 1 to 128 characters.")


def identifier_text(name: str, value: Any) -> str:
    """A str, int or UUID as text (Django's pk is an int)."""
    text = _text_of(value)
    if is_a(value, int) and not is_a(value, bool):
        text = _digits(name, int.__index__(value))
    elif not text and is_a(value, uuid := loaded_class("uuid", "UUID")):
        text = uuid.__str__(value)
    if not text:
        raise Invalid(f"{name} must be a non-empty string, an int or a UUID.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Invalid(f"{name} must not hold a lone surrogate.") from None
    return text


def _digits(name: str, value: int) -> str:
    try:
        return int.__repr__(value)
    except ValueError:  # the interpreter writes 4300 digits at most
        raise Invalid(f"{name} is an int of too many digits.") from None


def is_a(value: Any, kind: type) -> bool:
    """Whether a value really is one: `isinstance` asks a proxy for its class, which may do I/O."""
    return issubclass(type(value), kind)


def _text_of(value: Any) -> str:
    """A string without the methods of a subclass; empty for anything else."""
    return str.__str__(value) if is_a(value, str) else ""


def _is_one_of(value: object, names: tuple[str, ...]) -> bool:
    return _text_of(value) in names


def items_of(name: str, value: Any) -> list[tuple[Any, Any]]:
    """The items of a dict or a subclass of it."""
    if not is_a(value, dict):
        raise Invalid(f"{name} must be a dict.")
    return dict_items(value)


def named_fields(name: str, value: object) -> dict[str, Any]:
    """A plain dict of it; a key that is no string is not even hashed."""
    items = items_of(name, value)
    if not all(is_a(key, str) for key, _ in items):
        raise Invalid(f"{name} has a field whose name is no string.")
    return {str.__str__(key): item for key, item in items}


def checked_channels(channels: Any) -> list[dict[str, Any]]:
    """The wire form of the channels of an identify; empty for None."""
    if channels is None:
        return []
    for kind in (list, tuple):
        if is_a(channels, kind):
            return [_channel(channel) for channel in list(kind.__iter__(channels))]
    raise Invalid("channels must be a list of Channel objects or dicts.")


def _channel(channel: Any) -> dict[str, Any]:
    if is_a(channel, Channel):
        given = {name: value for name, value in vars(channel).items() if value is not None}
    elif is_a(channel, dict):
        given = named_fields("A channel", channel)
        if "type" in given:
            given["channel"] = given.pop("type")
    else:
        raise Invalid("Each of channels must be a Channel or a dict.")
    given.setdefault("opted_in", True)
    if not _is_one_of(given.get("channel"), CHANNEL_NAMES):
        raise Invalid("A channel must name its kind: email, sms or push.")
    given["channel"] = _text_of(given["channel"])
    given["address"] = _text_of(given.get("address"))
    if not given["address"]:
        raise Invalid(
            "An address (email, phone, push_token or a channel's) must be a non-empty string; "
            "leave out what you do not have, or pass None."
        )
    if given.get("verified", False) is None:
        del given["verified"]
    for flag in ("opted_in", "verified"):
        if type(given.get(flag, False)) is not bool:
            raise Invalid(f"A channel's {flag} must be True or False.")
    _check_push_fields(given)
    return given


def _check_push_fields(given: dict[str, Any]) -> None:
    extra = given.keys() - {"channel", "address", "opted_in", "verified"}
    if extra and (given["channel"] != "push" or not extra <= _PUSH_VALUES.keys()):
        raise Invalid("A channel has a field that the contract does not know.")
    for name in extra:
        allowed = _PUSH_VALUES[name]
        value = _text_of(given[name])
        if not value or (allowed and value not in allowed):
            raise Invalid(f"A push channel's {name} is not one of the contract's values.")
        given[name] = value


def name_for_report(event_type: object) -> str:
    """The event type if it may stand in a report: a name of another form may be anything."""
    name = _text_of(event_type)
    return name if len(name) <= 100 and _SNAKE_CASE(name) else ""
