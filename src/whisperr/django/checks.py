"""What ``manage.py check`` says about the settings."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004 - Django's names
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from whisperr.django import configuration

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_client(**_: Any) -> Iterable[CheckMessage]:
    """Whether the settings make a client, and what it warns of."""
    try:
        options = configuration.client_options()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            configuration.make_client(options)
    except ImproperlyConfigured as problem:
        hint = "Where nothing is to be sent, as in CI, set WHISPERR_DISABLED = True."
        return [Error(str(problem), hint=hint, id="whisperr.E001")]
    return [Warning(str(warning.message), id="whisperr.W001") for warning in caught]


def check_request_settings(**_: Any) -> Iterable[CheckMessage]:
    """Whether WHISPERR_RESOLVE_USER and ``on_commit`` can be used."""
    try:
        configuration.make_finder()
        configuration.waits_by_default()
    except ImproperlyConfigured as problem:
        return [Error(str(problem), id="whisperr.E002")]
    return []


def check_middleware(**_: Any) -> Iterable[CheckMessage]:
    """Whether the user is there for all code that can track."""
    ours = _place_of("whisperr.django.middleware.WhisperrMiddleware")
    authentication = _place_of("django.contrib.auth.middleware.AuthenticationMiddleware")
    if ours is None or authentication is None or ours > authentication:
        return []
    return [
        Warning(
            "WhisperrMiddleware stands before AuthenticationMiddleware: "
            "what runs between the two finds no user.",
            hint="Move WhisperrMiddleware below AuthenticationMiddleware in MIDDLEWARE.",
            id="whisperr.W002",
        )
    ]


def _place_of(wanted: str) -> int | None:
    """Where in MIDDLEWARE a function or class, or one derived from it, stands."""
    for place, path in enumerate(settings.MIDDLEWARE):
        try:
            middleware = import_string(path)
        except ImportError:
            continue  # Django says so when it loads the chain
        bases = getattr(middleware, "__mro__", (middleware,))
        if any(f"{base.__module__}.{base.__qualname__}" == wanted for base in bases):
            return place
    return None
