"""The processes of the demo: their output goes to a file, and they are always ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from whisperr.demo import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

_LOOK_AGAIN = 0.02
_START_SECONDS = 30.0
_END_SECONDS = 45.0  # more than gunicorn gives a worker, so that gunicorn tells what it had to kill
_CLEAN_UP_SECONDS = 5.0


def wait_until(condition: Callable[[], object], seconds: float, otherwise: str) -> None:
    """Return once `condition()` is true; raise DemoError(otherwise) after so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DemoError(otherwise)
        time.sleep(_LOOK_AGAIN)


class Managed:
    """A process, in a session of its own: Ctrl-C reaches the demo alone, which ends it in order.

    Args:
        name: What to call it, and its log.
        command: What to start.
        folder: Its working directory, in which its log is written.
        environ: Its environment.

    """

    def __init__(
        self, name: str, command: list[str], folder: Path, environ: dict[str, str]
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 # our own commands
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            ended_well = self._process.wait(_CLEAN_UP_SECONDS) == 0
        except subprocess.TimeoutExpired:
            ended_well = False
        if not ended_well:
            self._kill_session()

    def _kill_session(self) -> None:
        for process in psutil.process_iter():
            with suppress(OSError, psutil.Error):
                if os.getsid(process.pid) == self.pid:
                    process.kill()
        self._process.wait()

    def text(self) -> str:
        """Return what it has written."""
        return self.log.read_text(errors="replace")

    def check(self) -> None:
        """Raise DemoError where it has ended."""
        status = self._process.poll()
        if status is not None:
            raise DemoError(f"{self.name} ended with status {status}; its log says why.")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.check()
        self._process.send_signal(number)

    def stop(self) -> None:
        """End it gracefully."""
        self.send(signal.SIGTERM)
        late = f"{self.name} did not end within {_END_SECONDS:.0f} s of SIGTERM."
        wait_until(lambda: self._process.poll() is not None, _END_SECONDS, late)
        if self._process.returncode:
            self.check()

    def url(self, said: str) -> str:
        """Return the URL behind the words `said` in its log, once it is there."""
        found: list[str] = []

        def look() -> list[str]:
            self.check()
            found.extend(re.findall(rf"{said} (http://\S+)", self.text()))
            return found

        wait_until(look, _START_SECONDS, f"{self.name} did not listen in {_START_SECONDS:.0f} s.")
        return found[0]


def start_server(folder: Path, database: Path) -> Managed:
    """Start the local ingestion server."""
    options = ["--port", "0", "--db", str(database), "--quiet"]
    command = [sys.executable, "-m", "whisperr.cli", "serve", *options]
    return Managed("server", command, folder, dict(os.environ))
