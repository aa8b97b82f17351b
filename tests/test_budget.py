"""What a call of track() takes, counted and not timed: no noise of a machine changes it."""

from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from whisperr import Whisperr, _encoding, _json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import LocalServer

CALLS = 1000
PROPERTIES = {"amount": 12.5, "currency": "EUR", "attempt": 3}
#: Functions of Python's that a call enters.
MOST_CALLS = 18
#: Built-in functions that it calls, types that it makes included.
MOST_BUILT_INS = 24
#: Of an event that waits: its JSON, its place in the queue, and what tracemalloc adds up for them.
MOST_BYTES = 500
MOST_BLOCKS = 5


@pytest.fixture
def client(server: LocalServer, api_key: str) -> Iterator[Whisperr]:
    """Its sender has started and waits."""
    client = Whisperr(api_key, base_url=server.url, flush_at=10**6, flush_interval=3600)
    client.track("user", "payment_failed", PROPERTIES)
    assert client.flush()
    yield client
    client.shutdown()


def counted(client: Whisperr) -> Counter[str]:
    """What the calls of `CALLS` events enter, by name; "python" for functions of Python's.

    A method of a built-in type is named with it, such as "lock.release".
    """
    entered: Counter[str] = Counter()

    def count(_frame: object, event: str, function: Any) -> None:
        if event == "call":
            entered["python"] += 1
        elif event == "c_call":
            entered[function.__qualname__] += 1

    sys.setprofile(count)
    try:
        for _ in range(CALLS):
            client.track("user", "payment_failed", PROPERTIES)
    finally:
        sys.setprofile(None)
    return entered


def test_a_call_asks_the_kernel_for_the_pid_and_for_an_id_and_for_nothing_else(
    client: Whisperr,
) -> None:
    entered = counted(client)
    assert entered["getpid"] == entered["getrandom"] == CALLS
    system = {"acquire", "release", "open", "write", "read", "send", "sendall", "urandom", "sleep"}
    assert not {name for name in entered if name.rpartition(".")[2] in system}
    assert not {name for name in entered if "lock" in name.lower()}


def test_a_call_enters_few_functions(client: Whisperr) -> None:
    entered = counted(client)
    functions = entered.pop("python") / CALLS
    built_ins = sum(entered.values()) / CALLS
    print(f"{functions:.1f} functions and {built_ins:.1f} built-in ones for a call")
    assert functions <= MOST_CALLS
    assert built_ins <= MOST_BUILT_INS


def test_a_queued_event_is_a_few_blocks_of_memory(client: Whisperr) -> None:
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.take_snapshot()
        for _ in range(CALLS):
            client.track("user", "payment_failed", PROPERTIES)
        grown = tracemalloc.take_snapshot().compare_to(before, "filename")
    finally:
        tracemalloc.stop()
    own = [entry for entry in grown if "whisperr" in entry.traceback[0].filename]
    blocks = sum(entry.count_diff for entry in own) / CALLS
    size = sum(entry.size_diff for entry in own) / CALLS
    print(f"{blocks:.1f} blocks and {size:.0f} bytes for an event")
    assert blocks <= MOST_BLOCKS
    assert size <= MOST_BYTES


def test_a_call_wakes_nobody_before_there_is_enough_to_deliver(client: Whisperr) -> None:
    threads = threading.active_count()
    entered = counted(client)
    assert not {name for name in entered if name.endswith("release")}
    assert threading.active_count() == threads
    assert client.stats().queued == CALLS


@pytest.mark.skipif(_encoding._plain_text is _json.text_by_json, reason="without orjson")
def test_an_event_is_encoded_once(client: Whisperr) -> None:
    assert counted(client)["dumps"] == CALLS
