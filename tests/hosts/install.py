"""Makes the environments of `make hosts`: for each Python one with the hosts, others with uWSGI."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from hosts.environments import FURTHER_VERSIONS, ROOT, VERSIONS
from hosts.uwsgi_rows import THREADLESS, THREADLESS_VERSIONS

#: Names of folders by extras of pyproject.toml; both builds of uWSGI install the same module.
EXTRAS = {
    "hosts,neighbours": "{}",
    "pyuwsgi": "pyuwsgi-{}",
    "uwsgi,neighbours": "uwsgi-{}",
    "pyuwsgi-threadless": f"pyuwsgi-{THREADLESS}-{{}}",
}


def find_python(version: str) -> str | None:
    """The newest of pyenv's, or the one on the path."""
    series = Path.home() / ".pyenv" / "versions"
    found = sorted(series.glob(f"{version}.*/bin/python"), key=_release)
    return str(found[-1]) if found else shutil.which(f"python{version}")


def _release(python: Path) -> list[int]:
    return [int(part) for part in python.parent.parent.name.split(".") if part.isdigit()]


def install(python: str, folder: Path, extra: str) -> None:
    """Make an environment with this extra, unless it is newer than the list of requirements."""
    stamp = folder / ".installed"
    requirements = ROOT / "pyproject.toml"
    if stamp.exists() and stamp.stat().st_mtime > requirements.stat().st_mtime:
        return
    print(f"Installing {extra} for {python} into {folder}", flush=True)
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--upgrade"]
    quiet = "--disable-pip-version-check"
    subprocess.run([*pip, quiet, "--editable", f"{ROOT}[{extra}]"], check=True)
    stamp.touch()


def main(folder: str) -> None:
    """Make all, two at a time."""
    pythons = {version: find_python(version) for version in (*VERSIONS, *FURTHER_VERSIONS)}
    missing = [version for version, python in pythons.items() if python is None]
    if needed := [version for version in missing if version in VERSIONS]:
        sys.exit(f"Python {' and '.join(needed)} not found: neither in pyenv nor on the PATH.")
    for version in missing:
        print(f"Python {version} not found: one cell of each host is left out.")
    jobs = [
        (python, Path(folder, name.format(version)), extra)
        for version, python in pythons.items()
        if python is not None
        for extra, name in EXTRAS.items()
        if "threadless" not in extra or version in THREADLESS_VERSIONS
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: install(*job), jobs))


if __name__ == "__main__":
    main(sys.argv[1])
