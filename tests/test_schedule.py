"""When to deliver, decided from the time alone."""

from __future__ import annotations

from whisperr._schedule import NEVER, Schedule


def test_a_tick_wants_everything_accepted_before_it() -> None:
    schedule = Schedule(flush_at=20, flush_interval=10)
    schedule.begin(now=100, first=4)
    assert not schedule.look(now=103.9, queued=3, accepted=3)
    assert not schedule.covers(0)
    assert schedule.look(now=104, queued=3, accepted=3)
    assert schedule.covers(2)
    assert not schedule.covers(3)
    assert schedule.tick == 114


def test_enough_operations_do_not_wait_for_the_tick() -> None:
    schedule = Schedule(flush_at=3, flush_interval=10)
    schedule.begin(now=0, first=10)
    schedule.look(now=1, queued=2, accepted=2)
    assert not schedule.covers(0)
    schedule.look(now=1, queued=3, accepted=3)
    assert schedule.covers(0)


def test_without_a_timer_a_tick_wants_nothing() -> None:
    schedule = Schedule(flush_at=3, flush_interval=0)
    schedule.begin(now=0, first=1)
    schedule.look(now=1000, queued=2, accepted=2)
    assert not schedule.covers(0)
    assert not schedule.is_stalled(now=10_000, progressed_at=0)


def test_someone_who_waits_wants_what_was_accepted_before() -> None:
    schedule = Schedule(flush_at=100, flush_interval=0)
    schedule.want(5)
    schedule.want(2)
    assert schedule.covers(4)
    assert not schedule.covers(5)
    assert not schedule.covers(None)


def test_idle_and_stalled_are_a_few_intervals() -> None:
    schedule = Schedule(flush_at=100, flush_interval=10)
    schedule.begin(now=0, first=10)
    schedule.look(now=5, queued=1, accepted=1)
    assert not schedule.is_idle(now=34.9)
    assert schedule.is_idle(now=35)
    assert not schedule.is_stalled(now=34.9, progressed_at=5)
    assert schedule.is_stalled(now=35, progressed_at=5)


def test_an_exchange_that_takes_many_short_intervals_is_not_stalled() -> None:
    schedule = Schedule(flush_at=20, flush_interval=0.01)
    assert not schedule.is_stalled(now=14.9, progressed_at=10)
    assert schedule.is_stalled(now=15, progressed_at=10)


def test_a_short_interval_does_not_end_the_sender_at_once() -> None:
    schedule = Schedule(flush_at=100, flush_interval=0.01)
    schedule.begin(now=0, first=0)
    assert not schedule.is_idle(now=0.9)


def test_before_a_sender_looks_there_is_no_tick() -> None:
    assert Schedule(flush_at=1, flush_interval=1).tick == NEVER
