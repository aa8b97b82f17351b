"""The Django project under test. It serves whatever view a test gives to a `browser`."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

    #: Returns a response, or None for any.
    View = Callable[[Any], Any]

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"
#: How Django runs the middlewares: under WSGI, and under ASGI. Both serve both kinds of views.
CHAINS = ("sync", "async")
OURS = "whisperr.django.WhisperrMiddleware"

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        for alias in ("default", "other")
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "whisperr.django",
    ],
    MIDDLEWARE=[SESSIONS, AUTHENTICATION, OURS],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of the tests",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402 - once Django is set up
from django.http import HttpResponse as Response  # noqa: E402
from django.test import AsyncClient, Client  # noqa: E402
from django.urls import path  # noqa: E402

_served: dict[str, View] = {}


def _sync_view(request: HttpRequest) -> HttpResponse:
    response: HttpResponse = _served["view"](request) or Response("served")
    return response


async def _async_view(request: HttpRequest) -> HttpResponse:
    response: HttpResponse = await _served["view"](request) or Response("served")
    return response


urlpatterns = [path("sync", _sync_view), path("async", _async_view)]


def new_user() -> User:
    """A user of the test's own, in the database."""
    user: User = User.objects.create(username=uuid.uuid4().hex)
    return user


def browser(user: User | None = None, *, chain: str = "sync") -> Callable[[View], Any]:
    """One that is logged in; called with a view, it makes a request and returns the response."""
    client: Any = Client() if chain == "sync" else AsyncClient()
    if user is not None:
        client.force_login(user)

    def get(view: View) -> Any:
        _served["view"] = view
        answer = client.get("/async" if inspect.iscoroutinefunction(view) else "/sync")
        return answer if chain == "sync" else asyncio.run(answer)

    return get


def visit(view: View, user: User | None = None, *, chain: str = "sync") -> Any:
    """One request by a new browser."""
    return browser(user, chain=chain)(view)
