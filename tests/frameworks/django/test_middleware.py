"""What a request pays that tracks nothing, and what one that tracks has."""

from __future__ import annotations

import asyncio
import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import override_settings

from frameworks.django.project import (
    AUTHENTICATION,
    CHAINS,
    OURS,
    SESSIONS,
    browser,
    new_user,
    visit,
)
from whisperr.django import DjangoRequestClient, WhisperrMiddleware
from whisperr.request import current_request

if TYPE_CHECKING:
    from django.http import HttpRequest

    from frameworks.django.conftest import Reported
    from frameworks.django.project import View


def silent(request: Any) -> None:
    """A view that has a client and does not use it."""
    assert type(request.whisperr) is DjangoRequestClient


async def silent_async(request: Any) -> None:
    silent(request)


def tracking(request: Any) -> None:
    request.whisperr.track("page_viewed", {"page": 7})


async def tracking_async(request: Any) -> None:
    await request.whisperr.atrack("page_viewed", {"page": 7})


async def respond(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("view", [silent, silent_async])
def test_a_request_that_does_not_track_makes_no_query_and_touches_no_session(
    reported: Reported, queries: list[str], chain: str, view: View
) -> None:
    get = browser(new_user(), chain=chain)
    queries.clear()
    response = get(view)
    assert response.content == b"served"
    assert queries == []
    assert not response.has_header("Vary")
    request = response.wsgi_request if chain == "sync" else response.asgi_request
    assert not request.session.accessed
    assert reported.stats.called == 0


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("view", [tracking, tracking_async])
def test_a_request_that_tracks_queries_once_for_its_session_and_once_for_its_user(
    reported: Reported, queries: list[str], chain: str, view: View
) -> None:
    def twice(request: Any) -> None:
        view(request)
        view(request)

    async def twice_async(request: Any) -> None:
        await view(request)
        await view(request)

    user = new_user()
    get = browser(user, chain=chain)
    queries.clear()
    response = get(twice_async if view is tracking_async else twice)
    assert len(queries) == 2, queries
    assert response["Vary"] == "Cookie"
    assert reported.arrived == [(str(user.pk), "page_viewed")] * 2
    assert reported.problems == []


def test_an_asynchronous_request_that_does_not_track_takes_no_thread(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    hops: list[object] = []
    submit = ThreadPoolExecutor.submit

    def noted(pool: ThreadPoolExecutor, /, call: Any, *args: Any, **kwargs: Any) -> Any:
        hops.append(call)
        return submit(pool, call, *args, **kwargs)

    async def track_and_respond(request: HttpRequest) -> HttpResponse:
        await tracking_async(request)
        return HttpResponse()

    async def serve(get_response: Any) -> None:
        middleware: Any = WhisperrMiddleware(get_response)
        await middleware(RequestFactory().get("/"))

    monkeypatch.setattr(ThreadPoolExecutor, "submit", noted)
    asyncio.run(serve(respond))
    assert not hops
    with override_settings(WHISPERR_RESOLVE_USER=lambda request: "user"):
        asyncio.run(serve(track_and_respond))
        assert hops  # so this test can fail: a resolver that is not async has a thread
        assert reported.arrived == [("user", "page_viewed")]


@pytest.mark.parametrize("chain", CHAINS)
def test_an_identify_is_the_users_as_well(reported: Reported, chain: str) -> None:
    def view(request: Any) -> None:
        request.whisperr.identify(email="ada@example.com", traits={"plan": "pro"})

    async def view_async(request: Any) -> None:
        await request.whisperr.aidentify(email="ada@example.com", traits={"plan": "pro"})

    user = new_user()
    visit(view, user, chain=chain)
    visit(view_async, user, chain=chain)
    expected = {
        "external_user_id": str(user.pk),
        "traits": {"plan": "pro"},
        "channels": [{"channel": "email", "address": "ada@example.com", "opted_in": True}],
    }
    assert reported.bodies == [expected] * 2


def test_all_that_an_event_can_carry_is_passed_on(reported: Reported) -> None:
    def view(request: Any) -> None:
        request.whisperr.track("page_viewed", {"page": 7}, {"ip": "::1"}, message_id="webhook_1")

    visit(view, new_user())
    (body,) = reported.bodies
    assert body["properties"] == {"page": 7}
    assert body["context"]["ip"] == "::1"
    assert body["context"]["$message_id"] == "webhook_1"


@pytest.mark.parametrize("chain", CHAINS)
def test_code_without_the_request_finds_its_client(reported: Reported, chain: str) -> None:
    found = []

    def compare(request: Any) -> None:
        found.append(current_request() is request.whisperr)

    async def compare_async(request: Any) -> None:
        compare(request)

    visit(compare, chain=chain)
    visit(compare_async, chain=chain)
    assert found == [True, True]


def test_after_a_synchronous_request_its_thread_has_no_client(reported: Reported) -> None:
    def view(request: Any) -> None:
        raise KeyError("of the view")

    def serve() -> None:
        visit(silent)
        with pytest.raises(KeyError):
            visit(view)
        with pytest.raises(RuntimeError, match="no request"):
            current_request()

    contextvars.Context().run(serve)


def test_after_an_async_chain_under_wsgi_its_thread_has_no_client(reported: Reported) -> None:
    """What the chain did to its context, asgiref brings back to the thread that waits for it."""

    async def view(request: HttpRequest) -> HttpResponse:
        assert current_request() is request.whisperr  # type: ignore[attr-defined]
        return HttpResponse()

    def serve() -> None:
        middleware: Any = WhisperrMiddleware(view)
        async_to_sync(middleware)(RequestFactory().get("/"))
        with pytest.raises(RuntimeError, match="no request"):
            current_request()

    contextvars.Context().run(serve)


def test_requests_that_are_served_at_the_same_time_have_each_their_own(
    reported: Reported,
) -> None:
    both_are_there = asyncio.Event()
    waiting: list[HttpRequest] = []

    async def meet_and_track(request: HttpRequest) -> HttpResponse:
        waiting.append(request)
        if len(waiting) == 2:
            both_are_there.set()
        await both_are_there.wait()
        await current_request().atrack("page_viewed")
        return HttpResponse()

    async def serve() -> None:
        middleware: Any = WhisperrMiddleware(meet_and_track)
        requests = [RequestFactory().get("/", headers={"X-User": name}) for name in ("ada", "bob")]
        await asyncio.gather(*(asyncio.create_task(middleware(request)) for request in requests))

    with override_settings(WHISPERR_RESOLVE_USER=lambda request: request.headers["X-User"]):
        asyncio.run(serve())
        assert sorted(reported.arrived) == [("ada", "page_viewed"), ("bob", "page_viewed")]


def only_sync(get_response: Any) -> Any:
    """A middleware of the old style: Django puts a thread around it."""
    return lambda request: get_response(request)


OTHER = f"{__name__}.only_sync"


@pytest.mark.parametrize(
    "middlewares",
    [[OTHER, SESSIONS, AUTHENTICATION, OURS], [SESSIONS, AUTHENTICATION, OURS, OTHER]],
    ids=["around", "inside"],
)
def test_middlewares_that_are_not_async_go_beside_it(
    reported: Reported, middlewares: list[str]
) -> None:
    user = new_user()
    with override_settings(MIDDLEWARE=middlewares):
        for chain in CHAINS:
            visit(tracking, user, chain=chain)
            visit(tracking_async, user, chain=chain)
    assert reported.arrived == [(str(user.pk), "page_viewed")] * 4


def test_a_missing_key_fails_when_the_project_is_loaded() -> None:
    with pytest.raises(ImproperlyConfigured, match="WHISPERR_API_KEY"):
        WhisperrMiddleware(respond)


def test_a_loaded_project_goes_by_changed_settings(reported: Reported) -> None:
    user = new_user()
    get = browser(user)
    get(tracking)
    assert reported.arrived == [(str(user.pk), "page_viewed")]
    with override_settings(WHISPERR_DISABLED=True):
        get(tracking)
    with override_settings(WHISPERR_RESOLVE_USER=lambda request: "somebody"):
        get(tracking)
        assert reported.arrived[1:] == [("somebody", "page_viewed")]
