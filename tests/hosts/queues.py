"""What hosts that take their work from a queue have in common: a broker, a producer, tasks."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from hosts.broker import start_redis
from hosts.laboratory import has_ended
from hosts.row import Row

if TYPE_CHECKING:
    from collections.abc import Collection

    from hosts.laboratory import Laboratory

_OPERATIONS = 50
#: More tasks than a worker has before the ending that is to recycle it.
MAX_TASKS = 50


def enqueue(lab: Laboratory, name: str, argument: object = "", times: int = 1) -> None:
    """Have the producer put a task into the queue, several times."""
    lab.request(f"/enqueue?name={name}&argument={argument}&times={times}")


def wait_for(lab: Laboratory, name: str, count: int = 1) -> None:
    """Wait until the host's processes wrote so many lines under this name."""

    def has_them() -> bool:
        assert lab.main.poll() is None, f"The host ended.\n{lab.output}"
        return len(lab.lines(name)) >= count

    lab.wait_until(has_them)


def recycle(lab: Laboratory) -> Collection[int]:
    """Further tasks, until each worker has had its last."""
    workers = lab.workers()

    def some_more_tasks() -> bool:
        enqueue(lab, "work", 0, times=10)
        return all(map(has_ended, workers))

    lab.wait_until(some_more_tasks)
    return workers


class QueueRow(Row):
    """A host whose workers wait for tasks in Redis; a producer of its own puts them there.

    Attributes:
        module: that of the tasks, which has a function `enqueue`; see producer.py.
        ready: how many processes note that they take work.
    """

    module: str
    ready = 1

    def start(self, lab: Laboratory) -> None:
        """Start broker, producer and host; wait for the last two."""
        lab.variables["LAB_BROKER"] = start_redis(lab)
        producer = [lab.environment.python, "-m", "hosts.producer", str(lab.port), self.module]
        lab.launch(producer, main=False, LAB_BOOT="0")
        lab.launch(self.command(lab))
        lab.wait_until(lab.answers)
        self.wait_for_workers(lab)

    def wait_for_workers(self, lab: Laboratory) -> None:
        """Wait until they take work and hear signals."""
        wait_for(lab, "ready", self.ready)

    @abstractmethod
    def command(self, lab: Laboratory) -> list[str]:
        """What starts the host."""

    def work(self, lab: Laboratory, count: int) -> None:
        """Tasks of fifty operations each."""
        before = len(lab.lines("journal"))
        enqueue(lab, "work", _OPERATIONS, count // _OPERATIONS)
        wait_for(lab, "journal", before + count)
