"""Who the user of a Django request is. Nothing is loaded before the first use."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from whisperr.request import Resolver, Unresolved

if TYPE_CHECKING:
    from whisperr._verbs import UserId


class RequestUser:
    """Finds ``request.user``."""

    lasting = False  # Django keeps it for the request, and login() and logout() change it

    def find(self, request: HttpRequest) -> UserId | None:
        """The primary key; one that is not loaded yet is, but never from an event loop."""
        user = _loaded(request)
        if user is empty:
            if _in_event_loop():
                raise Unresolved(
                    "The user is not loaded yet, and an event loop runs here: "
                    "await atrack() or aidentify() instead."
                )
            user = request.user
        return _id_of(user)

    async def afind(self, request: HttpRequest) -> UserId | None:
        """The primary key, by Django's ``auser()`` where it has one (5.0 and later)."""
        user = _loaded(request)
        if user is not empty:
            return _id_of(user)
        auser = getattr(request, "auser", None)
        if auser is not None:
            return _id_of(await auser())
        return await sync_to_async(self.find)(request)


class RequestResolver(Resolver[HttpRequest]):
    """Finds the user by WHISPERR_RESOLVE_USER, which may query: never from an event loop."""

    def find(self, source: HttpRequest) -> UserId | None:
        """See `whisperr.request.UserFinder`."""
        if _in_event_loop():
            raise Unresolved(
                "WHISPERR_RESOLVE_USER may query, and an event loop runs here: "
                "await atrack() or aidentify() instead."
            )
        return super().find(source)

    async def afind(self, source: HttpRequest) -> UserId | None:
        """See `whisperr.request.UserFinder`; what is not async runs in Django's thread for it."""
        if iscoroutinefunction(self._resolve):
            return await super().afind(source)
        found = await sync_to_async(lambda: self._resolve(source))()
        return await found if inspect.isawaitable(found) else found


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _loaded(request: HttpRequest) -> Any:
    """The user where that takes no query, else `empty`."""
    try:
        user: Any = request.user
    except AttributeError:
        raise Unresolved(
            "The request has no user: add django.contrib.auth.middleware.AuthenticationMiddleware "
            "to MIDDLEWARE, or set WHISPERR_RESOLVE_USER."
        ) from None
    if not isinstance(user, LazyObject):
        return user
    if user._wrapped is not empty:
        return user._wrapped
    return getattr(request, "_acached_user", empty)  # somebody awaited auser()


def _id_of(user: Any) -> UserId | None:
    """None for an anonymous user."""
    if user is None or not user.is_authenticated:
        return None
    user_id: UserId | None = user.pk
    if user_id is None:
        raise Unresolved("The user of the request has no pk: set WHISPERR_RESOLVE_USER.")
    return user_id
