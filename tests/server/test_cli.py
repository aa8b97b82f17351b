from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from harness import LocalServer, start_cli, wait_until
from raw_server import Authority
from server.wire import Sender, event

if TYPE_CHECKING:
    from pathlib import Path

KEY = "wrk_cli"


def output_of(*args: str) -> tuple[int, str, str]:
    """Run `whisperr` with `args` to its end; return its status, stdout and stderr."""
    with start_cli(*args) as process:
        out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_at_once_whatever_is_pending(number: int) -> None:
    server = LocalServer.start()
    server.fault(key=KEY, action="never")
    server.fault(key=KEY, action="delay", delay=60)
    with Sender(server.url, KEY) as idle:
        threads = [threading.Thread(target=_send, args=(server.url,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: server.counts(KEY)["requests"] == 2)
        assert idle.post("/v1/identify", {"external_user_id": "u"}).status == 202
        started = time.monotonic()
        server.process.send_signal(number)
        assert server.process.wait(5) == 0
        assert time.monotonic() - started < 3.0  # 0.3 s, and room for a busy machine
        for thread in threads:
            thread.join()
    server.stop()


def _send(url: str) -> None:
    with Sender(url, KEY) as sender, suppress(ConnectionError):
        sender.batch(event())


def test_only_the_line_that_it_listens_goes_to_stdout() -> None:
    process = start_cli("serve", "--port", "0", "--quiet")
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    rest, err = process.communicate(timeout=10)
    assert line.startswith("whisperr server listening on http://127.0.0.1:")
    assert (rest, err) == ("", "")


def test_the_log_has_one_line_for_each_request_and_never_the_key() -> None:
    process = start_cli("serve", "--port", "0", "--log")
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    with Sender(url, KEY) as sender:
        sender.batch(event(), event())
    process.terminate()
    _, err = process.communicate(timeout=10)
    assert err.splitlines() == ["202 /v1/events/batch 2 stored, 0 rejected"]


def test_it_serves_https_with_the_certificate_it_is_given(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "ca")
    pem = authority.server_file(tmp_path)
    server = LocalServer.start(":memory:", "--tls-cert", pem, bundle=authority.bundle)
    assert server.url.startswith("https://")
    assert server.counts() == {**server.counts(), "requests": 0}
    assert server.stop() == 0


def test_a_certificate_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("absent.pem", "empty.pem"):
        path = str(tmp_path / name)
        status, out, err = output_of("serve", "--port", "0", "--tls-cert", path)
        assert (status, out, len(err.splitlines())) == (2, "", 1), err
        assert path in err


def test_a_busy_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        status, out, err = output_of("serve", "--port", port)
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert port in err


def test_a_database_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    status, _, err = output_of("serve", "--port", "0", "--db", str(tmp_path / "no" / "file.db"))
    assert (status, len(err.splitlines())) == (2, 1)
    assert "file.db" in err


def test_a_port_that_does_not_exist_is_one_sentence() -> None:
    status, _, err = output_of("serve", "--port", "99999")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "99999" in err


def test_a_now_that_cannot_be_read_is_one_sentence() -> None:
    status, _, err = output_of("serve", "--port", "0", "--now", "tomorrow")
    assert (status, len(err.splitlines())) == (2, 1)
    assert "'tomorrow'" in err


def test_only_the_keys_that_were_given_are_accepted() -> None:
    server = LocalServer.start(":memory:", "--key", "one", "--key", "two")
    try:
        for key, expected in (("one", 202), ("two", 202), ("wrk_three", 401)):
            with Sender(server.url, key) as sender:
                assert sender.batch(event()).status == expected
    finally:
        server.stop()


def test_a_server_may_start_strict() -> None:
    server = LocalServer.start(":memory:", "--strict-batches")
    try:
        with Sender(server.url, KEY) as sender:
            assert sender.batch(event(), event(event_type="A")).status == 400
    finally:
        server.stop()


def test_without_the_extra_the_command_says_what_to_install() -> None:
    source = "import sys; sys.modules['typer'] = None; from whisperr.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert 'pip install "whisperr[server]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_importing_the_package_does_not_import_the_server() -> None:
    source = "import sys, whisperr; sys.exit(any(m in sys.modules for m in ('typer', 'fastapi')))"
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
