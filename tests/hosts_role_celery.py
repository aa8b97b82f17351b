"""A Celery application that notes what stats() calls each of its processes; see hosts_role.py."""

from __future__ import annotations

import os

from celery import Celery, signals

import hosts_role

app = Celery("roles", broker=os.environ["LAB_BROKER"])
app.conf.broker_connection_retry_on_startup = True


@app.task  # type: ignore[untyped-decorator,unused-ignore]
def name_roles() -> None:
    """Noted by a child of the pool."""
    hosts_role.note("task")
    hosts_role.note_in_a_fork("fork of a child")


@signals.worker_ready.connect  # type: ignore[untyped-decorator,unused-ignore]
def ready(**_: object) -> None:
    """Noted by the worker, which then asks a child."""
    hosts_role.note("ready")
    hosts_role.note_in_a_fork("fork of a worker")
    name_roles.delay()
