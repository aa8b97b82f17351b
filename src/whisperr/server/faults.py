"""Which request is to be treated badly, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Action = Literal["status", "reset_before", "reset_after", "never", "trickle", "delay"]


class Fault(BaseModel):
    """How to misbehave towards the next requests of an app.

    reset_before: reset the connection before the body is read; nothing is stored.
    reset_after: store the operations, then reset the connection without an answer.
    never: read the body, store nothing, never answer.
    trickle: store, then send the answer one byte a second.
    delay: a normal answer after `delay` seconds.
    status: answer `status`; the operations are stored only where `stored` says so.
    """

    model_config = ConfigDict(extra="forbid")

    action: Action
    key: str | None = Field(default=None, description="Only requests of this app; null: of any.")
    path: str | None = Field(default=None, description="Only this path, such as /v1/identify.")
    times: int | None = Field(default=1, ge=1, description="How many; null: until deleted.")
    status: int = Field(default=503, ge=200, le=599)
    stored: bool = Field(default=False, description="Action status: store all the same.")
    delay: float = Field(default=0.0, ge=0, le=3600, description="Seconds before answering.")
    retry_after: str | int | None = Field(default=None, description="The Retry-After header.")
    location: str | None = Field(default=None, description="The Location header.")
    body: str | None = Field(default=None, description="Action status: the body in place of ours.")
    content_type: str | None = Field(default=None, description="Action status: its type.")

    @property
    def stores(self) -> bool:
        """Whether the operations of a request that meets this fault are stored."""
        if self.action == "status":
            return self.stored
        return self.action in ("reset_after", "trickle", "delay")

    @property
    def silent(self) -> bool:
        """Whether a request that meets this fault gets no answer at all."""
        return self.action in ("reset_before", "reset_after", "never")

    def headers(self) -> dict[str, str]:
        """Return the headers that the answer carries besides its usual ones."""
        named = {"retry-after": self.retry_after, "location": self.location}
        return {name: str(value) for name, value in named.items() if value is not None}


class FaultBook:
    """The armed faults, first in, first out for each app."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []

    def arm(self, fault: Fault) -> None:
        """Add a fault behind those that are armed."""
        self._armed.append(fault.model_copy())

    def armed(self, key: str | None = None) -> list[Fault]:
        """Return what is armed: for every app, or for the one with `key`."""
        return [fault for fault in self._armed if key is None or fault.key == key]

    def clear(self, key: str | None = None) -> None:
        """Delete what is armed: for every app, or for the one with `key`."""
        self._armed = [fault for fault in self._armed if key is not None and fault.key != key]

    def take(self, key: str, path: str) -> Fault | None:
        """Return the fault that a request meets and consume one of its times."""
        for fault in self._armed:
            if fault.key in (None, key) and fault.path in (None, path):
                self._consume(fault)
                return fault
        return None

    def _consume(self, fault: Fault) -> None:
        if fault.times is None:
            return
        fault.times -= 1
        if not fault.times:
            self._armed.remove(fault)
