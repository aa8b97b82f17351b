"""Children that never use the client they inherited; run by test_untouched.py: NAME [FORKS]."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import types
from typing import TYPE_CHECKING, Any

import at_the_very_end
import lab
from children import examine_and_kill, status_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whisperr import Whisperr

PARENT = os.getpid()
LIMIT = 10.0
THREADS = 4
client: Whisperr
#: The parent's connection, and where its children say whether it is open at their end.
connection = -1
reader, writer = os.pipe()


def under_load(forks: str) -> None:
    """Fork again and again while four threads track and the sender posts."""
    _start(flush_at=1)
    stop = threading.Event()
    threads = [threading.Thread(target=_track_until, args=(stop,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for _ in range(int(forks)):
        _fork()
    stop.set()
    for thread in threads:
        thread.join()
    _end()


def with_every_lock_held(use: str) -> None:
    """Another thread holds every lock of the client in the moment of the fork."""
    _start()
    _wait_until_idle()
    taken: list[Any] = []
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        taken.extend(lock for lock in _locks_of(client) if lock.acquire(blocking=False))
        held.set()
        over.wait()
        for lock in taken:
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    _fork(track=use == "track")
    over.set()
    thread.join()
    lab.note("held", locks=len(taken))
    _end()


def _start(**options: Any) -> None:
    """One exchange, so that there is a connection to inherit."""
    global client, connection
    at_the_very_end.handlers.append(_see_connection)
    client = lab.client(**options)
    lab.track(client)
    assert client.flush()
    session = client._local.get()._loop._delivery._transport._session
    assert session is not None
    adapter: Any = session.get_adapter(client._options.url)
    (key,) = adapter.poolmanager.pools.keys()
    idle = adapter.poolmanager.pools[key].pool.get()
    connection = idle.sock.fileno()
    adapter.poolmanager.pools[key].pool.put(idle)


def _track_until(stop: threading.Event) -> None:
    while not stop.wait(0.01):
        lab.track(client)


def _wait_until_idle() -> None:
    deadline = time.monotonic() + LIMIT
    while not client._local.get()._loop.idle:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _fork(*, track: bool = False) -> None:
    child = os.fork()
    if child == 0:
        if track:
            lab.track(client)
        sys.exit(0)
    status = status_of(child, LIMIT)
    if status is None:
        lab.note("hung", pid=child, where=examine_and_kill(child))
        return
    lab.note("children", status=status)


def _see_connection() -> None:
    """Tell the parent whether its connection is still open when all finalisers ran."""
    if os.getpid() == PARENT:
        return
    try:
        os.fstat(connection)
    except OSError:
        os.write(writer, b"closed ")
    else:
        os.write(writer, b"open ")


def _end() -> None:
    assert client.flush()
    lab.record_stats(client)
    os.close(writer)
    with os.fdopen(reader) as said:
        lab.note("connections", said=said.read().split())


def _locks_of(root: object) -> list[Any]:
    """Every lock that a walk over the object's own parts meets; modules are not its parts."""
    kinds = (type(threading.Lock()), type(threading.RLock()))
    seen: set[int] = set()
    found: list[Any] = []
    pending: list[object] = [root]
    while pending:
        part = pending.pop()
        if id(part) in seen or isinstance(part, (types.ModuleType, types.FrameType, type)):
            continue
        seen.add(id(part))
        if isinstance(part, kinds):
            found.append(part)
        pending += _parts_of(part)
    return found


def _parts_of(whole: object) -> Iterator[object]:
    if isinstance(whole, types.FunctionType):
        yield from whole.__closure__ or ()  # not its globals: those are the module's
    else:
        yield from gc.get_referents(whole)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
