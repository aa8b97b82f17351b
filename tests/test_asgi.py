"""The ASGI middleware, driven by the server's side of the lifespan protocol."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from harness import wait_until
from whisperr import FlushResult, Whisperr
from whisperr.asgi import Application, Message, Receive, Scope, Send, WhisperrMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import LocalServer

SECONDS = 10.0
TRACKED = 3
STARTED, ENDED = "lifespan.startup.complete", "lifespan.shutdown.complete"


class Host:
    """A server that runs one application's lifespan and notes what had arrived at each answer."""

    def __init__(self, app: Application, arrived: Callable[[], int] = int) -> None:
        self._app = app
        self._arrived = arrived
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self.answers: dict[str, int] = {}
        self.task: asyncio.Task[None] | None = None

    async def _receive(self) -> Message:
        return await self._messages.get()

    async def _send(self, message: Message) -> None:
        assert message["type"] not in self.answers
        self.answers[message["type"]] = self._arrived()

    async def run(self) -> None:
        await self._app({"type": "lifespan"}, self._receive, self._send)

    async def say(self, kind: str, answer: str | None = None) -> None:
        """Send a message; wait for an answer, or for the end of the application."""
        if self.task is None:
            self.task = asyncio.create_task(self.run())
        await self._messages.put({"type": kind})
        deadline = time.monotonic() + SECONDS
        while not (self.task.done() or (answer and answer in self.answers)):
            assert time.monotonic() < deadline, self.answers
            await asyncio.sleep(0.005)

    async def start_and_shut_down(self, last: str = ENDED) -> None:
        """All that a server does; raises what the application raised."""
        await self.say("lifespan.startup", STARTED)
        await self.say("lifespan.shutdown", last)
        assert self.task is not None
        await asyncio.wait_for(self.task, SECONDS)


async def with_lifespan(_scope: Scope, receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{phase}"
        await send({"type": f"lifespan.{phase}.complete"})


async def refuses_the_scope(scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ValueError(f"no {scope['type']} here")


async def ignores_the_scope(_scope: Scope, _receive: Receive, _send: Send) -> None:
    return


async def hears_startup_and_returns(_scope: Scope, receive: Receive, _send: Send) -> None:
    await receive()


async def starts_and_returns(_scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": STARTED})


async def hears_shutdown_and_returns(_scope: Scope, receive: Receive, send: Send) -> None:
    await starts_and_returns(_scope, receive, send)
    await receive()


@pytest.fixture
def client(server: LocalServer, api_key: str) -> Iterator[Whisperr]:
    """One that delivers only when something ends; it holds three events."""
    client = Whisperr(
        api_key, base_url=server.url, flush_interval=0, flush_at=10**9, shutdown_timeout=2.0
    )
    for _ in range(TRACKED):
        client.track("user", "something_happened")
    yield client
    client.shutdown()


@pytest.fixture
def arrived(server: LocalServer, api_key: str) -> Callable[[], int]:
    return lambda: server.counts(api_key)["events"]


@pytest.mark.parametrize(
    "app",
    [
        with_lifespan,
        refuses_the_scope,
        ignores_the_scope,
        hears_startup_and_returns,
        starts_and_returns,
        hears_shutdown_and_returns,
    ],
)
def test_everything_is_delivered_before_the_server_hears_that_the_shutdown_is_complete(
    client: Whisperr, arrived: Callable[[], int], app: Application
) -> None:
    async def run() -> None:
        host = Host(WhisperrMiddleware(app, client), arrived)
        await host.start_and_shut_down()
        assert host.answers == {STARTED: 0, ENDED: TRACKED}

    asyncio.run(run())


def test_without_a_client_every_client_of_the_process_delivers(
    client: Whisperr, server: LocalServer, api_key: str, arrived: Callable[[], int]
) -> None:
    async def run() -> None:
        host = Host(WhisperrMiddleware(with_lifespan), arrived)
        await host.start_and_shut_down()
        assert host.answers[ENDED] == TRACKED + 1

    with Whisperr(api_key, base_url=server.url, flush_interval=0) as other:
        other.track("user", "something_happened")
        asyncio.run(run())


def test_a_shutdown_that_failed_is_passed_on_after_the_delivery(
    client: Whisperr, arrived: Callable[[], int]
) -> None:
    async def fails(_scope: Scope, receive: Receive, send: Send) -> None:
        await starts_and_returns(_scope, receive, send)
        await receive()
        await send({"type": "lifespan.shutdown.failed", "message": "no"})

    async def run() -> None:
        host = Host(WhisperrMiddleware(fails, client), arrived)
        await host.start_and_shut_down("lifespan.shutdown.failed")
        assert host.answers == {STARTED: 0, "lifespan.shutdown.failed": TRACKED}

    asyncio.run(run())


def test_a_startup_that_failed_is_passed_on_and_nothing_is_answered_for_the_application(
    client: Whisperr, arrived: Callable[[], int]
) -> None:
    async def fails(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    async def run() -> None:
        host = Host(WhisperrMiddleware(fails, client), arrived)
        await host.say("lifespan.startup")
        assert host.answers == {"lifespan.startup.failed": TRACKED}

    asyncio.run(run())


def test_an_application_that_raises_in_its_startup_fails_as_it_would_alone(
    client: Whisperr,
) -> None:
    async def fails(_scope: Scope, receive: Receive, _send: Send) -> None:
        await receive()
        raise LookupError("no database")

    async def run() -> None:
        host = Host(WhisperrMiddleware(fails, client))
        with pytest.raises(LookupError, match="no database"):
            await host.start_and_shut_down()
        assert not host.answers

    asyncio.run(run())


def test_an_application_that_raises_in_its_shutdown_has_delivered_and_fails(
    client: Whisperr, arrived: Callable[[], int]
) -> None:
    async def fails(_scope: Scope, receive: Receive, send: Send) -> None:
        await hears_shutdown_and_returns(_scope, receive, send)
        raise LookupError("no database")

    async def run() -> None:
        host = Host(WhisperrMiddleware(fails, client))
        with pytest.raises(LookupError, match="no database"):
            await host.start_and_shut_down()
        assert set(host.answers) == {STARTED}
        assert arrived() == TRACKED

    asyncio.run(run())


def test_the_loop_goes_on_while_the_service_hangs(
    client: Whisperr, server: LocalServer, api_key: str
) -> None:
    async def run() -> tuple[float, list[float]]:
        host = Host(WhisperrMiddleware(with_lifespan, client))
        await host.say("lifespan.startup", STARTED)
        ticks = [time.monotonic()]
        shutdown = asyncio.create_task(host.say("lifespan.shutdown", ENDED))
        while not shutdown.done():
            await asyncio.sleep(0.01)
            ticks.append(time.monotonic())
        await shutdown
        return ticks[-1] - ticks[0], [after - tick for tick, after in pairwise(ticks)]

    server.fault(key=api_key, action="never", times=None)
    seconds, gaps = asyncio.run(run())
    assert 1.5 < seconds < 6.0  # its shutdown_timeout is 2 s
    assert max(gaps) < 1.0, max(gaps)


def test_a_cancellation_during_the_delivery_is_obeyed_at_once_and_the_delivery_goes_on(
    client: Whisperr, server: LocalServer, api_key: str, arrived: Callable[[], int]
) -> None:
    async def run() -> float:
        host = Host(WhisperrMiddleware(with_lifespan, client))
        await host.say("lifespan.startup", STARTED)
        shutdown = asyncio.create_task(host.say("lifespan.shutdown", ENDED))
        while arrived() < TRACKED:
            await asyncio.sleep(0.01)
        assert host.task is not None
        host.task.cancel()
        cancelled = time.monotonic()
        await shutdown
        assert host.task.cancelled()
        return time.monotonic() - cancelled

    server.fault(key=api_key, action="delay", delay=1.5)
    assert asyncio.run(run()) < 1.0
    wait_until(lambda: not client.stats().in_flight)
    assert client.stats().delivered == TRACKED


def test_a_delivery_that_raises_does_not_reach_the_server(server: LocalServer) -> None:
    class Broken(Whisperr):
        def before_exit(self, timeout: float | None = None) -> FlushResult:
            raise LookupError("broken")

    async def run() -> None:
        host = Host(WhisperrMiddleware(with_lifespan, Broken("wrk_x", base_url=server.url)))
        await host.start_and_shut_down()
        assert ENDED in host.answers

    asyncio.run(run())


def test_under_another_event_loop_it_delivers_all_the_same(
    client: Whisperr, arrived: Callable[[], int]
) -> None:
    answers: dict[str, int] = {}

    async def receive() -> Message:
        return {"type": "lifespan.shutdown" if STARTED in answers else "lifespan.startup"}

    async def send(message: Message) -> None:
        answers[message["type"]] = arrived()

    middleware = WhisperrMiddleware(with_lifespan, client)
    with pytest.raises(StopIteration):  # runs to its end without a loop
        middleware({"type": "lifespan"}, receive, send).send(None)
    assert answers == {STARTED: 0, ENDED: TRACKED}


@pytest.mark.parametrize("kind", ["http", "websocket", "something_new"])
def test_every_other_scope_goes_to_the_application_untouched(client: Whisperr, kind: str) -> None:
    async def receive() -> Message:
        return {}

    async def send(_message: Message) -> None:
        return

    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.extend(arguments)
        raise LookupError

    scope = {"type": kind}
    with pytest.raises(LookupError):
        asyncio.run(WhisperrMiddleware(app, client)(scope, receive, send))
    assert seen[0] is scope
    assert seen[1] is receive
    assert seen[2] is send
    assert scope == {"type": kind}
