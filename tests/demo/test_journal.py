from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from whisperr.demo import journal

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_noted_is_read_back_in_order(tmp_path: Path) -> None:
    file = tmp_path / "journal.txt"
    noted = [journal.append(file, "event"), journal.append(file, "identify")]
    assert journal.read(file) == noted
    assert [(entry.pid, entry.kind) for entry in noted] == [
        (os.getpid(), "event"),
        (os.getpid(), "identify"),
    ]


def test_a_journal_that_nobody_wrote_is_empty(tmp_path: Path) -> None:
    assert journal.read(tmp_path / "journal.txt") == []


FORKING = """
import os, sys
from whisperr.demo import journal
journal.append(sys.argv[1], "event")
for _ in range(2):
    os.fork()
for _ in range(200):
    journal.append(sys.argv[1], "event")
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes fork on POSIX alone")
def test_lines_of_forked_processes_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "journal.txt"
    subprocess.run([sys.executable, "-c", FORKING, str(file)], check=True, timeout=60)
    entries = journal.read(file)
    assert len({entry.pid for entry in entries}) == 4
    assert len({entry.id for entry in entries}) == len(entries) == 801


def test_lines_of_threads_do_not_mix(tmp_path: Path) -> None:
    file = tmp_path / "journal.txt"
    with ThreadPoolExecutor(4) as pool:
        noted = list(pool.map(lambda _: journal.append(file, "event"), range(400)))
    assert sorted(journal.read(file)) == sorted(noted)
