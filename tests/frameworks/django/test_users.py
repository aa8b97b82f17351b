"""Whose a request is, and how that is found out."""

from __future__ import annotations

import asyncio
import re
import threading
from typing import TYPE_CHECKING, Any

import django
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import login, logout
from django.contrib.auth.models import User
from django.test import RequestFactory
from django.test.utils import override_settings

from frameworks.django.project import (
    CHAINS,
    OURS,
    browser,
    new_user,
    visit,
)
from whisperr.django import DjangoRequestClient, get_client
from whisperr.django.users import RequestUser

if TYPE_CHECKING:
    from django.http import HttpRequest

    from frameworks.django.conftest import Reported
    from frameworks.django.project import View


def tracking(request: Any) -> None:
    request.whisperr.track("page_viewed")


async def tracking_async(request: Any) -> None:
    await request.whisperr.atrack("page_viewed")


async def tracking_from_the_loop(request: Any) -> None:
    request.whisperr.track("page_viewed")


# An anonymous user


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("view", [tracking, tracking_async])
def test_for_an_anonymous_user_nothing_happens(reported: Reported, chain: str, view: View) -> None:
    visit(view, chain=chain)
    assert reported.arrived == []
    assert reported.problems == []
    assert reported.stats.called == 0


def test_debug_mentions_the_calls_for_anonymous_users(
    reported: Reported, capsys: pytest.CaptureFixture[str]
) -> None:
    with override_settings(WHISPERR_DEBUG=True):
        get = browser()
        get(tracking)
        get(tracking)
        get_client().flush()
        said = re.findall(r"(\d+) calls were for an anonymous user", capsys.readouterr().err)
        assert sum(map(int, said)) == 2  # together or one after the other


@pytest.mark.parametrize("user", [None, User()], ids=["None", "unsaved"])
def test_a_user_that_is_no_user(reported: Reported, user: User | None) -> None:
    """None is what some authentication means by anonymous; a user without a key is a mistake."""

    def view(request: Any) -> None:
        request.user = user
        tracking(request)

    visit(view)
    assert reported.arrived == []
    assert [reason for reason, _ in reported.problems] == ["user_unresolved"] * (user is not None)


# A user that changes


def test_who_logs_in_is_the_user_from_then_on(reported: Reported) -> None:
    ada, bob = new_user(), new_user()

    def view(request: Any) -> None:
        tracking(request)
        login(request, bob)
        tracking(request)
        logout(request)
        tracking(request)

    visit(view, ada)
    assert reported.arrived == [(str(ada.pk), "page_viewed"), (str(bob.pk), "page_viewed")]


@pytest.mark.skipif(django.VERSION < (5, 0), reason="there is no alogin()")
def test_who_logs_in_asynchronously_is_the_user_from_then_on(reported: Reported) -> None:
    ada, bob = new_user(), new_user()

    async def view(request: Any) -> None:
        from django.contrib.auth import alogin, alogout

        await tracking_async(request)
        await alogin(request, bob)
        await tracking_async(request)
        await tracking_from_the_loop(request)
        await alogout(request)
        await tracking_async(request)

    visit(view, ada, chain="async")
    users = [user for user, _ in reported.arrived]
    assert users == [str(ada.pk), str(bob.pk), str(bob.pk)]


def test_a_user_that_other_authentication_sets_is_taken(
    reported: Reported, queries: list[str]
) -> None:
    """As REST frameworks do, and tests with a request of their own."""
    user = new_user()

    async def view(request: Any) -> None:
        request.user = user
        queries.clear()
        await tracking_from_the_loop(request)
        await tracking_async(request)
        assert queries == []

    visit(view, chain="async")
    assert reported.arrived == [(str(user.pk), "page_viewed")] * 2


# On an event loop


@pytest.mark.parametrize("chain", CHAINS)
def test_a_plain_track_on_an_event_loop_never_queries(
    reported: Reported, queries: list[str], chain: str
) -> None:
    get = browser(new_user(), chain=chain)
    queries.clear()
    response = get(tracking_from_the_loop)
    assert queries == []
    assert not response.has_header("Vary")
    assert reported.arrived == []
    assert reported.stats.refused["user_unresolved"] == 1
    ((reason, message),) = reported.problems
    assert reason == "user_unresolved"
    assert "atrack()" in message
    assert reported.errors[0].event_types == ("page_viewed",)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_plain_track_on_an_event_loop_takes_a_user_that_is_loaded(
    reported: Reported, chain: str
) -> None:
    async def after_atrack(request: Any) -> None:
        await tracking_async(request)
        await tracking_from_the_loop(request)

    async def after_synchronous_code(request: Any) -> None:
        await sync_to_async(lambda: request.user.is_authenticated)()
        await tracking_from_the_loop(request)

    user = new_user()
    visit(after_atrack, user, chain=chain)
    visit(after_synchronous_code, user, chain=chain)
    assert reported.arrived == [(str(user.pk), "page_viewed")] * 3
    assert reported.problems == []


@pytest.mark.skipif(django.VERSION < (5, 0), reason="there is no auser()")
def test_a_user_that_the_view_has_awaited_is_loaded(reported: Reported) -> None:
    async def view(request: Any) -> None:
        await request.auser()
        await tracking_from_the_loop(request)

    user = new_user()
    visit(view, user, chain="async")
    assert reported.arrived == [(str(user.pk), "page_viewed")]


@pytest.mark.skipif(django.VERSION < (5, 0), reason="there is no auser()")
def test_djangos_own_async_way_is_taken(reported: Reported) -> None:
    awaited = []

    async def view(request: Any) -> None:
        auser = request.auser

        async def noted() -> Any:
            awaited.append(True)
            return await auser()

        request.auser = noted
        await tracking_async(request)

    visit(view, new_user(), chain="async")
    assert awaited
    assert len(reported.arrived) == 1


# Without authentication


@pytest.mark.parametrize("view", [tracking, tracking_async])
def test_without_authentication_the_report_says_what_to_install(
    reported: Reported, view: View
) -> None:
    with override_settings(MIDDLEWARE=[OURS]):
        assert visit(view).content == b"served"
    ((reason, message),) = reported.problems
    assert reason == "user_unresolved"
    assert "AuthenticationMiddleware" in message
    assert "WHISPERR_RESOLVE_USER" in message


# A resolver


def by_header(request: HttpRequest) -> str | None:
    return request.headers.get("User-Agent") or "by header"


async def by_header_async(request: HttpRequest) -> str | None:
    await asyncio.sleep(0)
    return by_header(request)


class Resolvers:
    """A callable object whose call is async."""

    async def __call__(self, request: HttpRequest) -> str | None:
        return by_header(request)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("resolver", [by_header, f"{__name__}.by_header"])
def test_a_resolver_may_be_a_callable_or_its_dotted_path(
    reported: Reported, resolver: Any, chain: str
) -> None:
    with override_settings(WHISPERR_RESOLVE_USER=resolver, MIDDLEWARE=[OURS]):
        visit(tracking, chain=chain)
        visit(tracking_async, chain=chain)
        assert reported.arrived == [("by header", "page_viewed")] * 2
        assert reported.problems == []


@pytest.mark.parametrize(
    "resolver",
    [by_header_async, Resolvers(), lambda request: by_header_async(request)],
    ids=["function", "object", "returns an awaitable"],
)
def test_an_async_resolver_is_awaited_and_no_plain_track_calls_it(
    reported: Reported, resolver: Any
) -> None:
    with override_settings(WHISPERR_RESOLVE_USER=resolver, MIDDLEWARE=[OURS]):
        for chain in CHAINS:
            visit(tracking_async, chain=chain)
        assert reported.arrived == [("by header", "page_viewed")] * 2
        assert reported.problems == []
        visit(tracking)
        visit(tracking_from_the_loop, chain="async")
        assert {reason for reason, _ in reported.problems} == {"user_unresolved"}
        assert reported.stats.refused["user_unresolved"] == 2
        assert len(reported.arrived) == 2


def test_a_synchronous_resolver_is_never_called_on_an_event_loop(reported: Reported) -> None:
    threads = []
    loops = []

    def resolve(request: HttpRequest) -> str:
        threads.append(threading.get_ident())
        return "user"

    async def view(request: Any) -> None:
        loops.append(threading.get_ident())
        await tracking_from_the_loop(request)
        assert not threads
        await tracking_async(request)
        await tracking_from_the_loop(request)  # it is known by now

    with override_settings(WHISPERR_RESOLVE_USER=resolve):
        visit(view, chain="async")
        assert len(threads) == 1
        assert threads != loops
        assert reported.arrived == [("user", "page_viewed")] * 2
        assert reported.stats.refused["user_unresolved"] == 1


def test_a_resolver_is_asked_once_for_a_request(reported: Reported) -> None:
    asked = []

    def resolve(request: HttpRequest) -> int:
        asked.append(request)
        return 7

    def view(request: Any) -> None:
        tracking(request)
        tracking(request)

    with override_settings(WHISPERR_RESOLVE_USER=resolve):
        visit(view)
        assert len(asked) == 1
        assert reported.arrived == [("7", "page_viewed")] * 2


@pytest.mark.parametrize("view", [tracking, tracking_async])
def test_a_resolver_that_raises_costs_the_event_and_not_the_request(
    reported: Reported, view: View
) -> None:
    def resolve(request: HttpRequest) -> str:
        raise LookupError("a secret of the user's")

    with override_settings(WHISPERR_RESOLVE_USER=resolve):
        assert visit(view).content == b"served"
        ((reason, message),) = reported.problems
        assert reason == "user_unresolved"
        assert "LookupError" in message
        assert "secret" not in message


def test_a_resolver_of_none_is_an_anonymous_user(reported: Reported) -> None:
    with override_settings(WHISPERR_RESOLVE_USER=lambda request: None):
        visit(tracking, new_user())
        assert reported.arrived == []
        assert reported.problems == []


# Outside of a request


def test_a_client_for_any_request_object(reported: Reported) -> None:
    """A task that has the request of old, a test with a factory: what the middleware makes."""
    request: Any = RequestFactory().get("/")
    request.user = new_user()
    bound = DjangoRequestClient(get_client(), RequestUser(), request)
    bound.track("page_viewed")
    assert bound.user_id() == request.user.pk
    assert reported.arrived == [(str(request.user.pk), "page_viewed")]
