"""A task tracks for the user of the request that sent it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from celery import Celery, signals

from hosts.broker import start_redis
from hosts.environments import environments
from hosts.laboratory import Laboratory
from tracked import Tracked
from whisperr.celery import HEADER, carry_user
from whisperr.request import RequestClient, Resolver, current, current_request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import LocalServer

SIGNALS = {
    "publish": signals.before_task_publish,
    "begin": signals.task_prerun,
    "end": signals.task_postrun,
}
USERS = 10
#: Tasks of each user that track; see celery_user_app.py.
TASKS = 14


# Workers


@pytest.fixture
def lab(tmp_path: Path, server: LocalServer, api_key: str) -> Iterator[Laboratory]:
    environment = next(iter(environments().values()))
    with Laboratory(environment, tmp_path, server, api_key, "") as laboratory:
        yield laboratory


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_every_way_of_sending_carries_the_user_through_a_broker_to_every_pool(
    lab: Laboratory, pool: str
) -> None:
    lab.variables["LAB_BROKER"] = start_redis(lab)
    python = lab.environment.python
    sender = lab.launch([python, "-m", "celery_user_app", str(USERS)], main=False)
    lab.launch(
        [
            *lab.environment.script("celery"),
            *("--app", "celery_user_app", "worker", "--pool", pool, "--concurrency", "2"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]
    )
    for_nobody = 2 * USERS + 2
    lab.wait_until(lambda: sender.poll() is not None)
    assert sender.wait() == 0, lab.output
    lab.wait_until(lambda: len(lab.lines("ran")) == TASKS * USERS + for_nobody)
    lab.main.terminate()
    lab.wait_for_host()

    ledger = lab.ledger()
    assert ledger.exactly_once, lab.account()
    assert len(ledger.tracked) == TASKS * USERS
    wanted = {line["id"]: line["user"] for line in lab.lines("sent")}
    assert {
        row["body"]["properties"]["test_id"]: row["external_user_id"] for row in lab.arrivals()
    } == wanted
    (report,) = lab.lines("reports")
    assert (report["reason"], report["count"]) == ("user_unresolved", 1)
    assert "await atrack()" in report["message"]
    traces = [line["headers"]["trace"] for line in lab.lines("ran") if "trace" in str(line)]
    assert sorted(traces) == sorted(f"user_{number}" for number in range(USERS))


# Inside the caller


@pytest.fixture
def tracked(server: LocalServer, api_key: str) -> Iterator[Tracked]:
    """Its client is what tasks track with."""
    tracked = Tracked(server, api_key)
    carry_user(tracked.client)
    yield tracked
    for name, signal in SIGNALS.items():
        assert signal.disconnect(dispatch_uid=f"whisperr.carry_user.{name}")


@pytest.fixture
def app() -> Celery:
    return Celery("test", broker="memory://", set_as_current=False)


@pytest.fixture
def eager(app: Celery) -> Celery:
    app.conf.task_always_eager = True
    return app


@pytest.fixture
def request_of_ada(tracked: Tracked) -> Iterator[RequestClient[Any]]:
    """The calling code serves a request."""
    request = RequestClient(tracked.client, Resolver(lambda _: "ada"), None)
    token = current.set(request)
    yield request
    current.reset(token)


def test_an_eager_task_has_the_very_client_of_the_request_around_it(
    tracked: Tracked, eager: Celery, request_of_ada: RequestClient[Any]
) -> None:
    @eager.task
    def work() -> None:
        assert current_request() is request_of_ada
        current_request().track("worked")

    @eager.task
    def sends() -> None:
        work.delay()

    @eager.task(bind=True)
    def retried(self: Any) -> None:
        if not self.request.retries:
            raise self.retry(countdown=0)
        work.delay()

    sends.delay().get()
    retried.delay().get()
    assert tracked.events == [("ada", "worked"), ("ada", "worked")]
    assert current.get() is request_of_ada


def test_an_eager_task_outside_of_a_request_has_an_anonymous_user(
    tracked: Tracked, eager: Celery
) -> None:
    @eager.task
    def work() -> None:
        current_request().track("worked")

    work.delay().get()
    assert (tracked.events, tracked.reports) == ([], [])
    assert current.get() is None


def test_a_header_of_the_senders_own_wins_also_eagerly(
    tracked: Tracked, eager: Celery, request_of_ada: RequestClient[Any]
) -> None:
    @eager.task
    def work() -> None:
        current_request().track("worked")

    work.apply_async(headers={HEADER: "grace"})
    assert tracked.events == [("grace", "worked")]
    assert current.get() is request_of_ada


def test_after_a_task_that_fails_there_is_no_client(tracked: Tracked, eager: Celery) -> None:
    @eager.task
    def fails() -> None:
        raise LookupError(current_request().user_id())

    with pytest.raises(LookupError, match="grace"):
        fails.apply_async(headers={HEADER: "grace"}).get()
    assert current.get() is None


def test_calling_it_again_replaces_the_client_and_connects_nothing_twice(
    tracked: Tracked, eager: Celery, server: LocalServer, api_key: str
) -> None:
    @eager.task
    def work() -> None:
        current_request().track("worked")

    before = {name: len(signal.receivers) for name, signal in SIGNALS.items()}
    other = Tracked(server, f"{api_key}_other")
    carry_user(other.client)
    assert {name: len(signal.receivers) for name, signal in SIGNALS.items()} == before
    work.apply_async(headers={HEADER: "ada"})
    assert (tracked.waiting, other.waiting) == (0, 1)


# The header


@pytest.fixture
def published(tracked: Tracked, app: Celery) -> Iterator[list[dict[str, Any]]]:
    """The headers of each message, as they were when it was sent."""
    seen: list[dict[str, Any]] = []

    def see(headers: dict[str, Any], **_: object) -> None:
        seen.append(dict(headers))

    signals.before_task_publish.connect(see)
    yield seen
    signals.before_task_publish.disconnect(see)


NUMBER = UUID(int=7)


@pytest.mark.parametrize(("user", "text"), [("ada", "ada"), (42, "42"), (NUMBER, str(NUMBER))])
def test_the_header_is_text(
    tracked: Tracked, app: Celery, published: list[dict[str, Any]], user: Any, text: str
) -> None:
    with_user(tracked, user, app)
    assert published[0][HEADER] == text


def with_user(tracked: Tracked, user: Any, app: Celery, **headers: str) -> None:
    """Send a task in a request of this user."""
    token = current.set(RequestClient(tracked.client, Resolver(lambda _: user), None))
    try:
        app.send_task("work", headers=headers)
    finally:
        current.reset(token)


def test_for_an_anonymous_user_or_outside_of_a_request_there_is_no_header(
    tracked: Tracked, app: Celery, published: list[dict[str, Any]]
) -> None:
    with_user(tracked, None, app)
    app.send_task("work")
    assert len(published) == 2
    assert not any(HEADER in headers for headers in published)


def test_other_headers_and_one_of_the_senders_own_stay(
    tracked: Tracked, app: Celery, published: list[dict[str, Any]]
) -> None:
    with_user(tracked, "ada", app, trace="t")
    with_user(tracked, "ada", app, **{HEADER: "grace"})
    assert [headers.get("trace") for headers in published] == ["t", None]
    assert [headers[HEADER] for headers in published] == ["ada", "grace"]


def test_on_a_loop_a_user_that_was_awaited_before_is_carried_and_another_is_marked(
    tracked: Tracked, app: Celery, published: list[dict[str, Any]]
) -> None:
    async def resolve(_: None) -> str:
        await asyncio.sleep(0)
        return "ada"

    async def run() -> None:
        request = RequestClient(tracked.client, Resolver(resolve), None)
        token = current.set(request)
        app.send_task("work")
        await request.atrack("placed_order")
        app.send_task("work")
        current.reset(token)

    asyncio.run(run())
    assert [headers[HEADER] for headers in published] == ["", "ada"]


def test_a_resolver_that_raises_marks_the_task_and_does_not_keep_it_from_being_sent(
    tracked: Tracked, app: Celery, published: list[dict[str, Any]]
) -> None:
    def resolve(_: None) -> str:
        raise LookupError("no database")

    token = current.set(RequestClient(tracked.client, Resolver(resolve), None))
    app.send_task("work")
    current.reset(token)
    assert published[0][HEADER] == ""
