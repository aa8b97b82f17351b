"""What uWSGI imports in test_uwsgi_handover.py. Configured by environment.

LAB_OPTIONS: of the client, as JSON.
LAB_BOOT: how many operations are tracked while this module is imported.
LAB_SCENARIO: which of the functions below runs around the making of the client.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import uwsgi

import lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whisperr import Whisperr

_HOOKS = ("post_fork", "spool", "mule", "atexit")


def _slots(_: Whisperr | None) -> None:
    """The application fills uWSGI's slots, each of which holds one function."""
    uwsgi.post_fork_hook = partial(_note_hook, "post_fork")
    uwsgi.spooler = partial(_note_hook, "spool")
    uwsgi.mule_msg_hook = partial(_note_hook, "mule")
    uwsgi.atexit = partial(_note_hook, "atexit")


def _decorators(_: Whisperr | None) -> None:
    """The application uses uWSGI's own decorators, which fill the slots."""
    import uwsgidecorators

    uwsgidecorators.postfork(partial(_note_hook, "post_fork"))
    uwsgidecorators.spool(_note_task)
    uwsgidecorators.mulefunc(_note_message)
    uwsgi.atexit = partial(_note_hook, "atexit")


def _note_hook(hook: str, *_: object) -> int:
    lab.note("theirs", hook=hook, pid=os.getpid())
    return int(uwsgi.SPOOL_OK)


def _note_task(_: object) -> int:
    return _note_hook("spool")


def _note_message() -> None:
    _note_hook("mule")


def _helper(_: Whisperr | None) -> None:
    """The helper for those who want to be explicit, added twice."""
    from uwsgidecorators import postfork

    from whisperr.uwsgi import post_fork

    postfork(post_fork)
    postfork(post_fork)


def _overwritten(client: Whisperr | None) -> None:
    """The application overwrites the slot, and no other hook is left that runs at the fork."""
    uwsgi.post_fork_hook = lambda: None
    if client is not None:
        atexit.unregister(_note_accounts)  # it would use the client first


def _who_took(client: Whisperr | None) -> None:
    """Each process notes after our hook what it has taken over."""
    import uwsgidecorators

    def note() -> None:
        assert client is not None
        stats = client.stats()
        lab.note("forked", pid=os.getpid(), took=stats.accepted, worker=uwsgi.worker_id())

    uwsgidecorators.postfork(note)


def _others_track(client: Whisperr | None) -> None:
    """Mules and spoolers track as soon as they are forked."""
    import uwsgidecorators

    def track() -> None:
        if not uwsgi.worker_id():
            assert client is not None
            lab.track(client)
            lab.note("others", pid=os.getpid())

    uwsgidecorators.postfork(track)


def _flush(client: Whisperr | None) -> None:
    assert client is not None
    result = client.flush()
    lab.note("flushed", pid=os.getpid(), delivered=result.delivered, queued=result.queued)


def _slow_master(_: Whisperr | None) -> None:
    """The workers run before the master has noted their pids: it takes its time."""
    os.register_at_fork(after_in_parent=lambda: time.sleep(1.0))


def _late(client: Whisperr | None) -> None:
    """A thread of the application's tracks in the master once a file is written to."""

    def run() -> None:
        assert client is not None
        with open("late.pipe") as pipe:  # until somebody writes
            count = int(pipe.read())
        for _ in range(count):
            client.track("user", "something_happened")
        refused = client.stats().refused
        lab.note("late", pid=os.getpid(), refused=refused, result=bool(client.flush()))

    os.mkfifo("late.pipe")
    threading.Thread(target=run, daemon=True).start()


SCENARIOS: dict[str, Callable[[Whisperr | None], None]] = {
    "slots": _slots,
    "decorators": _decorators,
    "helper": _helper,
    "overwritten": _overwritten,
    "who took": _who_took,
    "others track": _others_track,
    "flush": _flush,
    "late": _late,
    "slow master": _slow_master,
    "": lambda _: None,
}


def _note_accounts() -> None:
    stats = client.stats()
    lab.note("accounts", pid=os.getpid(), accepted=stats.accepted, delivered=stats.delivered)


SCENARIOS[os.environ["LAB_BEFORE"]](None)
client = lab.client(**json.loads(os.environ["LAB_OPTIONS"]))
atexit.register(_note_accounts)  # workers inherit it; it runs before ours, after uWSGI's
for _ in range(int(os.environ["LAB_BOOT"])):
    lab.track(client)
if int(os.environ["LAB_BOOT"]):
    lab.note("boot", pid=os.getpid())
SCENARIOS[os.environ["LAB_AFTER"]](client)


def application(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """The WSGI application: `/work?count=`, `/mule`, `/spool`, and any other path."""
    path = environ["PATH_INFO"]
    if path == "/work":
        for _ in range(int(parse_qs(environ["QUERY_STRING"])["count"][0])):
            lab.track(client)
    elif path == "/mule":
        _send_to_mule()
    elif path == "/spool":
        _send_to_spooler()
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def _send_to_mule() -> None:
    if isinstance(uwsgi.mule_msg_hook, partial):
        uwsgi.mule_msg(b"message")
    else:
        import uwsgidecorators

        uwsgidecorators.mulefunc(_note_message)()


def _send_to_spooler() -> None:
    if isinstance(uwsgi.spooler, partial):
        uwsgi.spool({b"key": b"value"})
    else:
        uwsgi.spool({b"ud_spool_func": b"_note_task"})
