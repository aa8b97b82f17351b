"""The client of one request: who its user is, and what becomes of a call without one."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from forked import in_child
from whisperr import Whisperr
from whisperr.request import (
    RequestClient,
    Resolver,
    Unresolved,
    UserFinder,
    current,
    current_request,
)
from whisperr.testing import Events, capture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import LocalServer
    from reported import Errors
    from whisperr._verbs import UserId

    Resolve = Callable[[Any], Any]

KEY = "wrk_test_request"
SECRET = "s3cret"


class Request:
    """A framework's request."""

    def __init__(self, user: Any = None) -> None:
        self.user = user


class Finder:
    """Finds the user of a `Request`, and counts how often it is asked."""

    def __init__(self, *, lasting: bool = True) -> None:
        self.lasting = lasting
        self.asked = 0

    def find(self, source: Request) -> UserId | None:
        self.asked += 1
        return self._user(source)

    async def afind(self, source: Request) -> UserId | None:
        self.asked += 1
        await asyncio.sleep(0)
        return self._user(source)

    def _user(self, source: Request) -> UserId | None:
        if isinstance(source.user, BaseException):
            raise source.user
        user: UserId | None = source.user
        return user


def resolve(request: Request) -> UserId | None:
    user: UserId | None = request.user
    return user


async def aresolve(request: Request) -> UserId | None:
    await asyncio.sleep(0)
    return resolve(request)


def resolve_to_a_task(request: Request) -> Any:
    return asyncio.ensure_future(aresolve(request))


@pytest.fixture
def client(server: LocalServer, api_key: str, errors: Errors) -> Iterator[Whisperr]:
    """One that would deliver; its accounts balance at the end."""
    client = Whisperr(api_key, base_url=server.url, flush_interval=0, on_error=errors)
    yield client
    client.shutdown()
    assert client.stats().balanced


@pytest.fixture
def events() -> Iterator[Events]:
    with capture() as events:
        yield events


def of(
    user: Any, finder: UserFinder[Request] | None = None, client: Whisperr | None = None
) -> RequestClient[Request]:
    return RequestClient(client or Whisperr(KEY), finder or Resolver(resolve), Request(user))


# --- Whose it is ----------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["u1", 7, 0, UUID(int=5)])
def test_what_is_tracked_is_the_users(events: Events, user: Any) -> None:
    request = of(user)
    request.track("order_paid", {"amount": 5}, {"tenant": "t"})
    request.identify(email="ada@example.com", traits={"plan": "pro"})
    event = events.one("order_paid", user=user, properties={"amount": 5})
    assert event.context["tenant"] == "t"
    identify = events.one_identify(user=user)
    assert identify.traits == {"plan": "pro"}
    assert identify.channels == [
        {"channel": "email", "address": "ada@example.com", "opted_in": True}
    ]


def test_every_argument_of_an_event_is_passed_on(events: Events) -> None:
    happened = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=1)
    of("u1").track("order_paid", occurred_at=happened, message_id="evt_1")
    asyncio.run(of("u2").atrack("order_paid", occurred_at=happened, message_id="evt_2"))
    for user, message_id in (("u1", "evt_1"), ("u2", "evt_2")):
        event = events.one("order_paid", user=user)
        assert (event.occurred_at, event.message_id) == (happened, message_id)


@pytest.mark.parametrize("function", [resolve, aresolve, resolve_to_a_task])
@pytest.mark.parametrize("user", ["u1", 0])
def test_where_awaiting_is_possible_a_resolver_may_be_async(
    events: Events, function: Resolve, user: Any
) -> None:
    async def run() -> None:
        request = of(user, Resolver(function))
        await request.atrack("order_paid", {"amount": 5}, {"tenant": "t"})
        await request.aidentify(traits={"plan": "pro"})

    asyncio.run(run())
    assert events.one("order_paid", user=user, properties={"amount": 5}).context["tenant"] == "t"
    assert events.one_identify(user=user).traits == {"plan": "pro"}


def test_the_user_is_asked_for_at_the_first_use_and_not_before(events: Events) -> None:
    finder = Finder()
    request = of("u1", finder)
    assert finder.asked == 0
    request.track("order_paid")
    assert finder.asked == 1


@pytest.mark.parametrize("user", ["u1", 0])
def test_a_lasting_user_is_asked_for_once(events: Events, user: Any) -> None:
    finder = Finder(lasting=True)
    request = of(user, finder)
    request.track("order_paid")
    request.identify(traits={"plan": "pro"})
    asyncio.run(request.atrack("order_paid"))
    assert request.user_id() == user
    assert finder.asked == 1
    assert len(events.all(user=user)) == 2


def test_a_user_that_does_not_last_is_asked_for_each_time(events: Events) -> None:
    finder = Finder(lasting=False)
    source = Request("u1")
    request = RequestClient(Whisperr(KEY), finder, source)
    request.track("order_paid")
    source.user = "u2"
    request.track("order_paid")
    asyncio.run(request.atrack("order_shipped"))
    source.user = None
    request.track("order_paid")
    assert request.user_id() is None
    assert finder.asked == 5
    assert [event.user for event in events.all()] == ["u1", "u2", "u2"]


def test_an_anonymous_user_that_logs_in_is_found(events: Events) -> None:
    source = Request()
    request = RequestClient(Whisperr(KEY), Finder(lasting=True), source)
    request.track("page_opened")
    source.user = "u1"
    request.track("order_paid")
    assert [event.event_type for event in events.all()] == ["order_paid"]


def test_a_forked_child_goes_on_with_its_parents_request(events: Events) -> None:
    request = of("u1")
    request.track("order_paid")
    in_child(lambda: request.track("receipt_sent"))
    parent, child = events.one("order_paid"), events.one("receipt_sent", user="u1")
    assert parent.pid != child.pid


# --- Nobody ---------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [resolve, aresolve])
def test_for_an_anonymous_user_nothing_is_sent_counted_or_reported(
    server: LocalServer, api_key: str, client: Whisperr, errors: Errors, function: Resolve
) -> None:
    request = of(None, Resolver(function), client)

    async def run() -> None:
        await request.atrack("order_paid")
        await request.aidentify(traits={"plan": "pro"})

    asyncio.run(run())
    if function is resolve:
        request.track("order_paid")
        request.identify(traits={"plan": "pro"})
    client.shutdown()
    assert client.stats().called == 0
    assert not server.requests(api_key)
    assert not errors


def test_debug_mentions_calls_for_an_anonymous_user(
    server: LocalServer, api_key: str, errors: Errors, capsys: pytest.CaptureFixture[str]
) -> None:
    with Whisperr(api_key, base_url=server.url, debug=True, on_error=errors) as client:
        of(None, client=client).track("order_paid")
        of(None, client=client).identify(traits={"plan": "pro"})
        asyncio.run(of(None, client=client).atrack("order_paid"))
        of(0, client=client).track("order_paid")
    mentioned = re.findall(r"(\d+) calls were for an anonymous user", capsys.readouterr().err)
    assert sum(map(int, mentioned)) == 3
    assert not errors


def test_without_debug_nobody_hears_of_an_anonymous_user(
    client: Whisperr, capsys: pytest.CaptureFixture[str]
) -> None:
    of(None, client=client).track("order_paid")
    client.shutdown()
    assert capsys.readouterr().err == ""


# --- A user that cannot be found ------------------------------------------------------------


def _track(request: RequestClient[Request]) -> None:
    request.track("order_paid")


def _identify(request: RequestClient[Request]) -> None:
    request.identify(traits={"plan": "pro"})


def _atrack(request: RequestClient[Request]) -> None:
    asyncio.run(request.atrack("order_paid"))


def _aidentify(request: RequestClient[Request]) -> None:
    asyncio.run(request.aidentify(traits={"plan": "pro"}))


calls = pytest.mark.parametrize("call", [_track, _identify, _atrack, _aidentify])


@calls
def test_a_resolver_that_raises_costs_the_call_which_is_counted_and_reported(
    server: LocalServer,
    api_key: str,
    client: Whisperr,
    errors: Errors,
    call: Callable[[RequestClient[Request]], None],
) -> None:
    call(of(LookupError(SECRET), Finder(), client))
    client.flush()
    stats = client.stats()
    assert (stats.called, stats.refused["user_unresolved"]) == (1, 1)
    (error,) = errors
    assert (error.type, error.reason, error.count) == ("dropped", "user_unresolved", 1)
    assert error.event_types == (("order_paid",) if "track" in call.__name__ else ())
    assert error.message.endswith("Finding the user of the request raised LookupError.")
    assert SECRET not in repr(vars(error))
    assert not server.requests(api_key)


@calls
def test_what_the_finder_says_of_a_user_it_cannot_find_is_the_report(
    client: Whisperr, errors: Errors, call: Callable[[RequestClient[Request]], None]
) -> None:
    call(of(Unresolved("The session is closed: track before the response."), Finder(), client))
    client.flush()
    (error,) = errors
    assert error.reason == "user_unresolved"
    assert error.message.endswith("The session is closed: track before the response.")


@pytest.mark.parametrize("call", [_track, _identify])
def test_an_async_resolver_is_not_run_where_nobody_awaits_and_the_report_says_what_to_do(
    client: Whisperr, errors: Errors, call: Callable[[RequestClient[Request]], None]
) -> None:
    started: list[Request] = []

    async def noted(request: Request) -> str:
        started.append(request)
        return "u1"

    call(of("u1", Resolver(noted), client))
    gc.collect()  # a coroutine that nobody awaited would be warned of now
    client.flush()
    assert not started
    (error,) = errors
    assert error.reason == "user_unresolved"
    assert error.message.endswith("await atrack() or aidentify() instead.")


def test_a_user_that_cannot_be_found_now_may_be_found_later(events: Events) -> None:
    source = Request("u1")
    request = RequestClient(Whisperr(KEY), Resolver(aresolve), source)
    assert request.user_id() is None
    asyncio.run(request.atrack("order_paid"))
    request.track("order_shipped")
    assert [event.user for event in events.all()] == ["u1", "u1"]


def test_a_name_that_is_none_stands_in_no_report_about_its_user(
    client: Whisperr, errors: Errors
) -> None:
    of(LookupError(), Finder(), client).track(f"Paid {SECRET}")
    client.flush()
    (error,) = errors
    assert error.event_types == ()
    assert SECRET not in repr(vars(error))


def test_in_a_capture_it_is_a_violation_that_names_the_call() -> None:
    with pytest.raises(AssertionError) as failed, capture() as events:
        of(LookupError(), Finder()).track("order_paid")
    events.none()
    assert "track('order_paid') at " in str(failed.value)
    assert "raised LookupError. (user_unresolved)" in str(failed.value)


@pytest.mark.parametrize("user", [True, "", 1.5, object()])
def test_what_can_be_no_user_is_refused_like_any_other(
    client: Whisperr, errors: Errors, user: Any
) -> None:
    of(user, client=client).track("order_paid")
    client.flush()
    assert [error.reason for error in errors] == ["invalid"]


@pytest.mark.parametrize("raised", [KeyboardInterrupt, asyncio.CancelledError, SystemExit])
def test_what_ends_the_program_or_the_task_passes_through(
    client: Whisperr, raised: type[BaseException]
) -> None:
    request = of(raised(), Finder(), client)
    with pytest.raises(raised):
        request.track("order_paid")
    with pytest.raises(raised):
        list(request.atrack("order_paid").__await__())  # without a loop, which would be ended
    assert client.stats().called == 0


@pytest.mark.parametrize("user", [LookupError(), None])
def test_user_id_is_none_where_there_is_none_and_reports_nothing(
    client: Whisperr, errors: Errors, user: Any
) -> None:
    assert of(user, Finder(), client).user_id() is None
    client.shutdown()
    assert client.stats().called == 0
    assert not errors


# --- A client that does nothing ---------------------------------------------------------------


@calls
@pytest.mark.parametrize("user", ["u1", None, LookupError()])
def test_a_disabled_client_never_asks_for_the_user(
    call: Callable[[RequestClient[Request]], None], user: Any
) -> None:
    finder = Finder()
    client = Whisperr(disabled=True, debug=True)
    call(of(user, finder, client))
    assert finder.asked == 0
    assert client.stats().called == 0


def test_a_client_that_was_shut_down_refuses_and_raises_nothing(
    client: Whisperr, errors: Errors
) -> None:
    client.shutdown()
    of("u1", client=client).track("order_paid")
    of(LookupError(), Finder(), client).track("order_paid")
    client.flush()
    assert client.stats().refused["closed"] + client.stats().refused["user_unresolved"] == 2
    assert [error.reason for error in errors] == ["closed"]


# --- The request that is served ---------------------------------------------------------------


def test_outside_of_a_request_there_is_none_and_the_error_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="Use the client itself"):
        contextvars.Context().run(current_request)


def test_each_context_has_the_request_that_it_serves(events: Events) -> None:
    async def serve(user: str) -> None:
        current.set(of(user))
        await asyncio.sleep(0)
        current_request().track("order_paid", {"for": user})
        await asyncio.to_thread(lambda: current_request().track("receipt_sent", {"for": user}))

    async def run() -> None:
        await asyncio.gather(serve("u1"), serve("u2"))

    asyncio.run(run())
    assert current.get() is None
    for user in ("u1", "u2"):
        for name in ("order_paid", "receipt_sent"):
            events.one(name, user=user, properties={"for": user})
