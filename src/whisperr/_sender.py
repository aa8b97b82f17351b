"""Who delivers: one thread for each process, started on demand.

Whoever holds the token runs the loop: the sender thread, or a thread that drains on
its own at an exit and where no thread can run. The token is taken by trying, never
by waiting, so track() may be called from a signal handler or a finaliser that
interrupts any line.
"""

from __future__ import annotations

import time
import weakref
from functools import partial
from typing import TYPE_CHECKING

from . import _uwsgi
from ._exit import end_child
from ._fork import ForkedAway, ForkedInCallback
from ._inline import may_deliver_here
from ._stack import is_inside
from ._threads import end_thread, start_thread
from ._token import Claim, Token

if TYPE_CHECKING:
    from ._exit import Ending
    from ._fork import Owner
    from ._loop import DeliveryLoop
    from ._waiter import Waiter

#: How long a thread that was started may take to run before another is started.
_START_EXPIRES = 1.0
#: How often a waiter looks whether there is still someone who delivers.
_LOOK_AGAIN = 0.25
_END_POLL = 0.001


class Sender:
    """Starts and ends the thread that delivers, and lets others wait for it.

    Args:
        owner: the process that delivers.
        loop: what the thread runs.
        state: what both are parts of. The thread keeps it alive, so that the exit hook
            finds what a dropped client still holds; else the client alone does.
    """

    def __init__(self, owner: Owner, loop: DeliveryLoop, state: Ending) -> None:
        self._owner = owner
        self._loop = loop
        self._state = weakref.ref(state)
        self._token = Token()
        self._starting_until = 0.0

    @property
    def running(self) -> bool:
        """Whether someone delivers, or is about to."""
        return self._token.held() or time.monotonic() < self._starting_until

    def notify(self) -> bool:
        """Something was queued. Waits for nothing; returns whether someone will deliver it."""
        if not self._token.elsewhere():
            self._recover()
            if not self._token.held():
                return self._start()
        self._loop.nudge()
        return True

    def _start(self) -> bool:
        now = time.monotonic()
        if now < self._starting_until or not self._owner.holds():
            return True
        if _uwsgi.only_forks():
            return False
        self._starting_until = now + _START_EXPIRES  # the thread itself takes the token
        state = self._state()
        try:
            start_thread(partial(self._run, state))
        except RuntimeError as error:
            self._starting_until = 0.0
            # At its end an interpreter starts none any more; then there is nothing to advise.
            self._loop.threadless = "interpreter shutdown" not in str(error)
            return False
        return True

    def begin(self, waiter: Waiter) -> None:
        """Have everything delivered that the waiter waits for; waits for nothing."""
        self._recover()
        if self.cannot_wait() or not self._owner.holds():
            return
        self._loop.add(waiter)
        self._loop.wake()
        if not waiter.at_exit:
            self.notify()

    def cannot_wait(self) -> bool:
        """Whether the calling thread is in a callback, or in a signal handler on top of a delivery.

        What it would wait for is waiting for its return.
        """
        return self._token.mine() or self._loop.reporting()

    def wait(self, waiter: Waiter) -> None:
        """Wait until the waiter is served or its time is over.

        The sender thread delivers where one lives; at an exit, and where no thread can
        start, the calling thread does.

        Raises:
            ForkedAway: in a child that was forked meanwhile.
        """
        if self.cannot_wait():
            return
        try:
            while not waiter.over():
                self._owner.check()
                # A thread that was started and did not run yet delivers: it can hang where no
                # deadline reaches (a lock of OpenSSL's that a fork copied), the waiter cannot.
                alone = not self.running if waiter.at_exit else not self.notify()
                if alone and self._deliver_here(waiter):
                    continue
                waiter.wait(_LOOK_AGAIN)
            self._owner.check()
        finally:
            if self._owner.holds():
                self._loop.remove(waiter)

    def _deliver_here(self, waiter: Waiter) -> bool:
        """Deliver on the calling thread; returns whether nobody else does."""
        claim = self._token.claim()
        try:
            if not self._token.take(claim):
                return False
            self._loop.run_until(waiter)
        finally:
            self._give(claim)
        return True

    def deliver_inline(self) -> None:
        """One exchange inside track(), where no thread can start."""
        self._recover()
        if not (self._loop.is_inline_due() and may_deliver_here()):
            return
        claim = self._token.claim()
        try:
            if self._token.take(claim):
                self._loop.run_inline()
        finally:
            self._give(claim)

    def report(self) -> None:
        """Make the reports that wait, unless someone delivers, who makes them."""
        claim = self._token.claim()
        try:
            if self._token.take(claim):
                self._loop.report()
        finally:
            self._give(claim)

    def close(self) -> None:
        """Have the thread end as soon as there is nothing left to do."""
        self._loop.closing = True

    def disconnect(self) -> None:
        """Close the connection, unless someone delivers: who is closing does so at the end."""
        claim = self._token.claim()
        try:
            if self._owner.holds() and self._token.take(claim):
                self._loop.disconnect()
        finally:
            self._give(claim)

    def end(self, deadline: float) -> None:
        """Have the thread end, and wait for that until then (monotonic seconds).

        At the end of the interpreter a daemon thread is stopped wherever it is.
        """
        self.close()
        while self._token.held() and not self._token.mine():
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._loop.wake()
            time.sleep(min(left, _END_POLL))

    def _run(self, _state: Ending | None) -> None:
        """The sender thread."""
        try:
            while self._run_once() and self._loop.has_work():
                pass  # something came between the last look and the end of the token
        except ForkedInCallback as away:
            end_child(away.__cause__)
        except ForkedAway:
            return  # the copy of this greenlet in a forked gevent process

    def _run_once(self) -> bool:
        """Deliver until there was nothing to do; returns whether nobody else does."""
        claim = self._token.claim()
        try:
            if not self._token.take(claim):
                return False
            self._starting_until = 0.0
            self._loop.run_until_idle()
        finally:
            try:
                end_thread()
            finally:
                self._give(claim)
        return True

    def _give(self, claim: Claim) -> None:
        if self._owner.holds():
            self._token.give(claim)

    def _recover(self) -> None:
        """Clear a token that an exception in a `finally` of ours left behind.

        It says that the calling thread delivers; then one of our frames is on its stack.
        """
        if self._token.mine() and not is_inside(_DELIVERING, self):
            self._token.clear()


_DELIVERING = {
    method.__code__
    for method in (Sender._deliver_here, Sender.deliver_inline, Sender.report, Sender._run_once)
}
