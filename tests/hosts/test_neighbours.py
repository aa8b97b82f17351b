"""Sentry and OpenTelemetry in the same processes: everybody's hooks run, as without us."""

from __future__ import annotations

import gzip
import os
import signal
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from hosts.environments import VERSIONS, environments
from hosts.laboratory import HOST, Laboratory
from hosts.uwsgi_status import wait_until_idle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness import LocalServer

REQUESTS = 20
EXPECTED = 30 + 10 * REQUESTS
pytestmark = [
    pytest.mark.hosts,
    pytest.mark.skipif("WHISPERR_HOSTS" not in os.environ, reason="make hosts runs it"),
]


class Sentry(BaseHTTPRequestHandler):
    """Takes what Sentry's client sends, and counts its events."""

    events: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        if b'"type":"event"' in body:
            self.events.append(body)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def sentry() -> Iterator[str]:
    """The DSN of a server that stands for Sentry's."""
    Sentry.events.clear()
    server = ThreadingHTTPServer((HOST, 0), Sentry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://key@{HOST}:{server.server_port}/1"
    server.shutdown()
    server.server_close()


def start_uwsgi(lab: Laboratory) -> None:
    executable = lab.environment.uwsgi
    lab.launch(
        [
            *(str(executable), "-H", str(executable.parent.parent), "--need-app"),
            *("--master", "-p", "2", "--stats", "stats", "--http-socket", f"{HOST}:{lab.port}"),
            *("--module", "hosts.neighbours_app"),
        ]
    )


def stop_uwsgi(lab: Laboratory) -> None:
    wait_until_idle(lab)
    lab.signal(signal.SIGINT)


def start_gunicorn(lab: Laboratory) -> None:
    configuration = Path(__file__).parent / "neighbours_conf.py"
    lab.launch(
        [
            *(*lab.environment.script("gunicorn"), "--config", str(configuration), "--preload"),
            *("--workers", "2", "--bind", f"{HOST}:{lab.port}", "hosts.neighbours_app"),
        ]
    )


def stop_gunicorn(lab: Laboratory) -> None:
    lab.signal(signal.SIGTERM)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("ours", ["with our client", "with our client disabled"])
@pytest.mark.parametrize(
    ("start", "stop"),
    [
        pytest.param(start_uwsgi, stop_uwsgi, id="uwsgi"),
        pytest.param(start_gunicorn, stop_gunicorn, id="gunicorn"),
    ],
)
def test_the_hooks_of_all_run(
    server: LocalServer,
    api_key: str,
    tmp_path: Path,
    sentry: str,
    version: str,
    ours: str,
    start: Callable[[Laboratory], None],
    stop: Callable[[Laboratory], None],
) -> None:
    disabled = ours == "with our client disabled"
    with Laboratory(environments()[version], tmp_path, server, api_key, "") as lab:
        lab.variables = {"LAB_DSN": sentry, "WHISPERR_DISABLED": "1" if disabled else ""}
        start(lab)
        lab.wait_until(lab.answers)
        lab.wait_until(lambda: len(lab.lines("post forks")) == 2)
        lab.request_all("/work", REQUESTS)
        stop(lab)
        lab.wait_for_host()
        workers = Counter(line["pid"] for line in lab.lines("works"))
        assert Counter(line["pid"] for line in lab.lines("spans")) == workers, lab.output
        assert len(Sentry.events) == REQUESTS, lab.output
        exits = [line["pid"] for line in lab.lines("sentry exits")]
        assert set(workers) <= set(exits), lab.output
        assert len(exits) == len(set(exits))
        if disabled:
            assert lab.arrived() == 0
        else:
            assert lab.ledger().exactly_once, lab.account()
            assert len(lab.tracked()) == EXPECTED
