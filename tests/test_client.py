"""The public client against the local server: order, answers, waits, ends."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import signal
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from multiprocessing.context import set_spawning_popen
from typing import TYPE_CHECKING, Any

import pytest
from requests import Session

import whisperr
from harness import wait_until
from whisperr import BillingEvent, Channel, Whisperr, WhisperrError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import LocalServer


class Recorder(list[WhisperrError]):
    """An on_error that keeps what it is told."""

    def __call__(self, error: WhisperrError) -> None:
        self.append(error)

    @property
    def types(self) -> list[str]:
        return [error.type for error in self]


@pytest.fixture
def errors() -> Recorder:
    return Recorder()


@pytest.fixture
def client(server: LocalServer, api_key: str, errors: Recorder) -> Iterator[Whisperr]:
    """A client that delivers only when it is flushed."""
    client = new_client(server, api_key, on_error=errors)
    yield client
    client.shutdown(timeout=1)
    assert client.stats().balanced


def new_client(server: LocalServer, api_key: str, **options: Any) -> Whisperr:
    options = {"base_url": server.url, "flush_interval": 0, "flush_at": 10_000, **options}
    return Whisperr(api_key, **options)


def requests(server: LocalServer, api_key: str) -> list[tuple[str, Any]]:
    return [(row["path"], json.loads(row["body"])) for row in server.requests(api_key)]


# --- What goes over the wire --------------------------------------------------------------


def test_operations_are_delivered_in_the_order_of_their_calls(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    client.track("u", "first")
    client.identify("u", traits={"plan": "pro"})
    client.track("u", "second")
    client.track("u", "third")
    assert client.flush()
    sent = requests(server, api_key)
    assert [path for path, _ in sent] == ["/v1/events/batch", "/v1/identify", "/v1/events/batch"]
    assert [event["event_type"] for event in sent[2][1]["events"]] == ["second", "third"]


def test_a_batch_has_at_most_max_batch_size_events(
    server: LocalServer, api_key: str, errors: Recorder
) -> None:
    with new_client(server, api_key, max_batch_size=7, on_error=errors) as client:
        for _ in range(20):
            client.track("u", "happened")
    assert [len(body["events"]) for _, body in requests(server, api_key)] == [7, 7, 6]


def test_all_requests_share_one_connection(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    for _ in range(5):
        client.track("u", "happened")
        assert client.flush()
    assert server.counts(api_key)["connections"] == 1


def test_what_is_delivered_is_what_the_arguments_were(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    properties: dict[str, Any] = {"items": [1, 2]}
    client.track("u", "happened", properties)
    properties["items"].append(3)
    properties["late"] = True
    assert client.flush()
    ((_, body),) = requests(server, api_key)
    assert body["events"][0]["properties"] == {"items": [1, 2]}


def test_a_redelivered_webhook_is_one_event(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    for _ in range(2):
        client.track("u", BillingEvent.REFUND_GRANTED, message_id="evt_42")
        assert client.flush()
    assert server.counts(api_key)["arrivals"] == 2
    (event,) = server.events(api_key)
    assert event["event_type"] == "refund_granted"


def test_an_event_carries_the_time_at_which_it_happened(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    moment = datetime.now(timezone(timedelta(hours=2))) - timedelta(days=1)
    client.track("u", "happened", occurred_at=moment)
    assert client.flush()
    (event,) = server.events(api_key)
    in_utc = moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    assert event["occurred_at"] == in_utc.replace("+00:00", "Z")


def test_channels_carry_consent(server: LocalServer, api_key: str, client: Whisperr) -> None:
    client.identify(
        42,
        phone="+15551234567",
        preferred_channel="email",
        channels=[
            Channel.email("ada@example.com", opted_in=False, verified=True),
            Channel.push("token", kind="fcm", platform="android"),
            {"type": "sms", "address": "+15557654321"},
        ],
        anonymous_id="browser-1",
    )
    assert client.flush()
    ((_, body),) = requests(server, api_key)
    assert body == {
        "external_user_id": "42",
        "preferred_channel": "email",
        "anonymous_id": "browser-1",
        "channels": [
            {"channel": "sms", "address": "+15551234567", "opted_in": True},
            {
                "channel": "email",
                "address": "ada@example.com",
                "opted_in": False,
                "verified": True,
            },
            {
                "channel": "push",
                "address": "token",
                "opted_in": True,
                "kind": "fcm",
                "platform": "android",
            },
            {"channel": "sms", "address": "+15557654321", "opted_in": True},
        ],
    }


def test_before_send_changes_and_discards(
    server: LocalServer, api_key: str, errors: Recorder
) -> None:
    def redact(operation: dict[str, Any], kind: str) -> dict[str, Any] | None:
        if kind == "identify":
            return None
        operation["properties"].pop("secret")  # a KeyError costs the event
        return operation

    client = new_client(server, api_key, before_send=redact, on_error=errors)
    given = {"secret": 1, "kept": 2}
    client.track("u", "happened", given)
    client.track("u", "has_no_secret", {})
    client.identify("u", email="ada@example.com")
    assert client.flush()
    assert given == {"secret": 1, "kept": 2}
    ((_, body),) = requests(server, api_key)
    assert body["events"][0]["properties"] == {"kept": 2}
    assert [(error.reason, error.event_types) for error in errors] == [
        ("before_send", ("has_no_secret",))
    ]
    assert client.stats().refused == {
        "invalid": 0,
        "closed": 0,
        "too_large": 0,
        "before_send": 1,
        "discarded": 1,
        "user_unresolved": 0,
        "rolled_back": 0,
        "master": 0,
    }


# --- When it is delivered -------------------------------------------------------------------


def test_flush_at_operations_start_a_delivery(server: LocalServer, api_key: str) -> None:
    client = new_client(server, api_key, flush_at=3)
    for _ in range(3):
        client.track("u", "happened")
    wait_until(lambda: server.counts(api_key)["events"] == 3)


def test_the_timer_delivers_what_is_queued(server: LocalServer, api_key: str) -> None:
    client = new_client(server, api_key, flush_interval=0.2)
    client.track("u", "happened")
    client.identify("u", traits={"plan": "pro"})
    client.track("u", "happened")
    wait_until(lambda: server.counts(api_key)["arrivals"] == 3)


def test_an_idle_sender_ends_and_is_started_again(server: LocalServer, api_key: str) -> None:
    client = new_client(server, api_key, flush_interval=0.1)
    sender = client._local.get()._sender
    for events in (1, 2):
        client.track("u", "happened")
        assert sender.running
        wait_until(lambda: not sender.running)
        assert server.counts(api_key)["events"] == events


# --- Answers --------------------------------------------------------------------------------


def test_a_refused_key_keeps_everything_and_is_reported_once(
    server: LocalServer, api_key: str, client: Whisperr, errors: Recorder
) -> None:
    server.fault(key=api_key, times=2, action="status", status=401)
    client.track("u", "happened")
    assert not client.flush()
    assert not client.flush()
    assert errors.types == ["auth"]
    assert client.flush()
    assert server.counts(api_key)["events"] == 1


def test_retries_are_spent_once_and_everything_is_kept(
    server: LocalServer, api_key: str, errors: Recorder
) -> None:
    client = new_client(server, api_key, max_retries=2, on_error=errors)
    server.fault(key=api_key, times=3, action="status", status=503)
    for _ in range(5):
        client.track("u", "happened")
    result = client.flush()
    assert (bool(result), result.queued, result.timed_out) == (False, 5, False)
    assert [(error.type, error.status, error.count) for error in errors] == [
        ("retry_exhausted", 503, 5)
    ]
    assert len(server.requests(api_key)) == 3
    assert client.flush()
    assert client.stats().delivered == 5


def test_retry_after_is_the_least_pause(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    server.fault(key=api_key, times=1, action="status", status=429, retry_after=1)
    client.track("u", "happened")
    started = time.monotonic()
    assert client.flush()
    assert 1.0 <= time.monotonic() - started < 3.0


def test_a_flush_does_not_wait_for_a_pause_beyond_its_timeout(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    server.fault(key=api_key, times=1, action="status", status=503, retry_after=30)
    client.track("u", "happened")
    started = time.monotonic()
    result = client.flush(timeout=5)
    assert (bool(result), result.queued) == (False, 1)
    assert time.monotonic() - started < 2.0
    server.clear_faults(api_key)


@pytest.mark.malformed
def test_an_event_that_the_service_rejects_costs_no_other(
    server: LocalServer, api_key: str, client: Whisperr, errors: Recorder
) -> None:
    client.track("u", "good")
    client.track("u", "bad", occurred_at=datetime(2020, 1, 1, tzinfo=timezone.utc))
    assert not client.flush()
    assert client.stats().delivered == 1
    assert [(error.type, error.reason, error.count) for error in errors] == [
        ("dropped", "rejected", 1)
    ]


@pytest.mark.malformed
def test_a_batch_refused_as_a_whole_is_halved_until_the_offender_stands_alone(
    server: LocalServer, api_key: str, client: Whisperr, errors: Recorder
) -> None:
    server.put("/control/strict-batches", key=api_key, strict=True)
    old = datetime(2020, 1, 1, tzinfo=timezone.utc)
    for index in range(40):
        client.track("u", "good")
        if index == 17:
            client.track("u", "bad", occurred_at=old)
    result = client.flush()
    assert (result.delivered, result.dropped, result.queued) == (40, 1, 0)
    (error,) = errors
    assert (error.type, error.status, error.event_types) == ("dropped", 400, ("bad",))
    assert error.service_message
    assert error.service_message not in str(error)


@pytest.mark.parametrize("status", [301, 404, 405, 407, 421])
def test_a_wrong_address_keeps_everything_and_names_the_url(
    server: LocalServer, api_key: str, errors: Recorder, status: int
) -> None:
    client = new_client(server, api_key, max_retries=0, on_error=errors)
    server.fault(
        key=api_key, times=1, action="status", status=status, location="http://127.0.0.1:9/x?k=v"
    )
    client.track("u", "happened")
    assert not client.flush()
    assert errors.types == ["retry_exhausted"]
    assert server.url in errors[0].message
    assert client.flush()


def test_an_answer_that_is_no_answer_of_the_service_counts_and_is_said_once(
    server: LocalServer, api_key: str, client: Whisperr, errors: Recorder
) -> None:
    page = {"status": 200, "body": "<html>hello</html>", "content_type": "text/html"}
    server.fault(key=api_key, times=2, action="status", **page)
    for _ in range(2):
        client.track("u", "happened")
        assert client.flush()
    assert [(error.type, error.status) for error in errors] == [("environment", 200)]
    assert client.stats().delivered == 2


@pytest.mark.parametrize("action", ["reset_before", "reset_after"])
def test_a_reset_connection_is_tried_again_with_the_same_ids(
    server: LocalServer, api_key: str, client: Whisperr, action: str
) -> None:
    server.fault(key=api_key, times=1, action=action)
    client.track("u", "happened")
    assert client.flush()
    assert server.counts(api_key)["events"] == 1
    assert server.counts(api_key)["twice"] == 0


def test_an_answer_that_trickles_does_not_stretch_the_exchange(
    server: LocalServer, api_key: str
) -> None:
    client = new_client(server, api_key, request_timeout=1.5, max_retries=0)
    # A byte a second: a timeout that each byte restarts would never be over.
    server.fault(key=api_key, times=1, action="trickle")
    client.track("u", "happened")
    started = time.monotonic()
    assert not client.flush(timeout=None)
    assert time.monotonic() - started < 2.5


# --- Limits ---------------------------------------------------------------------------------


def test_a_full_queue_drops_the_oldest_and_says_how_many(
    server: LocalServer, api_key: str, errors: Recorder
) -> None:
    client = new_client(server, api_key, max_queue_size=10, on_error=errors)
    for number in range(25):
        client.track("u", "happened", {"number": number})
    assert not client.flush()
    arrived = [event["body"]["properties"]["number"] for event in server.arrivals(api_key)]
    assert arrived == list(range(15, 25))
    assert {error.reason for error in errors} == {"overflow"}
    assert sum(error.count for error in errors) == 15  # a sender that starts at once says it twice
    assert client.stats().dropped["overflow"] == 15


def test_a_too_large_operation_is_refused_and_costs_no_other(
    server: LocalServer, api_key: str, client: Whisperr, errors: Recorder
) -> None:
    client.track("u", "small")
    client.track("u", "large", {"text": "x" * 300_000})
    client.track("u", "small")
    assert client.flush()
    assert client.stats().refused["too_large"] == 1
    assert [(error.reason, error.event_types) for error in errors] == [("too_large", ("large",))]


def test_large_batches_are_cut_below_the_services_limit(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    for _ in range(20):
        client.track("u", "large", {"text": "x" * 250_000})
    assert client.flush()
    sizes = [len(row["body"]) for row in server.requests(api_key)]
    assert len(sizes) == 2
    assert max(sizes) <= 3 * 1024 * 1024


@pytest.mark.parametrize(
    ("user", "event_type"),
    [("", "happened"), (None, "happened"), (True, "happened"), ("u", ""), ("u", "Not Snake")],
)
def test_bad_arguments_queue_nothing_and_are_reported(
    client: Whisperr, errors: Recorder, user: Any, event_type: str
) -> None:
    client.track(user, event_type)
    assert client.flush()
    assert [(error.type, error.reason, error.count) for error in errors] == [
        ("dropped", "invalid", 1)
    ]
    assert client.stats().called == 1
    assert "Not Snake" not in errors[0].message  # it may be anything, an address too


# --- Callbacks ------------------------------------------------------------------------------


def test_an_on_error_that_raises_or_flushes_stops_nothing(
    server: LocalServer, api_key: str
) -> None:
    results: list[whisperr.FlushResult] = []

    def on_error(_: WhisperrError) -> None:
        reporting.track("u", "from_callback")
        results.append(reporting.flush(timeout=30))
        raise RuntimeError("the application's own")

    reporting = new_client(server, api_key, on_error=on_error)
    reporting.track("", "refused")
    reporting.track("u", "happened")
    started = time.monotonic()
    reporting.flush()
    assert reporting.flush()
    assert time.monotonic() - started < 5
    assert [(bool(result), result.timed_out) for result in results] == [(False, True)]
    assert server.counts(api_key)["events"] == 2


def test_track_in_many_threads_loses_nothing(server: LocalServer, api_key: str) -> None:
    client = new_client(server, api_key, flush_at=20)

    def work() -> None:
        for _ in range(500):
            client.track("u", "happened")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush()
    assert server.counts(api_key)["arrivals"] == server.counts(api_key)["events"] == 4000
    assert client.stats().balanced


# --- Where no thread can be started -----------------------------------------------------------


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", refuse)


@pytest.mark.usefixtures("no_threads")
def test_without_threads_track_delivers_inline_and_that_is_said_once(
    server: LocalServer, api_key: str, errors: Recorder
) -> None:
    client = new_client(server, api_key, flush_at=5, on_error=errors)
    for _ in range(12):
        client.track("u", "happened")
    assert server.counts(api_key)["events"] == 10
    assert client.flush()
    assert server.counts(api_key)["events"] == 12
    assert errors.types == ["environment"]


@pytest.mark.usefixtures("no_threads")
def test_an_inline_delivery_takes_at_most_a_second_and_pauses_after_a_failure(
    server: LocalServer, api_key: str
) -> None:
    client = new_client(server, api_key, flush_at=5)
    server.fault(key=api_key, times=None, action="never")
    started = time.monotonic()
    for _ in range(50):
        client.track("u", "happened")
    assert 0.9 < time.monotonic() - started < 2.5
    server.clear_faults(api_key)
    assert client.flush()
    assert client.stats().delivered == 50


@pytest.mark.usefixtures("no_threads")
def test_without_threads_nothing_is_delivered_in_an_event_loop_or_a_signal_handler(
    server: LocalServer, api_key: str
) -> None:
    client = new_client(server, api_key, flush_at=1)

    async def in_loop() -> None:
        client.track("u", "happened")

    asyncio.run(in_loop())
    before = signal.signal(signal.SIGUSR1, lambda *_: client.track("u", "happened"))
    signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    assert server.counts(api_key)["events"] == 0
    client.track("u", "happened")
    assert server.counts(api_key)["events"] == 3


# --- Ends -----------------------------------------------------------------------------------


def test_a_timeout_of_weeks_is_no_overflow(server: LocalServer, api_key: str) -> None:
    """The kernel counts milliseconds in 32 bits."""
    with new_client(server, api_key, request_timeout=3e6) as client:
        client.track("u", "happened")
        assert client.flush()


def test_after_shutdown_nothing_is_accepted_and_that_is_said_once(
    server: LocalServer, api_key: str, errors: Recorder
) -> None:
    client = new_client(server, api_key, on_error=errors)
    client.track("u", "happened")
    assert client.ready
    assert client.shutdown()
    assert not client.ready
    for _ in range(3):
        client.track("u", "too_late")
        client.flush()
    assert client.shutdown()
    assert [(error.type, error.reason) for error in errors] == [("dropped", "closed")]
    assert client.stats().refused["closed"] == 3
    assert server.counts(api_key)["events"] == 1


def test_with_client_shuts_down_and_delivering_does_not(server: LocalServer, api_key: str) -> None:
    with new_client(server, api_key) as client:
        with client.delivering():
            client.track("u", "happened")
        assert server.counts(api_key)["events"] == 1
        assert client.ready
        client.track("u", "happened")
    assert server.counts(api_key)["events"] == 2
    assert not client.ready


def test_flush_and_shutdown_leave_the_event_loop_free(server: LocalServer, api_key: str) -> None:
    client = new_client(server, api_key)

    async def work() -> None:
        server.fault(key=api_key, times=1, action="delay", delay=0.3)
        client.track("u", "happened")
        flushing = asyncio.create_task(client.aflush())
        turns = 0
        while not flushing.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert turns > 20
        assert await flushing
        assert await client.ashutdown()

    asyncio.run(work())
    assert not client.ready


def test_a_flush_counts_what_happened_since_the_flush_before(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    client.track("u", "happened")
    assert client.flush() == whisperr.FlushResult(delivered=1)
    assert client.flush() == whisperr.FlushResult()
    client.track("u", "happened")
    client.track("u", "happened")
    assert client.flush() == whisperr.FlushResult(delivered=2)


def test_a_disabled_client_does_nothing(server: LocalServer) -> None:
    client = Whisperr(disabled=True, base_url=server.url)
    client.track("u", "happened")
    client.identify("u")
    assert not client.ready
    assert client.flush()
    assert client.shutdown()
    assert client.stats().called == 0


# --- The object -----------------------------------------------------------------------------


def test_a_copy_is_the_same_client(client: Whisperr) -> None:
    assert copy.copy(client) is client
    assert copy.deepcopy({"client": client})["client"] is client


def test_a_pickle_outside_of_a_spawn_is_refused(client: Whisperr) -> None:
    with pytest.raises(TypeError, match="API key"):
        pickle.dumps(client)


class Ours(Whisperr):
    """A subclass, as an application may have one."""


class Unhashable:
    """A callback that is equal to others of its kind, so that Python gives it no hash."""

    def __call__(self, _error: whisperr.WhisperrError) -> None: ...

    def __eq__(self, other: object) -> bool:
        return type(other) is Unhashable


@pytest.mark.parametrize("options", [{}, {"on_error": Unhashable()}], ids=["plain", "unhashable"])
def test_a_client_for_a_spawned_process_is_of_its_own_class(
    server: LocalServer, api_key: str, options: dict[str, Any]
) -> None:
    client = Ours(api_key, base_url=server.url, **options)
    set_spawning_popen(object())  # type: ignore[arg-type] # as multiprocessing does meanwhile
    try:
        pickled = pickle.dumps(client)
    finally:
        set_spawning_popen(None)
    made = pickle.loads(pickled)
    assert type(made) is Ours
    assert (pickle.loads(pickled) is made) == (not options)
    made.track("u", "happened")
    assert made.flush()
    assert server.counts(api_key)["events"] == 1


def test_after_fork_goes_through_the_clients_while_others_are_made(api_key: str) -> None:
    over = threading.Event()
    kept = [Whisperr(api_key) for _ in range(500)]

    def make_clients() -> None:
        while not over.is_set():
            kept.append(Whisperr(api_key))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=make_clients)
    thread.start()
    try:
        for _ in range(30):
            whisperr.after_fork()
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(interval)


def test_a_session_that_raises_something_of_its_own_costs_no_other_client_its_delivery(
    server: LocalServer, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the calling thread delivers it cannot be told from what a signal handler raises."""

    class TokenError(Exception):
        pass

    expired = [True]

    def session() -> Session:
        if expired:
            raise TokenError
        return Session()

    def refuse(_run: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("whisperr._sender.start_thread", refuse)
    broken = new_client(server, api_key, session_factory=session, flush_interval=0)
    healthy = new_client(server, api_key, flush_interval=0)
    broken.track("u", "happened")
    healthy.track("u", "happened")
    with pytest.raises(TokenError):
        whisperr.flush_all(5)
    assert healthy.stats().delivered == 1
    assert broken.stats().queued + broken.stats().in_flight == 1
    expired.clear()
    assert broken.flush()


def test_its_repr_does_not_show_the_key(
    client: Whisperr, api_key: str, server: LocalServer
) -> None:
    assert repr(client) == f"<Whisperr {server.url}>"


def test_after_fork_changes_nothing_in_a_process_that_did_not_fork(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    client.track("u", "happened")
    for _ in range(2):
        client.after_fork()
        whisperr.after_fork()
    assert client.stats().queued + client.stats().in_flight == 1
    assert client.flush()
    assert server.counts(api_key)["events"] == 1
