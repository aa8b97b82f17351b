"""What is imported when: an import half done while another thread forks never ends in the child."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from raw_server import Authority, Peer, RawServer, run_python
from test_transport import proxy

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = str(Path(__file__).parent / "import_scenarios.py")
#: What may be imported after the construction, with the reason: nothing so far.
JUSTIFIED: dict[str, str] = {}


def answering(
    status: int, body: bytes = b'{"accepted": 1, "rejected": 0}', *headers: str
) -> Callable[[Peer], None]:
    def serve(peer: Peer) -> None:
        while peer.read_request() is not None:
            peer.answer(status, body, *headers)

    return serve


def late_imports(kind: str, url: str, **environment: str) -> list[str]:
    output = run_python(SCRIPT, kind, url, environment=environment)
    names: list[str] = json.loads(output.splitlines()[-1])
    return [name for name in names if name not in JUSTIFIED]


ERROR = b'{"error": {"code": "bad", "message": "something is wrong: \xc3\xa9"}}'
ANSWERS: dict[str, Callable[[Peer], None]] = {
    "202": answering(202),
    "202 of a web page": answering(202, b"<html>", "Content-Type: text/html; charset=latin-1"),
    "rejected": answering(202, b'{"accepted": 0, "rejected": 1}'),
    "cookie": answering(
        202,
        b'{"accepted": 1}',
        "Set-Cookie: a=b; Path=/; Expires=Wed, 21 Oct 2099 07:28:00 GMT; SameSite=Lax",
    ),
    "gzip": answering(202, b"\x1f\x8b", "Content-Encoding: gzip"),
    "302": answering(302, b"", "Location: https://xn--bcher-kva.example/"),
    "400": answering(400, ERROR),
    "401": answering(401, ERROR),
    "404": answering(404, ERROR),
    "413": answering(413, ERROR),
    "429": answering(429, ERROR, "Retry-After: 1"),
    "503": answering(503, ERROR, "Retry-After: Wed, 21 Oct 2099 07:28:00 GMT"),
    "chunked": lambda peer: _send(
        peer, b"HTTP/1.1 202 X\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "bad headers": lambda peer: _send(peer, b"HTTP/1.1 202 X\r\nno colon\r\nA: b\r\n\r\n"),
    "garbage": lambda peer: _send(peer, b"SSH-2.0-OpenSSH\r\n\r\n"),
    "closed": lambda peer: _send(peer, b""),
}


def _send(peer: Peer, answer: bytes) -> None:
    peer.read_request()
    peer.send(answer)


@pytest.mark.parametrize("answer", ANSWERS)
def test_no_answer_imports_anything(answer: str) -> None:
    with RawServer(ANSWERS[answer]) as server:
        assert late_imports(answer, server.url) == []
        assert server.requests


@pytest.mark.parametrize("kind", ["debug", "exit"])
def test_neither_a_printed_report_nor_an_exit_imports_anything(kind: str) -> None:
    with RawServer(answering(503)) as server:
        assert late_imports(kind, server.url) == []
        assert server.requests


def test_https_imports_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    with RawServer(answering(202), tls=authority.server_side()) as server:
        trust = {"REQUESTS_CA_BUNDLE": authority.bundle}
        url = server.url.replace("127.0.0.1", "localhost")
        assert late_imports("https", url, **trust) == []
        assert server.requests


def test_a_refused_certificate_imports_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    with RawServer(answering(202), tls=authority.server_side()) as server:
        assert late_imports("certificate", server.url) == []
        assert server.problems


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("password", ["", "user:p%C3%A4ss@"])
def test_a_proxy_imports_nothing(tmp_path: Path, scheme: str, password: str) -> None:
    authority = Authority(tmp_path, "ca")
    tls = authority.server_side() if scheme == "https" else None
    with RawServer(answering(202), tls=tls) as server, RawServer(proxy) as between:
        environment = {
            f"{scheme.upper()}_PROXY": between.url.replace("://", f"://{password}"),
            "NO_PROXY": "192.168.0.0/16,example.com",
            "REQUESTS_CA_BUNDLE": authority.bundle,
        }
        assert late_imports("proxy", server.url, **environment) == []
        assert server.requests


def test_a_name_in_netrc_imports_nothing(tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password something\n")
    with RawServer(answering(302, b"", "Location: /there")) as server:
        assert late_imports("netrc", server.url, NETRC=str(netrc)) == []


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "b\u00fccher.invalid"])
def test_a_refusal_and_a_name_that_nobody_knows_import_nothing(host: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = "https://" + host.format(unused.getsockname()[1])
        assert late_imports("refused", url) == []


def test_a_server_that_never_answers_imports_nothing() -> None:
    with RawServer(Peer.wait_for_end) as server:
        assert late_imports("silence", server.url) == []


FOREIGN = [
    "celery",
    "django",
    "fastapi",
    "flask",
    "gevent",
    "multiprocessing",
    "psutil",
    "pydantic",
    "rich",
    "starlette",
    "typer",
    "uvicorn",
]

#: What they define is known to the encoding, or defines values.
VALUE_MODULES = ("dataclasses", "decimal", "inspect", "uuid")


def test_the_import_pulls_in_no_framework_and_a_construction_starts_no_thread() -> None:
    script = (
        "import _thread, json, sys\n"
        "started = []\n"
        "def recorded(start):\n"
        "    return lambda *arguments, **keywords: (\n"
        "        started.append(start.__name__), start(*arguments, **keywords))[1]\n"
        "for name in ('start_new_thread', 'start_joinable_thread'):\n"
        "    if hasattr(_thread, name):\n"
        "        setattr(_thread, name, recorded(getattr(_thread, name)))\n"
        "import whisperr\n"
        "client = whisperr.Whisperr('wrk_test', base_url='http://127.0.0.1:1')\n"
        "modules, before = sorted(sys.modules), list(started)\n"
        "client.track('user', 'something_happened')\n"
        "print(json.dumps([modules, before, started]))\n"
        "client.shutdown(0)\n"
    )
    modules, before, after = json.loads(run_python("-c", script))
    assert [name for name in FOREIGN if name in modules] == []
    assert before == []
    assert after == ["start_new_thread"]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="there is no /proc")
def test_the_kernel_counts_one_thread_after_a_construction() -> None:
    script = (
        "import os, whisperr\n"
        "client = whisperr.Whisperr('wrk_test', base_url='http://127.0.0.1:1')\n"
        "print(len(os.listdir('/proc/self/task')))\n"
    )
    assert run_python("-c", script).strip() == "1"


def test_a_value_needs_no_module_that_nobody_else_imported() -> None:
    """Each takes milliseconds of everyone's start; where it comes later, its values are known."""
    script = (
        "import json, sys\n"
        "sys.modules['orjson'] = None  # it imports most of them\n"
        "import requests\n"
        "before = set(sys.modules)\n"
        "import whisperr\n"
        "from whisperr._encoding import encode\n"
        "client = whisperr.Whisperr('wrk_test', base_url='http://127.0.0.1:1')\n"
        "ours = sorted(set(sys.modules) - before)\n"
        "class Unknown: pass\n"
        "unknown = encode({'value': Unknown()}).decode()\n"
        "import dataclasses, decimal, uuid\n"
        "price = dataclasses.make_dataclass('Price', ['amount'])(decimal.Decimal('9.90'))\n"
        "values = {'price': price, 'order': uuid.UUID(int=7)}\n"
        "print(json.dumps([ours, unknown, encode(values).decode()]))\n"
    )
    imported, unknown, known = json.loads(run_python("-c", script))
    assert [name for name in imported if name in VALUE_MODULES] == []
    assert unknown == '{"value":"<Unknown>"}'
    assert known == '{"price":{"amount":"9.90"},"order":"00000000-0000-0000-0000-000000000007"}'
