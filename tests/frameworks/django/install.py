"""Makes the environments of `make frameworks`: the oldest and the newest Django."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from hosts.environments import ROOT
from hosts.install import find_python

#: Folders, each with its Python and its Django.
ENVIRONMENTS = {
    ".venv-django42": ("3.11", "django~=4.2.0"),
    ".venv-django6": ("3.13", "django~=6.0"),
}
#: What the tests import.
_TESTS = ["gunicorn", "jsonschema-rs", "pytest", "pytest-timeout", "pytest-xdist", "trustme"]


def install(folder: Path, version: str, framework: str) -> None:
    """Make an environment, unless it is newer than the list of requirements."""
    stamp = folder / ".installed"
    requirements = ROOT / "pyproject.toml"
    if stamp.exists() and stamp.stat().st_mtime > requirements.stat().st_mtime:
        return
    python = find_python(version)
    if python is None:
        sys.exit(f"Python {version} not found: neither in pyenv nor on the PATH.")
    print(f"Installing {framework} for {python} into {folder}", flush=True)
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--upgrade"]
    quiet = "--disable-pip-version-check"
    wanted = ["--editable", f"{ROOT}[server]", framework, *_TESTS]
    subprocess.run([*pip, quiet, *wanted], check=True)
    stamp.touch()


if __name__ == "__main__":
    for _name, (_version, _framework) in ENVIRONMENTS.items():
        install(ROOT / _name, _version, _framework)
