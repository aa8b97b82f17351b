"""gunicorn's hooks of ours; what they do in a running gunicorn is in tests/hosts."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from hosts.environments import environments
from hosts.gunicorn_rows import GunicornRow, Mode
from hosts.laboratory import Laboratory
from hosts.row import STOP
from whisperr import Whisperr, gunicorn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import LocalServer

HOOKS = ("post_fork", "post_worker_init", "worker_exit")
CONFIGURATION = """
ran = []

def post_fork(server, worker):
    ran.append("post_fork")

def worker_exit(server, worker):
    ran.append("worker_exit")
    raise LookupError("theirs")

from whisperr.gunicorn import install
install(globals())
install(globals())
"""


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, *values: object) -> None:
        self.lines.append(text % values)

    exception = info


class Worker:
    """What our hooks read of a worker, which only gunicorn's master can make."""

    def __init__(self, graceful_timeout: float = 30, timeout: float = 30) -> None:
        self.cfg: Any = type("cfg", (), {"graceful_timeout": graceful_timeout, "timeout": timeout})
        self.log = Log()

    def handle(self, *_: object) -> None:
        """A handler of gunicorn's own."""


class UvicornsWorker(Worker):
    __module__ = "uvicorn_worker._workers"


class DerivedWorker(UvicornsWorker):
    __module__ = "shop.workers"


@pytest.fixture
def sigterm() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs a POSIX system")
@pytest.mark.parametrize("own", [CONFIGURATION, CONFIGURATION[CONFIGURATION.index("from") :]])
def test_gunicorn_accepts_the_configuration(tmp_path: Path, own: str) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(own)
    (tmp_path / "shop.py").write_text("def application(environ, start_response): ...")
    command = [sys.executable, "-m", "gunicorn", "--check-config", "shop:application"]
    ran = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_hooks_that_the_configuration_has_run_as_well_each_once() -> None:
    config: dict[str, Any] = {}
    exec(CONFIGURATION, config)
    config["post_fork"](None, Worker())
    assert config["ran"] == ["post_fork"]


def test_what_a_hook_of_theirs_raises_passes_after_ours_ran(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config: dict[str, Any] = {}
    exec(CONFIGURATION, config)
    worker = Worker()
    monkeypatch.setattr(gunicorn, "before_exit", lambda **_: worker.log.info("ours"))
    with pytest.raises(LookupError, match="theirs"):
        config["worker_exit"](None, worker)
    assert config["ran"] == ["worker_exit"]
    assert worker.log.lines[0] == "ours"


def test_installed_twice_is_installed_once() -> None:
    config: dict[str, Any] = {"post_worker_init": lambda worker: None}
    gunicorn.install(config)
    once = dict(config)
    gunicorn.install(config)
    assert config == once
    assert set(HOOKS) <= set(config)


def test_a_hook_given_by_its_dotted_name_is_loaded() -> None:
    config: dict[str, Any] = {"post_fork": "posixpath.join"}
    gunicorn.install(config)
    with pytest.raises(TypeError):  # it was called, with gunicorn's arguments
        config["post_fork"](None, None)


@pytest.mark.usefixtures("no_other_clients")
@pytest.mark.parametrize(
    ("worker", "shutdown_timeout"),
    [(Worker(2, 30), 8.0), (Worker(30, 2), 8.0), (Worker(2, 0), 8.0), (Worker(60, 60), 1.0)],
    ids=["graceful_timeout", "timeout", "timeout_off", "shutdown_timeout"],
)
def test_the_delivery_takes_at_most_what_gunicorn_and_the_client_allow(
    server: LocalServer, api_key: str, worker: Worker, shutdown_timeout: float
) -> None:
    server.fault(key=api_key, action="never", times=None)
    client = Whisperr(
        api_key, base_url=server.url, flush_interval=0, shutdown_timeout=shutdown_timeout
    )
    client.track("user", "something_happened")
    began = time.monotonic()
    gunicorn.worker_exit(None, worker)
    assert 0.5 < time.monotonic() - began < 5.0
    assert worker.log.lines == ["Whisperr delivered 0 operations of this worker, 1 are left."]
    server.clear_faults(api_key)
    assert client.flush()


@pytest.mark.usefixtures("no_other_clients")
def test_a_worker_that_held_nothing_says_nothing() -> None:
    worker = Worker()
    gunicorn.worker_exit(None, worker)
    assert not worker.log.lines


def test_a_delivery_that_raises_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker()
    monkeypatch.setattr(gunicorn, "before_exit", None)
    gunicorn.worker_exit(None, worker)
    (line,) = worker.log.lines
    assert "failed" in line


@pytest.mark.skipif(sys.platform == "win32", reason="gunicorn needs a POSIX system")
def test_gunicorns_log_says_what_each_worker_delivered_at_its_end(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    (environment, *_) = environments().values()
    row = GunicornRow(Mode("sync", "sync", helper=True), preload=True)
    with Laboratory(environment, tmp_path, server, api_key, STOP) as lab:
        lab.variables = {"LAB_STATE": "queued"}
        row.start(lab)
        row.work(lab, 200)
        tracked = [len(lab.tracked({pid})) for pid in lab.workers()]
        row.stop(lab)
        lab.wait_for_host()
        said = re.findall(r"Whisperr delivered (\d+) operations of this worker, 0 are", lab.output)
        assert sorted(map(int, said)) == sorted(tracked)
        assert lab.ledger().exactly_once, lab.account()


@pytest.mark.usefixtures("sigterm")
@pytest.mark.parametrize("worker", [UvicornsWorker(), DerivedWorker()])
def test_workers_of_uvicorn_exit_when_they_are_terminated(worker: Worker) -> None:
    gunicorn.post_worker_init(worker)
    handler = signal.getsignal(signal.SIGTERM)
    gunicorn.post_worker_init(worker)
    assert signal.getsignal(signal.SIGTERM) is handler
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 0


@pytest.mark.usefixtures("sigterm")
def test_a_handler_of_gunicorns_own_gives_way() -> None:
    worker = UvicornsWorker()
    signal.signal(signal.SIGTERM, worker.handle)
    gunicorn.post_worker_init(worker)
    assert signal.getsignal(signal.SIGTERM) != worker.handle


@pytest.mark.usefixtures("sigterm")
def test_a_handler_of_the_applications_own_stays() -> None:
    def own(*_: object) -> None:
        """Someone else's."""

    signal.signal(signal.SIGTERM, own)
    gunicorn.post_worker_init(UvicornsWorker())
    assert signal.getsignal(signal.SIGTERM) is own


@pytest.mark.usefixtures("sigterm")
def test_other_workers_keep_their_handlers() -> None:
    gunicorn.post_worker_init(Worker())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
