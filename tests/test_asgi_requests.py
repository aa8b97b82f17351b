"""The client of a request: the ASGI middleware in each framework that it is for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import litestar
import pytest
import quart
from litestar.middleware import (
    AbstractAuthenticationMiddleware,
    AuthenticationResult,
    DefineMiddleware,
)
from starlette.applications import Starlette
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    BaseUser,
    UnauthenticatedUser,
)
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import Response
from starlette.routing import Mount, Route, WebSocketRoute

from asgi_calls import connect, http_for, post
from test_asgi import ENDED, STARTED, Host
from tracked import Tracked
from whisperr.asgi import WhisperrMiddleware
from whisperr.request import RequestClient, current, current_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import HTTPConnection, Request
    from starlette.websockets import WebSocket

    from harness import LocalServer
    from whisperr.asgi import Application, Receive, Scope, Send, Wrapped

ADA = {"X-User": "ada"}


@pytest.fixture
def tracked(server: LocalServer, api_key: str) -> Tracked:
    return Tracked(server, api_key)


class Customer(BaseUser):
    """A user as Starlette has them."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def is_authenticated(self) -> bool:
        return True

    @property
    def identity(self) -> str:
        return self._name


class Nameless(BaseUser):
    """One who has no identity."""

    @property
    def is_authenticated(self) -> bool:
        return True


class ByHeader(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, BaseUser] | None:
        name = conn.headers.get("X-User")
        if name is None:
            return None
        return AuthCredentials(), Nameless() if name == "nameless" else Customer(name)


def track_in_scope(scope: Scope) -> None:
    assert scope["whisperr"] is current_request()
    scope["whisperr"].track("order_placed")


async def place_order(request: Request) -> Response:
    track_in_scope(request.scope)
    return Response()


def shop(
    tracked: Tracked,
    *routes: Route | WebSocketRoute | Mount,
    authenticated: bool = True,
    **more: Any,
) -> Starlette:
    """A Starlette application; POST /orders tracks."""
    app = Starlette(routes=[*routes, Route("/orders", place_order, methods=["POST"])])
    if authenticated:
        app.add_middleware(AuthenticationMiddleware, backend=ByHeader())
    app.add_middleware(WhisperrMiddleware, client=tracked.client, **more)
    return app


# Who the user is


def test_a_request_tracks_for_the_user_that_the_authentication_found(tracked: Tracked) -> None:
    post(shop(tracked), "/orders", ADA, {"X-User": "grace"})
    assert tracked.events == [("ada", "order_placed"), ("grace", "order_placed")]


def test_for_an_anonymous_user_nothing_is_tracked_or_reported(tracked: Tracked) -> None:
    post(shop(tracked), "/orders", {})
    assert (tracked.events, tracked.reports) == ([], [])


def test_without_authentication_the_report_says_what_to_install(tracked: Tracked) -> None:
    post(shop(tracked, authenticated=False), "/orders", ADA)
    assert tracked.events == []
    (report,) = tracked.reports
    assert "AuthenticationMiddleware" in report
    assert "resolve_user=" in report


def test_a_user_without_an_identity_is_reported_with_what_to_do(tracked: Tracked) -> None:
    post(shop(tracked), "/orders", {"X-User": "nameless"})
    assert tracked.events == []
    (report,) = tracked.reports
    assert "resolve_user=" in report


@pytest.mark.parametrize("user", [object(), "ada", {"id": "ada"}])
def test_a_user_of_another_shape_is_reported(tracked: Tracked, user: object) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = user
        scope["whisperr"].track("order_placed")

    serve(WhisperrMiddleware(app, tracked.client))
    assert tracked.events == []
    assert "resolve_user=" in tracked.reports[0]


def test_no_user_in_the_scope_is_an_anonymous_one_where_authentication_says_so(
    tracked: Tracked,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for user in (None, UnauthenticatedUser()):
            scope["user"] = user
            scope["whisperr"].track("order_placed")

    serve(WhisperrMiddleware(app, tracked.client))
    assert (tracked.events, tracked.reports) == ([], [])


def test_who_is_logged_in_during_the_request_is_its_user_from_then_on(tracked: Tracked) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for name in ("ada", "grace"):
            scope["user"] = Customer(name)
            scope["whisperr"].track("logged_in")

    serve(WhisperrMiddleware(app, tracked.client))
    assert tracked.events == [("ada", "logged_in"), ("grace", "logged_in")]


async def nothing(*_: Any) -> Any:
    """What a server has to say, and does about what it is told."""
    return {}


def serve(app: Wrapped) -> Scope:
    """Call an application as a server would, with next to nothing; returns the scope."""
    scope: Scope = {"type": "http"}
    asyncio.run(app(scope, nothing, nothing))
    return scope


# Resolvers


def by_header(scope: Scope) -> str | None:
    return dict(scope["headers"]).get(b"x-user", b"").decode() or None


def test_a_resolver_is_given_the_scope_and_takes_the_place_of_the_authentication(
    tracked: Tracked,
) -> None:
    post(shop(tracked, authenticated=False, resolve_user=by_header), "/orders", ADA, {})
    assert tracked.events == [("ada", "order_placed")]
    assert tracked.reports == []


def test_an_async_resolver_is_awaited_by_atrack_and_aidentify_and_asked_once(
    tracked: Tracked, server: LocalServer, api_key: str
) -> None:
    asked = []

    async def resolve(scope: Scope) -> str | None:
        asked.append(scope["path"])
        await asyncio.sleep(0)
        return by_header(scope)

    async def report(request: Request) -> Response:
        await current_request().atrack("order_placed")
        await current_request().aidentify(traits={"plan": "pro"})
        current_request().track("order_paid")
        return Response()

    app = shop(tracked, Route("/report", report, methods=["POST"]), resolve_user=resolve)
    post(app, "/report", ADA)
    assert tracked.events == [("ada", "order_placed"), ("ada", "order_paid")]
    assert server.counts(api_key)["identifies"] == 1
    assert asked == ["/report"]


def test_an_async_resolver_that_nobody_awaited_is_reported_with_what_to_await(
    tracked: Tracked,
) -> None:
    async def resolve(scope: Scope) -> str | None:
        return by_header(scope)

    post(shop(tracked, resolve_user=resolve), "/orders", ADA)
    assert tracked.events == []
    (report,) = tracked.reports
    assert "await atrack()" in report


def test_a_resolver_that_raises_costs_the_event_and_not_the_request(tracked: Tracked) -> None:
    def resolve(scope: Scope) -> str | None:
        raise LookupError("secret")

    post(shop(tracked, resolve_user=resolve), "/orders", ADA)
    assert tracked.events == []
    (report,) = tracked.reports
    assert "LookupError" in report
    assert "secret" not in report


def test_a_resolver_without_a_client_is_refused() -> None:
    with pytest.raises(ValueError, match="pass client="):
        WhisperrMiddleware(Starlette(), resolve_user=by_header)


def test_a_request_that_tracks_nothing_does_not_look_for_its_user(tracked: Tracked) -> None:
    asked: list[Scope] = []

    async def idle(request: Request) -> Response:
        return Response()

    app = shop(tracked, Route("/idle", idle, methods=["POST"]), resolve_user=asked.append)
    post(app, "/idle", ADA)
    assert asked == []


# Where the client is


def test_websockets_have_a_client_as_well(tracked: Tracked) -> None:
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()
        track_in_scope(websocket.scope)
        await websocket.close()

    app = shop(tracked, WebSocketRoute("/chat", chat))
    assert connect(app, "/chat", ADA) == ["websocket.accept", "websocket.close"]
    assert tracked.events == [("ada", "order_placed")]


def test_threads_tasks_background_work_and_middleware_of_the_request_have_its_client(
    tracked: Tracked,
) -> None:
    def in_a_thread(request: Request) -> Response:
        current_request().track("in_thread")
        return Response(background=BackgroundTask(current_request_tracks, "in_background"))

    async def current_request_tracks(event_type: str) -> None:
        await asyncio.create_task(track(event_type))

    async def track(event_type: str) -> None:
        current_request().track(event_type)

    async def around(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        current_request().track("around")
        return response

    routes = [Route("/", in_a_thread, methods=["POST"])]
    app = Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=around)])
    app.add_middleware(WhisperrMiddleware, client=tracked.client, resolve_user=by_header)
    post(app, "/", ADA)
    assert sorted(tracked.events) == [
        ("ada", "around"),
        ("ada", "in_background"),
        ("ada", "in_thread"),
    ]


def test_requests_that_are_served_at_the_same_time_do_not_share_a_user(tracked: Tracked) -> None:
    names = [f"user_{number}" for number in range(50)]

    here: list[str] = []

    async def meet(request: Request) -> Response:
        here.append(request.headers["X-User"])
        while len(here) < len(names):
            await asyncio.sleep(0)
        current_request().track(f"by_{request.headers['X-User']}")
        return Response()

    async def run() -> None:
        async with http_for(shop(tracked, Route("/meet", meet))) as http:
            requests = [http.get("/meet", headers={"X-User": name}) for name in names]
            await asyncio.gather(*requests)

    asyncio.run(run())
    assert sorted(tracked.events) == sorted((name, f"by_{name}") for name in names)


@pytest.mark.parametrize("problem", [None, LookupError, asyncio.CancelledError])
def test_after_the_request_neither_the_context_nor_the_scope_has_its_client(
    tracked: Tracked, problem: type[BaseException] | None
) -> None:
    seen: list[RequestClient[Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["whisperr"])
        if problem is not None:
            raise problem

    async def run() -> None:
        scope: Scope = {"type": "http"}
        with pytest.raises(problem) if problem else nullcontext():
            await WhisperrMiddleware(app, tracked.client)(scope, nothing, nothing)
        assert scope == {"type": "http"}
        assert current.get() is None

    asyncio.run(run())
    assert isinstance(seen[0], RequestClient)


def test_an_application_inside_another_has_its_own_client_and_leaves_the_other(
    server: LocalServer, api_key: str
) -> None:
    outer, inner = Tracked(server, api_key), Tracked(server, f"{api_key}_inner")
    mounted = Starlette(routes=[Route("/", place_order, methods=["POST"])])
    mounted.add_middleware(WhisperrMiddleware, client=inner.client, resolve_user=by_header)

    async def around(scope: Scope, receive: Receive, send: Send) -> None:
        await mounted(scope, receive, send)
        track_in_scope(scope)

    app = WhisperrMiddleware(around, outer.client, by_header)
    post(app, "/", ADA)
    assert (outer.waiting, inner.waiting) == (1, 1)
    assert outer.events == inner.events == [("ada", "order_placed")]


def test_without_a_client_there_is_none_and_asking_for_it_raises() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "whisperr" not in scope
        with pytest.raises(RuntimeError, match="There is no request here"):
            current_request()

    assert serve(WhisperrMiddleware(app)) == {"type": "http"}


# Every framework, from its startup to its shutdown


def with_starlette(tracked: Tracked) -> Application:
    return shop(tracked)


def with_litestar(tracked: Tracked) -> Application:
    class Authentication(AbstractAuthenticationMiddleware):
        async def authenticate_request(self, connection: Any) -> AuthenticationResult:
            return AuthenticationResult(Customer(connection.headers["X-User"]), None)

    @litestar.post("/orders")
    async def order(request: litestar.Request[Any, Any, Any]) -> None:
        track_in_scope(request.scope)  # type: ignore[arg-type] # Litestar's has a type of its own

    app = litestar.Litestar([order], middleware=[DefineMiddleware(Authentication)])
    return WhisperrMiddleware(app, tracked.client)


def with_quart(tracked: Tracked) -> Application:
    app = quart.Quart(__name__)

    @app.post("/orders")
    async def order() -> str:
        track_in_scope(quart.request.scope)  # type: ignore[arg-type] # Quart's has a type of its own
        return ""

    def resolve(_: Scope) -> str | None:
        return quart.request.headers.get("X-User")  # Quart's request: it is being served

    app.asgi_app = WhisperrMiddleware(  # type: ignore[method-assign, assignment] # Quart's way
        app.asgi_app, tracked.client, resolve
    )
    return app


@pytest.mark.parametrize("make", [with_starlette, with_litestar, with_quart])
def test_a_framework_tracks_for_its_users_and_delivers_before_its_shutdown_is_complete(
    server: LocalServer, api_key: str, tracked: Tracked, make: Callable[[Tracked], Application]
) -> None:
    app = make(tracked)

    async def run() -> dict[str, int]:
        host = Host(app, lambda: server.counts(api_key)["events"])
        await host.say("lifespan.startup", STARTED)
        async with http_for(app) as http:
            for name in ("ada", "grace"):
                (await http.post("/orders", headers={"X-User": name})).raise_for_status()
        await host.say("lifespan.shutdown", ENDED)
        return host.answers

    assert asyncio.run(run()) == {STARTED: 0, ENDED: 2}
    assert tracked.events == [("ada", "order_placed"), ("grace", "order_placed")]


def test_an_application_keeps_its_own_lifespan(tracked: Tracked) -> None:
    said: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        said.append("up")
        yield
        said.append("down")

    app = Starlette(lifespan=lifespan)
    app.add_middleware(WhisperrMiddleware, client=tracked.client)

    async def run() -> None:
        host = Host(app)
        await host.say("lifespan.startup", STARTED)
        assert said == ["up"]
        await host.say("lifespan.shutdown", ENDED)

    asyncio.run(run())
    assert said == ["up", "down"]
