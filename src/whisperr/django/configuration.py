"""The settings of a project, and what is made of them once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from whisperr import Whisperr
from whisperr._options import Options
from whisperr.django.users import RequestResolver, RequestUser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.http import HttpRequest

    from whisperr.request import UserFinder

#: What also has a setting of its own, such as WHISPERR_API_KEY; that wins over the dict.
SINGLE = ("api_key", "base_url", "disabled", "debug", "app_version", "resolve_user")
#: What the dict WHISPERR takes besides the options of the client.
OWN = ("on_commit", "resolve_user")
#: Everything that the dict WHISPERR takes.
KNOWN = (*Options._fields, *OWN)
#: What may be given by its dotted path.
_CALLABLE = ("on_error", "before_send", "session_factory", "resolve_user")
_SETTINGS = {"WHISPERR", *(f"WHISPERR_{name.upper()}" for name in SINGLE)}

_Part = TypeVar("_Part")


class Given(NamedTuple):
    """A value, and where in the settings it stands."""

    value: Any
    place: str


def given() -> dict[str, Given]:
    """What the settings say, by the names of the dict.

    Raises:
        ImproperlyConfigured: for a name that the dict does not know.
    """
    whole = getattr(settings, "WHISPERR", {})
    if not isinstance(whole, dict):
        raise ImproperlyConfigured('WHISPERR must be a dict of options, such as {"flush_at": 50}.')
    unknown = [repr(name) for name in whole if name not in KNOWN]
    if unknown:
        raise ImproperlyConfigured(
            f"WHISPERR has no option {', '.join(unknown)}. It has {', '.join(KNOWN)}."
        )
    found = {name: Given(value, f'WHISPERR["{name}"]') for name, value in whole.items()}
    for name in SINGLE:
        setting = f"WHISPERR_{name.upper()}"
        value = getattr(settings, setting, None)
        if value is not None:
            found[name] = Given(value, setting)
    return found


def client_options() -> dict[str, Given]:
    """The options of the client; dotted paths are imported.

    Raises:
        ImproperlyConfigured: for what does not import.
    """
    return {
        name: Given(_callable(value), value.place) if name in _CALLABLE else value
        for name, value in given().items()
        if name not in OWN
    }


def make_client(options: Mapping[str, Given]) -> Whisperr:
    """A client with these options.

    Raises:
        ImproperlyConfigured: for a missing key and for a value that an option does not take.
    """
    try:
        return Whisperr(**{name: option.value for name, option in options.items()})
    except (TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"{_place_of(str(error), options)}: {error}") from error


def make_finder() -> UserFinder[HttpRequest]:
    """What finds the user of a request.

    Raises:
        ImproperlyConfigured: for a resolver that does not import or is not callable.
    """
    resolve = _callable(given().get("resolve_user", Given(None, "")))
    return RequestUser() if resolve is None else RequestResolver(resolve)


def waits_by_default() -> bool:
    """Whether a call waits for the commit where it does not say.

    Raises:
        ImproperlyConfigured: for what is no bool.
    """
    written = given().get("on_commit", Given(False, ""))
    if not isinstance(written.value, bool):
        raise ImproperlyConfigured(f"{written.place} must be True or False.")
    return written.value


class Setup:
    """What the settings amount to; another one takes its place when they change.

    Each part is made at its first use, by whichever thread comes first. No lock: a child that is
    forked meanwhile would have it held for ever.
    """

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    @property
    def client(self) -> Whisperr:
        """The client of the project."""
        return self._once("client", lambda: make_client(client_options()))

    @property
    def finder(self) -> UserFinder[HttpRequest]:
        """What finds the user of a request."""
        return self._once("finder", make_finder)

    @property
    def on_commit(self) -> bool:
        """Whether a call waits for the commit where it does not say."""
        return self._once("on_commit", waits_by_default)

    def _once(self, name: str, make: Callable[[], _Part]) -> _Part:
        made: _Part | None = self._made.get(name)
        if made is None:
            made = self._made.setdefault(name, make())  # a second thread's own is dropped unused
        return made


setup = Setup()


def get_client() -> Whisperr:
    """The client of the project, made from its settings at the first call.

    May be called from any thread and at any time once the settings are configured, also before
    the apps are loaded. Ask for it where you use it: tests that change settings get another one.

    Raises:
        ImproperlyConfigured: for a missing key, an unknown option or a value out of range; it
            names the setting.
    """
    return setup.client


def _callable(written: Given) -> Any:
    value = written.value
    if isinstance(value, str):
        try:
            value = import_string(value)
        except ImportError as error:
            raise ImproperlyConfigured(
                f'{written.place} is "{written.value}", which does not import: {error}'
            ) from error
    if value is not None and not callable(value):
        raise ImproperlyConfigured(f"{written.place} must be a callable or its dotted path.")
    return value


def _place_of(problem: str, options: Mapping[str, Given]) -> str:
    """The setting that a message of the client's is about: it names the option first."""
    named = re.search("|".join(KNOWN), problem.replace("API key", "api_key"))
    name = "api_key" if named is None else named[0]
    return options[name].place if name in options else f"WHISPERR_{name.upper()}"


def _start_anew(*, setting: str, **_: object) -> None:
    global setup
    if setting in _SETTINGS:
        setup = Setup()


setting_changed.connect(_start_anew)
