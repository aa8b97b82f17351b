"""Work for processes that take no requests: files that whoever is free renames, and obeys."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import lab

if TYPE_CHECKING:
    from hosts.laboratory import Laboratory

#: Operations in one order.
_OPERATIONS = 50
#: Nothing that a failing test leaves behind lives on.
_LIFETIME = 90.0
_PAUSE = 0.01
_ORDER, _TAKEN = "order-", "taken-"


# In the processes


def serve(word: str = "end") -> None:
    """Obey orders until the test gives the word."""
    from hosts import application  # whoever imports this module may have no client

    folder = Path(os.environ["LAB_FOLDER"])
    deadline = time.monotonic() + _LIFETIME
    lab.note("ready", pid=os.getpid())
    while not (folder / word).exists():
        assert time.monotonic() < deadline, f"nobody said {word}"
        order = _take(folder)
        if order is None:
            time.sleep(_PAUSE)
        else:
            application.work(_OPERATIONS)
            order.unlink()


def wait_for(*words: str) -> str:
    """Wait until the test gives one of these words; returns it."""
    folder = Path(os.environ["LAB_FOLDER"])
    deadline = time.monotonic() + _LIFETIME
    while time.monotonic() < deadline:
        for word in words:
            if (folder / word).exists():
                return word
        time.sleep(_PAUSE)
    raise AssertionError(f"nobody said any of {words}")


def _take(folder: Path) -> Path | None:
    """Of several processes one succeeds."""
    for order in sorted(folder.glob(f"{_ORDER}*")):
        with suppress(FileNotFoundError):
            return order.rename(folder / f"{_TAKEN}{order.name}")
    return None


# In the test


def give(laboratory: Laboratory, count: int) -> None:
    """Have `count` operations tracked; returns when they have been."""
    folder = laboratory.folder
    for number in range(count // _OPERATIONS):
        (folder / f"{_ORDER}{number}").touch()
    laboratory.wait_until(lambda: not list(folder.glob(f"*{_ORDER}*")))


def say(laboratory: Laboratory, *words: str) -> None:
    """Give these words, in this order."""
    for word in words:
        (laboratory.folder / word).touch()


def wait_until_ready(laboratory: Laboratory, count: int) -> None:
    """Wait until so many processes serve; fail when the host ends at its start."""

    def all_serve() -> bool:
        output = laboratory.output
        assert laboratory.main.poll() is None, f"The host ended at its start.\n{output}"
        return len(laboratory.lines("ready")) >= count

    laboratory.wait_until(all_serve)
