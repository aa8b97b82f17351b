"""Ways to end a host that several families share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hosts.laboratory import has_ended

if TYPE_CHECKING:
    import signal
    from collections.abc import Collection

    from hosts.laboratory import Laboratory
    from hosts.row import End

#: Every host that watches files has looked at them after so many seconds.
_LOOKS = 5.0


def signal_main(number: signal.Signals) -> End:
    """A signal to the main process, by which all its workers end."""

    def end(lab: Laboratory) -> Collection[int]:
        lab.signal(number)
        return lab.workers()

    return end


def serve_until_all_ended(lab: Laboratory) -> Collection[int]:
    """Requests until each worker has had as many as it may serve."""
    workers = lab.workers()

    def one_more_request_each() -> bool:
        lab.exchange("/ready")  # unanswered where the worker ends at that moment
        return all(map(has_ended, workers))

    lab.wait_until(one_more_request_each)
    return workers


def touch_a_module(lab: Laboratory) -> Collection[int]:
    """The file that `write_a_module` left changes; again if nobody had looked at it before."""
    workers = lab.workers()
    touched = 0.0

    def touched_and_ended() -> bool:
        nonlocal touched
        if time.monotonic() - touched > _LOOKS:
            write_a_module(lab)
            touched = time.monotonic()
        return all(map(has_ended, workers))

    lab.wait_until(touched_and_ended)
    return workers


def write_a_module(lab: Laboratory) -> None:
    """For a host that watches files: the time of its change is new each time."""
    (lab.folder / "watched.py").write_text('"""The host reloads when this changes."""\n')
