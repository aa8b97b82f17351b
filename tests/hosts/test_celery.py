"""Celery inside a process that goes on, and the helper for children that are killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hosts.environments import environments
from hosts.laboratory import Laboratory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import LocalServer

START = """
import threading

from celery import Celery, signals
from celery.contrib.testing.worker import start_worker

import lab

client = lab.client(flush_interval=0.0, flush_at=10**9)
app = Celery("embedded", broker="memory://")
app.conf.task_ignore_result = True
done = threading.Semaphore(0)

@app.task
def work():
    lab.note("task", delivered=client.stats().delivered)
    lab.track(client)
    done.release()

def run(times):
    with start_worker(app, perform_ping_check=False) as worker:
        for _ in range(times):
            work.delay()
        for _ in range(times):
            assert done.acquire(timeout=15)
        worker.stop()
"""
GOES_ON = """
@signals.worker_shutdown.connect
def note(**_):
    lab.note("shutdown", delivered=client.stats().delivered)

for _ in range(2):
    run(1)
    lab.track(client)
    lab.note("afterwards", queued=client.stats().queued)
"""
HELPED = """
from whisperr.celery import deliver_after_task

before = len(signals.task_postrun.receivers)
deliver_after_task(0.0)
deliver_after_task(5.0)
lab.note("receivers", count=len(signals.task_postrun.receivers) - before)
run(3)
"""
EAGER = """
from whisperr.celery import deliver_after_task

deliver_after_task()
work.apply()
lab.note("eager", queued=client.stats().queued)
"""


@pytest.fixture(params=environments())
def lab(
    request: pytest.FixtureRequest, tmp_path: Path, server: LocalServer, api_key: str
) -> Iterator[Laboratory]:
    with Laboratory(environments()[request.param], tmp_path, server, api_key, "") as laboratory:
        yield laboratory


def run(lab: Laboratory, script: str, tracked: int) -> None:
    """Run it to its end; everything arrives exactly once."""
    lab.launch([lab.environment.python, "-c", START + script])
    lab.wait_for_host()
    assert lab.main.wait() == 0, lab.output
    ledger = lab.ledger()
    assert ledger.exactly_once, lab.account()
    assert len(ledger.tracked) == tracked


def test_the_shutdown_of_an_embedded_worker_delivers_and_leaves_the_client_as_it_was(
    lab: Laboratory,
) -> None:
    run(lab, GOES_ON, tracked=4)
    assert [line["delivered"] for line in lab.lines("shutdown")] == [1, 3]
    assert [line["queued"] for line in lab.lines("afterwards")] == [1, 1]


def test_with_the_helper_a_task_is_delivered_before_the_next_begins(lab: Laboratory) -> None:
    run(lab, HELPED, tracked=3)
    assert [line["delivered"] for line in lab.lines("task")] == [0, 1, 2]
    assert [line["count"] for line in lab.lines("receivers")] == [1]


def test_with_the_helper_an_eager_task_makes_its_caller_wait_for_nothing(lab: Laboratory) -> None:
    run(lab, EAGER, tracked=1)
    assert [line["queued"] for line in lab.lines("eager")] == [1]
