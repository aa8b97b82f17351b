"""before_exit(): hooks of a host that follow each other share one wait for a service that hangs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

import whisperr
from harness import wait_until
from whisperr import Whisperr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import LocalServer

PATIENCE = 3.0
pytestmark = pytest.mark.usefixtures("no_other_clients")


@pytest.fixture
def client(server: LocalServer, api_key: str) -> Iterator[Whisperr]:
    """A client that delivers only when something ends."""
    client = Whisperr(
        api_key,
        base_url=server.url,
        flush_interval=0,
        flush_at=10_000,
        shutdown_timeout=PATIENCE,
        request_timeout=PATIENCE / 3,
    )
    yield client
    client.shutdown(timeout=1)


def seconds(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


@pytest.mark.parametrize("of_all", [False, True])
def test_it_delivers_and_the_process_may_go_on(client: Whisperr, of_all: bool) -> None:
    before_exit = whisperr.before_exit if of_all else client.before_exit
    for _ in range(2):
        client.track("u", "happened")
        assert before_exit().delivered == 1


def test_nothing_to_deliver_is_no_wait(client: Whisperr) -> None:
    assert client.before_exit()
    assert whisperr.before_exit()


def test_a_service_that_hangs_is_waited_for_once(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    server.fault(action="never", key=api_key, times=None)
    client.track("u", "happened")
    assert seconds(client.before_exit) >= PATIENCE / 3  # one exchange at least
    hooks = [client.before_exit, whisperr.before_exit] * 4  # an exchange each would be too long
    assert sum(map(seconds, hooks)) < 1.5 * PATIENCE


def test_the_shorter_time_counts(server: LocalServer, api_key: str, client: Whisperr) -> None:
    server.fault(action="never", key=api_key, times=None)
    client.track("u", "happened")
    assert seconds(lambda: whisperr.before_exit(within=PATIENCE / 4)) < PATIENCE


def test_a_service_that_came_back_is_waited_for_again(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    server.fault(action="never", key=api_key, times=None)
    client.track("u", "happened")
    assert client.before_exit().queued == 1
    server.clear_faults(api_key)
    assert client.flush()
    client.track("u", "happened_later")
    assert client.before_exit()


def test_a_wait_that_somebody_asks_for_is_not_cut(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    server.fault(action="never", key=api_key, times=None)
    client.track("u", "happened")
    deadline = time.monotonic() + PATIENCE
    assert client.before_exit().queued == 1
    wait_until(lambda: time.monotonic() > deadline)  # it may have seen earlier that it was in vain
    server.clear_faults(api_key)
    assert client.shutdown(timeout=10)
