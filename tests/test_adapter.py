"""The connection belongs to one process, and to the libraries that were patched by then."""

from __future__ import annotations

import json
import queue
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3.poolmanager import PoolManager

from raw_server import LIMIT, Authority, Peer, RawServer, run_python
from whisperr._adapter import _tls_context
from whisperr._connection import Exchange
from whisperr._fork import Owner
from whisperr._outcome import Verdict
from whisperr._transport import Transport

SCENARIOS = str(Path(__file__).parent / "adapter_scenarios.py")
ROUNDS = 20

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


def scenario(*arguments: str, authority: Authority | None = None) -> str:
    environment = {"REQUESTS_CA_BUNDLE": authority.bundle} if authority else {}
    return run_python(SCENARIOS, *arguments, environment=environment)


@pytest.fixture(params=["http", "https"])
def authority(request: pytest.FixtureRequest, tmp_path: Path) -> Authority | None:
    """None for http."""
    return Authority(tmp_path, "ca") if request.param == "https" else None


@needs_fork
@pytest.mark.parametrize("fork", ["os", "raw"])
@pytest.mark.parametrize(
    "action", ["receive", "send", "close", "take", "post", "close_session", "exit"]
)
def test_a_child_leaves_its_parents_connection_alone(
    authority: Authority | None, action: str, fork: str
) -> None:
    with RawServer(tls=authority.server_side() if authority else None) as server:
        scenario("guard", server.url, fork, action, authority=authority)
        lines = [request.line.split()[1] for request in server.requests]
        assert lines == ["/parent", "/by-hand", "/parent"]
        assert server.connections == 1
    assert not server.problems


def test_a_client_imported_before_gevent_patches_delivers(authority: Authority | None) -> None:
    pytest.importorskip("gevent")

    def serve(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer(202, b'{"accepted": 1, "rejected": 0}')

    with RawServer(serve, tls=authority.server_side() if authority else None) as server:
        assert scenario("gevent_exchanges", server.url, authority=authority).strip() == "5"
        assert server.connections == 1
        assert len(server.requests) == 5


def test_greenlets_go_on_while_gevent_waits_for_a_server_that_does_not_read(
    authority: Authority | None,
) -> None:
    pytest.importorskip("gevent")

    def serve(peer: Peer) -> None:
        peer.server.stopping.wait(LIMIT)

    with RawServer(serve, tls=authority.server_side() if authority else None) as server:
        assert int(scenario("gevent_deaf", server.url, authority=authority)) >= 10


@needs_fork
def test_only_the_parent_reads_its_answer_when_a_gevent_process_forks(
    authority: Authority | None,
) -> None:
    pytest.importorskip("gevent")
    arrived, answer, sent = (threading.Semaphore(0) for _ in range(3))

    def serve(peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            is_parents = b"parent" in request.body
            if is_parents:
                arrived.release()
                assert answer.acquire(timeout=LIMIT)
            peer.answer(202, b'{"accepted": 1, "rejected": 0}')
            if is_parents:
                sent.release()

    def direct(peer: Peer) -> None:
        request = peer.read_request()
        assert request is not None
        if "/arrived" in request.line:
            assert arrived.acquire(timeout=LIMIT)
        elif "/answer" in request.line:
            answer.release()
            assert sent.acquire(timeout=LIMIT)
        peer.answer()

    with (
        RawServer(serve, tls=authority.server_side() if authority else None) as server,
        RawServer(direct) as control,
    ):
        arguments = ("gevent_forks", server.url, control.url, str(ROUNDS))
        assert scenario(*arguments, authority=authority).strip() == str(ROUNDS)
        expected = [f"{who} {n}" for n in range(ROUNDS) for who in ("parent", "child")]
        assert [_id(request.body) for request in server.requests] == expected
        assert server.connections == 1 + ROUNDS
    assert not server.problems
    assert not control.problems


def _id(body: bytes) -> str:
    (event,) = json.loads(body)["events"]
    return str(event["properties"]["id"])


# --- TLS contexts -------------------------------------------------------------------------


class Probe:
    """Counts the contexts that are made and the bundles that are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self.read = 0
        make, read = ssl.SSLContext.__new__, ssl.SSLContext.load_verify_locations

        def counting_make(cls: Any, *arguments: Any, **keywords: Any) -> Any:
            self.made += 1
            return make(cls, *arguments, **keywords)

        def counting_read(context: Any, *arguments: Any, **keywords: Any) -> None:
            self.read += 1
            read(context, *arguments, **keywords)

        monkeypatch.setattr(ssl.SSLContext, "__new__", counting_make)
        monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counting_read)


def test_there_is_one_context_for_each_trust_and_its_bundle_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(peer: Peer) -> None:
        if peer.read_request() is not None:
            peer.answer(202, b"{}", "Connection: close")

    authority = Authority(tmp_path, "ca")
    session = requests.Session()
    session.trust_env = False
    session.verify = authority.bundle
    with RawServer(serve, tls=authority.server_side()) as server:
        probe = Probe(monkeypatch)
        transport = Transport(server.url, "wrk_test", lambda: session, Owner())
        for _ in range(5):
            _post(transport)
        assert server.connections == 5
        assert (probe.made, probe.read) == (1, 1)
        session.verify = False
        with pytest.warns(match="Unverified HTTPS"):
            _post(transport)
        session.verify = authority.bundle
        _post(transport)
        assert (probe.made, probe.read) == (2, 1)


def test_no_context_is_made_for_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer() as server:
        probe = Probe(monkeypatch)
        _post(Transport(server.url, "wrk_test", None, Owner()))
        assert (probe.made, probe.read) == (0, 0)


def test_the_context_for_the_default_trust_holds_certificates_without_urllib3s_help() -> None:
    """Requests 2.32.3 and 2.32.4 give urllib3 no bundle to load for it."""
    context = _tls_context(Exchange(Owner()), True)
    assert len(context.get_ca_certs()) > 20
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def _post(transport: Transport) -> None:
    deadline = time.monotonic() + LIMIT
    outcome = transport.post(
        "/v1/identify", b'{"external_user_id": "u"}', events=0, deadline=deadline
    )
    assert outcome.verdict is Verdict.OK, outcome


# --- Sessions of the user's -----------------------------------------------------------------


class OwnAdapter(requests.adapters.HTTPAdapter):
    """An adapter as users mount it."""


def _pool_of(adapter: requests.adapters.HTTPAdapter, url: str) -> Any:
    session = requests.Session()
    session.mount("http://", adapter)
    _post(Transport(url, "wrk_test", lambda: session, Owner()))
    return adapter.poolmanager.connection_from_url(url).pool


def test_an_adapter_of_the_users_stays_and_loses_the_lock_of_its_pools() -> None:
    with RawServer() as server:
        adapter = OwnAdapter(pool_maxsize=3)
        pool = _pool_of(adapter, server.url)
        assert not isinstance(pool, queue.LifoQueue)
        assert pool.qsize() == 3, "The connection went back into it."
        untouched: Any = PoolManager().pool_classes_by_scheme["http"]
        assert untouched.QueueCls is queue.LifoQueue


def test_a_pool_that_the_application_may_wait_for_keeps_its_queue() -> None:
    with RawServer() as server:
        assert isinstance(_pool_of(OwnAdapter(pool_block=True), server.url), queue.LifoQueue)
