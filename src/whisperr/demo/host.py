"""gunicorn as it comes: a preloading master, sync workers, and no configuration for the client."""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple

from whisperr.demo.processes import Managed

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

_OURS = ("WHISPERR_", "GUNICORN_")


class Workers(NamedTuple):
    """What gunicorn's log tells about its workers, by pid.

    Attributes:
        booted: Those that were started.
        exited: Those that came to their end by themselves.
        forced: Those that were killed, timed out or failed.

    """

    booted: frozenset[int]
    exited: frozenset[int]
    forced: frozenset[int]

    @classmethod
    def from_log(cls, text: str) -> Self:
        """Return what the log tells until now."""
        force = (
            r"WORKER TIMEOUT \(pid:(\d+)\)"
            r"|Worker \(pid:(\d+)\) (?:was sent (?!SIGTERM)|exited with code)"
        )
        return cls(
            frozenset(map(int, re.findall(r"Booting worker with pid: (\d+)", text))),
            frozenset(map(int, re.findall(r"Worker exiting \(pid: (\d+)\)", text))),
            frozenset(int(a or b) for a, b in re.findall(force, text)),
        )

    @property
    def live(self) -> frozenset[int]:
        """Those that serve."""
        return self.booted - self.exited - self.forced

    @property
    def not_graceful(self) -> frozenset[int]:
        """Those that did not end by themselves; to be asked after gunicorn's end."""
        return self.live | self.forced


class Gunicorn(Managed):
    """gunicorn with `count` workers around an application.

    Args:
        folder: Where to run.
        shop: The application.
        count: Its workers.
        client: The client's environment.

    """

    def __init__(self, folder: Path, shop: str, count: int, client: dict[str, str]) -> None:
        self.count = count
        options = ["--preload", "--bind", "127.0.0.1:0", "--workers", str(count)]
        options += ["--max-requests", "400", "--max-requests-jitter", "100"]
        command = [sys.executable, "-m", "gunicorn", *options, shop]
        super().__init__("gunicorn", command, folder, _environ(folder) | client)

    def workers(self) -> Workers:
        """Return what became of the workers until now."""
        return Workers.from_log(self.text())

    def serves_with(self, served: set[int]) -> bool:
        """Return whether every worker is there and among those that have `served`.

        A worker that was forked just now still has the master's signal handlers, and would take
        no notice of a SIGTERM.
        """
        live = self.workers().live
        return len(live) == self.count and live <= served

    def replace_workers(self) -> None:
        """Have the master replace its workers (the preloaded application stays)."""
        self.send(signal.SIGHUP)


def _environ(folder: Path) -> dict[str, str]:
    """Return an environment in which no setting of the user's changes the demo."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    kept |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return kept | {"XDG_RUNTIME_DIR": str(folder)}  # for the control socket of newer gunicorns
