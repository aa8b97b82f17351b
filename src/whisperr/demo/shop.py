"""A small shop. Its client is made at module level, as in any application; nothing else is done."""

from __future__ import annotations

import os
from http import HTTPStatus
from typing import TYPE_CHECKING

from whisperr import Whisperr
from whisperr.demo import journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

client = Whisperr()  # WHISPERR_API_KEY and WHISPERR_BASE_URL


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serve `/<page>/<user>`; the answer names the process that gave it."""
    page, _, user = str(environ["PATH_INFO"])[1:].partition("/")
    show = PAGES.get(page)
    status = HTTPStatus.OK if show and user else HTTPStatus.NOT_FOUND
    if show and user:
        show(user)
    body = f"{status.phrase}\n".encode()
    headers = [
        ("Content-Type", "text/plain"),
        ("Content-Length", str(len(body))),
        ("X-Worker-Pid", str(os.getpid())),
    ]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]


def sign_up(user: str) -> None:
    """A new user."""
    client.identify(user, email=f"{user}@example.com", traits=_proof("identify"))
    _track(user, "signed_up")


def check_out(user: str) -> None:
    """An order, paid."""
    _track(user, "order_placed")


def decline(user: str) -> None:
    """An order, and the card is declined."""
    _track(user, "order_placed")
    _track(user, "payment_failed")


def cancel(user: str) -> None:
    """The end of a subscription."""
    _track(user, "subscription_cancelled")


PAGES: dict[str, Callable[[str], None]] = {
    "signup": sign_up,
    "checkout": check_out,
    "declined": decline,
    "cancel": cancel,
}


def _track(user: str, event_type: str) -> None:
    client.track(user, event_type, _proof("event"))


def _proof(kind: journal.Kind) -> dict[str, str | int]:
    """Note the call that is about to be made; return what ties it to the note."""
    entry = journal.append(os.environ["WHISPERR_DEMO_JOURNAL"], kind)
    return {"test_id": entry.id, "tracked_by": entry.pid}


_track("shop", "shop_opened")  # in gunicorn's master, which imports this before it forks
