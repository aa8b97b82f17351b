"""A process that tracks good events and poisoned ones in turn; run by test_poison.py."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any

if sys.argv[1] == "without_orjson":
    sys.modules["orjson"] = None  # type: ignore[assignment]

import lab
import whisperr._encoding
from tables import codes, python_block, table

if TYPE_CHECKING:
    from whisperr import Whisperr

EVENTS = 200


class Catalog(Mapping[str, Any]):
    """A mapping that is no dict, and whose items() raises."""

    def __getitem__(self, key: str) -> Any:
        raise OSError

    def __iter__(self) -> Iterator[str]:
        raise OSError

    def __len__(self) -> int:
        raise OSError

    def items(self) -> Any:
        raise OSError


class Blocking:
    """Its text never comes."""

    def __str__(self) -> str:
        threading.Event().wait()
        return ""

    __repr__ = __str__

    def __iter__(self) -> Iterator[str]:
        return iter(str(self))


def main() -> None:
    expected = "text_by_json" if sys.argv[1] == "without_orjson" else "_text_by_orjson"
    assert whisperr._encoding._plain_text.__name__ == expected
    client = lab.client(flush_at=10)
    rows = itertools.cycle(table("values.md", "Poison"))
    shared: dict[Any, Any] = {"always": 1}
    names = {**definitions(), **poisons(client), "shared": shared}
    random = Random(20260614)
    with changing(shared):
        for number in range(EVENTS // 2):
            good = {"number": number, "tree": tree(random, 4)}
            track(client, f"good-{number}", good, passed=good)
            poison, example, *_ = next(rows)
            bad = eval(codes(example)[0], names)
            track(client, f"poison-{number}", bad, poison=poison, example=example)
            ruin(bad, {id(shared)})
    assert client.flush()
    lab.record_stats(client)


def track(client: Whisperr, identifier: str, properties: Any, **noted: Any) -> None:
    """Note what is tracked, then track it."""
    lab.note(identifier.split("-")[0], id=identifier, **noted)
    client.track("user", "something_happened", properties, message_id=identifier)


def definitions() -> dict[str, Any]:
    """The names that the document defines."""
    names: dict[str, Any] = {"__name__": "values"}
    exec(compile(python_block("values.md"), "values.md", "exec", dont_inherit=True), names)
    return names


def poisons(client: Whisperr) -> dict[str, Any]:
    """The names that the document describes."""

    class Tracking:
        def __str__(self) -> str:
            client.track("user", "never_tracked")
            return "text"

        __repr__ = __str__

        def __iter__(self) -> Iterator[str]:
            return iter(str(self))

    return {"Catalog": Catalog, "Blocking": Blocking, "Tracking": Tracking}


@contextmanager
def changing(shared: dict[Any, Any]) -> Iterator[None]:
    """Another thread adds keys to the dict, and removes them, all the time."""
    stop = threading.Event()

    def change() -> None:
        for number in itertools.cycle(range(1000)):
            shared[f"sometimes_{number}"] = {number}
            shared.pop(f"sometimes_{(number + 500) % 1000}", None)
            if stop.is_set():
                return

    thread = threading.Thread(target=change)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


def tree(random: Random, depth: int) -> Any:
    """Any value that JSON knows."""
    if depth == 0 or random.random() < 0.3:
        leaves: list[Any] = [
            None,
            True,
            0.1,
            -0.0,
            1e300,
            2**63,
            -(2**63),
            "",
            "Zoë 😀",
            '\u2028\x00"\\',
            {},
        ]
        return random.choice(leaves)
    children = [tree(random, depth - 1) for _ in range(random.randrange(4))]
    return children if random.random() < 0.5 else {f"ключ {i}": c for i, c in enumerate(children)}


def ruin(value: Any, seen: set[int]) -> None:
    """Empty it, and every dict and list in it that was not seen before."""
    pending = [value]
    while pending:
        value = pending.pop()
        if not issubclass(type(value), (dict, list, set)) or id(value) in seen:
            continue
        seen.add(id(value))
        pending += dict.values(value) if issubclass(type(value), dict) else value
        value.clear()


if __name__ == "__main__":
    main()
