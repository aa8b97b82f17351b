"""Gives each request a client of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.utils.decorators import sync_and_async_middleware

from whisperr.django import configuration
from whisperr.django.binding import DjangoRequestClient
from whisperr.request import current

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from whisperr import Whisperr
    from whisperr.request import UserFinder

    Response = HttpResponseBase | Awaitable[HttpResponseBase]
    Respond = Callable[[HttpRequest], Response]
    Made = tuple[configuration.Setup, Whisperr, UserFinder[HttpRequest]]

# Looked up for each request they would cost a quarter of all that the middleware does.
_set_current, _reset_current = current.set, current.reset


@sync_and_async_middleware
def WhisperrMiddleware(get_response: Respond) -> Respond:  # noqa: N802 - named as a class is
    """Sets ``request.whisperr``, a `DjangoRequestClient`. Put it below AuthenticationMiddleware.

    Works in synchronous and asynchronous chains of middlewares. A request that tracks nothing
    causes no query, touches no session and runs in no other thread.

    Args:
        get_response: the next of the chain.

    Raises:
        ImproperlyConfigured: for wrong settings, when the project is loaded.
    """
    is_async = iscoroutinefunction(get_response)
    setup, client, finder = _made()

    # A function, as calling an instance takes another 0.1 microseconds of each request.
    def middleware(request: HttpRequest) -> Response:
        nonlocal setup, client, finder
        if setup is not configuration.setup:  # a test has changed the settings
            setup, client, finder = _made()
        bound = DjangoRequestClient(client, finder, request)
        request.whisperr = bound  # type: ignore[attr-defined] # what the middleware is for
        if is_async:
            return _answer(get_response, request, bound)
        token = _set_current(bound)
        try:
            return get_response(request)
        finally:
            _reset_current(token)

    return markcoroutinefunction(middleware) if is_async else middleware


async def _answer(
    get_response: Respond, request: HttpRequest, bound: DjangoRequestClient
) -> HttpResponseBase:
    token = _set_current(bound)
    try:
        return await get_response(request)  # type: ignore[misc, no-any-return] # an async chain's
    finally:
        _reset_current(token)  # under WSGI the context goes back to a thread that serves others


def _made() -> Made:
    setup = configuration.setup
    _ = setup.on_commit  # a wrong one is said here, too
    return setup, setup.client, setup.finder
