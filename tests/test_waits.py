"""Who waits for what, and what ends a wait: flush(), shutdown() and exits beside each other."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from harness import wait_until
from runs import run_script
from service import OFFENDER, Service, treatment
from whisperr import FlushResult, Whisperr, WhisperrError
from whisperr._backoff import OUTAGE_FAILURES, Backoff
from whisperr.server.ledger import judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness import LocalServer
    from raw_server import Peer, Request

KEY = "wrk_test_waits"
SCRIPT = "waits_scenarios.py"
#: What ends at once ends within this, however busy the machine is.
AT_ONCE = 5.0
#: Seconds of a pause that lasts until something ends it.
LONG = 100.0


class Gate:
    """A service that answers as soon as the gate is open, and counts how many wait before it."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.waiting = 0
        self.most_waiting = 0

    def __call__(self, service: Service, peer: Peer, request: Request) -> None:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        while not (self.open.wait(0.02) or service.stopping.is_set()):
            pass
        self.waiting -= 1
        service.take(peer, request)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def service(gate: Gate) -> Iterator[Service]:
    with Service(gate) as service:
        yield service


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def new_client(service: Service, **options: Any) -> Whisperr:
    options = {"flush_interval": 0, "flush_at": 10_000, **options}
    return Whisperr(KEY, base_url=service.url, **options)


def track(client: Whisperr, count: int = 1) -> list[str]:
    names = [uuid.uuid4().hex for _ in range(count)]
    for name in names:
        client.track("u", OFFENDER, {"test_id": name})
    return names


def timed(call: Callable[..., FlushResult], *arguments: Any) -> tuple[FlushResult, float]:
    began = time.monotonic()
    return call(*arguments), time.monotonic() - began


# --- Several who wait ---------------------------------------------------------------------


def test_threads_that_flush_at_once_share_one_exchange_and_are_served_together(
    service: Service, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    client = new_client(service)
    names = track(client, 10)
    flushing = [pool.submit(client.flush) for _ in range(8)]
    wait_until(lambda: len(client._local.get()._loop._waiters) == 8)
    gate.open.set()
    results = [future.result(20) for future in flushing]
    assert all(results)
    assert sum(result.delivered for result in results) == 10
    assert (gate.most_waiting, service.connections, len(service.requests)) == (1, 1, 1)
    assert judge(names, service.arrivals).exactly_once


def test_a_flush_waits_for_what_was_accepted_before_it_and_for_no_more(
    service: Service, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    client = new_client(service)
    track(client)
    first = pool.submit(client.flush, 8)
    wait_until(lambda: gate.waiting)
    track(client)
    gate.open.set()
    assert first.result(AT_ONCE)
    assert (client.stats().delivered, client.stats().queued) == (1, 1)
    assert client.flush()


def test_a_flush_that_runs_out_of_time_leaves_the_exchange_and_the_others_alone(
    service: Service, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    client = new_client(service)
    names = track(client, 3)
    patient = pool.submit(client.flush, 20)
    wait_until(lambda: gate.waiting)
    result, took = timed(client.flush, 0.2)
    assert (result.queued, result.timed_out) == (3, True)
    assert took < AT_ONCE
    gate.open.set()
    assert patient.result(20)
    assert judge(names, service.arrivals).exactly_once


def test_a_flush_during_a_shutdown_is_served_with_it(
    service: Service, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    client = new_client(service)
    names = track(client, 3)
    ending = pool.submit(client.shutdown, 20)
    wait_until(lambda: gate.waiting)
    flushing = pool.submit(client.flush, 20)
    gate.open.set()
    assert ending.result(20)
    assert flushing.result(20)
    assert judge(names, service.arrivals).exactly_once


def test_a_shutdown_during_a_flush_takes_its_own_time_and_the_flush_goes_on(
    service: Service, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    errors: list[WhisperrError] = []
    client = new_client(service, on_error=errors.append)
    names = track(client, 3)
    flushing = pool.submit(client.flush, 20)
    wait_until(lambda: gate.waiting)
    result, took = timed(client.shutdown, 0.2)
    assert (result.queued, result.timed_out) == (3, True)
    assert took < AT_ONCE
    assert [(error.reason, error.count) for error in errors] == [("undelivered", 3)]
    gate.open.set()
    assert flushing.result(20)
    assert judge(names, service.arrivals).exactly_once


def test_a_second_shutdown_returns_at_once_where_nothing_is_left(
    service: Service, gate: Gate
) -> None:
    gate.open.set()
    client = new_client(service)
    track(client)
    assert client.shutdown() == FlushResult(delivered=1)
    result, took = timed(client.shutdown)
    assert result == FlushResult()
    assert took < AT_ONCE


def test_a_second_shutdown_tries_again_what_the_first_left_and_reports_no_loss_twice(
    service: Service, gate: Gate
) -> None:
    errors: list[WhisperrError] = []
    client = new_client(service, on_error=errors.append)
    names = track(client, 3)
    for _ in range(2):
        assert client.shutdown(0.2).queued == 3
    assert [(error.reason, error.count) for error in errors] == [("undelivered", 3)]
    gate.open.set()
    assert client.shutdown(20)
    ledger = judge(names, service.arrivals)
    assert not ledger.lost | ledger.twice


def test_shutdowns_in_many_threads_deliver_once_and_end_together(
    service: Service, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    client = new_client(service)
    names = track(client, 5)
    ending = [pool.submit(client.shutdown, 20) for _ in range(8)]
    wait_until(lambda: gate.waiting)
    gate.open.set()
    assert all(future.result(20) for future in ending)
    assert judge(names, service.arrivals).exactly_once
    wait_until(lambda: not client._local.get().has_sender())


def test_what_threads_track_during_a_shutdown_is_delivered_or_refused_and_nothing_else(
    service: Service, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    gate.open.set()
    errors: list[WhisperrError] = []
    # On a slow machine the four are faster than the sender for a while: nothing may overflow.
    room = {"max_queue_size": 10**6, "max_queue_bytes": 2**30}
    client = new_client(service, flush_at=20, on_error=errors.append, **room)
    started = threading.Barrier(5)

    def work() -> list[str]:
        started.wait(20)
        names: list[str] = []
        while client.ready:
            names += track(client)
        return names + track(client, 10)

    working = [pool.submit(work) for _ in range(4)]
    started.wait(20)
    wait_until(lambda: client.stats().accepted > 200)
    client.shutdown(20)
    names = [name for future in working for name in future.result(20)]
    wait_until(lambda: client.stats().delivered == client.stats().accepted)
    stats = client.stats()
    assert stats.balanced
    assert stats.refused["closed"] >= 40
    ledger = judge(names, service.arrivals)
    assert not ledger.unknown | ledger.twice | ledger.resent
    assert len(ledger.lost) == stats.refused["closed"]
    client.flush()
    assert [error.reason for error in errors] == ["closed"]


# --- What ends a pause of ours ------------------------------------------------------------


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pause of ours lasts as long as it may, 100 s."""
    for name in ("FIRST_DELAY", "LONGEST_DELAY"):
        monkeypatch.setattr(f"whisperr._backoff.{name}", LONG)
    monkeypatch.setattr(Backoff, "jitter", lambda _self, _least, most: most)


@pytest.mark.usefixtures("long_pauses")
@pytest.mark.parametrize("end", ["flush", "shutdown", "before_exit"])
@pytest.mark.parametrize(
    ("status", "retries"),
    [(401, 6), (503, 0), (503, 6)],
    ids=["refused key", "spent round", "back-off"],
)
def test_whoever_waits_ends_a_pause_of_ours_at_once(end: str, status: int, retries: int) -> None:
    with Service(treatment(f"`{status}`")) as service:
        client = new_client(service, flush_interval=LONG, max_retries=retries)
        names = track(client, 3)
        assert client.flush(1).queued == 3
        service.failing = False
        result, took = timed(getattr(client, end), 20)
        assert result
        assert took < AT_ONCE
        assert len(service.requests) == 2
        assert judge(names, service.arrivals).exactly_once


@pytest.mark.parametrize("sender", ["alive", "none"])
def test_an_exit_ends_a_pause_of_ours_at_once(
    server: LocalServer, api_key: str, tmp_path: Path, sender: str
) -> None:
    server.fault(key=api_key, times=1, action="status", status=401)
    result = run_script(server, api_key, tmp_path, SCRIPT, "resting", sender)
    assert result.ledger.exactly_once, result.account()
    assert [line["type"] for line in result.lines("reports")] == ["auth"]
    assert result.seconds_since("end") < 10


def test_whoever_waits_is_not_kept_waiting_by_the_pace_after_an_outage(
    monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    """At this pace so many requests would take more than a minute."""
    monkeypatch.setattr("whisperr._backoff.CATCH_UP_PAUSE", 5.0)
    monkeypatch.setattr("whisperr._backoff.FIRST_DELAY", 0.1)
    with Service(treatment("`503`")) as service:
        client = new_client(service, max_batch_size=1)
        names = track(client, 20)
        flushing = pool.submit(client.flush, 60)
        wait_until(lambda: len(service.times) == OUTAGE_FAILURES)
        service.failing = False
        assert flushing.result(30)
        assert client._local.get()._loop._delivery.backoff.paced_until
        assert service.times[-1] - service.times[OUTAGE_FAILURES] < AT_ONCE
        assert judge(names, service.arrivals).exactly_once


def test_new_operations_never_cut_a_back_off_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full queue they would: each of them finds more than `flush_at` waiting."""
    monkeypatch.setattr(Backoff, "jitter", lambda _self, _least, most: most)
    with Service(treatment("`503`")) as service:
        client = new_client(service, flush_interval=0.05, flush_at=1, max_retries=2)
        while len(service.times) < 4:
            track(client)
            time.sleep(0.0005)
        pauses = [after - before for before, after in pairwise(service.times)]
        assert pauses[0] >= 0.5
        assert pauses[1] >= 1.0
        assert pauses[2] >= 1.0  # the rest after a round
        service.failing = False
        assert client.flush()


# --- What a pause of the service's means ----------------------------------------------------


@pytest.mark.parametrize("timeout", [20, None])
def test_a_flush_waits_for_the_services_pause_if_its_timeout_allows(timeout: float | None) -> None:
    with Service(treatment("`503` `Retry-After: 1`")) as service:
        client = new_client(service)
        track(client)
        assert not client.flush(0.3)
        service.failing = False
        assert client.flush(timeout)
        (pause,) = (after - before for before, after in pairwise(service.times))
        assert pause >= 1.0


@pytest.mark.parametrize("end", ["flush", "shutdown", "before_exit"])
def test_who_has_less_time_than_the_services_pause_gives_up_at_once(end: str) -> None:
    errors: list[WhisperrError] = []
    with Service(treatment("`429` `Retry-After: 60`")) as service:
        client = new_client(service, on_error=errors.append)
        track(client, 3)
        for _ in range(2):
            result, took = timed(getattr(client, end), 20)
            assert (result.queued, bool(result)) == (3, False)
            assert took < AT_ONCE
        assert len(service.requests) == 1
        left = [("stalled", "undelivered", 3)] if end == "shutdown" else []
        assert [(error.type, error.reason, error.count) for error in errors] == left


@pytest.mark.parametrize("sender", ["alive", "none"])
def test_an_exit_before_the_end_of_the_services_pause_gives_up_at_once_and_reports_the_count(
    server: LocalServer, api_key: str, tmp_path: Path, sender: str
) -> None:
    server.fault(key=api_key, times=None, action="status", status=503, retry_after=60)
    result = run_script(server, api_key, tmp_path, SCRIPT, "asked_to_wait", sender)
    assert result.status == 0, result.output
    left = [line["count"] for line in result.lines("reports") if line["reason"] == "undelivered"]
    assert left == [3]
    assert len(server.requests(api_key)) == 1
    assert result.seconds_since("end") < 10


def test_new_operations_do_not_cut_the_services_pause_short() -> None:
    with Service(treatment("`503` `Retry-After: 1`")) as service:
        client = new_client(service, flush_interval=0.05, flush_at=1)
        while len(service.times) < 2:
            track(client)
            time.sleep(0.0005)
        assert service.times[1] - service.times[0] >= 1.0
        service.failing = False
        assert client.flush()


# --- Without an end ---------------------------------------------------------------------------


def test_a_flush_without_a_timeout_ends_when_the_retries_are_spent() -> None:
    with Service(treatment("`503`")) as service:
        client = new_client(service, max_retries=2)
        track(client, 3)
        result = client.flush(None)
        assert (result.queued, result.timed_out) == (3, False)
        assert len(service.requests) == 3
