from __future__ import annotations

import secrets
import signal
from typing import TYPE_CHECKING

import pytest

from harness import LocalServer
from raw_server import Authority
from reported import Errors
from whisperr import _exit
from wire_schema import WireSchema

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure() -> None:
    """Scripts under test are to feel what a shell has ignored in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    quit_signal = getattr(signal, "SIGQUIT", signal.SIGINT)
    if signal.getsignal(quit_signal) is signal.SIG_IGN:
        signal.signal(quit_signal, signal.SIG_DFL)


@pytest.fixture(scope="session")
def http_server() -> Iterator[LocalServer]:
    """One local server for the session (with xdist: for each worker)."""
    server = LocalServer.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def https_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Another one that serves https."""
    folder = tmp_path_factory.mktemp("authority")
    authority = Authority(folder, "ca")
    pem = authority.server_file(folder)
    server = LocalServer.start(":memory:", "--tls-cert", pem, bundle=authority.bundle)
    yield server
    server.stop()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> LocalServer:
    """The local server; over https where `lab.over_http_and_tls` asks for it."""
    scheme = getattr(request, "param", "http")
    server: LocalServer = request.getfixturevalue(f"{scheme}_server")
    return server


@pytest.fixture(scope="session")
def wire_schema() -> WireSchema | None:
    """The service's own schemas, None where WHISPERR_SPEC_PATH is not set."""
    return WireSchema.from_environment()


@pytest.fixture
def errors() -> Errors:
    """An on_error for a test's own client."""
    return Errors()


@pytest.fixture
def no_other_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is for all clients of the process meets those of the test alone."""
    monkeypatch.setattr(_exit, "_known", {})


@pytest.fixture
def api_key(
    request: pytest.FixtureRequest, server: LocalServer, wire_schema: WireSchema | None
) -> Iterator[str]:
    """An app of the test's own; what it sent is judged by the service's schemas at the end."""
    key = f"wrk_test_{secrets.token_hex(8)}"
    yield key
    server.clear_faults(key)
    if wire_schema is None or request.node.get_closest_marker("malformed"):
        return
    violations = list(wire_schema.violations(server.requests(key)))
    assert not violations, "\n".join(violations)
