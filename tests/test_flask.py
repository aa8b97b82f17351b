"""The Flask extension: factories, several applications, Flask-Login's user, async views."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from flask import (
    Blueprint,
    Flask,
    Response,
    copy_current_request_context,
    request,
    session,
    stream_with_context,
)
from flask_login import (  # type: ignore[import-untyped]
    LoginManager,
    login_user,
    logout_user,
)

from tracked import Tracked
from whisperr.flask import WhisperrFlask, current_whisperr
from whisperr.request import RequestClient, current, current_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import LocalServer
    from whisperr import Whisperr

ADA = {"X-User": "ada"}


@pytest.fixture
def tracked(server: LocalServer, api_key: str) -> Tracked:
    return Tracked(server, api_key)


class Customer:
    """A user as Flask-Login has them."""

    is_authenticated = is_active = True
    is_anonymous = False

    def __init__(self, name: str) -> None:
        self._name = name

    def get_id(self) -> str:
        return self._name


def by_header(_: object) -> str | None:
    return request.headers.get("X-User")


orders = Blueprint("orders", __name__)


@orders.post("/orders")
def place_order() -> str:
    current_whisperr.track("order_placed")
    return ""


@orders.post("/login/<name>")
def log_in(name: str) -> str:
    login_user(Customer(name))
    current_whisperr.track("logged_in")
    return ""


@orders.post("/logout")
def log_out() -> str:
    current_whisperr.track("logged_out")
    logout_user()
    current_whisperr.track("after_the_end")
    return ""


@orders.get("/products")
def products() -> str:
    return "tea, coffee"


def shop(**config: Any) -> Flask:
    """An application as a factory makes it, without an extension of ours."""
    app = Flask(__name__)
    app.secret_key = "a-test"
    app.testing = True
    app.config.update(config)
    app.register_blueprint(orders)
    return app


def shop_with_login(tracked: Tracked) -> Flask:
    app = shop()
    WhisperrFlask(app, client=tracked.client)
    LoginManager(app).user_loader(Customer)  # later than ours: it is looked for at the first use
    return app


# Flask-Login


def test_the_user_is_flask_logins(tracked: Tracked) -> None:
    http = shop_with_login(tracked).test_client()
    http.post("/login/ada")
    http.post("/orders")
    assert tracked.events == [("ada", "logged_in"), ("ada", "order_placed")]


def test_who_logs_in_or_out_during_the_request_is_its_user_from_then_on(tracked: Tracked) -> None:
    http = shop_with_login(tracked).test_client()
    http.post("/login/ada")
    http.post("/login/grace")
    http.post("/logout")
    assert tracked.events == [
        ("ada", "logged_in"),
        ("grace", "logged_in"),
        ("grace", "logged_out"),
    ]
    assert tracked.reports == []


def test_for_an_anonymous_user_nothing_is_tracked_or_reported(tracked: Tracked) -> None:
    assert shop_with_login(tracked).test_client().post("/orders").status_code == 200
    assert (tracked.events, tracked.reports) == ([], [])


def test_a_request_that_tracks_nothing_does_not_touch_the_session(tracked: Tracked) -> None:
    app = shop()
    WhisperrFlask(app, client=tracked.client, resolve_user=lambda _: session.get("user"))
    http = app.test_client()
    assert "Vary" not in http.get("/products").headers
    assert http.post("/orders").headers["Vary"] == "Cookie"


def test_a_request_that_tracks_nothing_loads_no_user(tracked: Tracked) -> None:
    loaded: list[str] = []
    app = shop()
    WhisperrFlask(app, client=tracked.client)

    def load(name: str) -> Customer:
        loaded.append(name)
        return Customer(name)

    LoginManager(app).user_loader(load)
    http = app.test_client()
    http.post("/login/ada")
    http.get("/products")
    assert loaded == []
    http.post("/orders")
    assert loaded == ["ada"]


def test_without_flask_login_the_report_says_what_to_give(tracked: Tracked) -> None:
    app = shop()
    WhisperrFlask(app, client=tracked.client)
    assert app.test_client().post("/orders").status_code == 200
    assert tracked.events == []
    (report,) = tracked.reports
    assert "resolve_user=" in report


# Resolvers


def test_a_resolver_is_given_flasks_request(tracked: Tracked) -> None:
    app = shop()
    WhisperrFlask(
        app, client=tracked.client, resolve_user=lambda request: request.headers.get("X-User")
    )
    http = app.test_client()
    http.post("/orders", headers=ADA)
    http.post("/orders")
    assert tracked.events == [("ada", "order_placed")]
    assert tracked.reports == []


def test_a_resolver_that_raises_costs_the_event_and_not_the_request(tracked: Tracked) -> None:
    def resolve(_: object) -> str | None:
        raise LookupError("secret")

    app = shop()
    WhisperrFlask(app, client=tracked.client, resolve_user=resolve)
    assert app.test_client().post("/orders").status_code == 200
    (report,) = tracked.reports
    assert "LookupError" in report
    assert "secret" not in report


def test_an_async_view_tracks_at_once_and_may_await_an_async_resolver(tracked: Tracked) -> None:
    async def resolve(_: object) -> str | None:
        await asyncio.sleep(0)
        return str(session["user"])

    app = shop()
    WhisperrFlask(app, client=tracked.client, resolve_user=resolve)

    @app.post("/awaiting/<name>")
    async def awaiting(name: str) -> str:
        session["user"] = name
        await current_whisperr.atrack("awaiting")
        current_request().track("at_once")
        return ""

    assert app.test_client().post("/awaiting/ada").status_code == 200
    assert tracked.events == [("ada", "awaiting"), ("ada", "at_once")]


def test_an_async_view_finds_flask_logins_user_without_awaiting(tracked: Tracked) -> None:
    app = shop_with_login(tracked)

    @app.post("/async")
    async def asynchronous() -> str:
        current_whisperr.track("order_placed")
        return ""

    http = app.test_client()
    http.post("/login/ada")
    assert http.post("/async").status_code == 200
    assert tracked.events[1:] == [("ada", "order_placed")]


# Applications and their clients


def test_one_extension_gives_each_application_that_a_factory_makes_a_client_of_its_own(
    server: LocalServer, api_key: str
) -> None:
    keys = [f"{api_key}_{name}" for name in ("first", "second")]
    extension = WhisperrFlask(resolve_user=by_header, flush_interval=0, flush_at=10**9)
    apps = [shop(WHISPERR_API_KEY=key, WHISPERR_BASE_URL=server.url) for key in keys]
    for app in apps:
        extension.init_app(app)
        app.test_client().post("/orders", headers=ADA)
    clients: list[Whisperr] = [app.extensions["whisperr"] for app in apps]
    assert clients[0] is not clients[1]
    for client, key in zip(clients, keys, strict=True):
        assert client.flush().delivered == 1
        (row,) = server.events(key)
        assert row["external_user_id"] == "ada"


def test_the_configuration_comes_from_the_application_then_the_code_then_the_environment(
    server: LocalServer, api_key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHISPERR_API_KEY", api_key)
    monkeypatch.setenv("WHISPERR_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("WHISPERR_APP_VERSION", "environment")
    app = shop(WHISPERR_BASE_URL=server.url, WHISPERR_APP_VERSION="application")
    WhisperrFlask(app, resolve_user=by_header, app_version="code", max_retries=0)
    app.test_client().post("/orders", headers=ADA)
    app.extensions["whisperr"].flush()
    (row,) = server.events(api_key)
    assert row["body"]["context"]["app_version"] == "application"


def test_an_application_may_switch_its_client_off(server: LocalServer, api_key: str) -> None:
    app = shop(WHISPERR_DISABLED=True, WHISPERR_API_KEY=api_key, WHISPERR_BASE_URL=server.url)
    WhisperrFlask(app, resolve_user=by_header)
    assert app.test_client().post("/orders", headers=ADA).status_code == 200
    assert not app.extensions["whisperr"].ready
    assert not app.extensions["whisperr"].flush().delivered


def test_a_key_is_asked_for_where_the_application_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WHISPERR_API_KEY", raising=False)
    with pytest.raises(ValueError, match="WHISPERR_API_KEY"):
        WhisperrFlask(shop())


def test_options_beside_a_client_are_refused(tracked: Tracked) -> None:
    with pytest.raises(ValueError, match="not both"):
        WhisperrFlask(client=tracked.client, flush_at=1)


def test_an_application_has_one_extension(tracked: Tracked) -> None:
    app = shop()
    extension = WhisperrFlask(app, client=tracked.client)
    with pytest.raises(RuntimeError, match="once"):
        extension.init_app(app)


# Where the client is


def test_the_proxy_is_what_the_other_modules_find_as_well(tracked: Tracked) -> None:
    app = shop()
    WhisperrFlask(app, client=tracked.client, resolve_user=by_header)

    @app.before_request
    def before() -> None:
        assert current_whisperr == current_request()
        assert isinstance(current_whisperr, RequestClient)

    @app.teardown_request
    def after(_: BaseException | None) -> None:
        current_request().track("torn_down")

    app.test_client().post("/orders", headers=ADA)
    assert tracked.events == [("ada", "order_placed"), ("ada", "torn_down")]


@pytest.mark.parametrize("path", ["/products", "/fails"])
def test_after_the_request_there_is_no_client(tracked: Tracked, path: str) -> None:
    app = shop()
    WhisperrFlask(app, client=tracked.client, resolve_user=by_header)

    @app.get("/fails")
    def fails() -> str:
        raise LookupError("a view that fails")

    try:
        app.test_client().get(path)
    except LookupError:
        assert path == "/fails"
    assert current.get() is None
    with pytest.raises(RuntimeError, match="There is no request here"):
        current_request()


def test_a_stream_with_its_context_has_the_client_after_the_view(tracked: Tracked) -> None:
    app = shop_with_login(tracked)

    @app.get("/stream")
    def stream() -> Response:
        def lines() -> Iterator[str]:
            yield "one\n"
            current_whisperr.track("streamed")
            yield "two\n"

        return Response(stream_with_context(lines()))

    http = app.test_client()
    http.post("/login/ada")
    assert http.get("/stream").text == "one\ntwo\n"
    assert tracked.events[1:] == [("ada", "streamed")]


def test_a_thread_with_the_requests_context_has_its_client(tracked: Tracked) -> None:
    app = shop_with_login(tracked)

    @app.post("/thread")
    def start() -> str:
        @copy_current_request_context
        def work() -> None:
            current_whisperr.track("in_thread")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return ""

    http = app.test_client()
    http.post("/login/ada")
    http.post("/thread")
    assert tracked.events[1:] == [("ada", "in_thread")]


def test_a_client_that_outlives_its_request_reports_that_the_user_is_gone(tracked: Tracked) -> None:
    app = shop_with_login(tracked)
    kept: list[RequestClient[Any]] = []

    @app.post("/keep")
    def keep() -> str:
        kept.append(current_request())
        return ""

    app.test_client().post("/keep")
    kept[0].track("too_late")
    assert tracked.events == []
    (report,) = tracked.reports
    assert "copy_current_request_context()" in report


def test_a_request_context_of_a_test_has_a_client(tracked: Tracked) -> None:
    app = shop()
    WhisperrFlask(app, client=tracked.client, resolve_user=by_header)
    with app.test_request_context(headers=ADA):
        place_order()
    assert tracked.events == [("ada", "order_placed")]


def test_an_application_inside_another_has_its_own_client(
    server: LocalServer, api_key: str
) -> None:
    outer, inner = Tracked(server, api_key), Tracked(server, f"{api_key}_inner")
    inside = shop()
    WhisperrFlask(inside, client=inner.client, resolve_user=by_header)
    app = shop()
    WhisperrFlask(app, client=outer.client, resolve_user=by_header)

    @app.post("/both")
    def both() -> str:
        inside.test_client().post("/orders", headers=ADA)
        return place_order()

    app.test_client().post("/both", headers=ADA)
    assert (outer.waiting, inner.waiting) == (1, 1)


# Where there is none


def test_in_a_command_the_proxy_says_what_to_use(tracked: Tracked) -> None:
    app = shop()
    WhisperrFlask(app, client=tracked.client)

    @app.cli.command("report")
    def report() -> None:
        app.extensions["whisperr"].track("ada", "reported")
        current_whisperr.track("reported")

    result = app.test_cli_runner().invoke(args=["report"])
    assert isinstance(result.exception, RuntimeError)
    assert 'current_app.extensions["whisperr"]' in str(result.exception)
    assert tracked.events == [("ada", "reported")]
    assert not current_whisperr


def test_in_an_application_without_the_extension_the_proxy_says_what_to_call() -> None:
    with (
        shop().test_request_context(),
        pytest.raises(RuntimeError, match=r"init_app\(app\)"),
    ):
        current_whisperr.track("order_placed")
