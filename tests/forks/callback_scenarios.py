"""Forks out of callbacks and signal handlers; run by test_callbacks.py: NAME [ARGUMENT …]."""

from __future__ import annotations

import _thread
import atexit
import logging
import multiprocessing
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

import lab

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from whisperr import Whisperr, WhisperrError

PARENT = os.getpid()
client: Whisperr
#: How the next child ends; None where a callback is not to fork (again).
end: str | None = None


# --- What a child does at its end -----------------------------------------------------------


def _return() -> None:
    return


def _raise() -> NoReturn:
    raise ValueError("the application's own")


def _keyboard_interrupt() -> NoReturn:
    raise KeyboardInterrupt("the application's own")


def _os_exit() -> NoReturn:
    client.flush()
    os._exit(3)


def _start_process() -> None:
    process = multiprocessing.get_context("fork").Process(target=_track)
    process.start()
    process.join()
    lab.note("process", status=process.exitcode)


def _start_thread() -> None:
    """A thread that is not a daemon; it works on when the main thread is at its end."""
    threading.Thread(target=_track_after_main).start()


def _track_after_main() -> None:
    threading.main_thread().join()
    _track()


def _track() -> None:
    lab.track(client)


ENDS: dict[str, Callable[[], None]] = {
    "return": _return,
    "raise": _raise,
    "sys_exit": lambda: sys.exit(7),
    "sys_exit_none": lambda: sys.exit(None),
    "sys_exit_text": lambda: sys.exit("the application's own"),
    "sys_exit_negative": lambda: sys.exit(-1),
    "keyboard_interrupt": _keyboard_interrupt,
    "os_exit": _os_exit,
    "process": _start_process,
    "thread": _start_thread,
}


def _fork() -> None:
    """Fork once; the child tracks, prints and ends in its way, the parent notes its status."""
    global end
    if end is None:
        return
    mine, end = end, None
    print("<parent>", end=" ")  # in the buffer at the fork: both have it
    child = os.fork()
    if child == 0:
        print(f"<{mine}>", end=" ")
        lab.track(client)
        ENDS[mine]()
        return
    _, status = os.waitpid(child, 0)
    lab.note("child", end=mine, status=os.waitstatus_to_exitcode(status))


# --- What an application has around it ------------------------------------------------------


def _observe() -> None:
    """Handlers of the application's own, and hooks that note who called them."""
    atexit.register(lambda: lab.note("atexit", child=os.getpid() != PARENT))
    sys.excepthook = _noting("excepthook", sys.excepthook)
    threading.excepthook = _noting("threading.excepthook", threading.excepthook)


def _noting(kind: str, hook: Callable[..., object]) -> Callable[..., None]:
    def note(*raised: type | BaseException | TracebackType | None) -> None:
        lab.note(kind, child=os.getpid() != PARENT)
        hook(*raised)

    return note


class ForkingHandler(logging.Handler):
    """A handler of the `whisperr` logger that forks; `emit` would hold the handler's lock."""

    def handle(self, _record: logging.LogRecord) -> bool:
        _call()
        return True


def _on_error(report: WhisperrError) -> None:
    lab.note("report", child=os.getpid() != PARENT, reason=report.reason, count=report.count)
    _call()


def _before_send(operation: dict[str, Any], _kind: str) -> dict[str, Any]:
    _call()
    return operation


def _ignore(_: object) -> None:
    return


def _call() -> None:
    if end is not None:
        # Not current_thread(): see LOG_ENDS of the test.
        lab.note("called", on_main_thread=threading.get_ident() == threading.main_thread().ident)
        _fork()


def _client(callback: str) -> Whisperr:
    if callback == "log_handler":
        logging.getLogger("whisperr").addHandler(ForkingHandler())
    return lab.client(
        on_error=_on_error if callback == "on_error" else _ignore,
        before_send=_before_send if callback == "before_send" else None,
    )


# --- Forks out of the sender's thread -------------------------------------------------------


def out_of_the_sender(callback: str, *ends: str) -> None:
    """One child for each end, out of a callback that the sender's thread runs."""
    global client, end
    _observe()
    client = _client(callback)
    for wanted in ends:
        lab.track(client)
        end = wanted
        client.track("", "refused")
        assert client.flush()
    lab.record_stats(client)


def out_of_the_main_thread(*ends: str) -> None:
    """The control: the same children, forked by the main thread."""
    global client, end
    _observe()
    client = _client("none")
    for end in ends:  # noqa: B007
        lab.track(client)
        assert client.flush()
        _fork()
        if os.getpid() != PARENT:
            return
    lab.record_stats(client)


def in_a_process(name: str, *arguments: str) -> None:
    """One of these in a child of multiprocessing's, which runs no exit handler it inherited."""
    atexit.register(lambda: lab.note("inherited", child=os.getpid() != PARENT))
    process = multiprocessing.get_context("fork").Process(target=_as_parent, args=(name, arguments))
    process.start()
    process.join()
    lab.note("process", status=process.exitcode)


def _as_parent(name: str, arguments: tuple[str, ...]) -> None:
    global PARENT
    PARENT = os.getpid()
    globals()[name](*arguments)


# --- Forks out of a callback on the caller's thread -----------------------------------------


def on_the_callers_thread(callback: str, way: str, wanted: str) -> None:
    """Where no thread can be started, the caller delivers and runs the callbacks."""
    global client, end
    _thread.start_new_thread = _refuse
    _observe()
    client = _client(callback)
    end = None if callback == "before_send" else wanted
    client.track("", "refused")
    end = wanted
    lab.track(client)
    try:
        WAYS[way]()
    finally:
        _go_on()


def _refuse(*_: object) -> NoReturn:
    raise RuntimeError("can't start new thread")


def _flush() -> None:
    _returned(bool(client.flush()))


def _returned(true: bool) -> None:
    lab.note("returned", child=os.getpid() != PARENT, true=true)


def _shutdown() -> None:
    _returned(bool(client.shutdown()))


def _track_until_called() -> None:
    """An inline delivery inside track() makes its reports at the end of the call."""
    for _ in range(client._options.flush_at):
        lab.track(client)
        if end is None:
            break
    _returned(True)


WAYS = {"flush": _flush, "shutdown": _shutdown, "track": _track_until_called}


def _go_on() -> None:
    """Both processes go on with their work after the call."""
    if os.getpid() != PARENT or not client._local.get().closed:
        lab.track(client)
        client.flush()
    lab.record_stats(client)


def at_the_exit(callback: str, wanted: str) -> None:
    """The exit hook runs the callback, on the main thread."""
    global client, end
    _thread.start_new_thread = _refuse
    atexit.register(lambda: lab.record_stats(client))
    _observe()
    client = _client(callback)
    client.track("", "refused")
    lab.track(client)
    end = wanted


def in_vain(way: str, reason: str) -> None:
    """The service takes nothing; the callback forks when it hears of this reason."""
    global client, end
    _thread.start_new_thread = _refuse

    def on_error(report: WhisperrError) -> None:
        lab.note("report", child=os.getpid() != PARENT, reason=report.reason, count=report.count)
        if report.reason == reason:
            _call()

    logging.getLogger("whisperr").addFilter(_note_record)
    client = lab.client(on_error=on_error, shutdown_timeout=1.0)
    client.track("", "refused")
    lab.track(client)
    end = "return"
    if way == "shutdown":
        client.shutdown()


def _note_record(record: logging.LogRecord) -> bool:
    lab.note("log", child=os.getpid() != PARENT, text=record.getMessage())
    return True


def at_the_exit_by_itself(wanted: str) -> None:
    """The control: an exit handler of the application's own forks."""
    global client, end
    client = _client("none")
    _observe()
    atexit.register(_fork)
    end = wanted


# --- Forks out of a signal handler ----------------------------------------------------------


def out_of_a_signal_handler() -> None:
    """The handler interrupts a flush that waits for a slow answer."""
    global client
    client = lab.client(flush_interval=0.2)
    forked: list[int] = []

    def handler(*_: object) -> None:
        forked.append(os.fork())
        if os.getpid() != PARENT:
            lab.track(client)

    signal.signal(signal.SIGALRM, handler)
    lab.track(client)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    result = client.flush(timeout=10)
    lab.note("flushed", child=os.getpid() != PARENT)
    if os.getpid() == PARENT:
        assert result
        lab.wait_for(forked[0])
    lab.record_stats(client)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
