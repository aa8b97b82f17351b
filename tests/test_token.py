"""The right to deliver belongs to one claim at a time."""

from __future__ import annotations

import sys
import threading

import pytest

from interruptions import storm
from whisperr._token import Token


def test_one_claim_holds_it() -> None:
    token = Token()
    first, second = token.claim(), token.claim()
    assert token.take(first)
    assert not token.take(second)
    assert token.held()
    assert token.mine()
    token.give(second)
    assert token.held()
    token.give(first)
    assert not token.held()
    assert token.take(second)


def test_a_thread_knows_that_another_holds_it() -> None:
    token = Token()
    assert token.take(token.claim())
    seen: list[bool] = []

    def look() -> None:
        token.clear()
        seen.extend([token.held(), token.mine()])

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [True, False]
    token.clear()
    assert not token.held()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no timer signal")
def test_an_exception_of_a_signal_handler_leaves_it_to_a_known_claim_or_free() -> None:
    token = Token()

    def work() -> None:
        claim = token.claim()
        try:
            assert token.take(claim)
        finally:
            token.give(claim)

    def round_() -> None:
        token.clear()  # what the strike before may have left in its `finally`
        work()

    storm(round_, 2000)
    token.clear()
    assert not token.held()
