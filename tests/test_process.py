"""What a client owns in one process: made late, counted one by one."""

from __future__ import annotations

import itertools
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import requests

from runs import over_http_and_tls
from test_adapter import Probe
from whisperr import Stats, Whisperr
from whisperr._handover import Handover
from whisperr._options import Options
from whisperr._process import ProcessState

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from harness import LocalServer


@over_http_and_tls
def test_the_first_delivery_makes_the_session_and_the_tls_context(
    server: LocalServer, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the construction nor track() does: gevent may patch, or the process fork, first."""
    if server.bundle:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.bundle)
    sessions: list[requests.Session] = []

    def make_session() -> requests.Session:
        sessions.append(requests.Session())
        return sessions[-1]

    probe = Probe(monkeypatch)
    client = Whisperr(api_key, base_url=server.url, session_factory=make_session, flush_interval=0)
    assert (len(sessions), probe.made) == (0, 0)
    client.track("u", "happened")
    assert (len(sessions), probe.made) == (0, 0)
    assert client.flush()
    assert (len(sessions), probe.made) == (1, 1 if server.bundle else 0)


def test_each_number_is_recorded_and_none_is_computed_from_the_others() -> None:
    """So that an operation that came to no outcome unbalances them."""
    state = ProcessState(Options(api_key="wrk_test"), Handover())
    counters = state._counters
    recorded = {
        "accepted": counters.accepted,
        "delivered": counters.delivered,
        **{f"refused {reason}": counter for reason, counter in counters.refused.items()},
        **{f"dropped {reason}": counter for reason, counter in counters.dropped.items()},
    }
    for name, counter in recorded.items():
        before = _numbers(state.stats())
        counter.advance("x")
        changed = _numbers(state.stats()) - before
        assert changed == {(name, counter.value)}
    for counter in counters.called.values():
        called = state.stats().called
        counter.advance("x")
        assert state.stats().called == called + 1


def _numbers(stats: Stats) -> set[tuple[str, int]]:
    return {
        ("called", stats.called),
        ("accepted", stats.accepted),
        ("delivered", stats.delivered),
        ("queued", stats.queued),
        ("in flight", stats.in_flight),
        *((f"refused {reason}", count) for reason, count in stats.refused.items()),
        *((f"dropped {reason}", count) for reason, count in stats.dropped.items()),
    }


class At:
    """Makes a move in the middle of a call: before the instruction of this number."""

    def __init__(self, number: int, move: Callable[[], object]) -> None:
        self.left = number
        self._move = move

    def trace(self, frame: FrameType, event: str, _: object) -> Callable[..., Any] | None:
        frame.f_trace_opcodes = True
        if event == "opcode":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                self._move()
        return self.trace


@pytest.mark.parametrize("in_flight", [False, True], ids=["is taken", "comes back"])
def test_an_operation_that_moves_during_the_look_is_work_all_the_same(in_flight: bool) -> None:
    """Else flush() returned before its exchange, and an exit did not wait for it."""
    for number in itertools.count(1):
        state = ProcessState(Options(api_key="wrk_test"), Handover())
        queue = state._queue
        queue.append(b"{}")
        if in_flight:
            queue.take(1)
        at = At(number, queue.requeue if in_flight else partial(queue.take, 1))
        before = sys.gettrace()
        sys.settrace(at.trace)
        try:
            assert state.has_work(), number
        finally:
            sys.settrace(before)
        if at.left > 0:
            break
    assert number > 20
