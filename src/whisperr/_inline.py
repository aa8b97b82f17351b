"""Whether the calling thread may deliver inside track(), where no thread can be started."""

from __future__ import annotations

import signal
import sys
import threading
from types import FunctionType, MethodType


def may_deliver_here() -> bool:
    """Neither in a running event loop nor in a signal handler: an exchange waits."""
    return not (_in_event_loop() or _in_signal_handler())


def _in_event_loop() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _in_signal_handler() -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False  # Python's handlers run in the main thread
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()}
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code in handlers:
            return True
    return False


def _code(handler: object) -> object:
    if isinstance(handler, MethodType):
        handler = handler.__func__
    return handler.__code__ if isinstance(handler, FunctionType) else None
