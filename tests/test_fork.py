"""A value for each process, with real forks; what belongs to another is never touched."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from forked import in_child, os_fork, raw_fork
from interruptions import storm
from whisperr import _fork
from whisperr._fork import ForkedAway, Owner, ProcessLocal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from whisperr._fork import Identity

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
PACKAGE = str(Path(_fork.__file__).parent)
forks = pytest.mark.parametrize("fork", [os_fork, raw_fork])


class Value:
    """Knows whose it is."""

    def __init__(self) -> None:
        self.made_by = self.pid = os.getpid()
        self.adopted = 0

    def adopt(self, owner: Identity) -> None:
        self.pid = owner[0]
        self.adopted += 1


def local() -> ProcessLocal[Value]:
    return ProcessLocal(Value, Value.adopt)


def test_a_process_makes_its_value_on_first_use_and_keeps_it() -> None:
    here = local()
    assert here.peek() is None
    value = here.get()
    assert here.get() is value
    assert here.peek() is value
    assert value.adopted == 1


@forks
def test_a_child_gets_a_value_of_its_own_and_the_parent_keeps_its(fork: Callable[[], int]) -> None:
    """Also where the C library forked and no hook ran."""
    here = local()
    mine = here.get()

    def child() -> list[bool]:
        before = here.peek()
        its = here.get()
        return [before is None, its is not mine, its.pid == os.getpid(), its is here.get()]

    assert in_child(child, fork) == [True] * 4
    assert here.get() is mine
    assert mine.adopted == 1


@forks
def test_a_child_does_not_touch_its_parents_value(fork: Callable[[], int]) -> None:
    here = local()
    mine = here.get()

    def child() -> list[object]:
        here.get()
        return [mine.pid, mine.adopted, sys.getrefcount(mine) > 1]

    assert in_child(child, fork) == [os.getpid(), 1, True]


@forks
def test_a_child_takes_a_value_that_was_made_before_the_fork(fork: Callable[[], int]) -> None:
    """To make one, it would copy the pages of all the code that does; its own children do that."""
    here, parent = local(), os.getpid()

    def makers(left: int) -> list[int]:
        return [here.get().made_by, *(in_child(lambda: makers(left - 1), fork) if left else [])]

    for _ in range(2):  # before the parent took one of its own, and after
        first, second = in_child(lambda: makers(1), fork)
        assert first == parent
        assert second not in (parent, os.getpid())
        assert here.get().made_by == parent


@forks
def test_the_third_generation_is_like_the_first(fork: Callable[[], int]) -> None:
    here = local()
    values = [here.get()]

    def generation(left: int) -> list[int]:
        values.append(here.get())
        assert len({id(value) for value in values}) == len(values)
        own = [here.get().pid]
        return own + (in_child(lambda: generation(left - 1), fork) if left else [])

    pids = in_child(lambda: generation(2), fork)
    assert len({*pids, os.getpid()}) == 4


def test_a_pid_that_is_the_same_again_does_not_hide_a_fork() -> None:
    """A pid namespace or a wrap can repeat it; the generation cannot repeat."""

    def child() -> list[bool]:
        pid = os.getpid
        os.getpid = lambda: parent
        try:
            return [here.peek() is None, here.get() is not mine]
        finally:
            os.getpid = pid

    here, parent = local(), os.getpid()
    mine = here.get()
    assert in_child(child) == [True, True]


def test_looking_for_a_fork_changes_nothing_where_there_was_none() -> None:
    here = local()
    here.refresh()
    assert here.peek() is None
    value = here.get()
    for _ in range(2):
        here.refresh()
        assert here.get() is value
    assert value.adopted == 1


@forks
def test_looking_for_a_fork_in_a_child_makes_nothing(fork: Callable[[], int]) -> None:
    here = local()
    here.get()

    def child() -> bool:
        here.refresh()
        here.refresh()
        return here.peek() is None

    assert in_child(child, fork) is True


def test_threads_that_race_on_first_use_get_the_same_value() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            here = local()
            assert len({id(value) for value in _race(here)}) == 1
            assert here.peek() not in here._spares
    finally:
        sys.setswitchinterval(interval)


def _race(here: ProcessLocal[Value], racers: int = 8) -> list[Value]:
    found: list[Value] = []
    start = threading.Barrier(racers)

    def run() -> None:
        start.wait(10)
        found.append(here.get())

    threads = [threading.Thread(target=run) for _ in range(racers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == racers
    return found


def test_a_child_forked_in_the_middle_of_the_first_use_starts_anew() -> None:
    """The maker forks, as a signal handler in that moment could."""
    answers: list[object] = []

    def make() -> Value:
        if in_use and not answers:
            answers.append("forking")
            parent = os.getpid()
            answers.append(in_child(lambda: [here.get().pid == os.getpid(), parent != os.getpid()]))
        return Value()

    in_use: list[bool] = []
    here = ProcessLocal(make, Value.adopt)
    in_use.append(True)
    assert here.get().pid == os.getpid()
    assert answers == ["forking", [True, True]]


def test_a_child_forked_as_the_spare_is_taken_does_not_take_it_too() -> None:
    """The interrupted use gives it to the parent, and would take it from the child."""

    def child() -> bool:
        its = here.get()
        interrupted = here._values.setdefault((parent, 0), taken)
        interrupted.adopt((parent, 0))
        return its is not taken and its.pid == os.getpid()

    here, parent = local(), os.getpid()
    taken = here._spare_or_new()
    assert in_child(child) is True


def test_a_child_forked_in_the_middle_of_an_adoption_leaves_the_value_to_its_parent() -> None:
    """Else what the interrupted call queues in it is delivered by both."""
    values: list[Value] = []

    def fork_in_the_middle() -> int:
        pids: list[int] = []

        def adopt(value: Value, owner: Identity) -> None:
            pids.append(os.fork())
            value.adopt(owner)

        here = ProcessLocal(Value, adopt)
        values.append(here.get())
        return pids[0]

    parent = os.getpid()
    assert in_child(lambda: values[0].pid, fork_in_the_middle) == parent == values[0].pid


def test_a_signal_handler_that_raises_leaves_one_value_at_most() -> None:
    seen: set[int] = set()
    kept: list[Value] = []

    def work() -> None:
        here = local()
        values = [here.get() for _ in range(3)]
        kept[:] = values
        seen.add(len({id(value) for value in values}))
        assert values[0] not in here._spares

    storm(work, 1000)
    assert seen == {1}


@forks
def test_a_thing_is_owned_by_the_process_that_made_it(fork: Callable[[], int]) -> None:
    mine = Owner()
    mine.check()

    def child() -> list[bool]:
        with pytest.raises(ForkedAway):
            mine.check()
        return [mine.holds(), Owner().holds()]

    assert in_child(child, fork) == [False, True]
    assert mine.holds()


def test_the_sign_of_a_fork_is_not_caught_with_ordinary_exceptions() -> None:
    assert not issubclass(ForkedAway, Exception)


def test_ten_thousand_locals_cost_a_fork_nothing() -> None:
    """One hook raises one number: what is registered does not grow."""
    before = _fork._generation
    locals_ = [local() for _ in range(10_000)]
    for here in locals_:
        here.get()
    assert in_child(lambda: _fork._generation) == before + 1


def test_the_hook_does_as_much_for_thousands_as_for_one() -> None:
    """Counted in lines of the package that a child runs before anyone uses a client there."""
    assert _lines_of_the_hook([local()]) == _lines_of_the_hook([local() for _ in range(3000)]) > 0


def _lines_of_the_hook(locals_: list[ProcessLocal[Value]]) -> int:
    for here in locals_:
        here.get()
    lines = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        lines += event == "line"
        return trace

    def traced_fork() -> int:
        sys.settrace(trace)
        try:
            return os_fork()
        finally:
            sys.settrace(None)

    count: int = in_child(lambda: lines, traced_fork)
    assert lines == 0, "The parent runs no hook."
    return count
