"""The contract's table of answers as code: what an answer means. Pure."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from ._value import Value

_RETRY = frozenset({408, 425, 429})
_MISCONFIGURED = frozenset({404, 405, 407, 421})
_MAX_MESSAGE = 500
_MAX_LOCATION = 200


class Verdict(Enum):
    """What the client does with an answer."""

    OK = "ok"
    AUTH = "auth"
    RETRY = "retry"
    MISCONFIGURED = "misconfigured"
    DROP = "drop"


class Outcome(Value):
    """One exchange, judged.

    Attributes:
        verdict: what to do.
        status: the HTTP status, None where there was no answer.
        detail: what happened, as a part of a sentence, without values of the caller's.
        retry_after: least seconds before the next try, None where the service gave none.
        refused: whether nothing listens at the address (the connection was refused).
        rejected: operations of a 2xx batch that the service refused for their shape.
        unexpected: whether a 2xx is no answer of the service; it counts as delivered.
        service_message: the service's own words.
    """

    verdict: Verdict
    status: int | None
    detail: str
    retry_after: float | None = None
    refused: bool = False
    rejected: int = 0
    unexpected: bool = False
    service_message: str | None = None


def no_answer(detail: str, *, refused: bool = False) -> Outcome:
    """The outcome of an exchange that ended without an answer."""
    return Outcome(Verdict.RETRY, None, detail, refused=refused)


def judge(
    status: int,
    body: bytes,
    *,
    events: int,
    retry_after: float | None = None,
    location: str | None = None,
    secret: str = "",
) -> Outcome:
    """The outcome of an answer.

    Args:
        status: the HTTP status.
        body: the body, or as much of it as was read.
        events: how many events the request was a batch of; 0 for an identify.
        retry_after: seconds of a Retry-After header.
        location: a Location header.
        secret: what the outcome must not hold, though the answer may quote it.
    """
    answer = _parsed(body)
    if 200 <= status < 300:
        return _accepted(status, answer, events)
    verdict = _verdict(status)
    detail = f"the service answered {status}"
    if location and 300 <= status < 400:
        detail += f" (a redirect to {_masked(_without_query(location), secret)[:_MAX_LOCATION]})"
    return Outcome(
        verdict,
        status,
        detail,
        retry_after=retry_after if status in (429, 503) else None,
        service_message=_message(answer, secret),
    )


def _verdict(status: int) -> Verdict:
    if status in (401, 403):
        return Verdict.AUTH
    if status in _RETRY or status >= 500:
        return Verdict.RETRY
    if status in _MISCONFIGURED or status < 400:
        return Verdict.MISCONFIGURED
    return Verdict.DROP


def _accepted(status: int, answer: Any, events: int) -> Outcome:
    detail = f"the service answered {status}"
    if not events:
        return Outcome(Verdict.OK, status, detail, unexpected=not isinstance(answer, dict))
    accepted = answer.get("accepted") if isinstance(answer, dict) else None
    rejected = answer.get("rejected", 0) if isinstance(answer, dict) else None
    if type(accepted) is not int or type(rejected) is not int or accepted + rejected != events:
        return Outcome(Verdict.OK, status, detail, unexpected=True)
    if not 0 <= rejected <= events:
        return Outcome(Verdict.OK, status, detail, unexpected=True)
    return Outcome(Verdict.OK, status, detail, rejected=rejected)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _message(answer: Any, secret: str) -> str | None:
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return _masked(message, secret)[:_MAX_MESSAGE] if isinstance(message, str) else None


def _masked(text: str, secret: str) -> str:
    return text.replace(secret, "[API key]") if secret else text


def _without_query(location: str) -> str:
    return location.split("?", 1)[0].split("#", 1)[0]
