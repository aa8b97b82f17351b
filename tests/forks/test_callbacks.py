"""Forks out of callbacks and signal handlers: the child's work is its own, and so is its end."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from runs import over_http_and_tls, repeated, run_script

if TYPE_CHECKING:
    from pathlib import Path

    from harness import LocalServer
    from runs import Result

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")

SCRIPT = "forks/callback_scenarios.py"
#: How the child ends: operations in all, the parent's one included.
ENDS = {
    "return": 2,
    "raise": 2,
    "sys_exit": 2,
    "sys_exit_none": 2,
    "sys_exit_text": 2,
    "sys_exit_negative": 2,
    "keyboard_interrupt": 2,
    "os_exit": 2,
    "process": 3,
    "thread": 3,
}
#: While a log record is handled, threading knows the sender's thread by a stand-in, which
#: cannot be joined; in a process of multiprocessing's it fails (CPython up to 3.11.7, 3.12.1).
LOG_ENDS = [end for end in ENDS if end not in ("process", "thread")]


@repeated
@over_http_and_tls
def test_a_child_forked_by_the_senders_thread_ends_as_one_of_the_main_thread(
    server: LocalServer, api_key: str, tmp_path: Path, run: int
) -> None:
    _assert_like_the_control(server, api_key, tmp_path, "on_error", list(ENDS))


@repeated
def test_a_child_forked_by_a_log_handler_on_the_senders_thread_ends_so_too(
    server: LocalServer, api_key: str, tmp_path: Path, run: int
) -> None:
    _assert_like_the_control(server, api_key, tmp_path, "log_handler", LOG_ENDS)


def test_a_child_forked_so_in_a_process_of_multiprocessing_ends_as_one_of_its_main_thread(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    ends = ["return", "sys_exit", "sys_exit_none", "sys_exit_negative", "os_exit", "process"]
    _assert_like_the_control(server, api_key, tmp_path, "on_error", ends, "in_a_process")


def _assert_like_the_control(
    server: LocalServer,
    api_key: str,
    folder: Path,
    callback: str,
    ends: list[str],
    *place: str,
) -> None:
    control = _run(server, api_key, folder / "control", *place, "out_of_the_main_thread", *ends)
    result = _run(server, api_key, folder / "sender", *place, "out_of_the_sender", callback, *ends)
    assert not any(line["on_main_thread"] for line in result.lines("called"))
    # The server stored the operations of both under this key.
    tracked = control.ledger.tracked | result.ledger.tracked
    assert len(tracked) == 2 * sum(ENDS[end] for end in ends)
    assert result.ledger.arrived == tracked, result.output
    assert not result.ledger.twice | result.ledger.resent
    assert all(line["balanced"] for line in result.lines("stats"))
    assert _seen(result, ends) == _seen(control, ends), result.output
    _assert_reported_once_each(result, callback, len(ends))


def _seen(result: Result, ends: list[str]) -> dict[str, object]:
    """What an onlooker sees of the children; compared with the control, nothing is typed here."""
    assert result.status == 0, result.output
    return {
        "statuses": {line["end"]: line["status"] for line in result.lines("child")},
        "processes": [line["status"] for line in result.lines("process")],
        "printed": {text: result.output.count(f"<{text}>") for text in ["parent", *ends]},
        "raised": result.output.count("the application's own"),
        "tracebacks": result.output.count("Traceback"),
        **{
            hook: Counter(line["child"] for line in result.lines(hook))
            for hook in ("atexit", "inherited", "excepthook", "threading.excepthook")
        },
    }


def _assert_reported_once_each(result: Result, callback: str, count: int) -> None:
    # A report without a reason says that no thread can be started: each process says so.
    reports = [line for line in result.lines("report") if line["reason"]]
    assert not any(line["child"] for line in reports), "A child reported what is its parent's."
    if callback == "on_error":
        assert [line["reason"] for line in reports] == ["invalid"] * count


#: Way into the caller's thread: operations of a run. The child tracks in the callback and both
#: go on after the call, except that a parent that shut down tracks no more.
WAYS = {"flush": 4, "shutdown": 3}
CALLBACKS = ["on_error", "log_handler"]


@repeated
@pytest.mark.parametrize("end", ["return", "raise"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_child_forked_on_a_callers_thread_returns_to_the_caller(
    server: LocalServer, api_key: str, tmp_path: Path, callback: str, way: str, end: str, run: int
) -> None:
    result = _run(server, api_key, tmp_path, "on_the_callers_thread", callback, way, end)
    _assert_goes_on(result, callback, WAYS[way], 0)
    assert sorted(line["child"] for line in result.lines("returned")) == [False, True]
    assert all(line["true"] for line in result.lines("returned"))


@pytest.mark.parametrize("end", ["sys_exit", "keyboard_interrupt"])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_what_ends_the_child_passes_through_the_call(
    server: LocalServer, api_key: str, tmp_path: Path, callback: str, end: str
) -> None:
    result = _run(server, api_key, tmp_path, "on_the_callers_thread", callback, "flush", end)
    _assert_goes_on(result, callback, 4, 7 if end == "sys_exit" else -2)
    assert [line["child"] for line in result.lines("returned")] == [False]


@pytest.mark.parametrize("end", ["return", "raise", "sys_exit"])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_child_forked_inside_track_returns_from_track(
    server: LocalServer, api_key: str, tmp_path: Path, callback: str, end: str
) -> None:
    """Where no thread can be started, a later track() makes the reports."""
    result = _run(server, api_key, tmp_path, "on_the_callers_thread", callback, "track", end)
    _assert_goes_on(result, callback, None, 7 if end == "sys_exit" else 0)


@pytest.mark.parametrize("way", ["flush", "track"])
def test_an_event_whose_before_send_forked_belongs_to_the_parent(
    server: LocalServer, api_key: str, tmp_path: Path, way: str
) -> None:
    result = _run(server, api_key, tmp_path, "on_the_callers_thread", "before_send", way, "return")
    _assert_goes_on(result, "before_send", None, 0)


@repeated
@pytest.mark.parametrize("end", ["return", "raise", "sys_exit"])
@pytest.mark.parametrize("callback", CALLBACKS)
def test_a_child_forked_at_the_exit_delivers_its_own_and_ends_like_any_other(
    server: LocalServer, api_key: str, tmp_path: Path, callback: str, end: str, run: int
) -> None:
    control = _run(server, api_key, tmp_path / "control", "at_the_exit_by_itself", end)
    if not control.lines("child"):
        pytest.skip("This Python cannot fork at its end (CPython 3.12).")
    result = _run(server, api_key, tmp_path / "exit", "at_the_exit", callback, end)
    statuses = [line["status"] for line in control.lines("child")]
    assert [line["status"] for line in result.lines("child")] == statuses, result.output
    tracked = control.ledger.tracked | result.ledger.tracked
    assert len(tracked) == 1 + 2
    assert result.ledger.arrived == tracked, result.output
    assert not result.ledger.twice | result.ledger.resent
    assert all(line["balanced"] for line in result.lines("stats"))
    assert sorted(line["child"] for line in result.lines("atexit")) == [False, True]
    _assert_reported_once_each(result, callback, 1)


@pytest.mark.parametrize("reason", ["invalid", "undelivered"])
@pytest.mark.parametrize("way", ["shutdown", "exit"])
def test_what_is_left_at_the_end_is_reported_by_the_process_that_tracked_it(
    server: LocalServer, api_key: str, tmp_path: Path, refused_url: str, way: str, reason: str
) -> None:
    result = _run(server, api_key, tmp_path, "in_vain", way, reason, url=refused_url)
    if not result.lines("child"):
        pytest.skip("This Python cannot fork at its end (CPython 3.12).")
    assert [line["status"] for line in result.lines("child")] == [0], result.output
    assert "Traceback" not in result.output
    reports = [(line["reason"], line["count"], line["child"]) for line in result.lines("report")]
    assert sorted(report for report in reports if report[0]) == [
        ("invalid", 1, False),
        ("undelivered", 1, False),
        ("undelivered", 1, True),
    ]
    logged = [line["child"] for line in result.lines("log") if "not delivered" in line["text"]]
    assert sorted(logged) == [False, True]


@pytest.fixture
def refused_url() -> str:
    """A port of this machine where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def _assert_goes_on(result: Result, callback: str, tracked: int | None, status: int) -> None:
    """Parent and child both went on, each with its own operations."""
    assert result.status == 0, result.output
    assert [line["on_main_thread"] for line in result.lines("called")] == [True]
    assert [line["status"] for line in result.lines("child")] == [status], result.output
    assert tracked is None or len(result.ledger.tracked) == tracked
    assert result.ledger.exactly_once, result.output
    stats = result.lines("stats")
    assert len(stats) == 2, "Parent and child."
    assert all(line["balanced"] for line in stats), stats
    if callback != "before_send":
        _assert_reported_once_each(result, callback, 1)


@repeated
def test_a_child_forked_by_a_signal_handler_leaves_the_delivery_to_the_parent(
    server: LocalServer, api_key: str, tmp_path: Path, run: int
) -> None:
    server.fault(key=api_key, times=1, action="delay", delay=0.5)
    result = _run(server, api_key, tmp_path, "out_of_a_signal_handler")
    result.assert_exactly_once(2)
    first, second = sorted(result.lines("flushed"), key=lambda line: line["at"])
    assert (first["child"], second["child"]) == (True, False), "The child waited for the answer."


def _run(
    server: LocalServer, api_key: str, folder: Path, *arguments: str, url: str | None = None
) -> Result:
    folder.mkdir(exist_ok=True)
    # Its stdout is buffered also where the tests' own is not.
    return run_script(server, api_key, folder, SCRIPT, *arguments, url=url, PYTHONUNBUFFERED="")
