"""Each number is recorded where it happens; the two equations hold."""

from __future__ import annotations

import inspect
import os
import threading
from typing import Any

import psutil
import pytest

from interruptions import storm
from whisperr._operation import Reason
from whisperr._stats import (
    DROP_REASONS,
    REFUSAL_REASONS,
    Counter,
    Counters,
    ProcessInfo,
    Stats,
    this_process,
)


def test_a_counter_counts_and_reading_it_changes_nothing() -> None:
    counter = Counter()
    assert [counter.value, counter.value] == [0, 0]
    counter.advance("abc")
    counter.advance([])
    assert [counter.value, counter.value] == [3, 3]


def test_a_counter_counts_what_it_took_although_the_rest_failed() -> None:
    steps = map((1).__truediv__, [1, 1, 0, 1])
    counter = Counter()
    with pytest.raises(ZeroDivisionError):
        counter.advance(steps)
    assert counter.value == 2


def test_threads_count_together() -> None:
    counter = Counter()

    def work() -> None:
        for _ in range(20_000):
            counter.advance((None,))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert counter.value == 160_000


def test_a_signal_handler_that_raises_never_parts_a_count_from_its_step() -> None:
    """Each step advances another counter, in the same C call."""
    steps, counter = Counter(), Counter()
    storm(lambda: counter.advance(map(next, [iter(steps)] * 3)), 3000)
    assert counter.value == steps.value > 0


def test_the_reasons_are_those_of_the_refusals() -> None:
    assert set(REFUSAL_REASONS) == set(Reason.__args__)  # type: ignore[attr-defined]


def test_there_is_a_counter_for_each_reason() -> None:
    counters = Counters()
    assert tuple(counters.refused) == REFUSAL_REASONS
    assert tuple(counters.dropped) == DROP_REASONS


BALANCED = Stats(
    called=12,
    accepted=10,
    refused={"invalid": 1, "closed": 1},
    delivered=4,
    dropped={"overflow": 1, "rejected": 2},
    queued=2,
    in_flight=1,
    requests=3,
    request_seconds=0.5,
    process=ProcessInfo(pid=1, created=0.0, parent=0, threads=1, role=None),
)


def test_balanced_accounts_say_so() -> None:
    assert BALANCED.balanced


@pytest.mark.parametrize(
    "name", ["called", "accepted", "refused", "delivered", "dropped", "queued", "in_flight"]
)
def test_any_number_that_is_one_off_unbalances_them(name: str) -> None:
    value = getattr(BALANCED, name)
    wrong: Any = {**value, next(iter(value)): 5} if isinstance(value, dict) else value + 1
    assert not Stats(**{**vars(BALANCED), name: wrong}).balanced


def test_every_number_is_described() -> None:
    described = inspect.getdoc(Stats) or ""
    for name in Stats._fields:
        assert f"\n    {name}: " in described


def test_a_process_is_named_by_pid_and_creation_time() -> None:
    here = this_process()
    assert (here.pid, here.parent) == (os.getpid(), os.getppid())
    assert here.created == psutil.Process().create_time()
    assert here.threads >= 1


def test_every_fact_about_a_process_is_described() -> None:
    described = inspect.getdoc(ProcessInfo) or ""
    for name in ProcessInfo._fields:
        assert f"\n    {name}: " in described
