"""What dramatiq's processes import: actors that track. Nothing of ours but the client."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

import lab
from hosts import application

_FOR_EVER = 60.0


class _Notes(dramatiq.Middleware):
    def after_worker_boot(self, broker: object, worker: object) -> None:
        """The process takes messages."""
        lab.note("ready", pid=os.getpid())


_broker = RedisBroker(url=os.environ["LAB_BROKER"])
_broker.add_middleware(_Notes())
dramatiq.set_broker(_broker)


@dramatiq.actor
def work(count: int) -> None:
    """Track."""
    application.work(count)


@dramatiq.actor(max_retries=0)
def block() -> None:
    """Hold a thread."""
    application.block(_FOR_EVER)


def enqueue(name: str, argument: str) -> None:
    """For the producer."""
    if name == "work":
        work.send(int(argument))
    else:
        block.send()
