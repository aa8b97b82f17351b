"""The file that a uWSGI master shares with its workers; see hosts/test_uwsgi_handover.py."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from whisperr._handover import Handover, Record, Takeover
from whisperr._options import Options
from whisperr._process import ProcessState

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uWSGI does not run there")

ENTRIES = [(b"{}", number, 0.0) for number in range(3)]


def test_what_is_settled_is_noted_and_the_count_of_reports_stays() -> None:
    record = Record()
    assert record.lock()
    takeover = Takeover(record, ENTRIES, too_late=1, reported=4)
    takeover.mark = 3
    assert not takeover.is_served(2)
    assert record.read() == (2, 4)
    assert takeover.is_served(None)
    assert record.read() == (3, 4)


def test_an_exit_waits_until_the_last_settlement_is_noted() -> None:
    """Between the settlement and the note nothing is queued, nothing in flight, nobody busy."""
    record = Record()
    assert record.lock()
    takeover = Takeover(record, ENTRIES, too_late=0, reported=0)
    state = ProcessState(Options(api_key="wrk_x", flush_interval=0), Handover())
    state._loop.add(takeover)
    state.finish(state.start(time.monotonic() + 5, at_exit=True))
    assert takeover.finished
    assert record.read() == (3, 0)


def test_a_descriptor_that_the_application_closed_neither_fails_nor_harms_its_next_owner(
    tmp_path: Path,
) -> None:
    """Some close every descriptor that they do not know; the delivery goes on."""
    record = Record()
    takeover = Takeover(record, ENTRIES, too_late=0, reported=0)
    takeover.mark = 3
    number = record._file
    os.close(number)
    assert not takeover.is_served(2)
    assert not record.lock()
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"x" * 64)
    opened = os.open(theirs, os.O_RDWR)
    if opened != number:  # mostly the lowest free number is it
        os.dup2(opened, number)
        os.close(opened)
    try:
        assert takeover.is_served(None)
        assert not record.lock()
    finally:
        os.close(number)
    assert theirs.read_bytes() == b"x" * 64
