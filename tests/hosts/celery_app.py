"""What Celery's workers import: tasks that track. No code of ours but the module-level client."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import worker_ready

import lab
from hosts import application

app = Celery("hosts", broker=os.environ["LAB_BROKER"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1)

if os.environ.get("LAB_HELPER") == "on":
    from whisperr.celery import deliver_after_task

    deliver_after_task()

#: Longer than any test takes; a time limit or a revocation ends it.
_FOR_EVER = 60.0
_TIME_LIMIT = 1.0


@app.task(name="work")
def work(count: int) -> None:
    """Track."""
    application.work(count)


@app.task(name="block")
def block() -> None:
    """Hold the child."""
    application.block(_FOR_EVER)


@worker_ready.connect
def _note(**_: object) -> None:
    lab.note("ready", pid=os.getpid())


def enqueue(name: str, argument: str) -> None:
    """For the producer: a task, or the end of the one that blocks."""
    if name == "work":
        work.delay(int(argument))
    elif name == "block":
        limit = _TIME_LIMIT if argument == "limited" else None
        block.apply_async(task_id="block", time_limit=limit)
    else:
        app.control.revoke("block", terminate=True, signal=argument)
