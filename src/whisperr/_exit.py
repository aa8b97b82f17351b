"""The end of a process: every hook that some host runs leads here, to one last delivery.

Hooks are registered when a client is made and again at its first use in each process:
`atexit.register` is ignored inside an atexit handler, and multiprocessing clears what
its children inherit.
"""

from __future__ import annotations

import atexit
import itertools
import os
import signal
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from ._fork import Identity, Owner, identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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

    def patience(self) -> float:
        """Until when an exit hook may wait (monotonic seconds)."""

    def finish(self, waiter: Waiter) -> Finished:
        """Wait for what start() asked for."""

    def report_left(self) -> None:
        """Report what is still undelivered."""

    def end_sender(self, deadline: float) -> None:
        """Have the thread end until then (monotonic seconds), once nothing is left."""

    def deliver_late(self, seconds: float) -> None:
        """From now on deliver inside the calls, which wait for so long in all."""


E = TypeVar("E", bound=Ending)
R = TypeVar("R")

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
_watches_children = False
#: The process whose exit hook ran, and for how many seconds its hooks waited.
_ended: tuple[Identity, float] | None = None


def adopt(ending: Ending) -> None:
    """Have this process's exit hooks deliver it. Safe from any thread; twice does no harm."""
    number = next(_numbers)
    _known[number] = weakref.ref(ending)
    if number % _PRUNE_EVERY == 0:
        _prune()
    register()
    if _ended is not None and _ended[0] == identity():  # first used in an atexit handler
        ending.deliver_late(ending.shutdown_timeout - _ended[1])


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
    global _finalizer, _watches_children
    if not _watches_children:
        # A child that uses the client at first in a thread, after its main thread's end, is told.
        util.register_after_fork(run_exit_hook, lambda _: _register_finalizer(util, identity()))
        _watches_children = True
    # A child of the fork server unpickles a client before multiprocessing clears the registry.
    if _finalizer is None or _finalizer[0] != here or not _finalizer[1].still_active():
        _finalizer = (here, util.Finalize(None, run_exit_hook, exitpriority=100))


def of_this_process() -> list[Ending]:
    """All that the calling process owns."""
    found = {id(ending): ending for reference in list(_known.values()) if (ending := reference())}
    return [ending for ending in found.values() if ending.owner.holds()]


def run_exit_hook() -> None:
    """Deliver everything that this process holds, within one deadline for all its clients.

    The deadline is the largest `shutdown_timeout` among those with work. A second call in this
    process has only what the first left of it.
    """
    global _ended
    here = identity()
    if _ended is None or _ended[0] != here:
        _ended = (here, 0.0)
    started = time.monotonic() - _ended[1]
    endings = of_this_process()
    working = [ending for ending in endings if ending.has_work()]
    timeout = max((ending.shutdown_timeout for ending in working), default=0.0)
    try:
        in_vain = deliver_all(working, started + timeout)
        _deliver_late(endings, started, timeout)
        # What a log handler, on_error, a signal handler or a thread tracked meanwhile.
        fresh = [
            ending
            for ending in endings
            if ending.owner.holds() and ending.has_work() and ending not in in_vain
        ]
        timeout = max((ending.shutdown_timeout for ending in fresh), default=timeout)
        deliver_all(fresh, started + timeout)
    finally:  # also when someone presses Ctrl-C meanwhile
        if identity() == here:
            _ended = (here, time.monotonic() - started)
        _deliver_late(endings, started, timeout)
        for ending in endings:
            ending.report_left()
            if ending.owner.holds():
                ending.end_sender(time.monotonic() + _END_SECONDS)
        if identity() != here:  # the child of a callback: what it registered here is ignored
            run_exit_hook()


def _deliver_late(endings: Sequence[Ending], started: float, timeout: float) -> None:
    waited = time.monotonic() - started
    for ending in endings:
        if ending.owner.holds():
            ending.deliver_late(max(timeout, ending.shutdown_timeout) - waited)


def deliver_all(working: Sequence[Ending], deadline: float) -> list[Ending]:
    """Deliver them all; a service that hangs does not use up the time of the others.

    Returns:
        Those with something left of what they had.
    """
    waiting = [
        (ending, ending.start(min(deadline, ending.patience()), at_exit=True)) for ending in working
    ]
    results = finish_all(waiting, lambda ending, waiter: ending.finish(waiter))
    return [ending for ending, result in results if result.queued]


def finish_all(
    waiting: Sequence[tuple[E, Waiter]], finish: Callable[[E, Waiter], R]
) -> list[tuple[E, R]]:
    """Wait for all that were started; returns what each came to.

    Raises:
        Exception: what a session of the user's raised, or a signal handler; once all are finished.
    """
    results = []
    raised: Exception | None = None
    for ending, waiter in _in_turn(waiting):
        try:
            results.append((ending, finish(ending, waiter)))
        except Exception as problem:  # noqa: BLE001, PERF203 - the others are delivered as well
            raised = problem
    if raised is not None:
        raise raised
    return results


def _in_turn(waiting: Sequence[tuple[E, Waiter]]) -> Iterator[tuple[E, Waiter]]:
    """Those that were started, in the order in which to finish them.

    All that have a thread work at once; those without come first and share the time meanwhile.
    """
    inline = [pair for pair in waiting if not (pair[0].has_sender() or pair[1].finished)]
    for done, (ending, waiter) in enumerate(inline):
        now = time.monotonic()
        waiter.deadline = now + max(0.0, waiter.deadline - now) / (len(inline) - done)
        yield ending, waiter
    yield from (pair for pair in waiting if pair not in inline)


def end_child(raised: BaseException | None) -> NoReturn:
    """End a child that a callback forked out of the sender thread.

    That thread is the child's only one, so it does what the main thread would do at its
    end: show what was raised, wait for threads, run the exit handlers once, flush stdio, exit.
    """
    try:
        status = _show(raised)
        for step in (_wait_for_threads, _run_exit_handlers, _flush_output, _flush_errors):
            _run(step)
        if isinstance(raised, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
    finally:
        os._exit(status)


def _run(step: Callable[[], None]) -> None:
    try:
        step()
    except BaseException as problem:  # noqa: BLE001 - the next step comes all the same
        _show(problem)


def _show(raised: BaseException | None) -> int:
    """Show what was raised as a main thread would; returns the exit status."""
    if raised is None:
        return 0
    if not isinstance(raised, SystemExit):
        sys.excepthook(type(raised), raised, raised.__traceback__)
        return 1
    if raised.code is None:
        return 0
    if isinstance(raised.code, int):
        return raised.code & 0xFF
    print(raised.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return 1


def _wait_for_threads() -> None:
    if threading.main_thread().ident != threading.get_ident():
        return  # a fork in C told threading nothing: it would wait for the parent's threads
    try:
        threading._shutdown()  # type: ignore[attr-defined]
    except AssertionError:
        # Before CPython 3.11.8 and 3.12.2 it does not know a thread of ours that became the
        # main one, where the callback asked for current_thread() (a log record does).
        for thread in threading.enumerate():
            if not thread.daemon:
                thread.join()


def _run_exit_handlers() -> None:
    process = sys.modules.get("multiprocessing.process")
    if process is None or process.parent_process() is None or sys.version_info >= (3, 13):
        atexit._run_exitfuncs()
    else:
        sys.modules["multiprocessing.util"]._exit_function()


def _flush_output() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _flush_errors() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()
