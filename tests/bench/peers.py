"""Who is measured, each in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Peer(NamedTuple):
    """An SDK.

    Attributes:
        name: in the table, and of its environment's folder.
        client: which of clients.py speaks to it.
        requirements: for pip.
    """

    name: str
    client: str
    requirements: tuple[str, ...]

    def python(self, folder: Path) -> Path:
        """Its environment's interpreter."""
        return folder / self.name.replace(" ", "-") / "bin" / "python"


OURS = Peer("whisperr", "whisperr", ("--editable", f"{ROOT}[orjson]"))
PLAIN = Peer("without orjson", "whisperr", ("--editable", str(ROOT)))
INCUMBENT = Peer("incumbent", "whisperr", ("whisperr==0.2.1", "requests"))
LIMIT = Peer("limit", "limit", ("orjson", "requests"))
PEERS = (
    OURS,
    PLAIN,
    INCUMBENT,
    Peer("PostHog", "posthog", ("posthog",)),
    Peer("Segment", "segment", ("segment-analytics-python",)),
    Peer("Amplitude", "amplitude", ("amplitude-analytics", "requests")),
    Peer(
        "OpenTelemetry",
        "opentelemetry",
        ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
    ),
    Peer("Sentry", "sentry", ("sentry-sdk",)),
    LIMIT,
)


def install(peer: Peer, folder: Path) -> None:
    """Make the peer's environment, unless it is there."""
    python = peer.python(folder)
    stamp = python.parents[1] / ".installed"
    if stamp.exists():
        return
    print(f"Installing {peer.name}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *peer.requirements], check=True)
    stamp.touch()


def versions(peer: Peer, folder: Path) -> list[str]:
    """What its environment holds, as pip says it."""
    freeze = [str(peer.python(folder)), "-m", "pip", "freeze", "--exclude-editable"]
    return subprocess.run(freeze, check=True, capture_output=True, text=True).stdout.split("\n")[
        :-1
    ]
