"""How a user can be reached, for ``identify(channels=[…])``."""

from __future__ import annotations

from typing import Literal

from ._value import Value

ChannelName = Literal["email", "sms", "push"]


class Channel(Value):
    """One address of a user, with consent. Checked by ``identify()``, so making one never raises.

    Args:
        channel: ``email``, ``sms`` or ``push``.
        address: an e-mail address, an E.164 phone number or a push token.
        opted_in: whether the user agreed to be contacted there.
        verified: whether the address is known to be the user's; None says nothing.
        kind: push only: ``fcm``, ``apns``, ``expo`` or ``onesignal_sub``.
        platform: push only: ``ios``, ``android``, ``web``, ``macos``, ``windows``, ``linux``.
        push_env: push only: ``production`` or ``sandbox``.
        client_app_id: push only: the app that owns the token (bundle id, package, origin).
        provider_project: push only: the provider's project that the token belongs to.
    """

    channel: ChannelName
    address: str
    opted_in: bool = True
    verified: bool | None = None
    kind: str | None = None
    platform: str | None = None
    push_env: str | None = None
    client_app_id: str | None = None
    provider_project: str | None = None

    @classmethod
    def email(cls, address: str, opted_in: bool = True, verified: bool | None = None) -> Channel:
        """An e-mail address."""
        return cls("email", address, opted_in, verified)

    @classmethod
    def sms(cls, address: str, opted_in: bool = True, verified: bool | None = None) -> Channel:
        """A phone number in E.164 form (``+15551234567``)."""
        return cls("sms", address, opted_in, verified)

    @classmethod
    def push(
        cls,
        address: str,
        opted_in: bool = True,
        verified: bool | None = None,
        *,
        kind: str | None = None,
        platform: str | None = None,
        push_env: str | None = None,
        client_app_id: str | None = None,
        provider_project: str | None = None,
    ) -> Channel:
        """A push token, with what is known about where it comes from."""
        return cls(
            "push",
            address,
            opted_in,
            verified,
            kind=kind,
            platform=platform,
            push_env=push_env,
            client_app_id=client_app_id,
            provider_project=provider_project,
        )
