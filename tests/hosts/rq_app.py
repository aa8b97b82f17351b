"""What RQ's jobs run: jobs of their own for each piece of work, or one that is told what to do."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from redis import Redis
from rq import Queue
from rq.command import send_kill_horse_command
from rq.worker import Worker

import lab
from hosts import application

_BROKER = Redis.from_url(os.environ["LAB_BROKER"])
_TOLD = "told"
_END = b"end"


def ready() -> None:
    """Tells the test that jobs are run, and where."""
    lab.note("ready", pid=os.getpid())


def work(count: int) -> None:
    """A job of a worker that forks for none."""
    application.work(count)


def deliver(count: int) -> None:
    """A job that delivers what it tracked before its process ends."""
    with application.client.delivering():
        application.work(count)


def obey(delivering: str) -> None:
    """A job that goes on until it is told to end; what it tracked stays queued so long."""
    block: AbstractContextManager[object] = nullcontext()
    if delivering == "delivering":
        block = application.client.delivering()
    with block:
        ready()
        while (told := Redis.from_url(os.environ["LAB_BROKER"]).blpop([_TOLD])[1]) != _END:
            application.work(int(told))


def enqueue(name: str, argument: str) -> None:
    """For the producer: a job, a word to the one that obeys, or a command to RQ."""
    if name == "tell":
        _BROKER.rpush(_TOLD, argument)
    elif name == "kill":
        for worker in Worker.all(_BROKER):
            send_kill_horse_command(_BROKER, worker.name)
    else:
        job = {"ready": ready, "work": work, "deliver": deliver, "obey": obey}[name]
        values = [int(argument)] if name in ("work", "deliver") else [argument][: bool(argument)]
        Queue(connection=_BROKER).enqueue(job, *values)
