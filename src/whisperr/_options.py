"""Every option of a client: default, unit, range and environment fall-back."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from . import _capture
from ._value import Value
from .errors import WhisperrError

if TYPE_CHECKING:
    from typing import TypedDict

    import requests
    from typing_extensions import Unpack

#: The service takes at most this many events in a request (CONTRACT: batch).
SERVICE_BATCH_SIZE = 500
_TRUE = frozenset({"1", "true", "yes", "on"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: The key is a secret, and what a callback shows of itself may hold one.
_HIDDEN = frozenset({"api_key", "on_error", "before_send", "session_factory"})

BeforeSend = Callable[[dict[str, Any], str], "dict[str, Any] | None"]
OnError = Callable[[WhisperrError], object]

if TYPE_CHECKING:

    class OptionArguments(TypedDict, total=False):
        """The keyword arguments of a client, for type checkers; `Options` describes them."""

        base_url: str | None
        app_version: str | None
        flush_at: int
        flush_interval: float
        max_queue_size: int
        max_queue_bytes: int
        max_batch_size: int
        max_retries: int
        request_timeout: float
        shutdown_timeout: float
        disabled: bool | None
        debug: bool | None
        on_error: OnError | None
        before_send: BeforeSend | None
        session_factory: Callable[[], requests.Session] | None


class Options(Value):
    """The validated options of a client; the same in every process.

    Each is what is given, else the environment's, else the default. Warns where a value is taken
    but is probably not what was meant.

    Raises:
        ValueError: for a value outside its range, with what to write instead.
        TypeError: for a value of another type or an unknown option.
    """

    #: The app's server key (`wrk_…`), a secret. Falls back to WHISPERR_API_KEY.
    api_key: str | None = None
    #: Where the service is. Falls back to WHISPERR_BASE_URL.
    base_url: str | None = None
    #: The release of the application, sent with every event. Falls back to WHISPERR_APP_VERSION.
    app_version: str | None = None
    #: How many queued operations start a delivery, at least 1.
    flush_at: int = 20
    #: Seconds between deliveries of what is queued; 0 turns the timer off.
    flush_interval: float = 10.0
    #: How many operations are kept at most; beyond it the oldest are dropped and reported.
    max_queue_size: int = 10_000
    #: Bytes of JSON kept at most, at least 256 KiB; beyond it the oldest operations are dropped.
    max_queue_bytes: int = 32 * 1024 * 1024
    #: Events in a request, 1 to 500.
    max_batch_size: int = SERVICE_BATCH_SIZE
    #: Tries after the first before `retry_exhausted` is reported; everything stays queued.
    max_retries: int = 6
    #: Seconds for one exchange, connecting included.
    request_timeout: float = 10.0
    #: Seconds that shutdown() and the end of the process may take to deliver.
    shutdown_timeout: float = 5.0
    #: Accept nothing and send nothing. Falls back to WHISPERR_DISABLED.
    disabled: bool | None = None
    #: Print reports to stderr. Falls back to WHISPERR_DEBUG.
    debug: bool | None = None
    #: Called with each WhisperrError, from the thread that delivers.
    on_error: OnError | None = None
    #: Sees a copy of each operation before it is encoded; returns it, changed or not, or None.
    before_send: BeforeSend | None = None
    #: Makes the `requests.Session` of a process, on its first delivery.
    session_factory: Callable[[], requests.Session] | None = None

    def __init__(self, api_key: str | None = None, **given: Unpack[OptionArguments]) -> None:
        super().__init__(**given)  # not the key: a traceback may show what a frame was given
        self._set("api_key", api_key)
        self._fall_back()
        _check_number("flush_at", self.flush_at, whole=True, least=1)
        _check_number("flush_interval", self.flush_interval, least=0)
        _check_number("max_queue_size", self.max_queue_size, whole=True, least=1)
        _check_number("max_queue_bytes", self.max_queue_bytes, whole=True, least=256 * 1024)
        _check_number("max_batch_size", self.max_batch_size, whole=True, least=1)
        _check_number("max_retries", self.max_retries, whole=True, least=0)
        _check_number("request_timeout", self.request_timeout, above=0)
        _check_number("shutdown_timeout", self.shutdown_timeout, least=0)
        self._check_types()
        needs_no_key = self.disabled or _capture.recorder is not None
        warned = [_check_url(self.url), None if needs_no_key else _check_key(self.api_key)]
        if self.max_batch_size > SERVICE_BATCH_SIZE:
            warned += [
                f"max_batch_size is brought down to {SERVICE_BATCH_SIZE}, the service's limit."
            ]
            self._set("max_batch_size", SERVICE_BATCH_SIZE)
        for warning in filter(None, warned):
            # Past this and the client's constructor, to the line that wrote the option.
            warnings.warn(warning, UserWarning, stacklevel=3)

    @property
    def url(self) -> str:
        """The base URL without a trailing slash."""
        return (self.base_url or "").rstrip("/")

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self._fields if name not in _HIDDEN)
        return f"Options({', '.join(shown)})"

    def _set(self, name: str, value: object) -> None:
        self.__dict__[name] = value  # nobody else can

    def _fall_back(self) -> None:
        if self.api_key is None:
            self._set("api_key", os.environ.get("WHISPERR_API_KEY") or None)
        if self.base_url is None:
            url = os.environ.get("WHISPERR_BASE_URL") or "https://api.whisperr.net"
            self._set("base_url", url)
        if self.app_version is None:
            self._set("app_version", os.environ.get("WHISPERR_APP_VERSION") or None)
        for name in ("disabled", "debug"):
            if getattr(self, name) is None:
                given = os.environ.get(f"WHISPERR_{name.upper()}", "").strip().lower()
                self._set(name, given in _TRUE)

    def _check_types(self) -> None:
        for name in ("api_key", "base_url", "app_version"):
            if not isinstance(getattr(self, name), (str, type(None))):
                raise TypeError(f"{name} must be a string.")
        for name in ("disabled", "debug"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True, False or None.")
        for name in ("on_error", "before_send", "session_factory"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise TypeError(f"{name} must be callable or None.")


def _check_number(
    name: str,
    value: object,
    *,
    whole: bool = False,
    least: float | None = None,
    above: float | None = None,
) -> None:
    kinds = int if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise TypeError(f"{name} must be {'a whole number' if whole else 'a number'}.")
    if not whole and not abs(value) <= sys.float_info.max:
        raise ValueError(f"{name} must be finite.")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}; it is {value}.")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be greater than {above}; it is {value}.")


def _check_key(api_key: str | None) -> str | None:
    """Raise for a key that cannot be one; returns a warning."""
    if not api_key or not api_key.strip():
        raise ValueError(
            "An API key is needed: pass api_key, set WHISPERR_API_KEY, or set disabled=True."
        )
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ValueError("The API key holds a blank or a character that no key has; copy it again.")
    if api_key.startswith("wpk_"):
        return (
            "The API key is a publishable one (wpk_…), which cannot grant consent; "
            "a backend wants the app's server key (wrk_…)."
        )
    return None


def _check_url(url: str) -> str | None:
    """Raise for a URL that cannot be the service's; returns a warning."""
    # The URL itself stands in no message: what is wrong with it may be a password in it.
    if not url.isprintable() or " " in url:
        raise ValueError("base_url holds a blank or a control character.")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "base_url has a host that cannot be read, or a port that is no number from 0 to 65535."
        ) from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("base_url must not have user info; the key goes into api_key.")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("base_url must begin with http:// or https:// and name a host.")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError("base_url must not have a query or a fragment.")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        return "base_url is plain http to another host: the key travels unencrypted. Use https."
    return None
