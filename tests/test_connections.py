"""One connection for each client and process, through whatever lies between it and the service."""

from __future__ import annotations

import os
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import requests
import requests.adapters

from harness import wait_until
from raw_server import (
    LIMIT,
    Authority,
    Peer,
    RawServer,
    Request,
    clean_environment,
    run_python,
)
from service import OFFENDER, Service
from test_transport import proxy
from whisperr import Whisperr, WhisperrError
from whisperr.server.ledger import judge

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from service import Treatment

KEY = "wrk_test_connections"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() - clean_environment().keys():
        if not name.startswith("PYTHON"):
            monkeypatch.delenv(name)


class Connected:
    """A client, what it tracked and what it reported."""

    def __init__(self, url: str, **options: Any) -> None:
        self.errors: list[WhisperrError] = []
        self.names: list[str] = []
        self.client = Whisperr(
            KEY,
            **{
                "base_url": url,
                "flush_interval": 0,
                "max_retries": 0,
                "on_error": self.errors.append,
                **options,
            },
        )

    def track(self) -> None:
        self.names.append(uuid.uuid4().hex)
        self.client.track("u", OFFENDER, {"test_id": self.names[-1]})

    def deliver(self) -> bool:
        self.track()
        return bool(self.client.flush())

    def assert_exactly_once(self, service: Service) -> None:
        assert judge(self.names, service.arrivals).exactly_once
        assert self.errors == []


# --- Descriptors --------------------------------------------------------------------------

#: What uWSGI's spooler does after its post-fork hooks, while a sender delivers what they tracked.
DAEMON = """
import os, sys, time
from whisperr import Whisperr
asked, opened = sys.argv[1:]
os.close(0)
client = Whisperr(flush_at=1)
client.track("user", "something_happened")
while not os.path.exists(asked):
    time.sleep(0.001)
null = os.open(os.devnull, os.O_RDONLY)
os.dup2(null, 0)
if null:
    os.close(null)
open(opened, "w").close()
print(bool(client.flush()), client.stats().requests)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a daemon is a thing of Unix")
@pytest.mark.parametrize("secure", [False, True])
def test_a_daemon_that_puts_dev_null_over_its_standard_input_takes_no_connection_away(
    tmp_path: Path, secure: bool
) -> None:
    asked, opened = tmp_path / "asked", tmp_path / "opened"

    def answer_late(peer: Peer) -> None:
        while peer.read_request() is not None:
            asked.touch()
            wait_until(opened.exists)
            peer.answer(body=b'{"accepted": 1, "rejected": 0}')

    authority = Authority(tmp_path, "ca")
    with RawServer(answer_late, tls=authority.server_side() if secure else None) as server:
        environment = {"WHISPERR_API_KEY": KEY, "WHISPERR_BASE_URL": server.url}
        if secure:
            environment["REQUESTS_CA_BUNDLE"] = authority.bundle
        output = run_python("-c", DAEMON, str(asked), str(opened), environment=environment)
        assert output.split() == ["True", "1"]
        assert (len(server.requests), server.connections) == (1, 1)


# --- Steady state -------------------------------------------------------------------------


def test_whoever_delivers_uses_the_one_connection_and_one_exchange_at_a_time() -> None:
    under_way: list[Request] = []
    most: list[int] = []

    def take_slowly(service: Service, peer: Peer, request: Request) -> None:
        under_way.append(request)
        most.append(len(under_way))
        service.stopping.wait(0.002)
        under_way.remove(request)
        service.take(peer, request)

    with Service(take_slowly) as service:
        connected = Connected(service.url, flush_at=5)

        def work() -> None:
            for number in range(200):
                connected.track()
                if number % 20 == 0:
                    assert connected.client.flush()

        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(work) for _ in range(4)]:
                future.result(60)
        assert connected.client.shutdown(20)
        assert len(service.requests) > 20
        assert (service.connections, max(most)) == (1, 1)
        connected.assert_exactly_once(service)


GOODBYES = {
    "nothing": b"",
    "a 408 that nobody asked for": b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("goodbye", GOODBYES)
def test_a_connection_that_the_service_closes_while_idle_costs_nothing(goodbye: str) -> None:
    """What it says then is not taken for the answer to the next request."""
    closed = threading.Semaphore(0)

    def take_and_close(service: Service, peer: Peer, request: Request) -> None:
        service.take(peer, request)
        peer.send(GOODBYES[goodbye])
        peer.sock.close()
        closed.release()

    with Service(take_and_close) as service:
        connected = Connected(service.url)
        for _ in range(5):
            assert connected.deliver()
            assert closed.acquire(timeout=LIMIT)
        assert service.connections == len(service.requests) == 5
        connected.assert_exactly_once(service)


def test_a_service_that_came_back_elsewhere_is_delivered_to_on_a_new_connection() -> None:
    with Service() as service:
        service.failing = False
        connected = Connected(service.url)
        assert connected.deliver()
        port = service.port
    with Service(port=port) as service:
        service.failing = False
        before = len(connected.names)
        wait_until(lambda: connected.deliver())
        assert judge(connected.names[before:], service.arrivals).exactly_once


# --- Who the client says it is ------------------------------------------------------------


class OwnAdapter(requests.adapters.HTTPAdapter):
    """An adapter of the user's, which is used as it is."""


def factory_of(own_adapter: bool, **attributes: Any) -> Callable[[], requests.Session]:
    def make() -> requests.Session:
        session = requests.Session()
        for name, value in attributes.items():
            setattr(session, name, value)
        if own_adapter:
            session.mount("https://", OwnAdapter())
            session.mount("http://", OwnAdapter())
        return session

    return make


ours_and_theirs = pytest.mark.parametrize(
    "own_adapter", [False, True], ids=["our adapter", "the user's adapter"]
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@pytest.fixture
def asking(authority: Authority) -> ssl.SSLContext:
    """A server's context that asks for a client's certificate."""
    return authority.asking_side()


def taking(tls: ssl.SSLContext | None = None, treatment: Treatment | None = None) -> Service:
    service = Service(treatment, tls=tls)
    service.failing = treatment is not None
    return service


@ours_and_theirs
@pytest.mark.parametrize("files", [1, 2], ids=["one file", "certificate and key"])
def test_a_client_certificate_of_the_session_is_shown(
    tmp_path: Path, authority: Authority, asking: ssl.SSLContext, own_adapter: bool, files: int
) -> None:
    cert = authority.client_files(tmp_path)[:files]
    factory = factory_of(own_adapter, verify=authority.bundle, cert=cert if files == 2 else cert[0])
    with taking(asking) as service:
        connected = Connected(service.url, session_factory=factory)
        for _ in range(3):
            assert connected.deliver()
        assert service.connections == 1
        connected.assert_exactly_once(service)


@ours_and_theirs
def test_without_the_certificate_that_the_service_asks_for_nothing_is_delivered_or_lost(
    tmp_path: Path, authority: Authority, asking: ssl.SSLContext, own_adapter: bool
) -> None:
    certificates: list[str] = []

    def make() -> requests.Session:
        session = factory_of(own_adapter, verify=authority.bundle)()
        session.cert = certificates[0] if certificates else None
        sessions.append(session)
        return session

    sessions: list[requests.Session] = []
    with taking(asking) as service:
        connected = Connected(service.url, session_factory=make)
        assert not connected.deliver()
        assert [(error.type, error.status) for error in connected.errors] == [
            ("retry_exhausted", None)
        ]
        assert service.requests == []
        sessions[0].cert = authority.client_files(tmp_path)[0]
        assert connected.client.flush()
        assert judge(connected.names, service.arrivals).exactly_once


def test_a_client_certificate_goes_through_a_tunnel(
    tmp_path: Path, authority: Authority, asking: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    factory = factory_of(False, verify=authority.bundle, cert=authority.client_files(tmp_path)[0])
    with taking(asking) as service, RawServer(proxy) as between:
        monkeypatch.setenv("HTTPS_PROXY", between.url)
        connected = Connected(service.url, session_factory=factory)
        assert all(connected.deliver() for _ in range(3))
        assert [request.line.split()[0] for request in between.requests] == ["CONNECT"]
        connected.assert_exactly_once(service)


@ours_and_theirs
@pytest.mark.parametrize("machine", ["machine 127.0.0.1", "default"])
def test_netrc_adds_nothing_and_what_the_session_adds_does_not_replace_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_adapter: bool, machine: str
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"{machine} login someone password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    headers = requests.structures.CaseInsensitiveDict({"x-api-key": "wrk_other", "X-Team": "ours"})
    with taking() as service:
        for auth in (None, ("user", "password")):
            factory = factory_of(own_adapter, headers=headers, auth=auth)
            assert Connected(service.url, session_factory=factory).deliver()
        plain, with_auth = (request.headers for request in service.requests)
    assert plain["x-api-key"] == with_auth["x-api-key"] == KEY
    assert plain["x-team"] == "ours"
    assert "authorization" not in plain
    assert with_auth["authorization"] == "Basic dXNlcjpwYXNzd29yZA=="


# --- The way there ------------------------------------------------------------------------


@ours_and_theirs
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "proxies"])
def test_a_proxy_for_https_is_used_however_it_is_named(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, own_adapter: bool, name: str
) -> None:
    with taking(authority.server_side()) as service, RawServer(proxy) as between:
        attributes: dict[str, Any] = {"verify": authority.bundle}
        if name == "proxies":
            attributes["proxies"] = {"https": between.url}
        else:
            monkeypatch.setenv(name, between.url)
        connected = Connected(service.url, session_factory=factory_of(own_adapter, **attributes))
        assert all(connected.deliver() for _ in range(3))
        assert (between.connections, service.connections) == (1, 1)
        assert not any(KEY in repr(request) for request in between.requests)
        connected.assert_exactly_once(service)


@ours_and_theirs
@pytest.mark.parametrize("exception", ["127.0.0.1", "127.0.0.0/8", "*", "trust_env"])
def test_no_proxy_is_used_where_requests_would_use_none(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, own_adapter: bool, exception: str
) -> None:
    with taking(authority.server_side()) as service, RawServer(proxy) as between:
        monkeypatch.setenv("HTTPS_PROXY", between.url)
        attributes: dict[str, Any] = {"verify": authority.bundle}
        if exception == "trust_env":
            attributes["trust_env"] = False
        else:
            monkeypatch.setenv("NO_PROXY", exception)
        connected = Connected(service.url, session_factory=factory_of(own_adapter, **attributes))
        assert connected.deliver()
        assert between.connections == 0


@ours_and_theirs
@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "verify"])
def test_a_bundle_is_trusted_however_it_is_named_and_none_is_not(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, own_adapter: bool, name: str
) -> None:
    with taking(authority.server_side()) as service:
        untrusting = Connected(service.url, session_factory=factory_of(own_adapter))
        assert not untrusting.deliver()
        assert service.requests == []
        attributes = {"verify": authority.bundle} if name == "verify" else {}
        if name != "verify":
            monkeypatch.setenv(name, authority.bundle)
        connected = Connected(service.url, session_factory=factory_of(own_adapter, **attributes))
        assert connected.deliver()
        connected.assert_exactly_once(service)
