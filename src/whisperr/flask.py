"""An extension for Flask: the client of each request, bound to the user who is logged in."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from flask import Flask, current_app, has_request_context, request
from werkzeug.local import LocalProxy

from whisperr import Whisperr
from whisperr.request import RequestClient, Resolver, Unresolved, current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Request

    from whisperr.request import ResolveUser, UserFinder

#: Where an application keeps its client, and what makes the client of a request.
_EXTENSION, _MAKER = "whisperr", "whisperr_request"
#: Where a request keeps its own.
_IN_ENVIRON = "whisperr.request"
# Looked up for each request they would cost a fifth of all that the extension does.
_set_current, _reset_current = current.set, current.reset
#: What an application's configuration may say, as WHISPERR_API_KEY and so on.
_CONFIGURED = ("api_key", "base_url", "disabled", "debug", "app_version")


class WhisperrFlask:
    """Gives each request of an application a client for its user; see `current_whisperr`.

    Each application has a client of its own, ``app.extensions["whisperr"]``, unless one is
    given. Its options come from ``app.config`` (``WHISPERR_API_KEY``, ``WHISPERR_BASE_URL``,
    ``WHISPERR_DISABLED``, ``WHISPERR_DEBUG``, ``WHISPERR_APP_VERSION``), then from `options`,
    then from the environment, as the client itself has it. An application may be made before a
    fork, and serve in any number of threads.

    Args:
        app: the application; None where `init_app` comes later.
        client: delivers for every application, instead of one for each.
        resolve_user: given Flask's request; returns the user's id, or None for an anonymous
            user. None takes Flask-Login's user, where the application has a login manager.
        **options: of the client; see docs/options.md.

    Raises:
        ValueError: for options beside a client, and as `Whisperr` does.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        client: Whisperr | None = None,
        resolve_user: ResolveUser[Request] | None = None,
        **options: Any,
    ) -> None:
        if client is not None and options:
            raise ValueError("A client has its options already: pass client= or options, not both.")
        self._client = client
        self._options = options
        self._finder: UserFinder[Flask] = _LoginUser()
        if resolve_user is not None:
            self._finder = Resolver(lambda _app: resolve_user(_served()))
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Install it in an application, once; several applications may share an extension.

        Raises:
            RuntimeError: for an application that has one already.
            ValueError: as `Whisperr` does, for a missing key.
        """
        if _EXTENSION in app.extensions:
            raise RuntimeError("The application has a WhisperrFlask already: call init_app() once.")
        client = self._client or self._client_of(app)
        make = partial(RequestClient, client, self._finder, app)
        app.extensions.update({_EXTENSION: client, _MAKER: make})
        serving = _serving(app.wsgi_app, make)
        app.wsgi_app = serving  # type: ignore[method-assign, assignment] # Flask's documented way

    def _client_of(self, app: Flask) -> Whisperr:
        configured = {name: app.config.get(f"WHISPERR_{name.upper()}") for name in _CONFIGURED}
        given = {name: value for name, value in configured.items() if value is not None}
        return Whisperr(**{**self._options, **given})


def _serving(inner: WSGIApplication, make: Callable[[], RequestClient[Flask]]) -> WSGIApplication:
    """No hook of Flask's: it asks of each, for each request, whether it is a coroutine."""

    def wsgi_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[_IN_ENVIRON] = client = make()
        token = _set_current(client)
        try:
            return inner(environ, start_response)
        finally:
            _reset_current(token)

    return wsgi_app


class _LoginUser:
    """Finds Flask-Login's user, each time anew: a request may log somebody in or out."""

    lasting = False

    def find(self, app: Flask) -> Any:
        _served()
        if not hasattr(app, "login_manager"):
            raise Unresolved(
                "The application has no login manager of Flask-Login's: "
                "give WhisperrFlask resolve_user=."
            )
        from flask_login import current_user  # type: ignore[import-untyped]

        return current_user.get_id()

    async def afind(self, app: Flask) -> Any:
        return self.find(app)


def _served() -> Request:
    if not has_request_context():
        raise Unresolved(
            "Flask's request context is gone, and the user with it: wrap what another thread "
            "runs in copy_current_request_context(), or give the client itself the user's id."
        )
    return request


def _of_this_request() -> RequestClient[Flask]:
    if not has_request_context():
        raise RuntimeError(
            "There is no request here. In a command, a thread or a task use the client itself: "
            'current_app.extensions["whisperr"].'
        )
    if _IN_ENVIRON not in request.environ:  # a test made the context, nothing came by WSGI
        request.environ[_IN_ENVIRON] = _maker()()
    client: RequestClient[Flask] = request.environ[_IN_ENVIRON]
    return client


def _maker() -> Callable[[], RequestClient[Flask]]:
    try:
        make: Callable[[], RequestClient[Flask]] = current_app.extensions[_MAKER]
    except KeyError:
        raise RuntimeError(
            "The application has no WhisperrFlask: WhisperrFlask(app), or init_app(app)."
        ) from None
    return make


#: The client of the request that is being served; raises a RuntimeError where there is none.
current_whisperr = cast("RequestClient[Flask]", LocalProxy(_of_this_request))
