"""Starting and reading the local server in tests."""

from __future__ import annotations

import json
import queue
import ssl
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

Row = dict[str, Any]

START_SECONDS = 30.0


class LocalServer:
    """`whisperr serve` in a process of its own, on a free port of the loopback address."""

    def __init__(self, process: subprocess.Popen[str], url: str, bundle: str | None) -> None:
        self.process = process
        self.url = url
        #: What a client must trust to reach it, None over plain http.
        self.bundle = bundle
        self._trust = ssl.create_default_context(cafile=bundle) if bundle else None

    @classmethod
    def start(cls, db: str = ":memory:", *args: str, bundle: str | None = None) -> LocalServer:
        """Start a server and wait until it listens.

        Args:
            db: The database file.
            args: Further options of `whisperr serve`.
            bundle: Who signed its certificate, where it serves https.

        """
        options = ("--port", "0", "--db", db, "--quiet", *args)
        process = start_cli("serve", *options, stderr=None)
        line = _first_line(process, START_SECONDS)
        if "listening on" not in line:
            process.kill()
            process.wait()
            _close_pipes(process)
            raise AssertionError(f"The server did not say that it listens, but {line!r}.")
        return cls(process, line.split()[-1], bundle)

    def stop(self, seconds: float = 5.0) -> int:
        """End the server and return its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self.process.wait()
            _close_pipes(self.process)

    def get(self, path: str, **params: object) -> Any:
        """Return the JSON behind `path`; parameters that are None are left out."""
        query = urlencode({name: value for name, value in params.items() if value is not None})
        return self._exchange("GET", f"{path}?{query}" if query else path)

    def put(self, path: str, **body: object) -> Any:
        """Put a JSON body and return the JSON of the answer."""
        return self._exchange("PUT", path, body)

    def fault(self, **spec: object) -> None:
        """Arm a fault: see `whisperr.server.faults.Fault`."""
        self._exchange("POST", "/control/faults", spec)

    def clear_faults(self, key: str | None = None) -> None:
        """Delete the faults of one app, or all."""
        self._exchange(
            "DELETE", f"/control/faults?{urlencode({'key': key})}" if key else "/control/faults"
        )

    def counts(self, key: str | None = None) -> dict[str, int]:
        """Return how much arrived."""
        counts: dict[str, int] = self.get("/stored/counts", key=key)
        return counts

    def arrivals(self, key: str | None = None) -> list[Row]:
        """Return every arrival, in order."""
        return self._rows("/stored/arrivals", key)

    def events(self, key: str | None = None) -> list[Row]:
        """Return every event once, in order."""
        return self._rows("/stored/events", key)

    def requests(self, key: str | None = None) -> list[Row]:
        """Return every request, in order."""
        return self._rows("/stored/requests", key)

    def _rows(self, path: str, key: str | None) -> list[Row]:
        rows: list[Row] = []
        after: int | None = 0
        while after is not None:
            page = self.get(path, key=key, after=after, limit=5000)
            rows += page["rows"]
            after = page["next"]
        return rows

    def _exchange(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(self.url + path, data=data, headers=headers, method=method)
        with urlopen(request, timeout=30, context=self._trust) as response:
            return json.load(response)


def start_cli(*args: str, stderr: int | None = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start `whisperr` with `args`; its stdout is a pipe of text, its stderr too unless told."""
    command = [sys.executable, "-m", "whisperr.cli", *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Return once `condition()` is true; fail when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{condition} was not met within {seconds} s"
        time.sleep(0.01)


def _first_line(process: subprocess.Popen[str], seconds: float) -> str:
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(_pipe(process).readline()), daemon=True).start()
    try:
        return lines.get(timeout=seconds)
    except queue.Empty:
        return ""


def _pipe(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def _close_pipes(process: subprocess.Popen[str]) -> None:
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
