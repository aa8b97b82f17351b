"""What the contract forbids and the client lets through: it does not judge times and addresses."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

_EARLIEST, _LATEST = timedelta(days=-30), timedelta(minutes=5)
_ADDRESSES = {
    "email": (re.compile(r"[^@\s]+@[^@\s]+").fullmatch, "an e-mail address"),
    "sms": (re.compile(r"\+[1-9][0-9]{1,14}").fullmatch, "an E.164 number, such as +15551234567"),
}
_is_language = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*").fullmatch


class Rejected(Exception):  # noqa: N818 - it becomes a record
    """The operation breaks a rule of the contract; the message says which."""


def checked_time(text: str, at: datetime) -> datetime:
    """When an event happened, according to its `occurred_at`.

    Args:
        text: the field as it would be sent.
        at: when the event was tracked.

    Raises:
        Rejected: for a time outside the service's window.
    """
    moment = moment_of(text)
    if not _EARLIEST <= moment - at <= _LATEST:
        raise Rejected(
            f"occurred_at is {text}; the service takes the last 30 days and the next 5 minutes."
        )
    return moment


def moment_of(text: str) -> datetime:
    """The time that a timestamp of the wire names."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def check_identify(fields: dict[str, Any]) -> None:
    """Raise Rejected where the identify breaks a rule."""
    for channel in fields.get("channels", ()):
        matches, what = _ADDRESSES.get(channel["channel"], (bool, ""))
        if not matches(channel["address"]):
            raise Rejected(f"The address of its {channel['channel']} channel must be {what}.")
    language = fields.get("traits", {}).get("app_language", "en")
    if not (isinstance(language, str) and _is_language(language)):
        raise Rejected("Its trait app_language must be a BCP 47 tag, such as pt-BR.")
