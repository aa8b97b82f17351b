"""The end of a process: every hook that some host runs leads here, to one last delivery.

Hooks are registered when a client is made and again at its first use in each process:
`atexit.register` is ignored inside an atexit handler, and multiprocessing clears what
its children inherit.
"""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import time
import traceback
import weakref
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from ._fork import Identity, Owner, identity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._waiter import Waiter


class Finished(Protocol):
    """What a wait came to."""

    @property
    def queued(self) -> int:
        """How many of the operations that it was for are still undelivered."""


class Ending(Protocol):
    """What holds operations of a process and can deliver them at its end."""

    owner: Owner
    shutdown_timeout: float

    def has_work(self) -> bool:
        """Whether there is something to deliver or to report."""

    def has_sender(self) -> bool:
        """Whether a thread is delivering."""

    def start(self, deadline: float, *, at_exit: bool = False) -> Waiter:
        """Have everything delivered until then (monotonic seconds); waits for nothing."""

    def finish(self, waiter: Waiter) -> Finished:
        """Wait for what start() asked for."""

    def report_left(self) -> None:
        """Report what is still undelivered."""

    def end_sender(self, deadline: float) -> None:
        """Have the thread end until then (monotonic seconds), once nothing is left."""

    def deliver_late(self, deadline: float) -> None:
        """From now on deliver inside each call, until then (monotonic seconds)."""


# urllib3 closes pooled connections in a weakref.finalize. Its atexit hook is registered by the
# first finalize of a process: before ours, then, so that ours runs first and finds them open.
weakref.finalize(Owner, int).detach()

#: A thread that has nothing to do ends within a moment.
_END_SECONDS = 0.25

#: Numbers are not used again, so that pruning cannot hit a newcomer.
_numbers = itertools.count()
_PRUNE_EVERY = 64
_known: dict[int, weakref.ref[Ending]] = {}
_kept: dict[int, Ending] = {}
_atexit_in: Identity | None = None
_finalizer: tuple[Identity, Any] | None = None
_ended: tuple[Identity, float] | None = None


def adopt(ending: Ending) -> None:
    """Have this process's exit hooks deliver it. Safe from any thread; twice does no harm."""
    number = next(_numbers)
    _known[number] = weakref.ref(ending)
    if number % _PRUNE_EVERY == 0:
        _prune()
    register()
    if _ended is not None and _ended[0] == identity():  # first used in an atexit handler
        ending.deliver_late(_ended[1] + ending.shutdown_timeout)


def _prune() -> None:
    # No callback of the references does it: it would run in the middle of anything, and
    # swallow the exception of a signal handler that happens to interrupt it.
    for number, reference in list(_known.items()):
        if reference() is None:
            _known.pop(number, None)


def keep(ending: Ending) -> None:
    """Hold on to it while it has work: no thread does, and the client may be dropped."""
    if ending.has_work():
        _kept[id(ending)] = ending
    else:
        _kept.pop(id(ending), None)


def register() -> None:
    """Register this process's exit hooks. Idempotent."""
    global _atexit_in
    here = identity()
    if _atexit_in != here:
        atexit.register(run_exit_hook)  # first: someone's exception may come between
        _atexit_in = here
    # Children of multiprocessing run no atexit handlers up to Python 3.12.
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        _register_finalizer(util, here)


def _register_finalizer(util: Any, here: Identity) -> None:
    global _finalizer
    # A child of the fork server unpickles a client before multiprocessing clears the registry.
    if _finalizer is None or _finalizer[0] != here or not _finalizer[1].still_active():
        _finalizer = (here, util.Finalize(None, run_exit_hook, exitpriority=100))


def of_this_process() -> list[Ending]:
    """All that the calling process owns."""
    found = {id(ending): ending for reference in list(_known.values()) if (ending := reference())}
    return [ending for ending in found.values() if ending.owner.holds()]


def run_exit_hook() -> None:
    """Deliver everything that this process holds, within one deadline for all its clients.

    The deadline is the largest `shutdown_timeout` among those with work, counted from the
    first call in this process. A second call has only what is left of it.
    """
    global _ended
    here = identity()
    if _ended is None or _ended[0] != here:
        _ended = (here, time.monotonic())
    started = _ended[1]
    endings = of_this_process()
    working = [ending for ending in endings if ending.has_work()]
    timeout = max((ending.shutdown_timeout for ending in working), default=0.0)
    try:
        in_vain = deliver_all(working, started + timeout)
        _deliver_late(endings, started, timeout)
        # What a log handler, on_error, a signal handler or a thread tracked meanwhile.
        fresh = [ending for ending in endings if ending.has_work() and ending not in in_vain]
        timeout = max((ending.shutdown_timeout for ending in fresh), default=timeout)
        deliver_all(fresh, started + timeout)
    finally:  # also when someone presses Ctrl-C meanwhile
        _deliver_late(endings, started, timeout)
        for ending in endings:
            ending.report_left()
            ending.end_sender(time.monotonic() + _END_SECONDS)


def _deliver_late(endings: Sequence[Ending], started: float, timeout: float) -> None:
    for ending in endings:
        ending.deliver_late(started + max(timeout, ending.shutdown_timeout))


def deliver_all(working: Sequence[Ending], deadline: float) -> list[Ending]:
    """Deliver them all; a service that hangs does not use up the time of the others.

    Returns:
        Those with something left of what they had.
    """
    # All that have a thread work at once; those without share the time meanwhile.
    waiting = [
        (ending, ending.start(deadline, at_exit=True)) for ending in working if ending.has_sender()
    ]
    inline = [ending for ending in working if not ending.has_sender()]
    in_vain = []
    for done, ending in enumerate(inline):
        now = time.monotonic()
        share = max(0.0, deadline - now) / (len(inline) - done)
        if ending.finish(ending.start(now + share, at_exit=True)).queued:
            in_vain.append(ending)
    in_vain += [ending for ending, waiter in waiting if ending.finish(waiter).queued]
    return in_vain


def end_child(raised: BaseException | None) -> NoReturn:
    """End a child that a callback forked out of the sender thread.

    That thread is the child's only one, so it does what the main thread would do at its
    end: report what was raised, run the exit hooks once, flush stdio, exit.
    """
    status = _status(raised)
    util = sys.modules.get("multiprocessing.util")
    try:
        if util is not None:
            util._exit_function()
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(status)


def _status(raised: BaseException | None) -> int:
    """The exit status that a main thread would give."""
    if raised is None:
        return 0
    if not isinstance(raised, SystemExit):
        traceback.print_exception(type(raised), raised, raised.__traceback__)
        return 1
    if raised.code is None:
        return 0
    if isinstance(raised.code, int):
        return raised.code & 0xFF
    print(raised.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return 1
