from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from harness import LocalServer, wait_until
from server.wire import Sender, event
from whisperr.server.clock import Clock, parse_moment

NOON = datetime(2026, 6, 14, 12, tzinfo=timezone.utc)


def test_a_clock_that_was_set_runs_on_from_there() -> None:
    clock = Clock(NOON)
    wait_until(lambda: clock.now() > NOON)
    assert clock.now() - NOON < timedelta(seconds=10)


def test_a_clock_set_to_none_tells_real_time() -> None:
    clock = Clock(NOON)
    clock.set(None)
    assert abs(clock.now() - datetime.now(timezone.utc)) < timedelta(seconds=1)


@pytest.mark.parametrize(
    "text", ["2026-06-14T12:00:00Z", "2026-06-14T14:00:00+02:00", "2026-06-14 12:00"]
)
def test_moments_are_read_with_and_without_a_zone(text: str) -> None:
    assert parse_moment(text) == NOON


def test_what_is_no_moment_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="write it like"):
        parse_moment("noon")


def test_the_window_follows_the_servers_clock() -> None:
    server = LocalServer.start(":memory:", "--now", "2020-01-01T00:00:00Z")
    try:
        with Sender(server.url, "wrk_clock") as sender:
            assert sender.batch(event()).body["rejected"] == 1
            old = event(occurred_at="2020-01-01T00:00:00.000Z")
            assert sender.batch(old).body["accepted"] == 1
            server.put("/control/clock", now=None)
            assert sender.batch(event()).body["accepted"] == 1
            assert sender.batch(old).body["rejected"] == 1
    finally:
        server.stop()
