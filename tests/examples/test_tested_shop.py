"""The shop that docs/testing.md shows, tested by pytest with the plugin as it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from hosts.environments import ROOT
from raw_server import clean_environment
from whisperr.server.ledger import arrivals_from

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer

SHOP = ROOT / "docs" / "examples" / "tested_shop"
PAGE = (ROOT / "docs" / "testing.md").read_text()
#: Tests that fail as the page shows it.
FAILING = """
from decimal import Decimal

import renewals


def test_another_price(whisperr_events):
    renewals.renew("ada", Decimal("19.90"))
    whisperr_events.one("renewal_succeeded", user="ada", properties={"price": 19.99})


def test_another_form(whisperr_events):
    renewals.client.track("ada", "page-opened")
"""


def run_pytest(folder: Path, server: LocalServer, **environment: str) -> tuple[int, str]:
    """Run the tests of a folder; returns the status and the output."""
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "--rootdir", str(folder), "-q"],
        cwd=folder,
        env={
            **clean_environment(),
            "PYTHONDONTWRITEBYTECODE": "1",
            "WHISPERR_BASE_URL": server.url,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=100,
    )
    return process.returncode, process.stdout + process.stderr


@pytest.mark.parametrize("with_key", [False, True])
def test_its_tests_pass_without_a_key_and_send_nothing_with_one(
    tmp_path: Path, server: LocalServer, api_key: str, with_key: bool
) -> None:
    shutil.copytree(SHOP, tmp_path, dirs_exist_ok=True)
    status, output = run_pytest(
        tmp_path, server, **({"WHISPERR_API_KEY": api_key} if with_key else {})
    )
    assert status == 0, output
    assert "3 passed" in output
    assert not list(arrivals_from(server.arrivals(api_key)))


def test_the_page_shows_its_files() -> None:
    for name in ("renewals.py", "test_renewals.py"):
        assert (SHOP / name).read_text() in PAGE, name


def test_the_page_shows_what_a_failing_test_says(tmp_path: Path, server: LocalServer) -> None:
    shutil.copytree(SHOP, tmp_path, dirs_exist_ok=True)
    (tmp_path / "test_failing.py").write_text(FAILING)
    status, output = run_pytest(tmp_path, server)
    assert status == 1, output
    lines = (line.removeprefix("E       ") for line in output.splitlines())
    said = re.sub(r"pid \d+", "pid 4711", "\n".join(lines))
    blocks = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    for first in ("AssertionError: Not recorded", "track('page-opened') at"):
        (shown,) = (block for block in blocks if block.startswith(first))
        assert shown in said, said
