"""What an assertion says that does not hold: asked, nearest, recorded, refused. Plain text."""

from __future__ import annotations

import difflib
import json
import linecache
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from whisperr.testing.records import CapturedEvent, CapturedIdentify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from whisperr.testing.records import Records, Refused

    Operation = CapturedEvent | CapturedIdentify

Item = TypeVar("Item")
_LONGEST_LINE, _LONGEST_VALUES, _MOST = 400, 100, 25
#: How much a name must be like another one to be taken for it.
_ALIKE = 0.6


@dataclass(frozen=True)
class Asked:
    """What an assertion asked for; None leaves it open."""

    kind: str
    event_type: str | None = None
    user: str | None = None
    properties: dict[str, Any] | None = None

    def matches(self, operation: Operation) -> bool:
        """Whether an operation of this kind is what was asked for."""
        if self.user not in (None, operation.user):
            return False
        if isinstance(operation, CapturedIdentify):
            return True
        return self.event_type in (None, operation.event_type) and (
            self.with_properties(operation) == operation.properties
        )

    def with_properties(self, event: CapturedEvent) -> dict[str, Any]:
        """The event's properties, with those that were asked for in their places."""
        return {**event.properties, **(self.properties or {})}

    def __str__(self) -> str:
        words = [f"{self.kind} {self.event_type or ''}".rstrip()]
        if self.user is not None:
            words.append(f"of user {self.user}")
        if self.properties:
            words.append(f"with {_short(self.properties)}")
        return " ".join(words)


def not_one(asked: Asked, found: Sequence[Operation], records: Records) -> str:
    """Why there is not exactly one."""
    if found:
        lines = [f"{len(found)} times instead of once: {asked}.", *_listed(found)]
    else:
        lines = [f"Not recorded: {asked}.", *_nearest(asked, records.events), *_recorded(records)]
    return "\n".join([*lines, *_not_recorded(records)])


def not_none(asked: Asked, found: Sequence[Operation]) -> str:
    """Why there is not none."""
    return "\n".join([f"Recorded, although none was to be: {asked}.", *_listed(found)])


def violations(refused: Sequence[Refused]) -> str:
    """What broke the contract; the first line is one of them, for a summary of one line."""
    return "\n".join(_at_most(refused, _refusal))


def _nearest(asked: Asked, events: Sequence[CapturedEvent]) -> list[str]:
    """The event that is most like what was asked for, and where it differs."""
    event = max(events, key=lambda event: _likeness(asked, event), default=None)
    if event is None or asked.kind != "event" or not any(_likeness(asked, event)):
        return []
    wanted = {
        "event_type": asked.event_type or event.event_type,
        "user": event.user if asked.user is None else asked.user,
        "properties": asked.with_properties(event),
    }
    recorded = {"event_type": event.event_type, "user": event.user, "properties": event.properties}
    lines = list(difflib.unified_diff(_lines(wanted), _lines(recorded), lineterm=""))[2:]
    return [
        f"The nearest, at {event.call} (- asked for, + recorded):",
        *(f"  {_cut(line, _LONGEST_LINE)}" for line in lines if not line.startswith("@@")),
    ]


def _likeness(asked: Asked, event: CapturedEvent) -> tuple[float, int, int]:
    name = asked.event_type or ""
    alike = difflib.SequenceMatcher(None, name, event.event_type).ratio()
    values = (asked.properties or {}).items()
    same = sum(key in event.properties and event.properties[key] == value for key, value in values)
    return (alike if alike >= _ALIKE else 0.0, int(asked.user == event.user), same)


def _recorded(records: Records) -> list[str]:
    if not records.operations:
        return [
            "Nothing was recorded. A client that is disabled (WHISPERR_DISABLED) tracks nothing."
        ]
    return ["Recorded:", *_listed(records.operations)]


def _not_recorded(records: Records) -> list[str]:
    if not records.refused:
        return []
    lines = [line for text in _at_most(records.refused, _refusal) for line in text.split("\n")]
    return ["Not recorded, since it would not arrive:", *(f"  {line}" for line in lines)]


def _listed(operations: Sequence[Operation]) -> list[str]:
    return [f"  {line}" for line in _at_most(operations, _line)]


def _line(operation: Operation) -> str:
    if isinstance(operation, CapturedEvent):
        name, values = f"event {operation.event_type}", operation.properties
    else:
        values = {"traits": operation.traits, "channels": operation.channels}
        name = "identify"
    return f"{name} of user {operation.user} {_short(values)} at {operation.call}"


def _refusal(refused: Refused) -> str:
    given = "" if refused.event_type is None else repr(refused.event_type)
    call = refused.call
    source = linecache.getline(call.file, call.line).strip()
    return f"{refused.method}({given}) at {call}: {refused.detail} ({refused.reason})" + (
        f"\n    {_cut(source, _LONGEST_VALUES)}" if source else ""
    )


def _at_most(items: Sequence[Item], text: Callable[[Item], str]) -> list[str]:
    """The texts of the first of them, and how many more there are."""
    lines = [text(item) for item in items[:_MOST]]
    return lines if len(items) <= _MOST else [*lines, f"and {len(items) - _MOST} more."]


def _lines(values: dict[str, Any]) -> list[str]:
    return _json(values, indent=2).split("\n")


def _short(values: dict[str, Any]) -> str:
    return _cut(_json(values), _LONGEST_VALUES)


def _json(values: dict[str, Any], indent: int | None = None) -> str:
    return json.dumps(values, indent=indent, ensure_ascii=False, sort_keys=True)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"
