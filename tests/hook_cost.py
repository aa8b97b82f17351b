"""What the fork hook costs, timed inside the child; run by test_many_clients.py: CLIENTS FORKS.

A child's first touch of each page that it shares with its parent costs a microsecond or two
whoever makes it. So the hook that our module registered runs again and again between two
clocks, and the last time counts. What a clock costs is subtracted.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PASSES = 4
stamps = [0] * 4


def _stamp(place: int) -> None:
    stamps[place] = perf_counter_ns()


def _load_fork() -> tuple[Any, list[dict[str, Callable[[], None]]]]:
    """Run the module that registers our hook before the package brings in those of others."""
    package = importlib.util.find_spec("whisperr")
    assert package is not None
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0], "_fork.py")
    spec = importlib.util.spec_from_file_location("whisperr._fork", path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    registered: list[dict[str, Callable[[], None]]] = []
    register = os.register_at_fork

    def recording(**hooks: Callable[[], None]) -> None:
        registered.append(hooks)
        register(**hooks)

    os.register_at_fork = recording  # type: ignore[assignment]
    spec.loader.exec_module(module)
    os.register_at_fork = register
    return module, registered


fork_module, registered = _load_fork()
assert [list(hooks) for hooks in registered] == [["after_in_child"]]
_ours = registered[0]["after_in_child"]
_stamps = [partial(_stamp, place) for place in range(4)]
_hooks: list[Callable[[], None]] = [*_stamps[:2], _ours, *_stamps[2:]]
for _hook in _hooks * PASSES:
    os.register_at_fork(after_in_child=_hook)

import lab  # noqa: E402 - the package comes after the hooks
from whisperr import Whisperr, _fork  # noqa: E402


def main() -> None:
    assert _fork is fork_module
    clients = [Whisperr(os.environ["WHISPERR_API_KEY"]) for _ in range(int(sys.argv[1]))]
    for _ in range(int(sys.argv[2])):
        generation, _warm, ours, control = _in_child()
        assert generation == 1 + PASSES, "Our hook did not run."
        lab.note("hook", nanoseconds=ours - control)
    assert len(clients) == int(sys.argv[1])


def _in_child() -> list[int]:
    """The generation, and what passed between the stamps."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        passed = [later - earlier for earlier, later in pairwise(stamps)]
        os.write(writer, json.dumps([_fork._generation, *passed]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        numbers: list[int] = json.load(answer)
    os.waitpid(child, 0)
    return numbers


if __name__ == "__main__":
    main()
