"""The wire contract as strict models: what the API page shows and what bodies are judged by."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

MAX_EVENTS = 500

Text = Annotated[str, Field(min_length=1)]
ProviderText = Annotated[str, Field(min_length=1, max_length=255)]
AnonymousId = Annotated[str, Field(min_length=1, max_length=128)]
EventType = Annotated[str, Field(pattern=r"^[a-z0-9]+(?:_[a-z0-9]+)*$")]


class Window(NamedTuple):
    """The moments an `occurred_at` may name (naive UTC, both ends included)."""

    earliest: datetime
    latest: datetime

    @classmethod
    def around(cls, now: datetime) -> Window:
        """Return the window of the service: 30 days before `now` to 5 minutes after it."""
        now = now.replace(tzinfo=None)
        return cls(now - timedelta(days=30), now + timedelta(minutes=5))


def _within_window(value: str, info: ValidationInfo) -> str:
    moment = datetime.fromisoformat(value[:-1])
    window = info.context
    if isinstance(window, Window) and not window.earliest <= moment <= window.latest:
        raise ValueError("lies outside the last 30 days and the next 5 minutes of the server's now")
    return value


Moment = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
        examples=["2026-06-14T12:00:00.000Z"],
        description="UTC, milliseconds; at most 30 days old and 5 minutes ahead.",
    ),
    AfterValidator(_within_window),
]


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class _Strict(BaseModel):
    # A field that may be absent may still not be null, so its default is a value of its type that
    # means "absent"; the API page does not show it.
    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=_without_defaults)


class Context(BaseModel):
    """Free-form, with the id on which the service deduplicates."""

    model_config = ConfigDict(extra="allow", strict=True)

    message_id: Text = Field(alias="$message_id")


class Event(_Strict):
    """One thing that happened to a user."""

    external_user_id: Text = ""
    anonymous_id: AnonymousId = ""
    event_type: EventType
    occurred_at: Moment
    properties: dict[str, Any]
    context: Context

    @model_validator(mode="after")
    def _names_a_user(self) -> Event:
        if not (self.external_user_id or self.anonymous_id):
            raise ValueError("needs external_user_id (or, from a browser, anonymous_id)")
        return self


class EventBatch(_Strict):
    """The body of `POST /v1/events/batch`."""

    events: list[Event] = Field(min_length=1, max_length=MAX_EVENTS)


class ContactChannel(_Strict):
    """An e-mail address or a telephone number of a user."""

    channel: Literal["email", "sms"]
    address: Text
    opted_in: bool = False
    verified: bool = False
    consent_source: str = Field(default="", description="Sent by client SDKs alone.")


class PushChannel(_Strict):
    """A push token of a user."""

    channel: Literal["push"]
    address: Text
    opted_in: bool = False
    verified: bool = False
    kind: Literal["fcm", "apns", "expo", "onesignal_sub"] = "fcm"
    platform: Literal["ios", "android", "web", "macos", "windows", "linux"] = "android"
    push_env: Literal["production", "sandbox"] = "production"
    client_app_id: ProviderText = ""
    provider_project: ProviderText = ""


Channel = Annotated[ContactChannel | PushChannel, Field(discriminator="channel")]


class Identify(_Strict):
    """The body of `POST /v1/identify`: who a user is and where to reach them."""

    external_user_id: Text = ""
    anonymous_id: AnonymousId = ""
    traits: dict[str, Any] = {}
    preferred_channel: Literal["email", "sms", "push"] = "email"
    channels: list[Channel] = []

    @model_validator(mode="after")
    def _anonymous_says_little(self) -> Identify:
        if self.external_user_id:
            return self
        if not self.anonymous_id:
            raise ValueError("needs external_user_id (or, from a browser, anonymous_id)")
        if "preferred_channel" in self.model_fields_set:
            raise ValueError("preferred_channel needs an external_user_id")
        if any(channel.channel != "push" for channel in self.channels):
            raise ValueError("an email or sms channel needs an external_user_id")
        if not self.model_fields_set & {"traits", "channels"}:
            raise ValueError("an anonymous identify needs traits or channels")
        return self
