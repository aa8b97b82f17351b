"""What a client reports through ``on_error``."""

from __future__ import annotations

from typing import Literal

ErrorType = Literal["auth", "dropped", "retry_exhausted", "stalled", "environment"]


class WhisperrError(Exception):
    """A report about delivery; given to ``on_error``, never raised into the application.

    It carries no property, trait, address or user id.

    Attributes:
        type: ``auth`` (the key was refused, everything is kept), ``dropped`` (operations
            were refused or lost), ``retry_exhausted`` (the service did not take them for
            now, everything is kept), ``stalled`` (operations wait and nothing is
            delivered), ``environment`` (the host makes something impossible).
        message: a sentence that says what happened and what to do.
        status: the HTTP status, or None where there was no answer.
        count: how many operations it concerns.
        reason: why operations were refused or dropped (see docs/delivery.md), or None.
        event_types: the event types concerned, at most 20.
        service_message: what the service itself said, at most 500 characters. It may
            quote a value of yours, so it is in no log line and not in ``str(error)``.
    """

    def __init__(
        self,
        type: ErrorType,  # noqa: A002 - the name is the service's own, across its SDKs
        message: str,
        status: int | None = None,
        *,
        count: int = 0,
        reason: str | None = None,
        event_types: tuple[str, ...] = (),
        service_message: str | None = None,
    ) -> None:
        super().__init__(type, message)  # what pickle calls it with again
        self.type = type
        self.message = message
        self.status = status
        self.count = count
        self.reason = reason
        self.event_types = event_types
        self.service_message = service_message

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return (
            f"WhisperrError(type={self.type!r}, message={self.message!r}, status={self.status!r}, "
            f"count={self.count!r}, reason={self.reason!r}, event_types={self.event_types!r})"
        )
