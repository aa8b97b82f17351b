"""The project of docs/examples/django_shop, in a folder of a test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from hosts.environments import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

FOLDER = ROOT / "docs" / "examples" / "django_shop"
USER, PASSWORD = "ada", "a password of the tests"

#: What the application itself writes down: an id for each call, before the client accepts it.
_SETTINGS = '''
from shop.settings import *
import lab

def journal(operation, kind):
    """Give the operation an id that is written down; the order it is about as well."""
    place = operation.setdefault("traits" if kind == "identify" else "properties", {})
    place["test_id"] = lab.journal(kind)
    if "order" in place:
        lab.note("orders", id=place["test_id"], order=place["order"])
    return operation

def report(error):
    lab.note("reports", **vars(error))

WHISPERR = {**WHISPERR, "before_send": journal, "on_error": report}
'''


class Shop:
    """Environment and commands of the project.

    Attributes:
        database: its SQLite file.
        variables: for the environment of its processes.
    """

    def __init__(self, folder: Path, server: LocalServer, api_key: str) -> None:
        self.database = folder / "shop.sqlite3"
        (folder / "settings_of_the_tests.py").write_text(_SETTINGS)
        path = [ROOT / "src", ROOT / "tests", FOLDER, folder]
        self.variables = {
            "DJANGO_SETTINGS_MODULE": "settings_of_the_tests",
            "LAB_FOLDER": str(folder),
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "SHOP_DATABASE": str(self.database),
            "WHISPERR_API_KEY": api_key,
            "WHISPERR_BASE_URL": server.url,
        }

    def command(self, *arguments: str) -> list[str]:
        """The command line of `manage.py`."""
        return [sys.executable, str(FOLDER / "manage.py"), *arguments]

    def manage(self, *arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
        """Run a command of `manage.py` to its end; a variable of None is not set."""
        environ = {**os.environ, **self.variables, **variables}
        return subprocess.run(
            self.command(*arguments),
            env={name: value for name, value in environ.items() if value is not None},
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def fill(self) -> None:
        """Make its database, with the products of the example and one user."""
        for arguments in (
            ["migrate", "--verbosity=0"],
            ["loaddata", "products", "--verbosity=0"],
            ["createsuperuser", "--noinput", f"--username={USER}", "--email=a@example.com"],
        ):
            done = self.manage(*arguments, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
            assert done.returncode == 0, done.stderr
