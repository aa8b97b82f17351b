"""What a process says when nobody asked, when debug asks, and when nothing moves."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

import whisperr
from harness import wait_until
from raw_server import clean_environment
from service import Service, treatment
from whisperr import Whisperr, WhisperrError
from whisperr._backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "wrk_test_reports"
#: Refused calls, a refused key, a broken session factory, and an end with something left.
FAILING = """
import sys
from whisperr import Whisperr

def broken():
    raise OSError("no session today")

for options in ({}, {"session_factory": broken}):
    client = Whisperr(flush_interval=0, max_retries=0, shutdown_timeout=0.5, **options)
    client.track("", "refused")
    client.track("u", "happened", {"test_id": "1"})
    client.flush()
"""


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(treatment("`401`")) as service:
        service.failing = True
        yield service


def stderr_of_failing(service: Service, **environment: str) -> str:
    process = subprocess.run(
        [sys.executable, "-c", FAILING.replace('"happened"', '"offender"')],
        env={
            **clean_environment(),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "WHISPERR_API_KEY": KEY,
            "WHISPERR_BASE_URL": service.url,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (process.returncode, process.stdout) == (0, ""), process
    return process.stderr


def test_the_logger_has_a_null_handler_and_no_level_of_its_own() -> None:
    logger = logging.getLogger(whisperr.__name__)
    assert any(type(handler) is logging.NullHandler for handler in logger.handlers)
    assert (logger.level, logger.propagate) == (logging.NOTSET, True)


def test_without_debug_and_without_logging_a_failing_process_prints_nothing(
    service: Service,
) -> None:
    assert stderr_of_failing(service) == ""


def test_with_debug_each_report_is_a_line_on_stderr(service: Service) -> None:
    lines = stderr_of_failing(service, WHISPERR_DEBUG="1").splitlines()
    types = [line.split(": ")[1] for line in lines]
    assert all(line.startswith("whisperr: ") for line in lines), lines
    assert sorted(types) == ["auth", "dropped", "dropped", "retry_exhausted", "stalled", "stalled"]


def test_a_queue_that_does_not_move_speaks_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked at at each tick: 20 more tries are many more ticks."""
    monkeypatch.setattr("whisperr._schedule._SHORTEST_STALL", 0.3)
    monkeypatch.setattr(Backoff, "jitter", lambda *_: 0.02)
    errors: list[WhisperrError] = []

    def stalled() -> list[WhisperrError]:
        return [error for error in errors if error.type == "stalled"]

    with Service(treatment("`503`")) as service:
        client = Whisperr(
            KEY,
            base_url=service.url,
            flush_interval=0.01,
            max_retries=10_000,
            on_error=errors.append,
        )
        for name in ("1", "2", "3"):
            client.track("u", "offender", {"test_id": name})
        wait_until(stalled)
        tries = len(service.times)
        wait_until(lambda: len(service.times) >= tries + 20)
        (error,) = stalled()
        assert error.count == 3
        assert "3 operations wait" in error.message
        service.failing = False
        assert client.flush()


def test_a_quiet_time_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ends for want of work; an event long after that has not waited for so long."""
    stall = 0.3
    monkeypatch.setattr("whisperr._schedule._SHORTEST_STALL", stall)
    monkeypatch.setattr(Backoff, "jitter", lambda *_: 0.02)
    errors: list[WhisperrError] = []
    quiet_until: list[float] = []
    with Service(treatment("`503`")) as service:
        service.failing = False
        client = Whisperr(KEY, base_url=service.url, flush_interval=0.05, on_error=errors.append)
        for delivered in (1, 2):
            client.track("u", "happened", {"test_id": str(delivered)})
            wait_until(lambda: client.stats().queued + client.stats().in_flight == 0)
            assert client.stats().delivered == delivered
            wait_until(lambda: not client._local.get().has_sender())
            quiet_until.append(time.monotonic() + 2 * stall)
            wait_until(lambda: time.monotonic() > quiet_until[-1])
    assert not errors
