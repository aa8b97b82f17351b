"""Children forked beside threads that are inside OpenSSL; run by test_openssl.py.

Arguments: the kind of child, and how many are forked.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import socket
import ssl
import sys
import threading
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

import lab
from children import examine_and_kill, status_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from whisperr import Whisperr, WhisperrError

#: What a child may take to deliver at its end.
SHUTDOWN_TIMEOUT = 2.0
#: After this time a child has not ended late: it hangs.
LIMIT = 8.0
LOADERS = 2
#: So many children do nothing, for the time that an interpreter takes to end here and now.
TEARDOWNS = 5
_URL = urlsplit(os.environ["WHISPERR_BASE_URL"])
HOST, PORT = str(_URL.hostname), int(_URL.port or 443)
BUNDLE = os.environ["REQUESTS_CA_BUNDLE"]
client: Whisperr


def main() -> None:
    global client
    kind, forks = sys.argv[1], int(sys.argv[2])
    if kind != "control":
        client = lab.client(on_error=_on_error, shutdown_timeout=SHUTDOWN_TIMEOUT)
        lab.track(client)
        assert client.flush()
    if kind not in HANGS:
        for _ in range(LOADERS):
            threading.Thread(target=_make_handshakes, daemon=True).start()
    for _ in range(TEARDOWNS):
        _fork(_nothing, "teardown")
    for _ in range(forks):
        _fork(CHILDREN[kind], "ended")
    if kind != "control":
        lab.record_stats(client)


def _fork(work: Callable[[], None], note: str) -> None:
    """Fork a child and note how it ended; one that hangs is examined and killed."""
    child = os.fork()
    if child == 0:
        work()
        lab.note("ending", pid=os.getpid())
        sys.exit(0)
    status = status_of(child, LIMIT)
    if status is None:
        lab.note("hung", pid=child, where=examine_and_kill(child))
    else:
        lab.note(note, pid=child, status=status)


def _on_error(report: WhisperrError) -> None:
    lab.note("reported", pid=os.getpid(), reason=report.reason, count=report.count)


def _make_handshakes() -> None:
    """Contexts and handshakes, and nothing else: some thread is always inside OpenSSL."""
    while True:
        _handshake()


def _handshake() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(BUNDLE)
    with (
        socket.create_connection((HOST, PORT)) as sock,
        context.wrap_socket(sock, server_hostname=HOST),
    ):
        pass


# --- What the children do -------------------------------------------------------------------


def _track() -> None:
    lab.track(client)


def _exchange_without_client() -> None:
    """The control: a thread makes the same exchange; it is waited for as long."""
    thread = threading.Thread(target=_get, daemon=True)
    thread.start()
    thread.join(SHUTDOWN_TIMEOUT)
    if thread.is_alive():
        lab.note("reported", pid=os.getpid(), reason="undelivered", count=1)


def _get() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(BUNDLE)
    connection = http.client.HTTPSConnection(HOST, PORT, context=context, timeout=SHUTDOWN_TIMEOUT)
    connection.request("GET", "/stored/counts")
    connection.getresponse().read()


def _nothing() -> None:
    return


def _hang_in_context() -> None:
    ssl.SSLContext.load_verify_locations = _never_return  # type: ignore[method-assign]
    _track()


def _hang_in_socket() -> None:
    ssl.SSLContext.wrap_socket = _never_return  # type: ignore[method-assign]
    _track()


def _hang_in_handshake() -> None:
    ssl.SSLSocket.do_handshake = _never_return  # type: ignore[method-assign]
    _track()


def _never_return(*_arguments: object, **_keywords: object) -> NoReturn:
    """Block below Python and without the GIL, as a lock of OpenSSL's does."""
    reader, _ = os.pipe()
    ctypes.CDLL(None).read(reader, ctypes.create_string_buffer(1), 1)
    raise AssertionError("nobody writes into this pipe")


HANGS = {
    "hang_in_context": _hang_in_context,
    "hang_in_socket": _hang_in_socket,
    "hang_in_handshake": _hang_in_handshake,
}
CHILDREN = {
    "client": _track,
    "control": _exchange_without_client,
    "untouched": _nothing,
    **HANGS,
}


if __name__ == "__main__":
    main()
