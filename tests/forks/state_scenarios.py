"""A fork while another thread is held in a state that matters; run by test_states.py.

Arguments: the state, the kind of fork, a seed. Each state is held by a seam: a wrapper
around the function in which it begins. The thread waits at a gate there, or in the real
wait that follows, and the run says whether it was still there after the fork.
"""

from __future__ import annotations

import _thread
import bz2
import importlib
import importlib.abc
import logging
import os
import random
import ssl
import sys
import threading
import time
from contextlib import suppress
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

import requests

import lab
from forked import raw_fork
from whisperr import _connection, _delivery, _loop, _waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from whisperr import Whisperr

SECONDS = 10.0
SHUTDOWN_TIMEOUT = 5.0
#: What some library imports only when it needs it.
LATE_MODULES = ("encodings.idna", "stringprep", "netrc", "http.cookies", "socks", "unittest.mock")


class Hold:
    """Where a thread of the parent stands still; a child passes through."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._gate = _thread.allocate_lock()
        self._gate.acquire()
        self._entries = 0
        #: The number of the stay under way, 0 outside.
        self.stay = 0

    def stand(self) -> None:
        """Stand still here until release(); only the first of the parent does."""
        if not self._entries and os.getpid() == self._pid:
            self.during(lambda: self._gate.acquire(True, SECONDS))

    def during(self, wait: Callable[[], Any]) -> Any:
        """Make a real wait, which is the state."""
        self._entries += 1
        self.stay = self._entries
        result = wait()
        self.stay = 0
        return result

    def release(self) -> None:
        """Let go who stands still; a real wait ends by itself."""
        with suppress(RuntimeError):
            self._gate.release()


hold = Hold()
client: Whisperr


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Replace a function by `around`, which gets it as its first argument."""
    original = getattr(owner, name)
    setattr(owner, name, lambda *args, **keywords: around(original, *args, **keywords))


def stand_before(original: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    hold.stand()
    return original(*args, **keywords)


def stand_after(original: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    result = original(*args, **keywords)
    hold.stand()
    return result


# --- States of the sender -------------------------------------------------------------------


def waiting() -> None:
    """It waits for operations."""

    def wait(original: Callable[..., Any], flag: _waiter.Flag, seconds: float) -> Any:
        if not (_in_sender() and client._local.get()._counters.delivered.value):
            return original(flag, seconds)
        return hold.during(lambda: original(flag, seconds))

    wrap(_waiter.Flag, "wait", wait)


def encoding() -> None:
    """It makes the body of a batch."""
    wrap(_delivery, "_request", stand_before)


def connecting() -> None:
    """The SYN is sent; it waits until something can be written."""
    wrap(_connection.Exchange, "wait_writable", stand_before)


def handshake() -> None:
    """The first flight of the TLS handshake is sent."""

    def begin(original: Callable[..., Any], sock: _connection.DeadlineSocket) -> None:
        with suppress(ssl.SSLWantReadError):
            sock.raw.do_handshake()
        hold.stand()
        original(sock)

    wrap(_connection.DeadlineSocket, "handshake", begin)


def send() -> None:
    """Half of the head of a request is sent."""

    def half(
        original: Callable[..., int], sock: _connection.DeadlineSocket, data: Any, flags: int = 0
    ) -> int:
        if len(data) < 2:
            return original(sock, data, flags)
        sent = original(sock, data[: len(data) // 2], flags)
        hold.stand()
        return sent

    wrap(_connection.DeadlineSocket, "send", half)


def recv() -> None:
    """The request is sent; the service takes its time to answer (a fault of the server)."""
    wrap(
        _connection.DeadlineSocket,
        "recv_into",
        lambda original, *args: hold.during(lambda: original(*args)),
    )


def backoff() -> None:
    """The service failed (a fault of the server); it pauses before it tries again."""
    # As long as a fork may take on a busy machine; whoever flushes ends the pause.
    _pause(lambda _jitter, _least, _most: SECONDS)


def retry_after() -> None:
    """The service asked for a pause (a fault of the server), which nobody ends."""
    _pause(lambda _jitter, _least, most: most)


def _pause(jitter: Callable[..., float]) -> None:
    def wait(original: Callable[..., Any], flag: _waiter.Flag, seconds: float) -> Any:
        if not (_in_sender() and _loop_of(client)._delivery.backoff.resume_at > time.monotonic()):
            return original(flag, seconds)
        return hold.during(lambda: original(flag, seconds))

    wrap(_waiter.Flag, "wait", wait)
    wrap(_loop_of(client)._delivery.backoff, "jitter", jitter)


def last_look() -> None:
    """It looked for the last time, and has not given up its place yet."""
    wrap(_loop.DeliveryLoop, "run_until_idle", stand_after)


# --- Locks that another thread holds ----------------------------------------------------------
# The sender has made its handshake by then: beside one, a child may find a lock of OpenSSL's held.


def manager_lock() -> None:
    """The lock of urllib3's pool manager."""
    session = _delivered_session()
    lock = session.get_adapter(_url()).poolmanager.pools.lock  # type: ignore[attr-defined]
    _hold_in_thread(lock)


def pool_queue_lock() -> None:
    """The lock of a pool's queue, in a session with an adapter of the user's, if it has one."""
    session = _delivered_session()
    adapter = session.get_adapter(_url())
    assert type(adapter) is OwnAdapter
    for pool in adapter.poolmanager.pools._container.values():
        _hold_in_thread(getattr(pool.pool, "mutex", threading.Lock()))


def logging_lock() -> None:
    """The lock of a handler of the logger `whisperr`; the child has something to log."""
    _delivered_session()
    handler = logging.StreamHandler()
    logging.getLogger("whisperr").addHandler(handler)
    assert handler.lock is not None
    _hold_in_thread(handler.lock)


def import_lock() -> None:
    """Another thread imports a module that somebody may import late."""
    missing = [name for name in LATE_MODULES if name not in sys.modules]
    wanted = missing[0]
    _delivered_session()

    class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
            return ModuleSpec(name, self) if name == wanted else None

        def exec_module(self, _: object) -> None:
            hold.stand()

    sys.meta_path.insert(0, Finder())

    def load() -> None:
        with suppress(ImportError):
            importlib.import_module(wanted)

    threading.Thread(target=load, daemon=True).start()


def malloc() -> None:
    """Threads allocate and free in C all the time, without the GIL."""
    data = random.randbytes(50_000)

    def work() -> None:
        while hold.stay:
            bz2.compress(data, 1)

    threading.Thread(target=hold.stand, daemon=True).start()
    _wait_until(lambda: hold.stay)
    for _ in range(2):
        threading.Thread(target=work, daemon=True).start()


def _hold_in_thread(lock: Any) -> None:
    def work() -> None:
        with lock:
            hold.stand()

    threading.Thread(target=work, daemon=True).start()


class OwnAdapter(requests.adapters.HTTPAdapter):
    """An adapter as users mount it."""


def own_session() -> requests.Session:
    session = requests.Session()
    session.mount(_url(), OwnAdapter())
    return session


def _delivered_session() -> requests.Session:
    """The session, after the first exchange."""
    lab.track(client)
    assert client.flush()
    session = _loop_of(client)._delivery._transport._session
    assert session is not None
    return session


def _url() -> str:
    return os.environ["WHISPERR_BASE_URL"]


def _loop_of(of: Whisperr) -> _loop.DeliveryLoop:
    return of._local.get()._loop


def _in_sender() -> bool:
    return threading.current_thread() is not threading.main_thread()


# --- The run ----------------------------------------------------------------------------------


def main(state: str, fork: str, seed: str) -> None:
    random.seed(seed)
    globals()[state]()
    lab.track(client)
    lab.identify(client)
    client.flush(timeout=0)  # begins, and waits for nothing
    if state == "last_look":
        _wait_until(lambda: client.stats().delivered == 2)
        _loop_of(client).closing = True  # it has nothing left to do
        _loop_of(client).wake()
    _wait_until(lambda: hold.stay)
    if fork != "raw_fork":
        time.sleep(random.uniform(0, 0.003))  # the instant is seeded, too
    stay = hold.stay
    child = raw_fork() if fork == "raw_fork" else os.fork()
    if child == 0:
        _live_as_child(state)
    lab.note("held", held=bool(stay) and hold.stay == stay)
    lab.track(client)
    lab.wait_for(child)
    hold.release()
    lab.record_stats(client)


def _live_as_child(state: str) -> None:
    lab.track(client)
    lab.identify(client)
    if state == "logging_lock":
        client.track("", "refused")  # is logged
    lab.record_stats(client)
    lab.note("ending", pid=os.getpid())
    if random.random() < 0.5:
        sys.exit(0)
    with client.delivering():
        pass
    os._exit(0)


def _wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "The state was not reached."
        time.sleep(0.001)


if __name__ == "__main__":
    options: dict[str, Any] = {"flush_interval": 30, "shutdown_timeout": SHUTDOWN_TIMEOUT}
    if sys.argv[1] == "pool_queue_lock":
        options["session_factory"] = own_session
    if sys.argv[1] == "logging_lock":
        options["on_error"] = None
    client = lab.client(**options)
    main(*sys.argv[1:])
