"""From the bytes of a body to the operations in it (pure)."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import pydantic_core
from pydantic import ValidationError

from whisperr.server.models import Event, EventBatch, Identify, Window

Kind = Literal["event", "identify"]


class MalformedError(ValueError):
    """The body breaks the contract as a whole; the text names the field."""


class Operation(NamedTuple):
    """What the store keeps of one operation besides its body.

    `position` is its index in `events`, None where it is the whole body.
    """

    kind: Kind
    position: int | None
    message_id: str | None
    external_user_id: str | None
    event_type: str | None
    occurred_at: str | None


class Parsed(NamedTuple):
    """The operations of one request, and what was wrong with the others."""

    operations: list[Operation]
    rejected: int = 0
    problem: str | None = None


NOTHING = Parsed([])


def parse_batch(raw: bytes, window: Window, strict: bool = False) -> Parsed:
    """Return the well-formed events of a batch; malformed ones are counted in `rejected`.

    Args:
        raw: The body.
        window: The moments that `occurred_at` may name.
        strict: Refuse the whole batch for one malformed event, as an older service does.

    Raises:
        MalformedError: The body is no batch, or `strict` and one event is malformed.

    """
    data = decode(raw)
    try:
        EventBatch.model_validate(data, context=window)
    except ValidationError as error:
        bad = _bad_positions(error)
        if strict or bad is None:
            raise MalformedError(_describe(error)) from None
        events = enumerate(data["events"])
        good = [_event(event, position) for position, event in events if position not in bad]
        return Parsed(good, len(bad), _describe(error))
    return Parsed([_event(event, position) for position, event in enumerate(data["events"])])


def parse_track(raw: bytes, window: Window, strict: bool = False) -> Parsed:
    """Return the one event of the body. `strict` changes nothing. Raises: MalformedError."""
    del strict
    data = decode(raw)
    try:
        Event.model_validate(data, context=window)
    except ValidationError as error:
        raise MalformedError(_describe(error)) from None
    return Parsed([_event(data, None)])


def parse_identify(raw: bytes, window: Window, strict: bool = False) -> Parsed:
    """Return the one identify of the body. `strict` changes nothing. Raises: MalformedError."""
    del strict
    data = decode(raw)
    try:
        Identify.model_validate(data, context=window)
    except ValidationError as error:
        raise MalformedError(_describe(error)) from None
    user = data.get("external_user_id")
    return Parsed([Operation("identify", None, None, user, None, None)])


def decode(raw: bytes | str) -> Any:
    """Return the JSON value in `raw` (NaN and Infinity are none). Raises: MalformedError."""
    try:
        return pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedError(f"body: is not valid JSON ({error})") from None


def _event(event: dict[str, Any], position: int | None) -> Operation:
    return Operation(
        "event",
        position,
        event["context"]["$message_id"],
        event.get("external_user_id"),
        event["event_type"],
        event["occurred_at"],
    )


def _bad_positions(error: ValidationError) -> set[int] | None:
    """Return the indices of the malformed events, or None where the batch itself is wrong."""
    bad: set[int] = set()
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        match detail["loc"]:
            case ("events", int(position), *_):
                bad.add(position)
            case _:
                return None
    return bad


def _describe(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in detail["loc"]) or "body"
    return f"{place}: {detail['msg']}"
