"""The verbs of a client, and a draft of operations that may still be taken back."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypedDict

from ._operation import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from ._operation import Encoder
    from .channel import Channel, ChannelName

    UserId = str | int | UUID


class EventArguments(TypedDict, total=False):
    """The keyword arguments of an event, for type checkers; `Verbs.track` describes them."""

    occurred_at: datetime | None
    message_id: str | int | UUID | None


class IdentifyArguments(TypedDict, total=False):
    """The keyword arguments of an identify, for type checkers; `Verbs.identify` describes them."""

    traits: dict[str, Any] | None
    email: str | None
    phone: str | None
    push_token: str | None
    preferred_channel: ChannelName | None
    channels: Sequence[Channel | dict[str, Any]] | None
    anonymous_id: str | None


class Acceptor(Protocol):
    """What takes the outcome of a call."""

    def settle_call(self, outcome: bytes | Refusal) -> None:
        """Take an operation, or count why there is none."""


class Verbs:
    """track() and identify(): arguments to an operation, which an acceptor takes."""

    _encoder: Encoder

    def _accepting(self) -> Acceptor | None:
        """Who takes a call, None where nothing is accepted.

        Asked before anything else of a call: a signal handler that forks from here on
        leaves the call to the parent alone.
        """
        raise NotImplementedError

    def track(
        self,
        external_user_id: str | int | UUID,
        event_type: str,
        properties: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        *,
        occurred_at: datetime | None = None,
        message_id: str | int | UUID | None = None,
    ) -> None:
        """Report an event. Never raises for data, never waits, performs no I/O.

        What is delivered is what the arguments are now. Values that JSON does not know are
        given the forms of docs/values.md. What cannot be queued is reported to ``on_error``
        as ``dropped``. May be called from signal handlers, finalisers and atexit handlers.

        Args:
            external_user_id: your own stable id of the user; not empty.
            event_type: lower snake_case, such as ``payment_failed``; see `BillingEvent`.
            properties: anything about the event.
            context: anything about its circumstances; wins over the SDK's own keys.
            occurred_at: an aware datetime; None is now. The service takes the last 30 days.
            message_id: an id of your own, such as a webhook's delivery id, so that a
                redelivery is the same event; None makes a new one.
        """
        acceptor = self._accepting()
        if acceptor is not None:
            acceptor.settle_call(
                self._encoder.event(
                    external_user_id, event_type, properties, context, occurred_at, message_id
                )
            )

    def identify(
        self,
        external_user_id: str | int | UUID,
        *,
        traits: dict[str, Any] | None = None,
        email: str | None = None,
        phone: str | None = None,
        push_token: str | None = None,
        preferred_channel: ChannelName | None = None,
        channels: Sequence[Channel | dict[str, Any]] | None = None,
        anonymous_id: str | None = None,
    ) -> None:
        """Say who a user is and how to reach them. Never raises for data, never waits.

        Delivered alone, in its place between the events. Report changes, not every request.

        Args:
            external_user_id: your own stable id of the user; not empty.
            traits: merged into what the service knows.
            email: an e-mail address the user agreed to be contacted at.
            phone: a phone number (E.164) the user agreed to be contacted at.
            push_token: a push token the user agreed to be contacted through.
            preferred_channel: ``email``, ``sms`` or ``push``.
            channels: `Channel` objects, or dicts with ``type``, ``address`` and the rest.
            anonymous_id: 1 to 128 characters; what a browser sent under it becomes this user's.
        """
        acceptor = self._accepting()
        if acceptor is not None:
            acceptor.settle_call(
                self._encoder.identify(
                    external_user_id,
                    traits,
                    email,
                    phone,
                    push_token,
                    preferred_channel,
                    channels,
                    anonymous_id,
                )
            )


class _Client(Protocol):
    """What a draft needs of its client."""

    _encoder: Encoder

    def _accepting(self) -> Acceptor | None: ...

    def _accepts_for(self, acceptor: Acceptor) -> bool: ...


class Draft(Verbs):
    """Operations that are stamped and encoded at the call, and accepted or taken back later.

    What is refused is refused at the call. A draft that is dropped undecided is taken back. It is
    for one thread at a time and for the process that made it: a child that is forked meanwhile
    has nothing of it. Made by `Whisperr.draft`.
    """

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._encoder = client._encoder
        self._held: deque[tuple[Acceptor, bytes]] = deque()

    def accept(self) -> None:
        """Have the client accept what is held, in the order of the calls. Never raises for data."""
        while self._held:
            acceptor, body = self._held.popleft()
            if self._client._accepts_for(acceptor) and self._client._accepting() is acceptor:
                acceptor.settle_call(body)

    def take_back(self) -> None:
        """Drop what is held; counted as refused with the reason ``rolled_back``."""
        while self._held:
            acceptor, _ = self._held.popleft()
            if self._client._accepts_for(acceptor):
                acceptor.settle_call(_ROLLED_BACK)

    def _accepting(self) -> Acceptor | None:
        acceptor = self._client._accepting()
        return None if acceptor is None else _Holder(self._held, acceptor)

    def __del__(self) -> None:
        try:
            self.take_back()
        except (AttributeError, TypeError):
            return  # the constructor raised, or the interpreter took the modules apart


class _Holder:
    """Takes the outcome of one call of a draft's."""

    __slots__ = ("_acceptor", "_held")

    def __init__(self, held: deque[tuple[Acceptor, bytes]], acceptor: Acceptor) -> None:
        self._held = held
        self._acceptor = acceptor

    def settle_call(self, outcome: bytes | Refusal) -> None:
        if isinstance(outcome, Refusal):
            self._acceptor.settle_call(outcome)
        else:
            self._held.append((self._acceptor, outcome))


_ROLLED_BACK = Refusal("rolled_back", "The transaction was not committed.")
