"""The client of one Django request, which can wait for the commit of a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections
from django.http import HttpRequest

from whisperr.django import configuration
from whisperr.request import RequestClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Unpack

    from whisperr import Draft, Whisperr
    from whisperr._verbs import EventArguments, IdentifyArguments

    Call = Callable[[Whisperr | Draft], None]


class DjangoRequestClient(RequestClient[HttpRequest]):
    """Reports what the user of one request did: ``request.whisperr``.

    No method raises for data, load or the network. The user is ``request.user``, or whom
    WHISPERR_RESOLVE_USER finds, and is looked for at the first use. For an anonymous user
    nothing happens, which the option ``debug`` mentions. Where the user cannot be found nothing
    is queued; it is reported as ``dropped`` (``user_unresolved``). It is used like the request
    itself: by one thread at a time, in the process that serves the request.

    All methods take two more arguments than those of `whisperr.Whisperr`:

    - on_commit: True has the operation stamped and encoded now, and accepted when the transaction
      of the calling thread commits; where it does not, it is counted as refused
      (``rolled_back``). Outside of a transaction it is accepted now. None is what
      ``WHISPERR["on_commit"]`` says, which is False by default.
    - using: whose transaction, an alias of DATABASES; None is the default database.
    """

    __slots__ = ()

    def track(
        self,
        event_type: str,
        properties: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        *,
        on_commit: bool | None = None,
        using: str | None = None,
        **more: Unpack[EventArguments],
    ) -> None:
        """`Whisperr.track` for the user of this request.

        Never queries from an event loop: where the user is not loaded there, await `atrack`.

        Raises:
            ConnectionDoesNotExist: for an alias that DATABASES does not have.
        """
        user = self._find(event_type)
        if user is not None:
            self._report(
                lambda to: to.track(user, event_type, properties, context, **more), on_commit, using
            )

    def identify(
        self,
        *,
        on_commit: bool | None = None,
        using: str | None = None,
        **arguments: Unpack[IdentifyArguments],
    ) -> None:
        """`Whisperr.identify` for the user of this request; see `track`."""
        user = self._find("")
        if user is not None:
            self._report(lambda to: to.identify(user, **arguments), on_commit, using)

    async def atrack(
        self,
        event_type: str,
        properties: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        *,
        on_commit: bool | None = None,
        using: str | None = None,
        **more: Unpack[EventArguments],
    ) -> None:
        """`track`, awaiting the user where that is necessary.

        With ``on_commit`` the transaction is that of the synchronous code around, in its thread.

        Raises:
            ConnectionDoesNotExist: for an alias that DATABASES does not have.
        """
        user = await self._afind(event_type)
        if user is not None:
            await self._areport(
                lambda to: to.track(user, event_type, properties, context, **more), on_commit, using
            )

    async def aidentify(
        self,
        *,
        on_commit: bool | None = None,
        using: str | None = None,
        **arguments: Unpack[IdentifyArguments],
    ) -> None:
        """`identify`, awaiting the user where that is necessary; see `atrack`."""
        user = await self._afind("")
        if user is not None:
            await self._areport(lambda to: to.identify(user, **arguments), on_commit, using)

    def _report(self, call: Call, on_commit: bool | None, using: str | None) -> None:
        if not _waits(on_commit):
            call(self._client)
            return
        connection = connections[using or DEFAULT_DB_ALIAS]
        if not connection.in_atomic_block:  # transaction.on_commit() would open a connection
            call(self._client)
            return
        # Nobody else may hold the draft: that Django drops it is how a rollback is noticed.
        draft = self._client.draft()
        call(draft)
        connection.on_commit(draft.accept)

    async def _areport(self, call: Call, on_commit: bool | None, using: str | None) -> None:
        if _waits(on_commit):
            await sync_to_async(self._report)(call, on_commit, using)
        else:
            call(self._client)


class WhisperrRequest(HttpRequest):
    """What a request is behind `WhisperrMiddleware`, to annotate views with."""

    whisperr: DjangoRequestClient


def _waits(on_commit: bool | None) -> bool:
    return configuration.setup.on_commit if on_commit is None else on_commit
