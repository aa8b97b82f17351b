"""A worker of uWSGI's that has others track: `/mule`, `/spool` and `/deliver`, each `?count=`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import uwsgi
import uwsgidecorators

import lab
from hosts.application import answer, client, work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@uwsgidecorators.mulefunc  # type: ignore[untyped-decorator]
def track_in_mule(count: int) -> None:
    """Runs in a mule."""
    work(count)
    lab.note("done", pid=os.getpid())


@uwsgidecorators.spool  # type: ignore[untyped-decorator]
def track_in_spooler(arguments: dict[str, str]) -> int:
    """Runs in a spooler."""
    work(int(arguments["count"]))
    lab.note("done", pid=os.getpid())
    return int(uwsgi.SPOOL_OK)


@uwsgidecorators.spool  # type: ignore[untyped-decorator]
def deliver_in_spooler(arguments: dict[str, str]) -> int:
    """Runs in a spooler, and leaves nothing behind."""
    with client.delivering():
        work(int(arguments["count"]))
    lab.note("done", pid=os.getpid())
    return int(uwsgi.SPOOL_OK)


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """The WSGI application."""
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    count = parse_qs(query).get("count", [""])[0]
    if path == "/mule":
        track_in_mule(int(count))
    elif path == "/spool":
        track_in_spooler.spool(count=count)
    elif path == "/deliver":
        deliver_in_spooler.spool(count=count)
    body = answer("/ready" if count else path, query).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
