"""What a process queued is delivered however it ends, and within its time."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from runs import repeated, run_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import LocalServer

SCRIPT = "ends/end_scenarios.py"
#: Scenario: operations, exit status.
ENDS = {
    "fall_through": (50, 0),
    "sys_exit": (50, 0),
    "uncaught_exception": (50, 1),
    "keyboard_interrupt": (50, -2),
    "dropped_client": (50, 0),
    "delivering_before_os_exit": (50, 0),
    "with_client": (50, 0),
    "idle_end_then_exit": (50, 0),
    "no_new_thread_at_exit": (50, 0),
    "flush_in_atexit": (50, 0),
    "made_and_not_used": (1, 0),
    "atexit_handlers": (3, 0),
    "first_use_in_atexit": (1, 0),
    "thread_outlives_main": (1, 0),
    "threads_outlive_their_target": (5, 0),
    "flush_everything": (2, 0),
}


#: What the sender thread does when the process ends; the runs take turns.
SENDERS = ("idle", "in recv", "none")


@repeated
@pytest.mark.parametrize("scenario", ENDS)
def test_everything_queued_is_delivered_at_the_end(
    server: LocalServer, api_key: str, tmp_path: Path, scenario: str, run: int
) -> None:
    operations, status = ENDS[scenario]
    sender = SENDERS[run % len(SENDERS)]
    if sender == "in recv":
        server.fault(action="delay", delay=0.02, times=None, key=api_key)
    result = run_script(server, api_key, tmp_path, SCRIPT, scenario, LAB_SENDER=sender)
    result.assert_exactly_once(operations, status)


def test_an_exit_waits_for_the_sender_whose_answer_is_slow(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    """The identify is a second request: it is never sent where the first is not waited for."""
    server.fault(key=api_key, times=1, action="delay", delay=0.5)
    result = run_script(server, api_key, tmp_path, SCRIPT, "in_the_middle_of_an_exchange")
    result.assert_exactly_once(50)


@pytest.mark.parametrize("sender", SENDERS)
@pytest.mark.parametrize(
    "scenario", ["two_clients", "two_clients_the_hanging_one_first", "two_clients_flushed"]
)
def test_a_healthy_client_delivers_although_another_ones_service_hangs(
    server: LocalServer,
    api_key: str,
    tmp_path: Path,
    hanging_url: str,
    teardown: float,
    scenario: str,
    sender: str,
) -> None:
    result = run_script(
        server,
        api_key,
        tmp_path,
        SCRIPT,
        scenario,
        LAB_HANGING_URL=hanging_url,
        LAB_SENDER=sender,
    )
    result.assert_exactly_once(50)
    assert result.seconds_since("end") < teardown + 1.0 + 0.5


@pytest.mark.parametrize("sender", SENDERS)
def test_what_several_ends_could_not_deliver_is_reported_once(
    server: LocalServer, api_key: str, tmp_path: Path, hanging_url: str, sender: str
) -> None:
    result = run_script(
        server, api_key, tmp_path, SCRIPT, "several_ends", url=hanging_url, LAB_SENDER=sender
    )
    assert result.status == 0, result.output
    _assert_reported(result.lines("reports"), 50)


@pytest.mark.skipif(sys.platform == "win32", reason="needs os.fork")
def test_a_child_that_on_error_forks_at_the_end_returns_and_reports_nothing(
    server: LocalServer, api_key: str, tmp_path: Path, hanging_url: str
) -> None:
    result = run_script(
        server, api_key, tmp_path, SCRIPT, "on_error_forks_at_the_end", url=hanging_url
    )
    assert (result.status, [line["status"] for line in result.lines("children")]) == (0, [0])
    assert len({line["pid"] for line in result.lines("returned")}) == 2, result.output
    _assert_reported(result.lines("reports"), 50)


@pytest.mark.skipif(
    sys.platform == "win32" or sys.version_info[:2] == (3, 12),
    reason="needs os.fork, which CPython 3.12 refuses there",
)
def test_a_child_that_on_error_forks_in_the_exit_hook_reports_nothing_of_the_other_client(
    server: LocalServer, api_key: str, tmp_path: Path, hanging_url: str
) -> None:
    result = run_script(
        server, api_key, tmp_path, SCRIPT, "on_error_forks_in_the_exit_hook", url=hanging_url
    )
    assert (result.status, [line["status"] for line in result.lines("children")]) == (0, [0])
    assert [line["count"] for line in result.lines("reports")] == [50, 50], result.output


@pytest.mark.parametrize("sender", SENDERS)
def test_what_delivering_leaves_before_os_exit_is_reported_once(
    server: LocalServer, api_key: str, tmp_path: Path, hanging_url: str, sender: str
) -> None:
    result = run_script(
        server, api_key, tmp_path, SCRIPT, "delivering_in_vain", url=hanging_url, LAB_SENDER=sender
    )
    assert result.status == 0, result.output
    _assert_reported(result.lines("reports"), 50)


@pytest.mark.parametrize("sender", SENDERS)
def test_what_on_error_tracks_in_the_last_delivery_is_delivered(
    server: LocalServer, api_key: str, tmp_path: Path, sender: str
) -> None:
    body = '{"accepted": 0, "rejected": 1}'
    server.fault(action="status", status=202, body=body, stored=True, key=api_key)
    result = run_script(
        server, api_key, tmp_path, SCRIPT, "on_error_tracks_at_the_end", LAB_SENDER=sender
    )
    result.assert_exactly_once(2)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("sender", SENDERS)
def test_ctrl_c_ends_the_last_delivery_and_what_is_left_is_reported(
    server: LocalServer, api_key: str, tmp_path: Path, hanging_url: str, sender: str
) -> None:
    result = run_script(
        server, api_key, tmp_path, SCRIPT, "struck_at_the_end", url=hanging_url, LAB_SENDER=sender
    )
    assert "KeyboardInterrupt" in result.output
    assert result.seconds_since("end") < 5.0
    _assert_reported(result.lines("reports"), 50)


def test_a_flush_ends_in_time_when_the_service_never_answers(
    server: LocalServer, api_key: str, tmp_path: Path, hanging_url: str
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "flush_in_vain", url=hanging_url)
    (flushed,) = result.lines("flushed")
    assert flushed["seconds"] < 1.0 + 0.5
    assert (flushed["true"], flushed["queued"], flushed["timed_out"]) == (False, 50, True)


def test_what_was_refused_is_reported_at_the_end_without_time_to_deliver(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "refused_at_the_end")
    assert [report["reason"] for report in result.lines("reports")] == ["invalid"]


def test_an_operation_of_a_late_handler_that_cannot_be_delivered_is_reported(
    server: LocalServer, api_key: str, tmp_path: Path, hanging_url: str
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "late_in_vain", url=hanging_url)
    _assert_reported(result.lines("reports"), 1)


def test_track_in_module_teardown_neither_waits_nor_loses_silently(
    server: LocalServer, api_key: str, tmp_path: Path
) -> None:
    result = run_script(server, api_key, tmp_path, SCRIPT, "track_in_teardown")
    assert result.status == 0, result.output
    assert len(result.ledger.arrived) == 1
    (tracked,) = result.lines("tracked")
    assert tracked["seconds"] < 0.5
    _assert_reported(result.lines("reports"), 1)


def _assert_reported(reports: list[dict[str, object]], count: int) -> None:
    """What was not delivered is reported once, with its count."""
    undelivered = [report for report in reports if report["reason"] == "undelivered"]
    assert [report["count"] for report in undelivered] == [count], reports


if sys.platform == "win32":
    del ENDS["keyboard_interrupt"]


@pytest.fixture
def teardown(server: LocalServer, api_key: str, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds that an interpreter takes to end here and now, with nothing to deliver."""
    folder = tmp_path_factory.mktemp("control")
    result = run_script(server, api_key, folder, SCRIPT, "nothing_to_deliver")
    return result.seconds_since("end")


@pytest.fixture
def hanging_url() -> Iterator[str]:
    """A server that accepts every connection and never answers: the kernel does it for us."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
