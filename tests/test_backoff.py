"""When the next try may be made, without a clock and without waiting."""

from __future__ import annotations

from random import Random

import pytest

from whisperr._backoff import Backoff

NOW = 1000.0


class Most(Random):
    """Always the most that the jitter allows."""

    def uniform(self, _a: float, b: float) -> float:
        return b


class Least(Random):
    """Always the least that the jitter allows."""

    def uniform(self, a: float, _b: float) -> float:
        return a


def backoff(retries: int = 6, rest: float = 10.0, random: Random | None = None) -> Backoff:
    return Backoff(retries, rest, random or Most())


def pauses(made: Backoff, failures: int, retry_after: float | None = None) -> list[float]:
    found = []
    for _ in range(failures):
        made.failed(NOW, retry_after)
        found.append(made.resume_at - NOW)
    return found


def test_the_longest_pause_triples_from_half_a_second_to_thirty() -> None:
    assert pauses(backoff(retries=7), 7) == [0.5, 1.5, 4.5, 13.5, 30, 30, 30]


def test_the_jitter_is_full_and_comes_from_the_given_random() -> None:
    assert pauses(backoff(random=Least()), 6) == [0.0] * 6
    expected = Random(5)
    assert pauses(backoff(random=Random(5)), 3) == pytest.approx(
        [expected.uniform(0, longest) for longest in (0.5, 1.5, 4.5)]
    )


def test_without_a_random_each_backoff_has_its_own() -> None:
    """Many processes fail in the same moment: they must not come back in the same one."""
    assert len({tuple(pauses(Backoff(6, 10.0), 3)) for _ in range(20)}) == 20


def test_the_round_is_spent_after_the_first_try_and_the_retries() -> None:
    made = backoff(retries=2)
    spent = []
    for _ in range(3):
        made.failed(NOW, None)
        spent.append(made.spent)
    assert spent == [False, False, True]


def test_no_retries_spend_the_round_at_the_first_failure() -> None:
    made = backoff(retries=0)
    made.failed(NOW, None)
    assert made.spent


def test_rests_grow_from_the_interval_to_five_minutes_and_have_a_least() -> None:
    most, least = backoff(retries=0), backoff(retries=0, random=Least())
    assert pauses(most, 7) == [10, 20, 40, 80, 160, 300, 300]
    assert pauses(least, 3) == [5, 10, 20]


def test_a_rest_without_a_timer_is_a_second() -> None:
    assert pauses(backoff(retries=0, rest=0.0), 2) == [1, 2]


def test_thousands_of_failures_overflow_nothing() -> None:
    assert pauses(backoff(retries=5000), 10_000)[-1] == 300


@pytest.mark.parametrize(
    ("given", "least"),
    [(0.0, 0.0), (5.0, 5.0), (60.0, 60.0), (61.0, 60.0), (1e9, 60.0), (-3.0, 0.0)],
)
def test_retry_after_is_the_least_pause_and_capped(given: float, least: float) -> None:
    made = backoff(random=Least())
    made.failed(NOW, given)
    assert made.resume_at == NOW + least


def test_a_retry_after_that_many_were_given_is_spread_upwards_by_half() -> None:
    returns = []
    for seed in range(1000):
        made = backoff(random=Random(seed))
        made.failed(NOW, 20.0)
        returns.append(made.resume_at - NOW)
    assert 20 <= min(returns) < 20.1
    assert 29.9 < max(returns) <= 30


def test_what_piled_up_in_an_outage_goes_out_at_a_pace() -> None:
    made = backoff()
    pauses(made, 3)
    made.succeeded(NOW, behind=True)
    assert made.paced_until == NOW + 0.2
    assert made.resume_at == 0.0
    made.succeeded(NOW + 59, behind=True)
    assert made.paced_until == NOW + 59.2
    made.succeeded(NOW + 61, behind=True)
    assert made.paced_until == NOW + 59.2


def test_the_pace_ends_when_all_is_delivered_that_piled_up() -> None:
    made = backoff()
    pauses(made, 3)
    made.succeeded(NOW, behind=False)
    made.succeeded(NOW + 1, behind=True)
    assert made.paced_until == 0.0


def test_a_key_that_was_refused_is_an_outage() -> None:
    made = backoff()
    made.give_up(NOW)
    made.succeeded(NOW, behind=True)
    assert made.paced_until > NOW


def test_a_single_failure_is_no_outage() -> None:
    made = backoff()
    pauses(made, 2)
    made.succeeded(NOW, behind=True)
    assert made.paced_until == 0.0


def test_retry_after_does_not_shorten_our_own_pause() -> None:
    made = backoff()
    pauses(made, 3)
    made.failed(NOW, 1.0)
    assert made.resume_at == NOW + 13.5


def test_retry_after_neither_resets_nor_extends_the_retries() -> None:
    made = backoff(retries=3)
    for _ in range(4):
        assert not made.spent
        made.failed(NOW, 30.0)
    assert made.spent


def test_retry_after_holds_in_a_rest_and_is_gone_after_a_success() -> None:
    made = backoff(retries=0, rest=1.0)
    made.failed(NOW, 30.0)
    assert made.resume_at == NOW + 45
    made.succeeded(NOW, behind=False)
    assert (made.resume_at, made.spent) == (0.0, False)
    made.hurry()
    assert made.resume_at == 0.0


def test_a_success_ends_the_episode() -> None:
    made = backoff(retries=1)
    pauses(made, 6)
    made.succeeded(NOW, behind=False)
    assert pauses(made, 2) == [0.5, 10]


def test_someone_who_waits_ends_our_pause_and_not_the_services() -> None:
    made = backoff()
    made.failed(NOW, None)
    made.hurry()
    assert made.resume_at == 0.0
    made.failed(NOW, 20.0)
    made.hurry()
    assert made.resume_at == NOW + 30


def test_someone_who_waits_begins_a_new_round_where_the_last_was_spent() -> None:
    made = backoff(retries=2)
    pauses(made, 3)
    made.hurry()
    assert not made.spent
    assert pauses(made, 3)[:2] == [0.5, 1.5]
    assert made.spent


def test_someone_who_waits_does_not_extend_a_round_that_is_under_way() -> None:
    made = backoff(retries=2)
    for _ in range(3):
        made.hurry()
        made.failed(NOW, None)
    assert made.spent


def test_at_an_exit_a_refused_connection_is_tried_twice() -> None:
    made = backoff()
    made.refused_at_exit(NOW)
    assert (made.spent, made.resume_at) == (False, NOW + 0.25)
    made.refused_at_exit(NOW + 0.25)
    assert made.spent


def test_a_second_exit_hook_tries_again() -> None:
    made = backoff()
    made.refused_at_exit(NOW)
    made.refused_at_exit(NOW)
    made.hurry()
    made.refused_at_exit(NOW)
    assert not made.spent


def test_giving_up_rests_at_once() -> None:
    made = backoff()
    made.give_up(NOW)
    assert (made.spent, made.resume_at) == (True, NOW + 10)
