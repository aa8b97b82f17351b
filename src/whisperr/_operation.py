"""Arguments to an immutable, encoded operation, or to a refusal. Performs no I/O."""

from __future__ import annotations

import os
import re
import threading
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import UUID

from ._encoding import encode, key_text
from ._version import VERSION
from .channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["event", "identify"]
Reason = Literal["invalid", "closed", "too_large", "before_send", "discarded"]

MAX_OPERATION_BYTES = 256 * 1024
_SNAKE_CASE = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*").fullmatch
_EVENT_FIELDS = frozenset(
    {"external_user_id", "event_type", "occurred_at", "properties", "context"}
)
_IDENTIFY_FIELDS = frozenset(
    {"external_user_id", "traits", "preferred_channel", "channels", "anonymous_id"}
)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z").fullmatch
_CHANNEL_NAMES = ("email", "sms", "push")
_PUSH_VALUES = {
    "kind": ("fcm", "apns", "expo", "onesignal_sub"),
    "platform": ("ios", "android", "web", "macos", "windows", "linux"),
    "push_env": ("production", "sandbox"),
    "client_app_id": None,
    "provider_project": None,
}


class Operation(NamedTuple):
    """What is queued: bytes from here on, so nothing the caller does later changes them."""

    kind: Kind
    body: bytes
    event_type: str


class Refusal(NamedTuple):
    """Why a call queues nothing; the detail quotes no value of the caller's."""

    reason: Reason
    detail: str
    event_type: str = ""


class _Invalid(Exception):  # noqa: N818 - becomes a Refusal, never leaves this module
    """An argument breaks a rule of the contract; the message says which."""


if hasattr(os, "getrandom"):

    def new_message_id() -> str:
        """128 bits from the kernel: a fork, a snapshot or a seeded `random` cannot repeat them."""
        return os.getrandom(16).hex()  # keeps the GIL, which os.urandom gives up
else:

    def new_message_id() -> str:
        """128 bits from the kernel: a fork, a snapshot or a seeded `random` cannot repeat them."""
        return os.urandom(16).hex()


class Encoder:
    """Makes operations with what is the same for all of a client's: context and before_send.

    Args:
        app_version: the application's release for the context, or None.
        before_send: sees a copy of each operation's fields; see `Options`.
    """

    def __init__(
        self,
        app_version: str | None,
        before_send: Callable[[dict[str, Any], str], dict[str, Any] | None] | None,
    ) -> None:
        self._context: dict[str, Any] = {"sdk_name": "whisperr-python", "sdk_version": VERSION}
        if app_version:
            self._context["app_version"] = app_version
        self._before_send = before_send
        self._in_before_send: set[int] = set()

    def event(
        self,
        external_user_id: object,
        event_type: object,
        properties: object,
        context: object,
        occurred_at: object,
        message_id: object,
    ) -> Operation | Refusal:
        """An event of these arguments of `Whisperr.track`."""
        try:
            identifier = (
                new_message_id() if message_id is None else _identifier("message_id", message_id)
            )
            fields = {
                "external_user_id": external_user_id,
                "event_type": event_type,
                "occurred_at": _now() if occurred_at is None else _timestamp(occurred_at),
                "properties": {} if properties is None else properties,
                "context": {} if context is None else context,
            }
            if self._before_send is not None:
                replaced = self._filtered(fields, "event")
                if isinstance(replaced, Refusal):
                    return replaced
                fields = replaced
            name = _check_event(fields)
            fields["context"] = self._merged(fields["context"], identifier)
        except _Invalid as problem:
            return Refusal("invalid", str(problem), _name_for_report(event_type))
        return _encoded("event", fields, name)

    def identify(
        self,
        external_user_id: object,
        traits: object,
        email: object,
        phone: object,
        push_token: object,
        preferred_channel: object,
        channels: object,
        anonymous_id: object,
    ) -> Operation | Refusal:
        """An identify of these arguments of `Whisperr.identify`."""
        try:
            fields: dict[str, Any] = {"external_user_id": external_user_id}
            if traits is not None:
                fields["traits"] = traits
            if preferred_channel is not None:
                fields["preferred_channel"] = preferred_channel
            addresses = [
                {"channel": name, "address": address, "opted_in": True}
                for name, address in zip(_CHANNEL_NAMES, (email, phone, push_token), strict=True)
                if address is not None
            ]
            addresses += _channels(channels)
            if addresses:
                fields["channels"] = addresses
            if anonymous_id is not None:
                fields["anonymous_id"] = anonymous_id
            if self._before_send is not None:
                replaced = self._filtered(fields, "identify")
                if isinstance(replaced, Refusal):
                    return replaced
                fields = replaced
            _check_identify(fields)
        except _Invalid as problem:
            return Refusal("invalid", str(problem))
        return _encoded("identify", fields, "")

    def _merged(self, given: object, identifier: str) -> dict[str, Any]:
        """The context: the SDK's own keys, the caller's, and the message id."""
        context = dict(self._context)
        for key, value in _items_of("context", given):
            context[key_text(key)] = value  # as text now: no other spelling of $message_id is left
        context["$message_id"] = identifier
        return context

    def _filtered(self, fields: dict[str, Any], kind: Kind) -> dict[str, Any] | Refusal:
        """What before_send makes of a copy of the fields."""
        assert self._before_send is not None  # noqa: S101 - for the type checker
        here = threading.get_ident()  # through the module: gevent may have patched it since
        if here in self._in_before_send:
            return fields  # its own calls of the client do not pass through it again
        name = _name_for_report(fields.get("event_type"))
        self._in_before_send.add(here)
        try:
            result: object = self._before_send(_copied(fields, {}), kind)
        except Exception as error:  # noqa: BLE001 - it may have been redacting: nothing is sent
            detail = f"before_send raised {type(error).__name__}; the operation is not sent."
            return Refusal("before_send", detail, name)
        finally:
            self._in_before_send.discard(here)
        if result is None:
            return Refusal("discarded", "before_send returned None.", name)
        if not _is_a(result, dict):
            return Refusal("before_send", "before_send must return a dict or None.", name)
        return _named_fields("before_send", result)


def _check_event(fields: dict[str, Any]) -> str:
    """The event's name; the fields are made plain where the contract asks for it."""
    if len(fields) != len(_EVENT_FIELDS) or not fields.keys() <= _EVENT_FIELDS:
        raise _Invalid("An event has the fields " + ", ".join(sorted(_EVENT_FIELDS)) + ".")
    fields["external_user_id"] = _identifier("external_user_id", fields["external_user_id"])
    name = fields["event_type"]
    if not _is_a(name, str) or not _SNAKE_CASE(name):
        raise _Invalid("event_type must be lower snake_case, such as payment_failed.")
    name = fields["event_type"] = str.__str__(name)
    occurred_at = fields["occurred_at"]
    if not _is_a(occurred_at, str) or not _TIMESTAMP(occurred_at):
        raise _Invalid("occurred_at must look like 2026-06-14T12:00:00.000Z.")
    _items_of("properties", fields["properties"])
    return name


def _check_identify(fields: dict[str, Any]) -> None:
    if not fields.keys() <= _IDENTIFY_FIELDS:
        raise _Invalid("An identify has the fields " + ", ".join(sorted(_IDENTIFY_FIELDS)) + ".")
    fields["external_user_id"] = _identifier("external_user_id", fields.get("external_user_id"))
    if "traits" in fields and not _items_of("traits", fields["traits"]):
        del fields["traits"]
    if "preferred_channel" in fields and not _is_one_of(
        fields["preferred_channel"], _CHANNEL_NAMES
    ):
        raise _Invalid("preferred_channel must be email, sms or push.")
    if "channels" in fields:
        fields["channels"] = _channels(fields["channels"])
    if "anonymous_id" in fields and not 1 <= len(_text_of(fields["anonymous_id"])) <= 128:
        raise _Invalid("anonymous_id must be a string of 1 to 128 characters.")


def _identifier(name: str, value: Any) -> str:
    """A str, int or UUID as text (Django's pk is an int)."""
    text = _text_of(value)
    if _is_a(value, int) and not _is_a(value, bool):
        text = int.__repr__(int.__index__(value))
    elif _is_a(value, UUID):
        text = UUID.__str__(value)
    if not text:
        raise _Invalid(f"{name} must be a non-empty string, an int or a UUID.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _Invalid(f"{name} must not hold a lone surrogate.") from None
    return text


def _is_a(value: Any, kind: type) -> bool:
    """Whether a value really is one: `isinstance` asks a proxy for its class, which may do I/O."""
    return issubclass(type(value), kind)


def _text_of(value: Any) -> str:
    """A string without the methods of a subclass; empty for anything else."""
    return str.__str__(value) if _is_a(value, str) else ""


def _is_one_of(value: object, names: tuple[str, ...]) -> bool:
    return _text_of(value) in names


def _items_of(name: str, value: Any) -> list[tuple[Any, Any]]:
    if not _is_a(value, dict):
        raise _Invalid(f"{name} must be a dict.")
    return list(dict.items(value))  # dict's own method: a subclass may override items()


def _named_fields(name: str, value: object) -> dict[str, Any]:
    """A plain dict of it; a key that is no string is not even hashed."""
    items = _items_of(name, value)
    if not all(_is_a(key, str) for key, _ in items):
        raise _Invalid(f"{name} has a field whose name is no string.")
    return {str.__str__(key): item for key, item in items}


def _channels(channels: Any) -> list[dict[str, Any]]:
    if channels is None:
        return []
    for kind in (list, tuple):
        if _is_a(channels, kind):
            return [_channel(channel) for channel in list(kind.__iter__(channels))]
    raise _Invalid("channels must be a list of Channel objects or dicts.")


def _channel(channel: Any) -> dict[str, Any]:
    if _is_a(channel, Channel):
        given = {name: value for name, value in vars(channel).items() if value is not None}
    elif _is_a(channel, dict):
        given = _named_fields("A channel", channel)
        if "type" in given:
            given["channel"] = given.pop("type")
    else:
        raise _Invalid("Each of channels must be a Channel or a dict.")
    given.setdefault("opted_in", True)
    if not _is_one_of(given.get("channel"), _CHANNEL_NAMES):
        raise _Invalid("A channel must name its kind: email, sms or push.")
    given["channel"] = _text_of(given["channel"])
    given["address"] = _text_of(given.get("address"))
    if not given["address"]:
        raise _Invalid("A channel's address must be a non-empty string.")
    if given.get("verified", False) is None:
        del given["verified"]
    for flag in ("opted_in", "verified"):
        if type(given.get(flag, False)) is not bool:
            raise _Invalid(f"A channel's {flag} must be True or False.")
    _check_push_fields(given)
    return given


def _check_push_fields(given: dict[str, Any]) -> None:
    extra = given.keys() - {"channel", "address", "opted_in", "verified"}
    if extra and (given["channel"] != "push" or not extra <= _PUSH_VALUES.keys()):
        raise _Invalid("A channel has a field that the contract does not know.")
    for name in extra:
        allowed = _PUSH_VALUES[name]
        value = _text_of(given[name])
        if not value or (allowed and value not in allowed):
            raise _Invalid(f"A push channel's {name} is not one of the contract's values.")


def _encoded(kind: Kind, fields: dict[str, Any], name: str) -> Operation | Refusal:
    try:
        body = encode(fields)
    except (RecursionError, MemoryError):
        return Refusal("invalid", "The values could not be encoded: no stack or memory left.", name)
    if len(body) > MAX_OPERATION_BYTES:
        detail = f"An operation has at most {MAX_OPERATION_BYTES} bytes; this one has {len(body)}."
        return Refusal("too_large", detail, name)
    return Operation(kind, body, name)


def _name_for_report(event_type: object) -> str:
    """The event type if it may stand in a report: a name of another form may be anything."""
    name = _text_of(event_type)
    return name if len(name) <= 100 and _SNAKE_CASE(name) else ""


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """A deep copy of the dicts and lists; their leaves are not asked to copy themselves."""
    if id(value) in copies:
        return copies[id(value)]
    copy: Any
    if _is_a(value, dict):
        copy = copies[id(value)] = {}
        for key, item in list(dict.items(value)):
            copy[key] = _copied(item, copies)
        return copy
    if _is_a(value, list):
        copy = copies[id(value)] = []
        copy.extend(_copied(item, copies) for item in list(list.__iter__(value)))
        return copy
    if type(value) is tuple:
        return tuple(_copied(item, copies) for item in value)
    return set(value) if type(value) is set else value


_second: tuple[int, str] = (0, "")


def _now() -> str:
    """The time now in UTC, truncated to milliseconds."""
    global _second
    seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
    cached = _second  # one read: another thread may replace it
    if cached[0] != seconds:
        cached = _second = (seconds, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)))
    return f"{cached[1]}.{milliseconds:03d}Z"


def _timestamp(value: Any) -> str:
    """An aware datetime in UTC, truncated to milliseconds, never rounded."""
    if not _is_a(value, datetime):
        raise _Invalid("occurred_at must be a datetime.")
    try:
        if datetime.utcoffset(value) is None:
            raise _Invalid("occurred_at must be aware: give it a time zone.")
        moment = datetime.astimezone(value, timezone.utc)
        return datetime.isoformat(moment, timespec="milliseconds").replace("+00:00", "Z")
    except _Invalid:
        raise
    except Exception as error:  # noqa: BLE001 - a tzinfo is user code
        raise _Invalid(f"occurred_at raised {type(error).__name__} when brought to UTC.") from None
