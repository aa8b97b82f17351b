"""Arguments to an immutable, encoded operation, or to a refusal. Performs no I/O."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ._arguments import (
    CHANNEL_NAMES,
    Invalid,
    check_event,
    check_identify,
    checked_channels,
    identifier_text,
    is_a,
    items_of,
    name_for_report,
    named_fields,
)
from ._encoding import TooManyValues, dict_items, encode, key_text
from ._stamp import new_message_id, now, timestamp
from ._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["event", "identify"]
Reason = Literal["invalid", "closed", "too_large", "before_send", "discarded", "master"]

MAX_OPERATION_BYTES = 256 * 1024


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
                new_message_id()
                if message_id is None
                else identifier_text("message_id", message_id)
            )
            fields = {
                "external_user_id": external_user_id,
                "event_type": event_type,
                "occurred_at": now() if occurred_at is None else timestamp(occurred_at),
                "properties": {} if properties is None else properties,
                "context": {} if context is None else context,
            }
            if self._before_send is not None:
                replaced = self._filtered(fields, "event")
                if isinstance(replaced, Refusal):
                    return replaced
                fields = replaced
            name = check_event(fields)
            fields["context"] = self._merged(fields["context"], identifier)
        except Invalid as problem:
            return Refusal("invalid", str(problem), name_for_report(event_type))
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
        return _encoded("identify", fields, "")

    def _merged(self, given: object, identifier: str) -> dict[str, Any]:
        """The context: the SDK's own keys, the caller's, and the message id."""
        context = dict(self._context)
        for key, value in items_of("context", given):
            context[key_text(key)] = value  # as text now: no other spelling of $message_id is left
        context["$message_id"] = identifier
        return context

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
            copy = _copied(fields, {})
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


def _encoded(kind: Kind, fields: dict[str, Any], name: str) -> Operation | Refusal:
    try:
        body = encode(fields)
    except TooManyValues:
        detail = f"An operation has at most {MAX_OPERATION_BYTES} bytes; this one has more values."
        return Refusal("too_large", detail, name)
    except (RecursionError, MemoryError):
        return Refusal("invalid", "The values could not be encoded: no stack or memory left.", name)
    if len(body) > MAX_OPERATION_BYTES:
        detail = f"An operation has at most {MAX_OPERATION_BYTES} bytes; this one has {len(body)}."
        return Refusal("too_large", detail, name)
    return Operation(kind, body, name)


def _copied(value: Any, copies: dict[int, Any]) -> Any:
    """A deep copy of the dicts and lists; their leaves are not asked to copy themselves."""
    if id(value) in copies:
        return copies[id(value)]
    copy: Any
    if is_a(value, dict):
        copy = copies[id(value)] = {}
        for key, item in dict_items(value):
            copy[key] = _copied(item, copies)
        return copy
    if is_a(value, list):
        copy = copies[id(value)] = []
        copy.extend(_copied(item, copies) for item in list(list.__iter__(value)))
        return copy
    if type(value) is tuple:
        copy = copies[id(value)] = tuple(_copied(item, copies) for item in value)
        return copy
    return set(value) if type(value) is set else value
