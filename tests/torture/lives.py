"""What a process under torture does between its birth and its end.

All is drawn from the seed and the process's path in its family, so a seed is repeated as far
as scheduling allows. The first process is `r`, its third child `r.3`, and so on.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import lab
from c_stack import stacks_of
from children import examine_and_kill, status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from whisperr import Whisperr, WhisperrError

GENERATIONS = 3
#: Children of one process at a time.
ALIVE = 6
#: Seconds for an operation to be delivered and for a child to end; its own children have less.
LIMIT = 20.0
#: The status of a child that lives on as a copy of its parent.
STRAYED = 99

#: How a child may end, and how often.
Ends = dict[str, float]
ALL: Ends = {"os_exit": 8, "exit": 1.5, "raise": 0.5}
#: Out of a callback or a signal handler: others catch what is raised there.
UNWINDING: Ends = {"os_exit": 1, "exit": 1}
#: Where no exit hook runs, or where the frames of a pool take what a child raises.
ABRUPT: Ends = {"os_exit": 1}
_STATUS: dict[str, tuple[int, ...]] = {"os_exit": (0, 5), "exit": (0, 7), "raise": (1,)}

seed = 0
clients: list[Whisperr] = []
#: Whether a child of this process hung.
found_hung = False
#: What on_error and, on this thread, before_send do at their next call.
in_on_error: Callable[[], None] | None = None
in_before_send: tuple[int, Callable[[], None]] | None = None


class ApplicationError(Exception):
    """What a child raises that is to end so."""


@dataclass(frozen=True)
class Child:
    """What its parent drew for it."""

    path: str
    shape: str
    ends: Mapping[str, float]
    end: str
    status: int

    @property
    def generation(self) -> int:
        return self.path.count(".")


class Process:
    """A process under torture."""

    def __init__(self, child: Child) -> None:
        self.pid = os.getpid()
        self.itself = child
        self.random = random.Random(f"{seed} {child.path}")
        self.forks = 0
        self._named = 0
        self._children: list[tuple[int, Child]] = []

    def draw(self, shape: str, ends: Mapping[str, float] = ALL) -> Child:
        """The next child; it ends in a way that its parent may end in, too."""
        self._named += 1
        possible = {name: ends[name] for name in ends if name in self.itself.ends}
        (end,) = self.random.choices(list(possible), list(possible.values()))
        status = self.random.choice(_STATUS[end])
        return Child(f"{self.itself.path}.{self._named}", shape, possible, end, status)

    def fork(self, child: Child) -> None:
        """Fork; only the parent comes back, and waits later. Takes no lock and never waits."""
        pid = os.fork()
        if pid == 0:
            live_and_end(child)
        self.keep(pid, child)

    def keep(self, pid: int, child: Child) -> None:
        """Wait for this child later."""
        self.forks += 1
        self._children.append((pid, child))

    def wait_for_children(self, most: int = 0) -> None:
        """Until so many are left; one that hangs is examined, an unexpected status noted."""
        while len(self._children) > most:
            pid, child = self._children.pop(0)
            status = status_of(pid, LIMIT * (GENERATIONS + 1 - self.itself.generation))
            if status is None:
                note_hung(pid, child, examine_and_kill(pid))
            else:
                note_status(pid, child, status)

    def check(self) -> None:
        """End a child that came back from its fork."""
        if os.getpid() != self.pid:
            os._exit(STRAYED)


def note_status(pid: int, child: Child, status: int | None) -> None:
    """Note an end that is not the one that was drawn."""
    if status != child.status:
        lab.note("unexpected", pid=pid, status=status, child=child)


def note_hung(pid: int, child: Child, where: str = "") -> None:
    """Note a child that does not end; `where` it hangs is read here if nobody did."""
    global found_hung
    found_hung = True
    lab.note("hung", pid=pid, child=child, where=where or stacks_of(pid))


def note_born(path: str, shape: str) -> None:
    """One line for each process."""
    lab.note("born", pid=os.getpid(), path=path, shape=shape)


# --- A life ---------------------------------------------------------------------------------


def live_and_end(child: Child) -> NoReturn:
    """The whole life of a forked child; what it raises at its end is its own."""
    note_born(child.path, child.shape)
    if child.end == "os_exit":
        with delivering():
            live(child)
        os._exit(child.status)
    live(child)
    end(child)


def end(child: Child) -> NoReturn:
    """End as it was drawn."""
    if child.end == "os_exit":
        for client in clients:
            flush(client)
        os._exit(child.status)
    if child.end == "raise":
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - this process is over
        raise ApplicationError
    sys.exit(child.status)


@contextlib.contextmanager
def delivering() -> Iterator[None]:
    """`Whisperr.delivering` of all clients."""
    with contextlib.ExitStack() as deliveries:
        for client in clients:
            deliveries.enter_context(client.delivering(LIMIT))
        yield


def live(child: Child) -> None:
    """Some random acts; a process of a family has children before and after them."""
    here = Process(child)
    try:
        if child.shape == "family":
            _have_children(here)
        if child.shape != "silent":
            for act in here.random.choices(_ACTS, _WEIGHTS, k=here.random.randint(0, 3)):
                act(here)
        here.wait_for_children()
        if here.random.random() < 0.05:
            _shut_down(here)
    except ApplicationError:
        raise
    except Exception:  # noqa: BLE001 - the test reads it
        lab.note("broken", child=child, text=traceback.format_exc())


def _track(here: Process) -> None:
    for _ in range(here.random.randint(1, 3)):
        client = here.random.choice(clients)
        if client.ready:  # it may be shut down, also by the task before in a pool's worker
            lab.track(client)


def _identify(here: Process) -> None:
    client = here.random.choice(clients)
    if client.ready:
        lab.identify(client)


def _flush(here: Process) -> None:
    flush(here.random.choice(clients))


def _shut_down(here: Process) -> None:
    here.random.choice(clients).shutdown(LIMIT)


def _track_from_threads(here: Process) -> None:
    """They are joined: what a thread journaled at the end of a process may not be tracked."""
    acts = [Process(here.draw("thread")) for _ in range(here.random.randint(1, 2))]
    threads = [threading.Thread(target=_track, args=(act,), daemon=True) for act in acts]
    for thread in threads:
        thread.start()
    if here.random.random() < 0.3:
        _have_a_child(here)
    for thread in threads:
        thread.join()


def _have_a_child(here: Process) -> None:
    if here.itself.generation < GENERATIONS:
        here.fork(here.draw("nested"))


def _have_children(here: Process) -> None:
    if here.itself.generation < GENERATIONS:
        for _ in range(here.random.randint(1, 2)):
            _track(here)
            here.fork(here.draw("family"))


def _record_stats(here: Process) -> None:
    lab.record_stats(here.random.choice(clients))


_ACTS: list[Callable[[Process], None]] = [
    _track,
    _identify,
    _flush,
    _shut_down,
    _track_from_threads,
    _have_a_child,
    _record_stats,
]
_WEIGHTS = (60, 10, 10, 2, 6, 5, 5)


def flush(client: Whisperr) -> None:
    """A flush that left something is noted."""
    result = client.flush(LIMIT)
    if not result:
        lab.note("left", pid=os.getpid(), result=result)


def until(here: Process, done: Callable[[], bool], act: Callable[[], object]) -> None:
    """Act until it is done."""
    deadline = time.monotonic() + LIMIT
    while not done():
        assert time.monotonic() < deadline
        act()
        here.check()


# --- The clients' callbacks -----------------------------------------------------------------


def on_error(report: WhisperrError) -> None:
    """No report is expected but that of a call refused on purpose."""
    global in_on_error
    if report.reason != "invalid":
        lab.note("reports", pid=os.getpid(), **vars(report))
        return
    act, in_on_error = in_on_error, None
    if act is not None:
        act()


def before_send(operation: dict[str, object], _kind: str) -> dict[str, object]:
    """Changes nothing."""
    global in_before_send
    armed = in_before_send
    if armed is not None and armed[0] == threading.get_ident():
        in_before_send = None
        armed[1]()
    return operation
