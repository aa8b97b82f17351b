"""Clients made and dropped leave nothing behind, and what they hold is delivered first."""

from __future__ import annotations

import os
import statistics
import sys
from typing import TYPE_CHECKING, Any

import pytest

from forked import in_child, os_fork, raw_fork
from runs import over_http_and_tls, repeated, run_script
from whisperr import Whisperr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness import LocalServer
    from runs import Result

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

SCRIPT = "many_clients.py"
#: `make forks` raises it.
FORKS = max(50, int(os.environ.get("WHISPERR_FORKS", "50")))
#: Dead references stay until the next pruning.
MOST_KNOWN = 64
#: Bytes. Pages that are in use in part come and go; the interpreter's blocks are exact.
MOST_GROWTH = 1024 * 1024


def test_ten_thousand_clients_that_were_never_used_leave_nothing(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "never_used", seconds=100)
    assert [line["clients"] for line in result.lines("made")] == [10_000] * 6, result.output
    _assert_nothing_grew(result, blocks=1000)
    _assert_silent(result)


@over_http_and_tls
def test_clients_that_delivered_and_were_dropped_leave_nothing(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    """No thread, descriptor or memory, without a garbage collection."""
    result = run_script(server, api_key, tmp_path, SCRIPT, "delivered", seconds=100)
    result.assert_exactly_once(100)
    _assert_nothing_grew(result, blocks=1000)
    _assert_silent(result)


@over_http_and_tls
def test_a_client_dropped_after_its_thread_ended_frees_its_connection(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "idle")
    result.assert_exactly_once(3)
    _assert_nothing_grew(result, blocks=1000)
    _assert_silent(result)


@repeated
@pytest.mark.parametrize("flush_interval", ["100", "0"])
def test_a_dropped_client_delivers_what_it_holds_and_ends(
    server: LocalServer, api_key: str, tmp_path: Path, flush_interval: str, run: int
) -> None:
    """It waits for no timer, and not for the end of the process, which runs no hook here."""
    result = run_script(server, api_key, tmp_path, SCRIPT, "not_delivered", flush_interval)
    result.assert_exactly_once(75)
    _assert_silent(result)


@pytest.mark.parametrize("where", ["by_its_own_callback", "in_a_cycle", "at_the_very_end"])
def test_it_does_not_matter_where_a_client_is_dropped(
    server: LocalServer, api_key: str, tmp_path: Path, where: str
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, where)
    result.assert_exactly_once(1)
    _assert_silent(result)


def test_a_client_whose_constructor_raised_is_dropped_silently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ignored: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    with pytest.raises(TypeError):
        Whisperr("wrk_test", flush_at="many")  # type: ignore[arg-type]
    assert not ignored


@pytest.mark.parametrize("fork", [os_fork, raw_fork])
def test_a_child_that_drops_its_parents_client_leaves_the_parents_sender_alone(
    server: LocalServer, api_key: str, fork: Callable[[], int]
) -> None:
    clients = [Whisperr(api_key, base_url=server.url, flush_interval=100)]
    state = clients[0]._local.get()

    def child() -> list[bool]:
        clients.clear()
        return [state._loop.closing, state._loop._wake._lock().locked()]

    assert in_child(child, fork) == [False, True]
    clients.clear()
    assert state._loop.closing, "The parent's own drop did nothing, so the child's proves nothing."


@over_http_and_tls
def test_a_client_that_was_shut_down_holds_no_connection(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "shut_down")
    result.assert_exactly_once(2)
    first, second = (line["counts"] for line in result.lines("figures"))
    assert (first["threads"], second["threads"]) == (1, 1)
    assert first["descriptors"] == second["descriptors"]


@pytest.mark.parametrize("clients", [1, 10_000])
def test_the_fork_hook_costs_less_than_a_microsecond(
    server: LocalServer, api_key: str, tmp_path: Path, clients: int
) -> None:
    """Timed inside the child; the clock and a hook of the test's own are subtracted."""
    result = run_script(server, api_key, tmp_path, "hook_cost.py", str(clients), str(FORKS))
    assert result.status == 0, result.output
    times = [line["nanoseconds"] for line in result.lines("hook")]
    assert len(times) == FORKS
    assert statistics.median(times) < 1000, sorted(times)


def _assert_nothing_grew(result: Result, blocks: int) -> None:
    """Between a round in the middle, those before are for warming up, and the last."""
    assert result.status == 0, result.output
    rounds = result.lines("figures")
    before, after = rounds[(len(rounds) - 1) // 2], rounds[-1]
    assert after["counts"] == before["counts"]
    assert after["counts"]["threads"] == 1
    assert after["counts"]["clients"] == after["counts"]["states"] == 0
    assert after["known"] <= MOST_KNOWN
    assert after["blocks"] - before["blocks"] < blocks, result.lines("figures")
    assert after["memory"] - before["memory"] < MOST_GROWTH, result.lines("figures")


def _assert_silent(result: Result) -> None:
    assert not result.output, result.output
