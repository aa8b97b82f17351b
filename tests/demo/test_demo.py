from __future__ import annotations

import importlib.util
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from harness import wait_until
from whisperr.demo import Settings, run

if TYPE_CHECKING:
    from harness import Row
    from wire_schema import WireSchema

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="gunicorn runs on POSIX alone")


def totals(output: str) -> dict[str, str]:
    """Return the printed ledger."""
    return dict(re.findall(r"^│ ([a-z ]+?) +│ +([\d.]+) │$", output, re.MULTILINE))


def test_the_demo_delivers_exactly_once_over_a_hup_and_ends_with_0(
    tmp_path: Path, wire_schema: WireSchema | None
) -> None:
    arguments = ["demo", "--requests", "300", "--workers", "2", "--keep"]
    done = subprocess.run(
        [sys.executable, "-m", "whisperr.cli", *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    ledger = totals(done.stdout)
    assert int(ledger["requests to the shop"]) >= 300
    assert int(ledger["tracked"]) > 300
    assert ledger["delivered"] == ledger["tracked"]
    for nothing in ("lost", "unknown", "twice", "resent", "sent by another process"):
        assert ledger[nothing] == "0"
    assert int(ledger["processes"]) >= 5  # the master, two workers and their replacements
    assert re.search(r"│ master +│ +\d+ │ +1 │ +1 │ +1 │ +1 │", done.stdout)
    (database,) = tmp_path.glob("*/whisperr.sqlite")
    assert not list(wire_schema.violations(stored_requests(database)) if wire_schema else ())


def stored_requests(database: Path) -> list[Row]:
    """Every request that a server stored in its file."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT id, path, body FROM requests").fetchall()
    assert rows
    return [{"id": number, "path": path, "body": body} for number, path, body in rows]


def test_a_client_that_drops_events_is_seen(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    shop = "leaky_shop:application"
    assert run(Settings(requests=300, workers=2, connections=4, shop=shop)) == 1
    out, err = capfd.readouterr()
    ledger = totals(out)
    lost = int(ledger["lost"])
    assert lost == int(ledger["tracked"]) - int(ledger["delivered"]) > 0
    assert f"The ledger does not balance: {lost} lost." in err
    assert "Worker exiting" in err
    assert len(list(tmp_path.glob("*/whisperr.sqlite"))) == 1  # kept as evidence


def test_a_shop_that_cannot_start_is_one_sentence_and_the_end_of_the_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(Settings(requests=1, workers=1, shop="nowhere:application")) == 1
    err = capfd.readouterr().err
    assert "No module named 'nowhere'" in err
    assert err.splitlines()[-1].startswith("gunicorn ended with status")


def test_without_gunicorn_the_demo_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert run(Settings()) == 2
    assert capfd.readouterr().err == 'The demo needs gunicorn: pip install "whisperr[demo]"\n'


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_and_no_folder(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, "-m", "whisperr.cli", "demo", "--requests", "100000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        wait_until(lambda: any(tmp_path.glob("*/journal.txt")), 30)
        started = psutil.Process(demo.pid).children(recursive=True)
        assert len(started) >= 2  # the server and gunicorn's master
        demo.send_signal(number)
        demo.communicate(timeout=30)
        assert demo.returncode not in (0, None)
    wait_until(lambda: not any(is_alive(process) for process in started))
    assert list(tmp_path.iterdir()) == []


def is_alive(process: psutil.Process) -> bool:
    """Return whether it runs; a process that nobody has waited for yet does not."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
