"""Two hundred forks leave no thread, descriptor, connection, zombie or memory behind."""

from __future__ import annotations

import re
import resource
import sys
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from raw_server import RawServer
from runs import run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer
    from raw_server import Peer
    from runs import Result

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

FORKS = 200


def test_a_parent_and_its_grandchildren_have_the_same_however_often_it_forked(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    """A grandchild has its own connection and one parked for each generation above."""
    result = _run(server, api_key, tmp_path, "one_client")
    descriptors = _descriptors(result)
    parent = {"threads": 2, "descriptors": descriptors, "connections": 1, "children": 0}
    assert _parents_counts(result) == [parent] * 4
    grandchildren = result.lines("grandchild")
    has = [(line["threads"], line["descriptors"]) for line in grandchildren]
    assert has == [(2, descriptors + 2)] * FORKS
    _assert_memory_does_not_grow_with_the_forks(result)


def test_a_parent_whose_clients_come_and_go_between_forks_has_what_it_had_before(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = _run(server, api_key, tmp_path, "made_anew")
    parent = {"threads": 1, "descriptors": _descriptors(result), "connections": 0, "children": 0}
    assert _parents_counts(result) == [parent] * 4
    _assert_memory_does_not_grow_with_the_forks(result)


def _run(server: LocalServer, api_key: str, folder: Path, scenario: str) -> Result:
    """Against a server that does not look for each connection's process: that takes longer."""
    with RawServer(_accept_all) as raw:
        script = "forks/leak_scenarios.py"
        arguments = (script, scenario, str(FORKS))
        result = run_script(
            server, api_key, folder, *arguments, seconds=100, url=raw.url, PYTHONWARNINGS="ignore"
        )
    assert result.status == 0, result.output
    assert not result.lines("reports"), result.lines("reports")
    assert all(line["balanced"] for line in result.lines("stats"))
    bodies = b"".join(request.body for request in raw.requests).decode()
    arrived = Counter(re.findall(r'"test_id": ?"(\w+)"', bodies))
    assert arrived == Counter(result.ledger.tracked)
    return result


def _accept_all(peer: Peer) -> None:
    """Each request has one event."""
    while peer.read_request() is not None:
        peer.answer(202, b'{"accepted": 1, "rejected": 0}')


def _parents_counts(result: Result) -> list[dict[str, int]]:
    counts = [line["counts"] for line in result.lines("before") + result.lines("parent")]
    assert len(counts) == 4, result.output
    return counts


def _descriptors(result: Result) -> int:
    """Before the first fork."""
    return _parents_counts(result)[0]["descriptors"]


def _assert_memory_does_not_grow_with_the_forks(result: Result) -> None:
    """Not by one block of the interpreter's, not by one page, for each fork."""
    page = resource.getpagesize()
    for before, after in pairwise(result.lines("parent")):
        forks = after["forks"] - before["forks"]
        assert forks > 0
        assert after["blocks"] - before["blocks"] < forks, result.lines("parent")
        assert after["memory"] - before["memory"] < forks * page, result.lines("parent")
