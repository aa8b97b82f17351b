"""Who delivers, whatever interrupts it."""

from __future__ import annotations

import _thread
import gc
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from harness import wait_until
from interruptions import gusts
from whisperr import Whisperr, WhisperrError

if TYPE_CHECKING:
    from harness import LocalServer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no timer signal")


def new_client(server: LocalServer, api_key: str, **options: Any) -> Whisperr:
    return Whisperr(api_key, base_url=server.url, flush_interval=0, flush_at=10_000, **options)


# A socket that was struck while it was made is nobody's yet: the garbage collector closes it.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_delivery_that_a_signal_handler_ended_hundreds_of_times_goes_on(
    server: LocalServer, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calling thread delivers, as at an exit: the handler raises anywhere in it."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)
    client = new_client(server, api_key)

    def work() -> None:
        client.track("u", "happened")
        client.flush(timeout=5)

    assert gusts(work, 600, longest=0.003) > 100
    assert client.flush()
    gc.collect()  # here, where the warning about such a socket is expected
    stats = client.stats()
    assert stats.balanced
    assert stats.delivered == stats.accepted == server.counts(api_key)["events"]


def test_a_flush_returns_when_the_reports_about_it_were_made(
    server: LocalServer, api_key: str
) -> None:
    reports = []

    def slow(error: WhisperrError) -> None:
        time.sleep(0.3)
        reports.append(error.type)

    client = new_client(server, api_key, on_error=slow)
    server.fault(key=api_key, times=1, action="status", status=400)
    client.track("u", "happened")
    assert not client.flush()
    assert reports == ["dropped"]
    client.track("", "refused")
    assert client.flush()
    assert reports == ["dropped", "dropped"]


def test_a_flush_without_time_begins_the_delivery(server: LocalServer, api_key: str) -> None:
    client = new_client(server, api_key)
    client.track("u", "happened")
    assert not client.flush(timeout=0)
    deadline = time.monotonic() + 10
    while not client.stats().delivered:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_operations_between_the_last_look_and_the_pause_start_a_delivery(
    server: LocalServer, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender decided to wait for more while a thread queued what it would wait for."""
    client = Whisperr(api_key, base_url=server.url, flush_interval=100_000, flush_at=3)
    loop = client._local.get()._loop
    pause = loop._pause

    def late(seconds: float) -> None:
        while client.stats().accepted < 3:
            client.track("u", "happened")
        pause(seconds)

    monkeypatch.setattr(loop, "_pause", late)
    client.track("u", "happened")
    wait_until(lambda: server.counts(api_key)["events"] == 3)


def test_a_refusal_alone_starts_the_sender_which_reports_it(
    server: LocalServer, api_key: str
) -> None:
    errors: list[WhisperrError] = []
    client = new_client(server, api_key, on_error=errors.append)
    client.track("", "refused")
    wait_until(lambda: [error.reason for error in errors] == ["invalid"])


def test_a_sender_whose_start_a_signal_handler_ended_is_started_later(
    server: LocalServer, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = _thread.start_new_thread

    def struck(*_: object) -> NoReturn:
        monkeypatch.setattr("_thread.start_new_thread", start)
        raise KeyboardInterrupt

    monkeypatch.setattr("_thread.start_new_thread", struck)
    client = Whisperr(api_key, base_url=server.url, flush_interval=0, flush_at=1)
    with pytest.raises(KeyboardInterrupt):
        client.track("u", "struck")

    def delivered() -> bool:
        client.track("u", "happened")
        return client.stats().delivered > 1

    wait_until(delivered)
