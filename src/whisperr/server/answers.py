"""The bodies of the answers, as the API page shows them."""

from __future__ import annotations

from pydantic import BaseModel


class BatchAnswer(BaseModel):
    """How many events of a batch were taken, and how many were malformed."""

    accepted: int
    rejected: int


class EventStatus(BaseModel):
    """What the service knows about an event that it has just taken."""

    mapping_status: str = "pending"


class TrackAnswer(BaseModel):
    """The answer to one event."""

    event: EventStatus = EventStatus()
    processing: str = "queued"


class IdentifyAnswer(BaseModel):
    """The answer to an identify."""

    processing: str = "queued"


class ErrorDetail(BaseModel):
    """What went wrong; the message names the field."""

    code: str
    message: str


class ErrorAnswer(BaseModel):
    """The body of every answer that is no 2xx."""

    error: ErrorDetail
