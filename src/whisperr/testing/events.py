"""Questions and assertions about what a capture recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whisperr import _capture
from whisperr.testing import messages
from whisperr.testing.messages import Asked
from whisperr.testing.records import Records

if TYPE_CHECKING:
    from uuid import UUID

    from whisperr.testing.records import CapturedEvent, CapturedIdentify

    UserId = str | int | UUID


class Events:
    """What was recorded, in the order of the calls. Each question reads it anew.

    It holds what this process recorded, its threads included, and what the processes did that
    were forked or started during the capture. What a child recorded before it was waited for is
    there.

    In all methods ``user`` is compared as text (7 is ``"7"``), and ``properties`` are those that
    must have these values, beside any others. A value stands for what is sent for it (see
    docs/values.md), so a Decimal or a datetime may be given as it was tracked.

    Args:
        path: the file of the capture.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._settled: Records | None = None
        self._checked = 0

    def all(
        self,
        event_type: str | None = None,
        *,
        user: UserId | None = None,
        properties: dict[str, Any] | None = None,
    ) -> list[CapturedEvent]:
        """The events of this type, user and properties; what is None is left open."""
        asked = _asked("event", event_type, user, properties)
        return [event for event in self._records().events if asked.matches(event)]

    def one(
        self,
        event_type: str,
        *,
        user: UserId | None = None,
        properties: dict[str, Any] | None = None,
    ) -> CapturedEvent:
        """The only such event.

        Raises:
            AssertionError: where there is none, or more than one; says how the nearest differs.
        """
        __tracebackhide__ = True
        asked = _asked("event", event_type, user, properties)
        records = self._records()
        found = [event for event in records.events if asked.matches(event)]
        if len(found) != 1:
            raise AssertionError(messages.not_one(asked, found, records))
        return found[0]

    def none(
        self,
        event_type: str | None = None,
        *,
        user: UserId | None = None,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """There is no such event.

        Raises:
            AssertionError: where there is one; lists them.
        """
        __tracebackhide__ = True
        asked = _asked("event", event_type, user, properties)
        found = [event for event in self._records().events if asked.matches(event)]
        if found:
            raise AssertionError(messages.not_none(asked, found))

    def identifies(self, user: UserId | None = None) -> list[CapturedIdentify]:
        """The identifies of this user, of all for None."""
        asked = _asked("identify", None, user, None)
        return [one for one in self._records().identifies if asked.matches(one)]

    def one_identify(self, *, user: UserId | None = None) -> CapturedIdentify:
        """The only identify of this user.

        Raises:
            AssertionError: where there is none, or more than one.
        """
        __tracebackhide__ = True
        asked = _asked("identify", None, user, None)
        records = self._records()
        found = [one for one in records.identifies if asked.matches(one)]
        if len(found) != 1:
            raise AssertionError(messages.not_one(asked, found, records))
        return found[0]

    def check(self) -> None:
        """Nothing broke the contract since the last check; made at the end of each capture.

        Raises:
            AssertionError: says where which rule was broken.
        """
        __tracebackhide__ = True
        violations = self._records().violations
        new, self._checked = violations[self._checked :], len(violations)
        if new:
            raise AssertionError(messages.violations(new))

    def _settle(self) -> None:
        """Keep what there is: the file goes."""
        self._settled = Records.read(self._path)

    def _records(self) -> Records:
        return Records.read(self._path) if self._settled is None else self._settled

    def __repr__(self) -> str:
        records = self._records()
        return (
            f"<Events: {len(records.events)} events, {len(records.identifies)} identifies, "
            f"{len(records.refused)} refused>"
        )


def _asked(
    kind: str, event_type: str | None, user: UserId | None, properties: dict[str, Any] | None
) -> Asked:
    return Asked(
        kind,
        None if event_type is None else str(event_type),
        None if user is None else str(user),
        None if properties is None else _capture.as_sent(properties),
    )
