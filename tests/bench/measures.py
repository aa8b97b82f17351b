"""One figure of one SDK, measured in a process of its own; run in that SDK's environment.

`measures.py MEASURE CLIENT URL [ARGUMENTS]` prints one line of JSON. The ids of what was
tracked are in the events; what arrived of them is for others to say.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.clients import CLIENTS, Client

_PAGE = os.sysconf("SC_PAGE_SIZE")
_CHANGED = "changed after the call"
_WARM_UP = 200


def properties(size: str) -> dict[str, Any]:
    """What is reported; the id comes with each event."""
    small = {"amount": 12.5, "currency": "EUR", "attempt": 3, "id": ""}
    return small if size == "small" else {**small, "note": "n" * 2048}


def loop(client: Client, first: int, count: int, size: str, then: str = _CHANGED) -> float:
    """Track so many events, numbered; seconds. The arguments change right after each call."""
    track, given = client.track, properties(size)
    ids = [f"ev{number:07d}." for number in range(first, first + count)]
    began = time.perf_counter()
    for event_id in ids:
        given["id"] = event_id
        track("user_123", given)
        given["id"] = then
    return time.perf_counter() - began


def loop_in_threads(client: Client, first: int, count: int, size: str, threads: int) -> float:
    """The same, shared by threads; seconds from their common start to the end of the last."""
    if threads == 1:
        return loop(client, first, count, size)
    each = count // threads
    barrier = threading.Barrier(threads + 1)

    def work(number: int) -> None:
        barrier.wait()
        loop(client, first + number * each, each, size)

    started = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in started:
        thread.start()
    barrier.wait()
    began = time.perf_counter()
    for thread in started:
        thread.join()
    return time.perf_counter() - began


def warmed(name: str, url: str, *, held: bool, **options: Any) -> Client:
    """A client that has delivered before."""
    client: Client = CLIENTS[name](url, held=held, **options)
    loop(client, 9_000_000, _WARM_UP, "small", "changed after the warm-up")
    client.flush()
    gc.collect()
    return client


def calls(name: str, url: str, count: str, threads: str, size: str) -> dict[str, Any]:
    """Seconds for a call while nothing is sent; then all is delivered."""
    client = warmed(name, url, held=True)
    seconds = loop_in_threads(client, 0, int(count), size, int(threads))
    client.flush()
    return {"call": seconds / int(count)}


def delivery(name: str, url: str, count: str, threads: str, size: str) -> dict[str, Any]:
    """A tight loop and a flush, end to end."""
    client = warmed(name, url, held=False)
    cpu, began = time.process_time(), time.perf_counter()
    tracking = loop_in_threads(client, 0, int(count), size, int(threads))
    client.flush()
    seconds = time.perf_counter() - began
    return {
        "call": tracking / int(count),
        "cpu": (time.process_time() - cpu) * 100_000 / int(count),
        "rate": int(count) / seconds,
        "seconds": seconds,
    }


def tail(name: str, url: str, count: str, beside: str) -> dict[str, Any]:
    """The 99.9th percentile of a call while the sender sends, or beside a busy thread."""
    client = warmed(name, url, held=beside == "busy")
    over = threading.Event()

    def spin() -> None:
        while not over.is_set():
            sum(range(200))

    busy = threading.Thread(target=spin)
    if beside == "busy":
        busy.start()
    track, given, took, clock = client.track, properties("small"), [], time.perf_counter_ns
    for number in range(int(count)):
        given["id"] = f"ev{number:07d}."
        # A whole slice of the GIL: what a call loses of it, it gave up itself. And a sender runs
        # meanwhile: in a tight loop one of the incumbent's made 3 requests in 20,000 calls.
        time.sleep(0)
        began = clock()
        track("user_123", given)
        took.append(clock() - began)
        given["id"] = _CHANGED
    over.set()
    client.flush()
    took.sort()
    return {"p999": took[int(len(took) * 0.999)] / 1e9, "longest": took[-1] / 1e9}


def memory(name: str, url: str, count: str) -> dict[str, Any]:
    """Bytes for 10 000 events that wait, each of arguments of its own, as requests make them."""
    client = warmed(name, url, held=True)
    before = resident()
    for number in range(int(count)):
        given = {**properties("small"), "id": f"ev{number:07d}."}
        client.track(f"user_{number}", given)
        given["id"] = _CHANGED
    del given
    gc.collect()
    grown = resident() - before
    client.flush()
    return {"bytes": grown * 10_000 / int(count)}


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def imports(name: str, url: str) -> dict[str, Any]:
    """Seconds and bytes of an import and a constructed client, beyond `import requests`."""
    began = time.perf_counter()
    with contextlib.suppress(ImportError):
        import requests  # noqa: F401 - measured
    requested, before = time.perf_counter(), resident()
    client = CLIENTS[name](url, held=True)
    ready, after = time.perf_counter(), resident()
    del client
    return {
        "import_requests": requested - began,
        "seconds": ready - requested,
        "bytes": after - before,
        "orjson": "orjson" in sys.modules,
    }


def fork(name: str, url: str, count: str) -> dict[str, Any]:
    """Seconds from before a fork to after the first call in the child, and for a bare fork."""
    bare = [child(int) for _ in range(int(count))]
    client = warmed(name, url, held=False)
    alone = [child(int) for _ in range(int(count))]
    first = [child(lambda: client.track("u", {"id": 0})) for _ in range(int(count))]
    return {
        "bare": statistics.median(bare),
        "fork": statistics.median(alone),
        "first": statistics.median(first),
    }


def child(work: Any) -> float:
    """Seconds from before the fork to after the work in the child, which then ends."""
    ours, theirs = os.pipe()
    began = time.perf_counter_ns()
    pid = os.fork()
    if not pid:
        work()
        os.write(theirs, str(time.perf_counter_ns() - began).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        took = int(pipe.read())
    os.waitpid(pid, 0)
    return took / 1e9


def hook(name: str, url: str, count: str) -> dict[str, Any]:
    """Seconds of a child's hooks of the SDK and of what it needs, Python's own aside.

    Once at the fork, where they copy the pages that they touch, and again and again after it.
    """
    spent, hooks_of_children, register = [0.0], [], os.register_at_fork

    def timed(**hooks: Any) -> None:
        caller = sys._getframe(1).f_globals["__name__"].partition(".")[0]
        if caller in sys.stdlib_module_names:
            register(**hooks)
            return
        after = hooks.pop("after_in_child", int)
        hooks_of_children.append(after)

        def measured() -> None:
            began = time.perf_counter()
            after()
            spent[0] += time.perf_counter() - began

        register(after_in_child=measured, **hooks)

    os.register_at_fork = timed
    kept = [CLIENTS[name](url, held=True) for _ in range(int(count))]
    kept[0].track("u", {"id": 0})
    ours, theirs = os.pipe()
    took = []
    for _ in range(50):
        pid = os.fork()
        if not pid:
            again = [timed_once(hooks_of_children) for _ in range(5)]
            os.write(theirs, f"{spent[0]!r} {min(again)!r}".encode())
            os._exit(0)
        os.waitpid(pid, 0)
        took.append(os.read(ours, 100).split())
    first, later = (statistics.median(map(float, column)) for column in zip(*took, strict=True))
    return {"hook": later, "hook_at_fork": first}


def timed_once(hooks: Any) -> float:
    """Seconds that these take together."""
    began = time.perf_counter()
    for hook in hooks:
        hook()
    return time.perf_counter() - began


def latency(name: str, url: str, count: str, rate: str) -> dict[str, Any]:
    """Events at a steady rate with default options; each carries the time of its call.

    Those of the last two seconds do not count: they wait for others, and none come.
    """
    options = {"max_queue_size": 10_000} if name == "whisperr" else {}
    client = CLIENTS[name](url, held=False, **options)
    began = time.perf_counter()
    for number in range(int(count) + int(2 * float(rate))):
        counts = number < int(count)
        at = {"at": f"at{time.time():.6f}."} if counts else {}
        client.track("user_123", {"id": f"ev{number + 9_000_000 * (not counts):07d}.", **at})
        time.sleep(max(0.0, began + (number + 1) / float(rate) - time.perf_counter()))
    time.sleep(12)  # longer than any SDK's interval: nobody flushes
    return {}


MEASURES = {
    measure.__name__: measure
    for measure in (calls, delivery, tail, memory, imports, fork, hook, latency)
}


def main() -> None:
    """See the module."""
    measure, *arguments = sys.argv[1:]
    print(json.dumps(MEASURES[measure](*arguments)), flush=True)
    os._exit(0)  # what an SDK does at an exit is no part of this


if __name__ == "__main__":
    main()
