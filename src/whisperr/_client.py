"""The client: options in front of the state of the process it runs in."""

from __future__ import annotations

import contextlib
import sys
import time
import weakref
from typing import TYPE_CHECKING, Any

from . import _capture, _exit
from ._fork import ProcessLocal
from ._handover import Handover
from ._hosts import Wiring
from ._operation import Encoder, Refusal
from ._options import Options
from ._process import ProcessState
from ._result import FlushResult
from ._schedule import NEVER
from ._verbs import Draft, Verbs

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self, Unpack

    from ._fork import Identity
    from ._options import OptionArguments
    from ._stats import Stats
    from ._verbs import Acceptor

_CLOSED = Refusal(
    "closed", "The client was shut down in this process, or made without a key in a test's capture."
)

#: By id. Not a WeakSet, which cannot be listed while another thread makes a client.
_clients: weakref.WeakValueDictionary[int, Whisperr] = weakref.WeakValueDictionary()
_unpickled: weakref.WeakValueDictionary[tuple[type[Whisperr], Options], Whisperr] = (
    weakref.WeakValueDictionary()
)


class Whisperr(Verbs):
    """Reports what happens to your users.

    Make one at module level and use it anywhere: it costs nothing until its first use in
    a process, starts no thread before that, and needs no care around forks. All methods
    may be called from any thread.

    Args:
        api_key: the app's server key (``wrk_…``); falls back to ``WHISPERR_API_KEY``.
        **options: see docs/options.md.

    Raises:
        ValueError: for a missing key or an option outside its range.
        TypeError: for an option of another type or an unknown one.
    """

    def __init__(self, api_key: str | None = None, **options: Unpack[OptionArguments]) -> None:
        self._configure(Options(api_key, **options))

    def _configure(self, options: Options) -> None:
        self._options = options
        self._encoder = Encoder(options.app_version, options.before_send)
        self._handover = handover = Handover()
        self._local = ProcessLocal(lambda: ProcessState(options, handover), _begin)
        _clients[id(self)] = self
        if not options.disabled:
            _exit.register()
            _wiring.connect()

    def draft(self) -> Draft:
        """Operations that wait for a decision, such as the commit of a transaction."""
        return Draft(self)

    def _accepting(self) -> Acceptor | None:
        if self._options.disabled:
            return None
        recorder = _capture.recorder
        if recorder is not None:
            return recorder.here()
        process = self._local.get()
        if not process.closed:
            return process
        process.settle_call(_CLOSED)
        return None

    def flush(self, timeout: float | None = 10.0) -> FlushResult:
        """Deliver what this process accepted before the call.

        Ends a back-off of ours at once; a pause that the service asked for (``Retry-After``)
        is waited for if the timeout allows. Reports about what it met were made when it
        returns. Inside ``on_error`` it does not wait.

        Args:
            timeout: seconds at most; None waits until all is settled or retries are spent.

        Returns:
            True when all was delivered; with counts.
        """
        process = None if self._options.disabled else self._holding()
        return FlushResult() if process is None else process.flush(timeout)

    def _accepts_for(self, acceptor: Acceptor) -> bool:
        """Whether that is what takes a call here and now, and no copy that a fork made."""
        recorder = _capture.recorder
        return acceptor is (self._local.peek() if recorder is None else recorder.here())

    def _refuse(self, refusal: Refusal) -> None:
        """Count a call that came to nothing before it got here."""
        acceptor = self._accepting()
        if acceptor is not None:
            acceptor.settle_call(refusal)

    def _pass_over_anonymous(self) -> None:
        """Have `debug` mention a call for nobody."""
        if self._options.debug and _capture.recorder is None:
            self._local.get().pass_over_anonymous()

    def _holding(self) -> ProcessState | None:
        """The state where there may be something in it."""
        return self._local.get() if self._handover.offered else self._local.peek()

    def shutdown(self, timeout: float | None = None) -> FlushResult:
        """Accept nothing more in this process and deliver what is left.

        A child forked later starts open. May be called again.

        Args:
            timeout: seconds at most; None is the option ``shutdown_timeout``.
        """
        if self._options.disabled:
            return FlushResult()
        return self._local.get().shutdown(timeout)

    def before_exit(self, timeout: float | None = None) -> FlushResult:
        """`flush` for a host's hook that says the process is about to end.

        Hooks that come after it, the interpreter's end included, do not wait once more for a
        service that took nothing meanwhile. Where the process goes on, nothing has changed.

        Args:
            timeout: seconds at most; None is the option ``shutdown_timeout``.
        """
        process = None if self._options.disabled else self._holding()
        return FlushResult() if process is None else _before_exit([process], timeout)

    async def aflush(self, timeout: float | None = 10.0) -> FlushResult:
        """`flush` without blocking the event loop."""
        return await _running_loop().run_in_executor(None, self.flush, timeout)

    async def ashutdown(self, timeout: float | None = None) -> FlushResult:
        """`shutdown` without blocking the event loop."""
        return await _running_loop().run_in_executor(None, self.shutdown, timeout)

    @contextlib.contextmanager
    def delivering(self, timeout: float | None = None) -> Iterator[Self]:
        """Flush at the end of the block, for processes that end by ``os._exit``; nests.

        What the flush leaves is reported, as at the end of a process.

        Args:
            timeout: seconds at most; None is the option ``shutdown_timeout``.
        """
        try:
            yield self
        finally:
            self.flush(self._options.shutdown_timeout if timeout is None else timeout)
            process = self._local.peek()
            if process is not None:
                process.report_left()  # where os._exit comes next nobody else does

    def after_fork(self) -> None:
        """Look for a fork now instead of at the next use; changes nothing without one.

        In a worker of uWSGI's it also has delivered what the master queued, unless another
        worker does.
        """
        self._local.refresh()
        if self._handover.offered:
            self._local.get().take_over()

    def stats(self) -> Stats:
        """The accounts of the calling process."""
        return self._local.get().stats()

    @property
    def ready(self) -> bool:
        """Whether an operation would be accepted and delivered here."""
        if self._options.disabled or _capture.recorder is not None:
            return not self._options.disabled
        process = self._local.peek()
        return bool(self._options.api_key) if process is None else not process.closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        return f"<Whisperr {self._options.url}>"

    def __del__(self) -> None:
        # At any moment and on any thread. A child that drops its parent's client finds nothing.
        try:
            process = self._local.peek()
            if process is not None:
                process.abandon()
        except (AttributeError, TypeError):
            return  # the constructor raised, or the interpreter took the modules apart

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        context = sys.modules.get("multiprocessing.context")
        if context is None or context.get_spawning_popen() is None:
            raise TypeError(
                "A Whisperr client can be pickled only as an argument of a process that "
                "multiprocessing starts: a pickle of it would carry the API key. "
                "Import the client from its module instead."
            )
        return _unpickle, (type(self), self._options)


def _unpickle(kind: type[Whisperr], options: Options) -> Whisperr:
    """One client for one configuration in a process."""
    try:
        client = _unpickled.get((kind, options))
    except TypeError:  # a callback that cannot be hashed: nobody can tell whether it is the same
        return _configured(kind, options)
    if client is None:
        client = _unpickled[kind, options] = _configured(kind, options)
    return client


def _configured(kind: type[Whisperr], options: Options) -> Whisperr:
    client = kind.__new__(kind)
    client._configure(options)
    return client


def flush_all(timeout: float | None = 10.0) -> FlushResult:
    """Flush every client of this process within one timeout; for the hooks of hosts.

    Args:
        timeout: seconds at most for all together; None waits as `Whisperr.flush` does.
    """
    deadline = NEVER if timeout is None else time.monotonic() + timeout
    waiting = [(state, state.start(deadline)) for state in _states()]  # all at once
    results = _exit.finish_all(waiting, ProcessState.finish)
    return sum((result for _, result in results), FlushResult())


def before_exit(timeout: float | None = None, *, within: float = NEVER) -> FlushResult:
    """`Whisperr.before_exit` for every client within one timeout; for the hooks of hosts.

    Args:
        timeout: seconds at most for all together; None is the largest ``shutdown_timeout`` of
            the clients that hold something.
        within: seconds that the host leaves the process; the shorter of both counts.
    """
    return _before_exit(_states(), timeout, within)


def _before_exit(
    states: Sequence[ProcessState], timeout: float | None, within: float = NEVER
) -> FlushResult:
    working = [state for state in states if state.has_work()]
    if timeout is None:
        timeout = max((state.shutdown_timeout for state in working), default=0.0)
    deadline = time.monotonic() + min(timeout, within)
    waiting = [(state, state.start_before_exit(deadline)) for state in working]
    results = _exit.finish_all(waiting, ProcessState.finish_before_exit)
    return sum((result for _, result in results), FlushResult())


def after_fork() -> None:
    """`Whisperr.after_fork` for every client; for the post-fork hooks of hosts."""
    for reference in _clients.valuerefs():
        client = reference()
        if client is not None:
            client.after_fork()


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio  # here: whoever awaits has it, and for all others it takes a third of ours

    return asyncio.get_running_loop()


def _states() -> list[ProcessState]:
    return [state for state in _exit.of_this_process() if isinstance(state, ProcessState)]


def _begin(state: ProcessState, owner: Identity) -> None:
    """A state is the one of its process; again where someone's exception interrupted this."""
    state.adopt(owner)
    _exit.adopt(state)
    _wiring.connect()
    state.take_over()


_wiring = Wiring(after_fork, before_exit)
