"""stats() calls a process by its role under the real host, or by none; never by a wrong one."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import psutil
import pytest

from harness import wait_until
from hosts.environments import ROOT
from whisperr._role import role_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

TESTS = Path(__file__).parent
SECONDS = 40.0
SCRIPT = (sys.executable, str(TESTS / "hosts_role.py"))
UWSGI = ROOT / ".venv-uwsgi" / "bin" / "uwsgi"
#: The script: after USR2 gunicorn runs the path of what it was started as.
GUNICORN = (sys.executable, str(Path(sysconfig.get_path("scripts"), "gunicorn")))
#: A worker class of gunicorn's: the module that it needs, the application that it runs.
WORKER_CLASSES = {
    "sync": ("gunicorn", "application"),
    "gthread": ("gunicorn", "application"),
    "gevent": ("gevent", "application"),
    "asgi": ("gunicorn.workers.gasgi", "asgi"),
    "uvicorn_worker.UvicornWorker": ("uvicorn_worker", "asgi"),
}
PRELOAD = ("--preload", "-c", str(TESTS / "hosts_role_gunicorn.py"))
CHILD = "multiprocessing child"
#: What a worker of each host finds in a request, and in the children that it makes there.
CHILDREN_OF_A_WORKER = {"fork of a worker": None, "process of a worker": CHILD}

needs_uwsgi = pytest.mark.skipif(
    not UWSGI.exists(), reason="uWSGI is not installed: `make test` does that"
)


class Host:
    """A host that runs, in a process group of its own, and what its processes noted."""

    def __init__(self, folder: Path, *command: str, **environment: str) -> None:
        self._folder = folder
        environ = {
            **os.environ,
            "LAB_FOLDER": str(folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(TESTS)]),
            "WHISPERR_API_KEY": "wrk_test",
            "WHISPERR_BASE_URL": "http://127.0.0.1:9",  # nothing is tracked
            **environment,
        }
        with (folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                command, env=environ, stdout=output, stderr=output, start_new_session=True
            )

    def output(self) -> str:
        return (self._folder / "output").read_text()

    def notes(self) -> list[dict[str, Any]]:
        path = self._folder / "roles"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def roles(self, where: str, of: int | None = None) -> set[str | None]:
        """What was noted there, by the process of this pid or by children of its."""
        return {
            line["role"]
            for line in self.notes()
            if line["where"] == where and of in (None, line["pid"], line["parent"])
        }

    def wait_for(self, *wheres: str) -> None:
        """Until each was noted."""
        deadline = time.monotonic() + SECONDS
        while not set(wheres) <= {line["where"] for line in self.notes()}:
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, f"{wheres}\n{self.notes()}\n{self.output()}"
            time.sleep(0.01)

    def answer(self) -> None:
        """Have a worker of gunicorn's answer a request."""
        pattern = r"Listening at: (http://\S+)"
        wait_until(lambda: re.search(pattern, self.output()), SECONDS)
        _answer(re.findall(pattern, self.output())[0])


def _answer(url: str) -> None:
    with urlopen(url, timeout=SECONDS) as response:
        assert response.read() == b"ok"


@contextmanager
def running(folder: Path, *command: str, **environment: str) -> Iterator[Host]:
    host = Host(folder, *command, **environment)
    try:
        yield host
    finally:
        with suppress(ProcessLookupError):
            os.killpg(host.process.pid, signal.SIGKILL)
        host.process.wait()


def test_a_process_without_a_host_has_no_role(tmp_path: Path) -> None:
    with running(tmp_path, *SCRIPT, "plain") as host:
        assert host.process.wait(SECONDS) == 0, host.output()
        wheres = [line["where"] for line in host.notes()]
        assert wheres[:2] == ["import", "fork of a plain process"], host.output()
        assert {line["role"] for line in host.notes()} == {None}


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_child_of_multiprocessing_is_one_and_a_fork_of_it_is_not(
    tmp_path: Path, method: str
) -> None:
    with running(tmp_path, *SCRIPT, "children", method) as host:
        assert host.process.wait(SECONDS) == 0, host.output()
        assert host.roles("import") == {None}
        assert host.roles("process") == {CHILD}
        assert host.roles("fork of a process") == {None}


def test_gunicorn_names_a_worker_from_its_import_on(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    with running(tmp_path, *_gunicorn_command(), LAB_FORK_AT_IMPORT="1") as host:
        host.answer()
        assert host.roles("import") == host.roles("request") == {"gunicorn worker"}
        assert host.roles("fork at import") == {None}
        assert host.roles("process at import") == {CHILD}
        assert {where: host.roles(where).pop() for where in CHILDREN_OF_A_WORKER} == (
            CHILDREN_OF_A_WORKER
        )


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_gunicorn_that_preloads_names_its_master_from_the_import_on(
    tmp_path: Path, worker_class: str
) -> None:
    pytest.importorskip("gunicorn")
    module, application = WORKER_CLASSES[worker_class]
    pytest.importorskip(module)
    command = _gunicorn_command(*PRELOAD, "-k", worker_class, application=application)
    with running(tmp_path, *command, LAB_FORK_AT_IMPORT="1") as host:
        host.answer()
        for where in ("import", "when_ready", "pre_fork"):
            assert host.roles(where) == {"gunicorn master"}, where
        for where in ("post_fork", "request"):
            assert host.roles(where) == {"gunicorn worker"}, where
        assert host.roles("fork at import") == {None}
        assert host.roles("process at import") == {CHILD}
        assert host.roles("fork of a worker") == {None}


@pytest.mark.parametrize("preload", [True, False])
def test_gunicorn_that_was_upgraded_names_the_new_master_and_its_worker(
    tmp_path: Path, preload: bool
) -> None:
    """USR2: the new master is a child of the old one, and runs the same command."""
    pytest.importorskip("gunicorn")
    with running(tmp_path, *_gunicorn_command(*(PRELOAD if preload else ()))) as host:
        old = host.process.pid
        host.answer()
        os.kill(old, signal.SIGUSR2)
        wait_until(lambda: _new_master(old), SECONDS)
        new = _new_master(old)
        wait_until(lambda: host.roles("import", new), SECONDS)
        assert host.roles("import", new) == {"gunicorn master" if preload else "gunicorn worker"}
        if preload:
            wait_until(lambda: host.roles("post_fork", new) - {"gunicorn master"}, SECONDS)
            assert host.roles("post_fork", new) == {"gunicorn worker"}
            assert host.roles("when_ready", new) == {"gunicorn master"}
        os.kill(old, signal.SIGTERM)
        assert host.process.wait(SECONDS) == 0, host.output()
        before = len(host.notes())
        host.answer()
        assert {line["role"] for line in host.notes()[before:]} == {"gunicorn worker", None, CHILD}


def _gunicorn_command(*options: str, application: str = "application") -> tuple[str, ...]:
    return (*GUNICORN, "-b", "127.0.0.1:0", *options, f"hosts_role:{application}")


def _new_master(old: int) -> int | None:
    """The child that the old master says in its environment it is of."""
    for child in psutil.Process(old).children():
        with suppress(psutil.Error):
            if child.environ().get("GUNICORN_PID") == str(old):
                return int(child.pid)
    return None


@needs_uwsgi
def test_uwsgi_names_master_workers_mule_and_spooler(tmp_path: Path) -> None:
    options = ("--master", "--mule", "--spooler", str(tmp_path))
    with running(tmp_path, *_uwsgi_command(*options)) as host:
        _answer_by_uwsgi(host)
        wait_until(lambda: len(host.roles("post_fork")) == 4, SECONDS)
        assert host.roles("import") == {"uWSGI master"}
        roles = {"uWSGI worker 1", "uWSGI worker 2", "uWSGI mule 1", "uWSGI spooler"}
        assert host.roles("post_fork") == roles
        assert host.roles("request") < {"uWSGI worker 1", "uWSGI worker 2"}
        assert host.roles("fork of a worker") == {None}
        assert host.roles("process of a worker") == {CHILD}


@needs_uwsgi
@pytest.mark.parametrize("options", [(), ("--master", "--lazy-apps")])
def test_uwsgi_names_its_workers_without_a_master_and_under_lazy_apps(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with running(tmp_path, *_uwsgi_command(*options)) as host:
        _answer_by_uwsgi(host)
        workers = {"uWSGI worker 1", "uWSGI worker 2"}
        assert host.roles("import") <= (workers if options else {None})
        assert host.roles("request") < workers
        assert host.roles("fork of a worker") == {None}
        assert host.roles("process of a worker") == {CHILD}


def _uwsgi_command(*options: str) -> tuple[str, ...]:
    common = ("--http-socket", "127.0.0.1:0", "--module", "hosts_role", "--enable-threads")
    return (str(UWSGI), *common, "--processes", "2", *options)


def _answer_by_uwsgi(host: Host) -> None:
    host.wait_for("import")
    connections = psutil.Process(host.process.pid).net_connections("tcp4")
    (port,) = {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
    _answer(f"http://127.0.0.1:{port}")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[str]:
    """A Redis of the test's own, behind a socket file: no port can be taken."""
    executable = shutil.which("redis-server")
    if executable is None:
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory() as folder:  # a socket's path must be short
        path = Path(folder, "redis")
        options = ["--port", "0", "--save", "", "--appendonly", "no", "--dir", str(tmp_path)]
        server = subprocess.Popen(
            [executable, *options, "--unixsocket", str(path)], stdout=subprocess.DEVNULL
        )
        try:
            wait_until(path.exists, SECONDS)
            yield f"redis+socket://{path}"
        finally:
            server.kill()
            server.wait()


def test_celery_names_its_worker_and_the_children_of_its_pool(tmp_path: Path, broker: str) -> None:
    for library in ("celery", "redis"):
        pytest.importorskip(library)
    options = ("worker", "-c", "2", "--without-gossip", "--without-mingle")
    command = (sys.executable, "-m", "celery", "-A", "hosts_role_celery", *options)
    with running(tmp_path, *command, LAB_BROKER=broker) as host:
        host.wait_for("task", "fork of a child")
        assert host.roles("import") == {None}, "Not known before the pool was made."
        assert host.roles("ready") == {"Celery worker"}
        assert host.roles("task") == {"Celery child"}
        assert host.roles("fork of a worker") == host.roles("fork of a child") == {None}


def test_a_role_that_may_not_be_asked_for_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's parent, a parent that is gone, a module that only has a host's name."""

    class Unreadable(psutil.Process):
        def ppid(self) -> int:
            raise psutil.AccessDenied(self.pid)

    for name in ("uwsgi", "gunicorn.arbiter", "billiard.process", "celery.concurrency.prefork"):
        monkeypatch.setitem(sys.modules, name, object())
    assert role_of(Unreadable()) is None
