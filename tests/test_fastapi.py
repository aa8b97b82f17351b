"""FastAPI's dependencies: the middleware's client, and one bound by the application's own."""

# No `from __future__ import annotations`: FastAPI reads the annotations of functions in functions.

import asyncio
import threading
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, WebSocket

from asgi_calls import connect, post
from harness import LocalServer
from test_asgi_requests import ADA, by_header
from tracked import Tracked
from whisperr.asgi import WhisperrMiddleware
from whisperr.fastapi import RequestWhisperr, bound_to
from whisperr.request import RequestClient, current, current_request


@pytest.fixture
def tracked(server: LocalServer, api_key: str) -> Tracked:
    return Tracked(server, api_key)


def user_of(x_user: Annotated[str | None, Header()] = None) -> str | None:
    """A dependency of the application's: sync, so FastAPI runs it in a thread."""
    if x_user == "nobody":
        raise HTTPException(401)
    return x_user


async def async_user_of(user: Annotated[str | None, Depends(user_of)]) -> str | None:
    """Another one that awaits, and depends on the first."""
    await asyncio.sleep(0)
    return user


# The middleware's


def test_a_parameter_is_the_client_that_the_middleware_bound(tracked: Tracked) -> None:
    app = FastAPI()
    app.add_middleware(WhisperrMiddleware, client=tracked.client, resolve_user=by_header)

    @app.post("/orders")
    async def order(whisperr: RequestWhisperr) -> None:
        assert whisperr is current_request()
        whisperr.track("order_placed")

    assert post(app, "/orders", ADA) == [200]
    assert tracked.events == [("ada", "order_placed")]


@pytest.mark.parametrize("installed", [True, False])
def test_without_a_client_in_the_middleware_the_parameter_says_what_to_pass(
    installed: bool,
) -> None:
    app = FastAPI()
    if installed:
        app.add_middleware(WhisperrMiddleware)

    @app.post("/orders")
    async def order(whisperr: RequestWhisperr) -> None:
        raise AssertionError("not reached")

    with pytest.raises(RuntimeError, match="client=client"):
        post(app, "/orders", {})


# The application's own


def shop(tracked: Tracked, find: Callable[..., Any] = user_of) -> FastAPI:
    """An application without the middleware; each of its endpoints tracks."""
    app = FastAPI()
    bound = Annotated[RequestClient[Any], Depends(bound_to(tracked.client, find))]

    @app.post("/orders")
    async def order(whisperr: bound) -> None:
        assert whisperr is current_request()
        whisperr.track("order_placed")

    @app.post("/thread")
    def in_a_thread(whisperr: bound) -> None:
        assert threading.current_thread() is not threading.main_thread()
        assert whisperr is current_request()
        whisperr.track("in_thread")

    @app.post("/awaiting")
    async def awaiting(whisperr: bound) -> None:
        await whisperr.atrack("awaiting")

    @app.post("/background")
    async def background(whisperr: bound, tasks: BackgroundTasks) -> None:
        tasks.add_task(whisperr.track, "in_background")

    @app.websocket("/chat")
    async def chat(websocket: WebSocket, whisperr: bound) -> None:
        await websocket.accept()
        whisperr.track("said_hello")
        await websocket.close()

    return app


@pytest.mark.parametrize("find", [user_of, async_user_of])
def test_a_client_is_bound_to_what_the_applications_dependency_returns(
    tracked: Tracked, find: Callable[..., Any]
) -> None:
    app = shop(tracked, find)
    for path in ("/orders", "/thread", "/awaiting", "/background"):
        assert post(app, path, ADA) == [200]
    assert tracked.events == [
        ("ada", "order_placed"),
        ("ada", "in_thread"),
        ("ada", "awaiting"),
        ("ada", "in_background"),
    ]


def test_websockets_have_one_as_well(tracked: Tracked) -> None:
    assert connect(shop(tracked), "/chat", ADA) == ["websocket.accept", "websocket.close"]
    assert tracked.events == [("ada", "said_hello")]


def test_for_an_anonymous_user_nothing_is_tracked_or_reported(tracked: Tracked) -> None:
    assert post(shop(tracked), "/orders", {}) == [200]
    assert (tracked.events, tracked.reports) == ([], [])


def test_what_the_dependency_raises_is_the_answer(tracked: Tracked) -> None:
    assert post(shop(tracked), "/orders", {"X-User": "nobody"}) == [401]
    assert (tracked.events, tracked.reports) == ([], [])


def test_the_user_is_looked_for_once_in_a_request_and_only_where_a_client_is_asked_for(
    tracked: Tracked,
) -> None:
    asked: list[str] = []

    def find(x_user: Annotated[str, Header()]) -> str:
        asked.append(x_user)
        return x_user

    app = shop(tracked, find)

    @app.post("/both")
    async def both(
        user: Annotated[str, Depends(find)],
        whisperr: Annotated[RequestClient[Any], Depends(bound_to(tracked.client, find))],
    ) -> None:
        whisperr.track("order_placed")

    @app.post("/idle")
    async def idle() -> None:
        return

    assert post(app, "/idle", ADA) == [200]
    assert asked == []
    assert post(app, "/both", ADA) == [200]
    assert asked == ["ada"]
    assert tracked.events == [("ada", "order_placed")]


def test_under_the_middleware_the_bound_client_is_the_requests_and_the_other_comes_back(
    tracked: Tracked,
) -> None:
    seen: list[RequestClient[Any] | None] = []
    app = shop(tracked)

    async def around(scope: Any, receive: Any, send: Any) -> None:
        seen.append(current.get())
        await app(scope, receive, send)
        seen.append(current.get())

    outermost = WhisperrMiddleware(around, tracked.client, lambda _: "someone_else")
    assert post(outermost, "/orders", ADA) == [200]
    assert tracked.events == [("ada", "order_placed")]
    assert seen[0] is not None
    assert seen[0] is seen[1]
