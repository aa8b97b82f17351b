"""The client of one request, bound to its user. Framework modules only find the user.

The user is looked for at the first use: a request that tracks nothing costs one small object.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ._arguments import name_for_report
from ._operation import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from typing_extensions import Unpack

    from ._client import Whisperr
    from ._verbs import EventArguments, IdentifyArguments, UserId

__all__ = [
    "RequestClient",
    "ResolveUser",
    "Resolver",
    "Unresolved",
    "UserFinder",
    "current",
    "current_request",
]
Source = TypeVar("Source")
_Asked = TypeVar("_Asked", contravariant=True)
#: Given the request; returns the user's id, None for an anonymous user, or an awaitable of either.
ResolveUser = Callable[[Source], "UserId | Awaitable[UserId | None] | None"]


class Unresolved(Exception):  # noqa: N818 - says what is so; it becomes a refusal
    """The user cannot be found in this way; the message says what to do."""


class UserFinder(Protocol[_Asked]):
    """Finds the user of a request; one for an application."""

    @property
    def lasting(self) -> bool:
        """Whether a user that was found is the request's to its end, and not asked for again."""

    def find(self, source: _Asked) -> UserId | None:
        """The user's id, None for an anonymous one. Must not block an event loop.

        Raises:
            Unresolved: where that takes an await.
        """

    async def afind(self, source: _Asked) -> UserId | None:
        """The same where awaiting is possible."""


class Resolver(Generic[Source]):
    """Finds the user by a function of the application's, which may be async.

    Args:
        resolve: given the request; returns the user's id, or None for an anonymous user.
    """

    lasting = True

    def __init__(self, resolve: ResolveUser[Source]) -> None:
        self._resolve = resolve

    def find(self, source: Source) -> UserId | None:
        """See `UserFinder`."""
        found = self._resolve(source)
        if not inspect.isawaitable(found):
            return found
        if inspect.iscoroutine(found):
            found.close()  # or Python warns that nobody awaited it
        raise Unresolved("The resolver is async: await atrack() or aidentify() instead.")

    async def afind(self, source: Source) -> UserId | None:
        """See `UserFinder`."""
        found = self._resolve(source)
        return await found if inspect.isawaitable(found) else found


class RequestClient(Generic[Source]):
    """Reports what the user of one request did. No method raises for data, load or the network.

    For an anonymous user nothing happens, which the option ``debug`` mentions. Where the user
    cannot be found nothing is queued; it is reported as ``dropped`` (``user_unresolved``).

    Args:
        client: what delivers.
        finder: finds the user; asked at the first use.
        source: what the finder is given: the framework's request.
    """

    __slots__ = ("_client", "_finder", "_source", "_user")

    def __init__(self, client: Whisperr, finder: UserFinder[Source], source: Source) -> None:
        self._client = client
        self._finder = finder
        self._source = source
        self._user: UserId | None = None

    def track(
        self,
        event_type: str,
        properties: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        **more: Unpack[EventArguments],
    ) -> None:
        """`Whisperr.track` for the user of this request.

        Does not wait on an event loop: where finding the user would, await `atrack`.
        """
        user = self._find(event_type)
        if user is not None:
            self._client.track(user, event_type, properties, context, **more)

    def identify(self, **arguments: Unpack[IdentifyArguments]) -> None:
        """`Whisperr.identify` for the user of this request; see `track`."""
        user = self._find("")
        if user is not None:
            self._client.identify(user, **arguments)

    async def atrack(
        self,
        event_type: str,
        properties: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        **more: Unpack[EventArguments],
    ) -> None:
        """`track`, awaiting the user where that is necessary."""
        user = await self._afind(event_type)
        if user is not None:
            self._client.track(user, event_type, properties, context, **more)

    async def aidentify(self, **arguments: Unpack[IdentifyArguments]) -> None:
        """`identify`, awaiting the user where that is necessary."""
        user = await self._afind("")
        if user is not None:
            self._client.identify(user, **arguments)

    def user_id(self) -> UserId | None:
        """The user's id; None for an anonymous user, and where finding one takes an await."""
        try:
            return self._found_now()
        except Exception:  # noqa: BLE001 - the application's resolver, or a database
            return None

    def _find(self, event_type: str) -> UserId | None:
        if self._client._options.disabled:
            return None
        try:
            user = self._found_now()
        except Exception as problem:  # noqa: BLE001 - the application's resolver, or a database
            self._refuse(problem, event_type)
            return None
        return self._not_anonymous(user)

    async def _afind(self, event_type: str) -> UserId | None:
        if self._client._options.disabled:
            return None
        try:
            user = self._user
            if user is None:
                user = self._kept(await self._finder.afind(self._source))
        except Exception as problem:  # noqa: BLE001 - the application's resolver, or a database
            self._refuse(problem, event_type)
            return None
        return self._not_anonymous(user)

    def _found_now(self) -> UserId | None:
        return self._kept(self._finder.find(self._source)) if self._user is None else self._user

    def _kept(self, user: UserId | None) -> UserId | None:
        if self._finder.lasting:
            self._user = user
        return user

    def _not_anonymous(self, user: UserId | None) -> UserId | None:
        if user is None:
            self._client._pass_over_anonymous()
        return user

    def _refuse(self, problem: Exception, event_type: str) -> None:
        detail = (
            str(problem)
            if isinstance(problem, Unresolved)
            else f"Finding the user of the request raised {type(problem).__name__}."
        )
        self._client._refuse(Refusal("user_unresolved", detail, name_for_report(event_type)))


#: The client of the request that the calling code serves; set by the frameworks' modules.
current: ContextVar[RequestClient[Any] | None] = ContextVar("whisperr_request", default=None)


def current_request() -> RequestClient[Any]:
    """The client of the request (or task) that the calling code serves.

    Raises:
        RuntimeError: outside of one, or where no middleware of this package is installed.
    """
    client = current.get()
    if client is None:
        raise RuntimeError(
            "There is no request here. Use the client itself, or install your framework's "
            "middleware with client= in it (see the README, In a web framework)."
        )
    return client
