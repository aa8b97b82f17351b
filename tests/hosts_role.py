"""An application that notes what stats() calls each of its processes; test_role.py runs it.

gunicorn and uWSGI load it; run as a script it is the host itself: NAME ARGUMENT.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

client = lab.client()


def note(where: str) -> None:
    """Note the role of the calling process."""
    process = client.stats().process
    lab.note("roles", where=where, role=process.role, pid=process.pid, parent=process.parent)


def note_in_a_fork(where: str) -> None:
    """Note the role of a child that a plain fork makes of the calling process."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            note(where)
        os._exit(0)
    os.waitpid(child, 0)


def note_in_a_process(where: str, method: str, work: Callable[[str], None] = note) -> None:
    """Note the role of a child that multiprocessing starts."""
    context: Any = multiprocessing.get_context(method)  # its type does not know Process
    process = context.Process(target=work, args=(where,))
    process.start()
    process.join()


def application(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """WSGI: where a worker is asked."""
    _note_request()
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


async def asgi(scope: dict[str, Any], _: Any, send: Callable[..., Any]) -> None:
    """The same for ASGI, without a lifespan."""
    assert scope["type"] == "http"
    _note_request()
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def _note_request() -> None:
    note("request")
    note_in_a_fork("fork of a worker")
    note_in_a_process("process of a worker", "fork")


def plain() -> None:
    """A process without a host."""
    note_in_a_fork("fork of a plain process")
    with suppress(ImportError):
        import gunicorn.arbiter  # noqa: F401 - who has it need not run it

        note("with gunicorn imported")


def children(method: str) -> None:
    """A child of multiprocessing's, and one of its own."""
    note_in_a_process("process", method, _note_both)


def _note_both(where: str) -> None:
    note(where)
    note_in_a_fork(f"fork of a {where}")


if __name__ != "__mp_main__":
    note("import")
uwsgi = sys.modules.get("uwsgi")
if uwsgi is not None:
    uwsgi.post_fork_hook = lambda: note("post_fork")  # type: ignore[attr-defined]
elif os.environ.get("LAB_FORK_AT_IMPORT"):
    note_in_a_fork("fork at import")
    note_in_a_process("process at import", "fork")

if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
