"""`manage.py whisperr`, run in the project of the example."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING
from urllib.request import urlopen

import pytest

from frameworks.django.shop import Shop

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer


@pytest.fixture
def shop(tmp_path: Path, server: LocalServer, api_key: str) -> Shop:
    return Shop(tmp_path, server, api_key)


def test_all_arguments_go_to_the_command_line_of_whisperr(shop: Shop) -> None:
    command = shop.command("whisperr", "serve", "--port", "0", "--quiet")
    process = subprocess.Popen(
        command, env={**os.environ, **shop.variables}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            line = process.stdout.readline()
            assert "listening on" in line
            with urlopen(f"{line.split()[-1]}/stored/counts", timeout=30) as answer:
                assert answer.status == 200
        finally:
            process.terminate()
            assert process.wait(30) == 0


@pytest.mark.parametrize("arguments", [["whisperr", "--help"], ["help", "whisperr"]])
def test_its_help_is_that_of_whisperr(shop: Shop, arguments: list[str]) -> None:
    done = shop.manage(*arguments)
    assert done.returncode == 0, done.stderr
    assert "manage.py whisperr" in done.stdout
    assert "serve" in done.stdout
    assert "demo" in done.stdout


def test_a_wrong_argument_is_said_and_ends_with_its_status(shop: Shop) -> None:
    done = shop.manage("whisperr", "no-such-command")
    assert done.returncode == 2
    assert "no-such-command" in done.stderr


def test_it_runs_without_a_key(shop: Shop) -> None:
    assert shop.manage("whisperr", "--help", WHISPERR_API_KEY=None).returncode == 0


_CALL = """
import os
from django.core.management import call_command
try:
    call_command("whisperr", "serve", "--help")
finally:
    print(os.environ["WHISPERR_API_KEY"], os.environ["WHISPERR_BASE_URL"])
"""


def test_it_has_the_key_and_the_url_of_the_settings(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "keyed_settings.py").write_text(
        "from shop.settings import *\n"
        'WHISPERR_API_KEY = "wrk_of_the_settings"\n'
        'WHISPERR = {"base_url": "http://127.0.0.1:9"}\n'
    )
    done = shop.manage("shell", "--command", _CALL, DJANGO_SETTINGS_MODULE="keyed_settings")
    assert done.returncode == 0, done.stderr
    assert "--port" in done.stdout
    assert done.stdout.splitlines()[-1] == "wrk_of_the_settings http://127.0.0.1:9"
