"""What huey's consumer imports: a task that tracks. Nothing of ours but the client."""

from __future__ import annotations

import os

from huey import RedisHuey

import lab
from hosts import application

huey = RedisHuey("hosts", url=os.environ["LAB_BROKER"], results=False)


@huey.task()
def work(count: int) -> None:
    """Track."""
    application.work(count)


@huey.on_startup()
def _note() -> None:
    lab.note("ready", pid=os.getpid())


if os.environ.get("LAB_HELPER") == "on":

    @huey.on_shutdown()
    def _deliver() -> None:
        application.client.before_exit()


def enqueue(name: str, argument: str) -> None:
    """For the producer: there is one task."""
    assert name == "work"
    work(int(argument))
