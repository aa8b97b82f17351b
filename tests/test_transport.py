"""One exchange, against servers of plain sockets: what comes back, and what never leaves."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import ssl
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from raw_server import LIMIT, Authority, Peer, RawServer, answer_all, clean_environment
from whisperr._fork import Owner
from whisperr._outcome import Outcome, Verdict
from whisperr._transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "wrk_secret_0123456789"
PATH = "/v1/identify"
#: What an identify is at the least, and more than the buffers of a loopback connection hold.
BODY = b'{"external_user_id": "u"}'
LARGE = b"x" * (16 * 1024 * 1024)
#: How much later than its deadline an exchange may end.
LATE = 0.3


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ.keys() - clean_environment().keys():
        if not name.startswith("PYTHON"):
            monkeypatch.delenv(name)


def transport(url: str, factory: Callable[[], requests.Session] | None = None) -> Transport:
    return Transport(url, KEY, factory, Owner())


def post(to: Transport, body: bytes = BODY, seconds: float = 10.0, events: int = 0) -> Outcome:
    return to.post(PATH, body, events=events, deadline=time.monotonic() + seconds)


def drip(peer: Peer, byte: Callable[[int], bytes]) -> None:
    """Send a byte every 20 ms, for at most 5 s."""
    for number in range(250):
        if peer.server.stopping.wait(0.02):
            return
        peer.send(byte(number))


def delivered(outcome: Outcome) -> bool:
    return outcome.verdict is Verdict.OK and not outcome.unexpected


# --- Keep-alive ---------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
def test_many_exchanges_share_one_connection(tmp_path: Path, secure: bool) -> None:
    authority = Authority(tmp_path, "ca")
    with RawServer(tls=authority.server_side() if secure else None) as server:
        to = transport(server.url, lambda: _session(verify=authority.bundle))
        bodies = [b'{"external_user_id": "%d"}' % number for number in range(50)]
        assert all(delivered(post(to, body)) for body in bodies)
        assert server.connections == 1
        assert [request.body for request in server.requests] == bodies


@pytest.mark.parametrize("secure", [False, True])
def test_a_connection_that_the_server_closed_while_idle_is_replaced_without_an_error(
    tmp_path: Path, secure: bool
) -> None:
    closed = threading.Semaphore(0)

    def answer_once(peer: Peer) -> None:
        peer.read_request()
        peer.answer()
        if isinstance(peer.sock, ssl.SSLSocket):
            peer.sock.setblocking(False)
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.sock.unwrap()  # says goodbye; the client's is not waited for
        peer.sock.close()
        closed.release()

    authority = Authority(tmp_path, "ca")
    with RawServer(answer_once, tls=authority.server_side() if secure else None) as server:
        to = transport(server.url, lambda: _session(verify=authority.bundle))
        for _ in range(5):
            assert delivered(post(to))
            assert closed.acquire(timeout=LIMIT)
        assert server.connections == 5


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["chunked", "100", "102", "103 twice"],
)
def test_the_connection_is_kept_after_an_answer_of_any_shape(answer: bytes) -> None:
    def serve(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.send(answer)

    with RawServer(serve) as server:
        to = transport(server.url)
        assert all(delivered(post(to)) for _ in range(3))
        assert server.connections == 1


def test_an_interim_answer_does_not_stand_for_the_answer_of_the_next_request() -> None:
    """Each second request is refused; with an answer slipped, the first would be."""

    def serve(peer: Peer) -> None:
        status = 202
        while peer.read_request() is not None:
            peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            peer.answer(status)
            status = 628 - status  # 202 and 426 in turn

    with RawServer(serve) as server:
        to = transport(server.url)
        assert [post(to).status for _ in range(6)] == [202, 426] * 3


def test_a_204_is_delivered_and_keeps_the_connection() -> None:
    def serve(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    with RawServer(serve) as server:
        to = transport(server.url)
        for _ in range(3):
            outcome = post(to)
            assert (outcome.verdict, outcome.status) == (Verdict.OK, 204)
        assert server.connections == 1


def test_an_answer_that_ends_with_the_connection_is_read() -> None:
    def serve(peer: Peer) -> None:
        peer.read_request()
        peer.send(b'HTTP/1.1 202 Accepted\r\n\r\n{"accepted": 2, "rejected": 1}')

    with RawServer(serve) as server:
        to = transport(server.url)
        for _ in range(2):
            outcome = post(to, events=3)
            assert delivered(outcome)
            assert outcome.rejected == 1
        assert server.connections == 2


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_a_body_that_is_too_long_is_not_read_on_and_its_connection_is_given_up(
    framing: str,
) -> None:
    chunk = b"%x\r\n%b\r\n" % (100_000, b"z" * 100_000)

    def serve(peer: Peer) -> None:
        if peer.read_request() is None:
            return
        peer.send(f"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\n{framing}\r\n\r\n".encode())
        for _ in range(20):  # more than the buffers of the connection hold
            peer.send(chunk * 10)
        peer.wait_for_end()

    with RawServer(serve) as server:
        to = transport(server.url)
        for _ in range(2):
            outcome = post(to)
            assert (outcome.verdict, outcome.status) == (Verdict.RETRY, 429)
            assert outcome.retry_after == 7
        assert server.connections == 2
    assert all(isinstance(problem, ConnectionError) for problem in server.problems)


@pytest.mark.parametrize("ending", ["reset", "silence"])
@pytest.mark.parametrize(
    ("status", "verdict"), [(202, Verdict.OK), (400, Verdict.DROP), (302, Verdict.MISCONFIGURED)]
)
def test_the_status_decides_where_the_body_breaks_off(
    status: int, verdict: Verdict, ending: str
) -> None:
    """What a 2xx took must not be sent again."""

    def serve(peer: Peer) -> None:
        peer.read_request()
        head = f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 100\r\n"
        peer.send(f"{head}\r\n{{".encode())
        if ending == "silence":
            peer.wait_for_end()

    with RawServer(serve) as server:
        outcome = post(transport(server.url), seconds=0.5)
        assert (outcome.verdict, outcome.status) == (verdict, status)


# --- The deadline -------------------------------------------------------------------------


def assert_gives_up(url: str, body: bytes = BODY, seconds: float = 0.6, **session: Any) -> None:
    to = transport(url, lambda: _session(**session))
    began = time.monotonic()
    outcome = post(to, body, seconds)
    took = time.monotonic() - began
    assert outcome.verdict is Verdict.RETRY
    assert outcome.status is None
    assert "in time" in outcome.detail
    assert not outcome.refused
    assert seconds - 0.05 <= took <= seconds + LATE


def test_a_server_that_accepts_and_never_answers_costs_the_deadline() -> None:
    with RawServer(Peer.wait_for_end) as server:
        assert_gives_up(server.url)


@pytest.mark.parametrize(
    "text",
    [b"HTTP/1.1 202 Accepted", b"HTTP/1.1 202 Accepted\r\nX: ", b"HTTP/1.1 103 Hint\r\n\r\n"],
    ids=["status line", "header", "interim answers"],
)
def test_a_trickle_of_bytes_does_not_restart_the_deadline(text: bytes) -> None:
    endless = text if text.endswith(b"\r\n\r\n") else text + b"x" * 250

    def serve(peer: Peer) -> None:
        peer.read_request()
        drip(peer, lambda number: endless[number % len(endless) :][:1])

    with RawServer(serve) as server:
        assert_gives_up(server.url)


def test_a_trickle_over_tls_does_not_restart_the_deadline(tmp_path: Path) -> None:
    def serve(peer: Peer) -> None:
        peer.read_request()
        drip(peer, lambda _: b"H")

    authority = Authority(tmp_path, "ca")
    with RawServer(serve, tls=authority.server_side()) as server:
        assert_gives_up(server.url, verify=authority.bundle)


def test_a_trickled_body_does_not_restart_the_deadline_and_the_status_stands() -> None:
    def serve(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100000\r\n\r\n")
        drip(peer, lambda _: b" ")

    with RawServer(serve) as server:
        began = time.monotonic()
        outcome = post(transport(server.url), seconds=0.6)
        assert outcome.verdict is Verdict.OK
        assert time.monotonic() - began <= 0.6 + LATE


@pytest.mark.parametrize("trickles", [False, True])
def test_a_tls_handshake_that_never_ends_costs_the_deadline(trickles: bool) -> None:
    def serve(peer: Peer) -> None:
        peer.sock.recv(65536)  # the client's hello
        if trickles:
            peer.send(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")  # a server's hello of 16 KiB
            drip(peer, lambda _: b"\0")
        else:
            peer.wait_for_end()

    with RawServer(serve) as server:
        assert_gives_up(server.url.replace("http:", "https:"))


@pytest.mark.parametrize("secure", [False, True])
def test_a_server_that_does_not_read_costs_the_deadline(tmp_path: Path, secure: bool) -> None:
    def serve(peer: Peer) -> None:
        peer.server.stopping.wait(LIMIT)

    authority = Authority(tmp_path, "ca")
    with RawServer(serve, tls=authority.server_side() if secure else None) as server:
        assert_gives_up(server.url, LARGE, verify=authority.bundle)


@pytest.fixture
def deaf_port() -> Any:
    """A port whose queue is full: the kernel answers no further SYN."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        filling = [socket.socket() for _ in range(4)]
        for sock in filling:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for sock in filling:
            sock.close()


def test_an_address_that_never_answers_costs_the_deadline(deaf_port: int) -> None:
    assert_gives_up(f"http://127.0.0.1:{deaf_port}")
    assert_gives_up(f"https://127.0.0.1:{deaf_port}")


def test_the_addresses_of_a_name_share_the_deadline(
    deaf_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver is the one thing here that is not real: no name has three such addresses."""
    deaf = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", deaf_port))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keywords: [deaf] * 3)
    assert_gives_up("http://three.invalid")


def test_an_address_that_never_answers_leaves_time_for_the_next(
    deaf_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer() as server:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
            for port in (deaf_port, deaf_port, server.port)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_keywords: found)
        assert delivered(post(transport("http://three.invalid"), seconds=0.9))


@pytest.mark.parametrize("refused", [False, True])
def test_a_failed_exchange_keeps_nothing_of_its_body(refused: bool) -> None:
    """The garbage collector may be long in coming, and a dead service fails again and again."""
    body = b'{"external_user_id": "%d"}' % os.getpid()
    with RawServer(Peer.wait_for_end) as server:
        to = transport("http://127.0.0.1:1" if refused else server.url)
        gc.disable()
        try:
            before = sys.getrefcount(body)
            assert post(to, body, 0.2).refused == refused
            assert sys.getrefcount(body) == before
        finally:
            gc.enable()


def test_a_refused_connection_is_said_to_be_one() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = post(transport(f"http://127.0.0.1:{unused.getsockname()[1]}"))
    assert outcome.verdict is Verdict.RETRY
    assert outcome.refused


def test_a_deadline_that_is_over_sends_nothing() -> None:
    with RawServer() as server:
        to = transport(server.url)
        assert delivered(post(to))
        assert post(to, seconds=-1).verdict is Verdict.RETRY
        assert len(server.requests) == 1
        assert delivered(post(to))


def test_an_ipv6_address_is_reached() -> None:
    try:
        server = RawServer(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        assert delivered(post(transport(server.url)))


# --- Trust --------------------------------------------------------------------------------


def _session(**attributes: Any) -> requests.Session:
    session = requests.Session()
    for name, value in attributes.items():
        setattr(session, name, value)
    return session


@pytest.mark.parametrize("named_by", ["verify", "REQUESTS_CA_BUNDLE"])
def test_the_bundle_alone_is_trusted_not_the_system_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    chosen, system = Authority(tmp_path, "chosen"), Authority(tmp_path, "system")
    monkeypatch.setenv("SSL_CERT_FILE", system.bundle)
    factory = None
    if named_by == "verify":
        factory = lambda: _session(verify=chosen.bundle)  # noqa: E731
    else:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", chosen.bundle)
    with (
        RawServer(tls=system.server_side()) as other,
        RawServer(tls=chosen.server_side()) as server,
    ):
        refused = post(transport(other.url, factory))
        assert refused.verdict is Verdict.RETRY
        assert "SSL" in refused.detail
        assert not other.requests
        assert delivered(post(transport(server.url, factory)))


def test_without_a_bundle_the_system_store_is_not_trusted_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = Authority(tmp_path, "system")
    monkeypatch.setenv("SSL_CERT_FILE", system.bundle)
    with RawServer(tls=system.server_side()) as server:
        assert post(transport(server.url)).verdict is Verdict.RETRY
        assert not server.requests


@pytest.mark.parametrize("switch", [False, None, ""])
def test_a_session_that_verifies_nothing_is_obeyed(tmp_path: Path, switch: Any) -> None:
    with RawServer(tls=Authority(tmp_path, "ca").server_side("elsewhere.invalid")) as server:
        to = transport(server.url, lambda: _session(verify=switch))
        with pytest.warns(match="Unverified HTTPS"):
            assert delivered(post(to))


def test_a_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    with RawServer(tls=authority.server_side("elsewhere.invalid")) as server:
        to = transport(server.url, lambda: _session(verify=authority.bundle))
        assert post(to).verdict is Verdict.RETRY
        assert not server.requests


# --- The key and where it goes ------------------------------------------------------------


def _reset(peer: Peer) -> None:
    peer.read_request()


def _garbage(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


def _bad_headers(peer: Peer) -> None:
    peer.read_request()
    peer.send(f"HTTP/1.1 500 Oops\r\nno colon, but {KEY}\r\nX: {KEY}\r\n\r\n".encode())


def _answers(status: int) -> Callable[[Peer], None]:
    def serve(peer: Peer) -> None:
        peer.read_request()
        peer.answer(status, b"{}", "Location: http://127.0.0.1:9/", "Retry-After: never")

    return serve


FAILURES: dict[str, Callable[[Peer], None]] = {
    "reset": _reset,
    "garbage": _garbage,
    "bad headers": _bad_headers,
    "silence": Peer.wait_for_end,
    **{str(status): _answers(status) for status in (202, 302, 400, 401, 404, 429, 503)},
}


@pytest.mark.parametrize("failure", [*FAILURES, "refused", "no name", "no tls", "bad url"])
def test_the_key_is_in_no_outcome_and_no_log_line(
    failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with RawServer(FAILURES.get(failure, answer_all)) as server:
        url = {
            "refused": "http://127.0.0.1:1",
            "no name": "http://nowhere.invalid",
            "no tls": server.url.replace("http:", "https:"),
            "bad url": "http://a..b",
        }.get(failure, server.url)
        to = transport(url)
        seen = repr(post(to, seconds=0.5)) + repr(to) + repr(vars(to)["_session"])
    assert KEY not in seen
    assert KEY not in caplog.text
    assert not any(KEY in repr(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("key", ["wrk_with\nnewline", " wrk_blank", "wrk_\u20ac"])
def test_a_key_that_no_header_can_carry_is_in_no_outcome(key: str) -> None:
    with RawServer() as server:
        to = Transport(server.url, key, None, Owner())
        outcome = post(to)
    assert outcome.verdict is Verdict.RETRY
    assert key.strip() not in repr(outcome)


def test_the_key_goes_into_its_header_and_netrc_adds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with RawServer() as server:
        assert delivered(post(transport(server.url)))
        (request,) = server.requests
    assert request.headers["x-api-key"] == KEY
    assert "authorization" not in request.headers
    assert request.headers["user-agent"].startswith("whisperr-python/")
    assert sum(KEY in value for value in request.headers.values()) == 1


class OwnAdapter(requests.adapters.HTTPAdapter):
    """An adapter of the user's, which is used as it is."""


def _own_session() -> requests.Session:
    session = requests.Session()
    session.mount("http://", OwnAdapter())
    return session


@pytest.mark.parametrize("factory", [None, _own_session], ids=["ours", "the user's adapter"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_named_without_its_query(
    status: int, factory: Callable[[], requests.Session] | None
) -> None:
    with RawServer() as elsewhere:

        def serve(peer: Peer) -> None:
            while peer.read_request() is not None:
                peer.answer(status, b"moved", f"Location: {elsewhere.url}/there?token=secret")

        with RawServer(serve) as server:
            to = transport(server.url, factory)
            outcomes = [post(to) for _ in range(2)]
            assert server.connections == 1
        assert elsewhere.connections == 0
    for outcome in outcomes:
        assert outcome.verdict is Verdict.MISCONFIGURED
        assert f"{elsewhere.url}/there" in outcome.detail
        assert "secret" not in outcome.detail


@pytest.mark.parametrize("location", ["http://[", "http://:::::/", "/\u20ac", "http://a..b/"])
def test_a_location_that_is_no_url_changes_nothing(location: str) -> None:
    def serve(peer: Peer) -> None:
        peer.read_request()
        peer.send(f"HTTP/1.1 302 X\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode())

    with RawServer(serve) as server:
        assert post(transport(server.url)).verdict is Verdict.MISCONFIGURED


def test_the_endless_body_of_a_redirect_is_not_read() -> None:
    def serve(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n")
        while not peer.server.stopping.is_set():
            peer.send(b"z" * 65536)

    with RawServer(serve) as server:
        began = time.monotonic()
        outcome = post(transport(server.url), seconds=5)
        assert outcome.verdict is Verdict.MISCONFIGURED
        assert time.monotonic() - began < 2


# --- Proxies ------------------------------------------------------------------------------


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while received := source.recv(65536):
            target.sendall(received)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def proxy(peer: Peer) -> None:
    """A forwarding proxy: CONNECT for https, absolute URLs for http."""
    while (request := peer.read_request()) is not None:
        method, target, _ = request.line.split()
        if method == "CONNECT":
            host, port = target.rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=LIMIT) as upstream:
                peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pump, args=(upstream, peer.sock))
                back.start()
                _pump(peer.sock, upstream)
                back.join(LIMIT)
            return
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(target, data=request.body, headers=request.headers)
        peer.answer(answer.status_code, answer.content)


def test_http_proxy_carries_a_plain_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer() as server, RawServer(proxy) as between:
        monkeypatch.setenv("HTTP_PROXY", between.url)
        to = transport(server.url)
        assert all(delivered(post(to)) for _ in range(3))
        assert between.connections == 1
        assert [request.line.split()[1] for request in between.requests] == [server.url + PATH] * 3
        assert len(server.requests) == 3


@pytest.mark.parametrize("secure_proxy", [False, True])
def test_https_goes_through_a_tunnel_and_the_proxy_never_sees_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secure_proxy: bool
) -> None:
    authority = Authority(tmp_path, "ca")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    tls = authority.server_side() if secure_proxy else None
    with RawServer(tls=authority.server_side()) as server, RawServer(proxy, tls=tls) as between:
        monkeypatch.setenv("HTTPS_PROXY", between.url)
        to = transport(server.url)
        assert all(delivered(post(to)) for _ in range(3))
        (connect,) = between.requests
        assert connect.line.startswith(f"CONNECT 127.0.0.1:{server.port} ")
        assert KEY not in repr(connect)
        assert server.connections == 1


def test_no_proxy_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer() as server, RawServer(proxy) as between:
        monkeypatch.setenv("HTTP_PROXY", between.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert delivered(post(transport(server.url)))
        assert between.connections == 0


@pytest.mark.parametrize("secure_proxy", [False, True])
def test_a_proxy_that_never_answers_connect_costs_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secure_proxy: bool
) -> None:
    authority = Authority(tmp_path, "ca")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)

    def serve(peer: Peer) -> None:
        peer.read_request()
        drip(peer, lambda _: b"H")

    with RawServer(serve, tls=authority.server_side() if secure_proxy else None) as between:
        monkeypatch.setenv("HTTPS_PROXY", between.url)
        assert_gives_up("https://127.0.0.1:9")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses_is_no_verdict_about_the_key_of_a_tunnel(
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    scheme: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    def serve(peer: Peer) -> None:
        peer.read_request()
        peer.answer(status)

    with RawServer(serve) as between:
        address = between.url.replace("http://", "http://user:pa55word@")
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", address)
        outcome = post(transport(f"{scheme}://127.0.0.1:9"))
    if scheme == "https":
        assert outcome.verdict is Verdict.RETRY
    assert "pa55word" not in repr(outcome)
    assert "pa55word" not in caplog.text


def test_the_error_of_a_missing_bundle_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    assert post(transport("https://127.0.0.1:9")).verdict is Verdict.RETRY


@pytest.mark.parametrize("kind", [ValueError, OSError, AttributeError])
def test_a_session_factory_that_raises_costs_the_attempt(kind: type[Exception]) -> None:
    attempts: list[int] = []

    def factory() -> requests.Session:
        attempts.append(1)
        if len(attempts) == 1:
            raise kind(f"no session for {KEY} today")
        return requests.Session()

    with RawServer() as server:
        to = transport(server.url, factory)
        outcome = post(to)
        assert outcome.verdict is Verdict.RETRY
        assert KEY not in repr(outcome)
        assert delivered(post(to))
