"""What a capture recorded, read from its file."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from whisperr.testing.rules import Rejected, check_identify, checked_time, moment_of

if TYPE_CHECKING:
    from datetime import datetime

#: What the application asked for: no violation.
_ASKED_FOR = {"discarded", "rolled_back"}


@dataclass(frozen=True)
class Call:
    """Where the application called.

    Attributes:
        file: of the code that called.
        line: its number there, from 1.
        pid: of the process that called.
    """

    file: str
    line: int
    pid: int

    def __str__(self) -> str:
        here = os.path.join(os.getcwd(), "")
        return f"{self.file.removeprefix(here)}:{self.line}, pid {self.pid}"


@dataclass(frozen=True)
class CapturedEvent:
    """An event as it would be sent.

    Attributes:
        user: ``external_user_id`` as text.
        event_type: its name.
        properties: as JSON gives them back; see docs/values.md.
        context: the same, with the SDK's own keys.
        occurred_at: when it happened, in UTC.
        message_id: on which the service deduplicates.
        call: where the application tracked it.
    """

    user: str
    event_type: str
    properties: dict[str, Any]
    context: dict[str, Any]
    occurred_at: datetime
    message_id: str
    call: Call

    @property
    def pid(self) -> int:
        """The process that tracked it."""
        return self.call.pid


@dataclass(frozen=True)
class CapturedIdentify:
    """An identify as it would be sent.

    Attributes:
        user: ``external_user_id`` as text.
        traits: as JSON gives them back.
        channels: dicts with ``channel``, ``address``, ``opted_in`` and the rest.
        preferred_channel: ``email``, ``sms`` or ``push``; None says nothing.
        anonymous_id: whose events become this user's, or None.
        call: where the application identified.
    """

    user: str
    traits: dict[str, Any]
    channels: list[dict[str, Any]]
    preferred_channel: str | None
    anonymous_id: str | None
    call: Call

    @property
    def pid(self) -> int:
        """The process that identified."""
        return self.call.pid


@dataclass(frozen=True)
class Refused:
    """A call of which nothing would reach the service, or which it would reject."""

    reason: str
    detail: str
    method: str
    event_type: str | None
    call: Call

    @property
    def is_violation(self) -> bool:
        """Whether the application did not ask for it."""
        return self.reason not in _ASKED_FOR


@dataclass(frozen=True)
class Records:
    """What a file holds, in the order of the calls."""

    operations: list[CapturedEvent | CapturedIdentify] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    @classmethod
    def read(cls, path: str) -> Records:
        """All that was recorded so far, by this process and by others."""
        records = cls()
        # What another process is writing has no end yet; in a line may stand any other line break.
        for line in Path(path).read_bytes().split(b"\n")[:-1]:
            found = _record(json.loads(line))
            if isinstance(found, Refused):
                records.refused.append(found)
            else:
                records.operations.append(found)
        return records

    @property
    def events(self) -> list[CapturedEvent]:
        """The operations that are events."""
        return [one for one in self.operations if isinstance(one, CapturedEvent)]

    @property
    def identifies(self) -> list[CapturedIdentify]:
        """The operations that are identifies."""
        return [one for one in self.operations if isinstance(one, CapturedIdentify)]

    @property
    def violations(self) -> list[Refused]:
        """The refusals that break the contract."""
        return [one for one in self.refused if one.is_violation]


def _record(line: dict[str, Any]) -> CapturedEvent | CapturedIdentify | Refused:
    kind, fields, call = line["kind"], line["fields"], Call(line["file"], line["line"], line["pid"])
    try:
        if kind == "event":
            return _event(fields, moment_of(line["at"]), call)
        if kind == "identify":
            return _identify(fields, call)
        reason, detail = fields["reason"], fields["detail"]
    except Rejected as problem:
        reason, detail = "rejected", str(problem)
    return Refused(reason, detail, line["method"], line["event_type"], call)


def _event(fields: dict[str, Any], at: datetime, call: Call) -> CapturedEvent:
    return CapturedEvent(
        user=fields["external_user_id"],
        event_type=fields["event_type"],
        properties=fields["properties"],
        context=fields["context"],
        occurred_at=checked_time(fields["occurred_at"], at),
        message_id=fields["context"]["$message_id"],
        call=call,
    )


def _identify(fields: dict[str, Any], call: Call) -> CapturedIdentify:
    check_identify(fields)
    return CapturedIdentify(
        user=fields["external_user_id"],
        traits=fields.get("traits", {}),
        channels=fields.get("channels", []),
        preferred_channel=fields.get("preferred_channel"),
        anonymous_id=fields.get("anonymous_id"),
        call=call,
    )
