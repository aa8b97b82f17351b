"""Interpreters with the hosts installed: the one that runs the tests, or those of `make hosts`."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
#: The Pythons that every cell runs on, and those that one cell of each host runs on.
VERSIONS = ("3.11", "3.13")
FURTHER_VERSIONS = ("3.10", "3.12")
_OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Environment:
    """A Python with the hosts, and its two builds of uWSGI where they are installed."""

    version: str
    scripts: Path
    pyuwsgi: Path
    uwsgi: Path

    @property
    def python(self) -> str:
        """The interpreter."""
        return str(self.scripts / "python")

    def script(self, name: str) -> list[str]:
        """The command that runs an installed console script, such as gunicorn."""
        path = self.scripts / name
        assert path.exists(), f"{name} is not installed in the environment of {self.version}"
        return [self.python, str(path)]


def environments() -> dict[str, Environment]:
    """By version: those in the folder WHISPERR_HOSTS, else the one that runs the tests."""
    if "WHISPERR_HOSTS" not in os.environ:
        return {_OWN_VERSION: _own()}
    folder = os.path.abspath(os.environ["WHISPERR_HOSTS"])
    found = {}
    for version in (*VERSIONS, *FURTHER_VERSIONS):
        scripts = Path(folder, version, "bin")
        if (scripts / "python").exists():
            found[version] = Environment(
                version=version,
                scripts=scripts,
                pyuwsgi=Path(folder, f"pyuwsgi-{version}", "bin", "uwsgi"),
                uwsgi=Path(folder, f"uwsgi-{version}", "bin", "uwsgi"),
            )
    missing = set(VERSIONS) - set(found)
    assert not missing, f"{folder} lacks Python {sorted(missing)}: run `make hosts`"
    return found


def _own() -> Environment:
    uwsgi = ROOT / ".venv-uwsgi" / "bin" / "uwsgi"
    return Environment(_OWN_VERSION, Path(sys.executable).parent, pyuwsgi=uwsgi, uwsgi=uwsgi)
