"""Where the time of a call goes: the client's own steps, each alone; see docs/performance.md.

`parts.py URL` prints one line of JSON; run in the environment of ours.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.clients import EVENT, Whisperr
from bench.measures import loop, properties

if TYPE_CHECKING:
    from collections.abc import Callable

USER = "user_123"
_BARE_FORK = Path(__file__).with_name("bare_fork.py")
#: What a process imported before it forks; each also what stands before it.
_IMPORTED = ("", "threading", "logging", "requests", "whisperr")
_LOOPS, _CALLS, _CHILDREN = 300, 200, 50
_STEPS = (
    "os.fork()",
    "the state of the process",
    "the first call: the sender's thread, pages that are copied",
    "the second call",
    "the third call",
)


def warmed(*, held: bool) -> Any:
    """A client that has delivered before."""
    client = Whisperr(sys.argv[1], held=held)
    loop(client, 0, _CALLS, "small")
    client.flush()
    return client.client


def steps_of_a_call(client: Any) -> dict[str, float]:
    """Seconds of each step, and what is left of a call: the frames and arguments in between."""
    from whisperr import _encoding, _operation, _stamp

    given = properties("small")
    process, encoder = client._local.get(), client._encoder
    moment, message_id = _stamp.now(), _stamp.new_message_id()
    body = encoder.event(USER, EVENT, given, None, None, None)
    whole = least(lambda: client.track(USER, EVENT, given))
    text = least(lambda: _encoding.json_text(given, 2))
    event = least(
        lambda: encoder._event(USER, EVENT, moment, given, _operation._NOTHING, message_id)
    )
    steps = {
        "the pid, from the kernel": least(os.getpid),
        "the message id, from the kernel": least(_stamp.new_message_id),
        "the time": least(_stamp.now),
        "the JSON of the properties": text,
        "the rest of the event's JSON": event - text,
        "the place in the queue": least(lambda: process._queue.append(body)),
        "whether someone delivers": least(process._sender.notify),
    }
    return {**steps, "what is between them": whole - sum(steps.values()), "track()": whole}


def least(step: Callable[[], object]) -> float:
    """Seconds of a call, by the fastest of many loops, which the machine left alone."""
    calls, took = range(_CALLS), []
    for _ in range(_LOOPS):
        began = time.perf_counter()
        for _ in calls:
            step()
        took.append(time.perf_counter() - began)
    return min(took) / _CALLS


def steps_in_a_child(client: Any) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and page faults of the first steps of a child, medians of many children."""
    made = [_in_a_child(client) for _ in range(_CHILDREN)]
    seconds, faults = (
        {name: statistics.median(child[kind][name] for child in made) for name in made[0][kind]}
        for kind in (0, 1)
    )
    return seconds, faults


def _in_a_child(client: Any) -> list[dict[str, float]]:
    ours, theirs = os.pipe()
    began = time.perf_counter()
    pid = os.fork()
    if not pid:
        at, faults = [began, time.perf_counter()], [0, _page_faults()]
        for step in (client._local.get, *[lambda: client.track(USER, EVENT)] * 3):
            step()
            at.append(time.perf_counter())
            faults.append(_page_faults())
        steps = [
            dict(zip(_STEPS, (b - a for a, b in pairwise(points)), strict=True))
            for points in (at, faults)
        ]
        os.write(theirs, json.dumps(steps).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        steps = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return list(steps)


def forks_by_what_is_imported() -> dict[str, float]:
    """Seconds from before a fork to its return in the child, in processes that do nothing else."""
    return {
        name or "nothing": float(
            subprocess.run(
                [sys.executable, "-E", str(_BARE_FORK), *filter(None, _IMPORTED[: place + 1])],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for place, name in enumerate(_IMPORTED)
    }


def _page_faults() -> int:
    """Of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def main() -> None:
    """See the module."""
    seconds, faults = steps_in_a_child(warmed(held=False))
    steps = {
        "From before a fork to the third call in the child, µs": seconds,
        "Page faults of the child in it": faults,
        "A fork alone, by what is imported, each with those before it, µs": (
            forks_by_what_is_imported()
        ),
        "Of a call of track(), µs": steps_of_a_call(warmed(held=True)),
    }
    print(json.dumps(steps), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
