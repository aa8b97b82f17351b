"""The client does what a simple model of it does, whatever it is asked and answered."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import seed
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from drawn import LIMIT, REPEAT, SEED, SETTINGS
from whisperr import Whisperr

from .clock import Clock, install
from .life import Life, Step
from .service import RESET, SILENCE, Answer, Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from whisperr import WhisperrError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

Options = dict[str, Any]

_MOST_FORKS = 2
#: A client that is shut down accepts nothing more: most steps are to come before.
_WORTH_A_SHUTDOWN = 15

ANSWERS = [
    *(Answer(), Answer(rejected=1), Answer(rejected=3)),
    *(Answer(status) for status in (400, 401, 403, 404, 413, 422, 500, 503)),
    *(Answer(503, retry_after=7), Answer(429, retry_after=600)),
    *(RESET, SILENCE),
]
tracked = st.sampled_from([*["event"] * 8, "malformed", "invalid", "too_large"])
called = tracked | st.just("identify")
timeouts = st.sampled_from([10.0, 1.0, 0.0, None])
pauses = st.sampled_from([0.1, 1.0, 10.0, 30.0, 100.0])
answer = st.sampled_from(ANSWERS)
#: Of all kinds, or the same for a while.
answers = st.one_of(
    st.lists(answer, min_size=1, max_size=6),
    st.builds(lambda given, times: [given] * times, answer, st.integers(2, 6)),
)
options = st.fixed_dictionaries(
    {
        "flush_at": st.sampled_from([20, 1, 4]),
        "flush_interval": st.sampled_from([10.0, 0.0]),
        "max_queue_size": st.sampled_from([100, 5, 12]),
        "max_batch_size": st.sampled_from([500, 10, 4]),
        "max_retries": st.integers(0, 6),
    }
)
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.lists(called, min_size=1, max_size=3)),
        st.tuples(st.just("flush"), timeouts),
        st.tuples(st.just("wait"), pauses),
        st.tuples(st.just("shutdown"), timeouts),
    ),
    min_size=1,
    max_size=4,
)


class Machine(RuleBasedStateMachine):
    service: ClassVar[Service]

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(logging.getLogger("whisperr"), "disabled", True)
        self.lives = self.forks = 0

    @initialize(threads=st.sampled_from([True, True, False]), options=options)
    def begin(self, threads: bool, options: Options) -> None:
        self.clock = Clock()
        install(self.patch, self.clock, threads=threads)
        self.patch.setattr("whisperr._connection.wait_for_read", self.service.wait_for_read)
        self.service.begin(self.clock)
        self._begin_life(options)

    def _begin_life(self, options: Options) -> None:
        self.lives += 1
        reports: list[WhisperrError] = []
        client = Whisperr(
            "wrk_test_model", base_url=self.service.url, on_error=reports.append, **options
        )
        limits = (options["max_queue_size"], options["max_batch_size"])
        self.life = Life(str(self.lives), client, reports, self.clock, self.service, limits)

    @precondition(lambda self: self.life.model.closed)
    @rule(options=options)
    def begin_again(self, options: Options) -> None:
        """Another client in the place of one that was shut down."""
        self.life.end()
        self._begin_life(options)

    @rule(kinds=st.lists(tracked, min_size=1, max_size=12))
    def track(self, kinds: Sequence[str]) -> None:
        self.life.call(kinds)

    @rule(kinds=st.lists(called, min_size=1, max_size=12))
    def track_and_identify(self, kinds: Sequence[str]) -> None:
        self.life.call(kinds)

    @rule(timeout=timeouts)
    def flush(self, timeout: float | None) -> None:
        self.life.flush(timeout)

    @precondition(lambda self: self.life.model.accepted >= _WORTH_A_SHUTDOWN)
    @rule(timeout=timeouts)
    def shutdown(self, timeout: float | None) -> None:
        self.life.shutdown(timeout)

    @rule(seconds=pauses)
    def wait(self, seconds: float) -> None:
        self.life.wait(seconds)

    @rule(given=answers)
    def answer_with(self, given: Sequence[Answer]) -> None:
        self.service.answers.extend(given)

    @precondition(lambda self: self.forks < _MOST_FORKS)
    @rule(generations=st.lists(steps, min_size=1, max_size=3))
    def fork(self, generations: Sequence[list[Step]]) -> None:
        """A child, which may fork a grandchild after its own steps, and so on."""
        self.forks += 1
        plan: list[Step] = []
        for generation in reversed(generations):
            plan = [*generation, *([("fork", plan)] if plan else [])]
        self.life.fork(plan)

    @invariant()
    def accounts_balance(self) -> None:
        self.life.judge()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:  # a step that failed leaves nothing to judge
                self.life.end()
        finally:
            self.patch.undo()


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as service:
        yield service


@pytest.mark.timeout(LIMIT)
def test_the_client_and_the_model_agree_after_every_step(
    service: Service, no_other_clients: None
) -> None:
    Machine.service = service
    print(REPEAT)
    run_state_machine_as_test(seed(SEED)(Machine), settings=SETTINGS)
