"""Arguments to an operation, or to a refusal. Performs no I/O.

An operation is the bytes of its JSON: nothing that the caller does later changes it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ._arguments import (
    CHANNEL_NAMES,
    EVENT_FIELDS,
    Invalid,
    check_identify,
    check_properties,
    checked_channels,
    event_type_text,
    event_values,
    identifier_text,
    is_a,
    items_of,
    name_for_report,
    named_fields,
)
from ._encoding import copied, encode, json_text, key_text
from ._json import TooManyValues, quoted
from ._stamp import new_message_id, now, timestamp
from ._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["event", "identify"]
Reason = Literal[
    "invalid",
    "closed",
    "too_large",
    "before_send",
    "discarded",
    "master",
    "user_unresolved",
    "rolled_back",
]

MAX_OPERATION_BYTES = 256 * 1024
#: Event types that were looked at once, and how long; others are looked at each time.
_MOST_KNOWN_TYPES, _LONGEST_KNOWN_TYPE = 1000, 100
#: What nobody writes to: before_send gets a copy.
_NOTHING: dict[str, Any] = {}
_UNENCODABLE = (TooManyValues, RecursionError, MemoryError)


class Identify(bytes):
    """The JSON of an identify; that of an event is plain bytes: the type tells them apart."""

    __slots__ = ()


class Refusal(NamedTuple):
    """Why a call queues nothing; the detail quotes no value of the caller's."""

    reason: Reason
    detail: str
    event_type: str = ""


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
        #: The context's JSON where the caller adds nothing, open for the message id.
        self._open_context = self._merged({})
        self._known_types: set[str] = set()
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
    ) -> bytes | Refusal:
        """An event of these arguments of `Whisperr.track`."""
        try:
            # JSON text already, as the time and the type.
            identifier = (
                new_message_id()
                if message_id is None
                else quoted(identifier_text("message_id", message_id))[1:-1]
            )
            moment = now() if occurred_at is None else timestamp(occurred_at)
            properties = _NOTHING if properties is None else properties
            context = _NOTHING if context is None else context
            if self._before_send is None:
                return self._event(
                    external_user_id, event_type, moment, properties, context, identifier
                )
            check_properties(properties)  # its copy is a plain dict
            given = (external_user_id, event_type, moment, properties, context)
            replaced = self._filtered(dict(zip(EVENT_FIELDS, given, strict=True)), "event")
            if isinstance(replaced, Refusal):
                return replaced
            return self._event(*event_values(replaced), identifier)
        except Invalid as problem:
            return Refusal("invalid", str(problem), name_for_report(event_type))

    def _event(
        self, user: Any, name: Any, moment: str, properties: Any, context: Any, identifier: str
    ) -> bytes | Refusal:
        """The event's JSON. Most arguments are what they look like, which is seen at once."""
        if type(user) is not str or not user or not user.isascii():
            user = identifier_text("external_user_id", user)
        if type(name) is not str or name not in self._known_types:
            name = self._checked_type(name)
        if type(properties) is not dict:
            check_properties(properties)
        try:
            values = json_text(properties, 2)
            if len(values) > MAX_OPERATION_BYTES:
                return _too_large(len(values), name)  # before there are more copies of it
            # A prepared text takes half the time of a dict of everything.
            text = (
                f'{{"external_user_id":{quoted(user)},"event_type":"{name}",'
                f'"occurred_at":"{moment}","properties":{values},'
                f'"context":{self._open_context if context is _NOTHING else self._merged(context)}'
                f'"$message_id":"{identifier}"}}}}'
            )
            body = text.encode()
        except _UNENCODABLE as problem:
            return _unencodable(problem, name)
        return body if len(body) <= MAX_OPERATION_BYTES else _too_large(len(body), name)

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
    ) -> Identify | Refusal:
        """An identify of these arguments of `Whisperr.identify`."""
        try:
            fields: dict[str, Any] = {"external_user_id": external_user_id}
            if traits is not None:
                fields["traits"] = traits
            if preferred_channel is not None:
                fields["preferred_channel"] = preferred_channel
            addresses = [
                {"channel": name, "address": address, "opted_in": True}
                for name, address in zip(CHANNEL_NAMES, (email, phone, push_token), strict=True)
                if address is not None
            ]
            addresses += checked_channels(channels)
            if addresses:
                fields["channels"] = addresses
            if anonymous_id is not None:
                fields["anonymous_id"] = anonymous_id
            if self._before_send is not None:
                replaced = self._filtered(fields, "identify")
                if isinstance(replaced, Refusal):
                    return replaced
                fields = replaced
            check_identify(fields)
        except Invalid as problem:
            return Refusal("invalid", str(problem))
        try:
            body = Identify(encode(fields))
        except _UNENCODABLE as problem:
            return _unencodable(problem, "")
        return body if len(body) <= MAX_OPERATION_BYTES else _too_large(len(body), "")

    def _checked_type(self, value: object) -> str:
        name = event_type_text(value)
        if len(self._known_types) < _MOST_KNOWN_TYPES and len(name) <= _LONGEST_KNOWN_TYPE:
            self._known_types.add(name)
        return name

    def _merged(self, given: object) -> str:
        """The JSON of the SDK's own keys and the caller's, open for the message id."""
        context = dict(self._context)
        for key, value in items_of("context", given):
            context[key_text(key)] = value  # as text now: no other spelling of $message_id is left
        context.pop("$message_id", None)
        return json_text(context, 2)[:-1] + ","

    def _filtered(self, fields: dict[str, Any], kind: Kind) -> dict[str, Any] | Refusal:
        """What before_send makes of a copy of the fields."""
        here = threading.get_ident()  # through the module: gevent may have patched it since
        if here in self._in_before_send:
            return fields  # its own calls of the client do not pass through it again
        try:
            self._in_before_send.add(here)  # inside: someone's exception may come at once
            return self._replaced(fields, kind)
        finally:
            self._in_before_send.discard(here)

    def _replaced(self, fields: dict[str, Any], kind: Kind) -> dict[str, Any] | Refusal:
        assert self._before_send is not None  # noqa: S101 - for the type checker
        name = name_for_report(fields.get("event_type"))
        try:
            copy = copied(fields, {})
        except (RecursionError, MemoryError):
            return Refusal(
                "invalid", "The values are nested too deeply for before_send's copy.", name
            )
        try:
            result: object = self._before_send(copy, kind)
        except Exception as error:  # noqa: BLE001 - it may have been redacting: nothing is sent
            detail = f"before_send raised {type(error).__name__}; the operation is not sent."
            return Refusal("before_send", detail, name)
        if result is None:
            return Refusal("discarded", "before_send returned None.", name)
        if not is_a(result, dict):
            return Refusal("before_send", "before_send must return a dict or None.", name)
        return named_fields("before_send", result)


def _unencodable(problem: BaseException, name: str) -> Refusal:
    if isinstance(problem, TooManyValues):
        detail = f"An operation has at most {MAX_OPERATION_BYTES} bytes; this one has more values."
        return Refusal("too_large", detail, name)
    return Refusal("invalid", "The values could not be encoded: no stack or memory left.", name)


def _too_large(size: int, name: str) -> Refusal:
    detail = f"An operation has at most {MAX_OPERATION_BYTES} bytes; this one has {size}."
    return Refusal("too_large", detail, name)
