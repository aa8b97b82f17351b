"""When an event happened, and the id that makes it one event. Both are taken at the call."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from typing import Any

from ._arguments import Invalid, is_a, is_timestamp


def _has_getrandom() -> bool:
    """Whether the kernel has it, and a filter of system calls (seccomp) lets it through."""
    try:
        os.getrandom(1, os.GRND_NONBLOCK)
    except BlockingIOError:
        return True
    except (AttributeError, OSError):
        return False
    return True


if _has_getrandom():

    def new_message_id() -> str:
        """128 bits from the kernel: a fork, a snapshot or a seeded `random` cannot repeat them."""
        return os.getrandom(16).hex()  # keeps the GIL, which os.urandom gives up
else:

    def new_message_id() -> str:
        """128 bits from the kernel: a fork, a snapshot or a seeded `random` cannot repeat them."""
        return os.urandom(16).hex()


_second: tuple[int, str] = (0, "")
_moment: tuple[int, str] = (0, "")


def now() -> str:
    """The time now in UTC, truncated to milliseconds."""
    global _second, _moment
    at = time.time_ns() // 1_000_000
    moment = _moment  # one read, here and below: another thread may replace it
    if moment[0] == at:
        return moment[1]
    seconds, milliseconds = divmod(at, 1000)
    second = _second
    if second[0] != seconds:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        second = _second = (seconds, text)
    moment = _moment = (at, f"{second[1]}.{milliseconds:03d}Z")
    return moment[1]


def timestamp(value: Any) -> str:
    """An aware datetime in UTC, truncated to milliseconds, never rounded."""
    if not is_a(value, datetime):
        raise Invalid("occurred_at must be a datetime.")
    try:
        if datetime.utcoffset(value) is None:
            raise Invalid("occurred_at must be aware: give it a time zone.")
        moment = datetime.astimezone(value, timezone.utc)
        text = datetime.isoformat(moment, timespec="milliseconds").replace("+00:00", "Z")
    except Invalid:
        raise
    except Exception as error:  # noqa: BLE001 - a tzinfo is user code
        raise Invalid(f"occurred_at raised {type(error).__name__} when brought to UTC.") from None
    if not is_timestamp(text):
        raise Invalid("occurred_at is of a type that cannot be brought to UTC.")
    return text
