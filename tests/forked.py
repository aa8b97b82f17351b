"""Running a function in a forked child of the test."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 20.0


def os_fork() -> int:
    """os.fork; CPython 3.12 and later warn of it beside threads, such as those of pytest-xdist."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def raw_fork() -> int:
    """The fork of the C library, behind the interpreter's back: no hook runs.

    Waits until every other thread is blocked in a system call: CPython itself does not survive
    such a fork beside a running one, the child keeps a thread state too many.
    """
    _wait_until_others_block()
    pid: int = ctypes.PyDLL(None).fork()
    return pid


def _wait_until_others_block(seconds: float = SECONDS) -> None:
    """Until every other thread is blocked in a system call: it had the GIL for the taking."""
    deadline = time.monotonic() + seconds
    quiet = 0
    while quiet < 5:
        assert time.monotonic() < deadline, "Some other thread goes on running."
        time.sleep(0.001)
        quiet = quiet + 1 if all(_is_asleep(task) for task in _other_tasks()) else 0


def _other_tasks() -> list[Path]:
    tasks = Path("/proc/self/task")  # elsewhere than on Linux nothing is known of them
    here = str(threading.get_native_id())
    return [task for task in tasks.iterdir() if task.name != here] if tasks.exists() else []


def _is_asleep(task: Path) -> bool:
    try:
        return (task / "stat").read_text().rpartition(") ")[2].startswith("S")
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has ended


def in_child(
    work: Callable[[], Any], fork: Callable[[], int] = os_fork, seconds: float = SECONDS
) -> Any:
    """What `work` returns in a forked child (as JSON); fails when it raises or hangs there."""
    reader, writer = os.pipe()
    child = fork()
    if child == 0:
        status = 1
        try:
            os.write(writer, json.dumps(work()).encode())
            status = 0
        except BaseException:  # noqa: BLE001 - the child ends here
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        ready, _, _ = select.select([answer], [], [], seconds)
        if not ready:
            os.kill(child, signal.SIGKILL)
        text = answer.read()
    _, status = os.waitpid(child, 0)
    assert ready, f"The child did not answer within {seconds} s."
    assert status == 0, f"The child ended with {status}."
    return json.loads(text)
