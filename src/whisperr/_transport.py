"""One HTTP exchange: bytes in, an Outcome out, never an exception. No retries, no pauses."""

from __future__ import annotations

# Imported for others: they import these only when they need them, and an import that is
# half done in another thread in the moment of a fork never ends in the child.
import encodings.idna  # socket.getaddrinfo
import encodings.punycode  # noqa: F401 - encodings.idna, for a host that is not ASCII
import gc  # noqa: F401 - weakref.finalize, at the exit
import netrc  # noqa: F401 - requests
import time
from contextlib import suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters
from urllib3.exceptions import HTTPError, InvalidHeader
from urllib3.util import Retry

from ._adapter import DeadlineAdapter, free_pools_of_locks
from ._connection import Exchange
from ._outcome import Outcome, judge, no_answer
from ._version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._fork import Owner

#: More of an answer than the service ever sends; the rest is not read.
_MAX_ANSWER_BYTES = 64 * 1024
#: What a defect raises, or a session of the user's. No more: where the calling thread delivers,
#: what a signal handler raises (Celery's soft time limit) is not ours to keep.
FAULTS = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RuntimeError,
    AssertionError,
    ImportError,
    HTTPError,
    HTTPException,
)


class Transport:
    """The HTTP session of a process; made on the first exchange, used by one thread at a time.

    Args:
        url: the service's base URL without a trailing slash.
        api_key: goes into the X-API-Key header and nowhere else.
        session_factory: makes the session, None for a plain `requests.Session`.
        owner: whose session it is.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        session_factory: Callable[[], requests.Session] | None,
        owner: Owner,
    ) -> None:
        self._url = url
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"whisperr-python/{VERSION}",
            "X-API-Key": api_key,
        }
        self._session_factory = session_factory
        self._exchange = Exchange(owner)
        self._session: requests.Session | None = None
        self._adapters: list[DeadlineAdapter] = []
        #: By URL: a request to copy, and what the environment says of proxies and certificates.
        self._prepared: dict[str, tuple[requests.PreparedRequest, Any]] = {}

    def post(self, path: str, body: bytes, *, events: int, deadline: float) -> Outcome:
        """Send one request and judge its answer.

        Args:
            path: such as ``/v1/events/batch``.
            body: JSON.
            events: how many events the body is a batch of, 0 for an identify.
            deadline: monotonic time at which the exchange is given up.

        Returns:
            The outcome; every error is one.
        """
        self._exchange.deadline = deadline
        try:
            session = self._session
            if session is None:
                session = self._session = self._new_session()
            return self._answer(session, path, body, events)
        except FAULTS as error:
            return _failure(error)
        except BaseException:
            # A signal handler's: the connection may be in the middle of a request. A child that
            # comes by here leaves it to its parent.
            if self._exchange.owner.holds():
                self._session = None
                self._adapters.clear()
            raise

    def close(self) -> None:
        """Close the connections, but not what an adapter of the user's holds."""
        for adapter in self._adapters:
            with suppress(*FAULTS):
                adapter.close()

    def _new_session(self) -> requests.Session:
        session = self._session_factory() if self._session_factory else requests.Session()
        for prefix in ("https://", "http://"):
            # What requests mounts by itself is replaced; an adapter of the user's own stays.
            if type(session.get_adapter(prefix)) is requests.adapters.HTTPAdapter:
                adapter = DeadlineAdapter(self._exchange)
                session.mount(prefix, adapter)
                self._adapters.append(adapter)
        for mounted in session.adapters.values():
            free_pools_of_locks(mounted, self._exchange.owner)
        return session

    def _answer(self, session: requests.Session, path: str, body: bytes, events: int) -> Outcome:
        send = self._send_prepared if self._session_factory is None else self._send_anew
        response = send(session, self._url + path, body)
        # Not response.headers, from which our adapter takes the Location.
        headers = getattr(response.raw, "headers", response.headers)
        try:
            answer = response.raw.read(_MAX_ANSWER_BYTES, decode_content=False)
        except FAULTS:  # the status came: what a 2xx took must not be sent again
            answer = b""
        finally:
            response.close()  # goes back to the pool where it was read to its end
        return judge(
            response.status_code,
            answer,
            events=events,
            retry_after=_seconds(headers.get("Retry-After")),
            location=headers.get("Location"),
            secret=self._headers["X-API-Key"],
        )

    def _send_anew(self, session: requests.Session, url: str, body: bytes) -> requests.Response:
        """In a session of the user's: its auth and its cookies may change with each request."""
        return session.post(
            url,
            data=body,
            headers=self._headers,
            timeout=self._seconds_left(),
            allow_redirects=False,  # the key must not travel to another host
            stream=True,
            auth=session.auth or _as_it_is,
        )

    def _send_prepared(self, session: requests.Session, url: str, body: bytes) -> requests.Response:
        """With a copy of a request that is made once: half of requests' work."""
        prepared = self._prepared.get(url)
        if prepared is None:
            plain = requests.Request("POST", url, self._headers, data=b"{}", auth=_as_it_is)
            template = session.prepare_request(plain)
            address = template.url or url  # as NO_PROXY has it
            settings = session.merge_environment_settings(address, {}, True, None, None)
            prepared = self._prepared[url] = template, settings
        template, settings = prepared
        request = template.copy()  # tracing adds headers to what passes Session.send
        request.body = body
        request.headers["Content-Length"] = str(len(body))
        timeout = self._seconds_left()
        return session.send(request, timeout=timeout, allow_redirects=False, **settings)

    def _seconds_left(self) -> float:
        return max(0.001, self._exchange.deadline - time.monotonic())


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An auth that adds nothing: requests would otherwise look into .netrc."""
    return request


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        return Retry().parse_retry_after(retry_after)
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _failure(error: Exception) -> Outcome:
    causes = _causes(error)
    for cause in causes:
        # Frames below hold the exception that holds them, and the request with its body.
        cause.__traceback__ = None
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return no_answer("nothing listens there (connection refused)", refused=True)
    if any(isinstance(cause, (TimeoutError, requests.Timeout)) for cause in causes):
        return no_answer("no answer came in time")
    # Names only: the text of an exception may hold the URL of a proxy with its password.
    outermost, innermost = type(causes[0]).__name__, type(causes[-1]).__name__
    return no_answer(f"the exchange failed ({outermost}: {innermost})")


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it came from, requests' and urllib3's nesting included."""
    causes: list[BaseException] = []
    pending: list[Any] = [error]
    while pending and len(causes) < 20:
        cause = pending.pop(0)
        if not isinstance(cause, BaseException) or cause in causes:
            continue
        causes.append(cause)
        context = None if cause.__suppress_context__ else cause.__context__
        pending += [cause.__cause__, context, getattr(cause, "reason", None)]
        if isinstance(cause, (requests.RequestException, HTTPError)):
            pending += cause.args
    return causes
