"""What a uWSGI master queued before it forked: one of its workers delivers it, whatever happens."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import signal
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from hosts.environments import VERSIONS, Environment, environments
from hosts.laboratory import HOST, Laboratory
from hosts.uwsgi_rows import THREADLESS_VERSIONS, threadless_uwsgi
from hosts.uwsgi_status import wait_until_idle, workers_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness import LocalServer

BATCH = "/v1/events/batch"
WORKERS = 2
#: Only an end of the process, or the hand-over, delivers.
QUEUED = {"flush_interval": 0, "flush_at": 10**9}
SPOOLER = ("--spooler", "spool", "--spooler-frequency", "1")
EACH = {"flush_at": 1}
#: The number of the system call tgkill(2).
_TGKILL = {"x86_64": 234, "aarch64": 131}
ENVIRONMENTS = {
    version: environment
    for version, environment in environments().items()
    if version in VERSIONS or "WHISPERR_HOSTS" not in os.environ
}


@pytest.fixture(params=list(ENVIRONMENTS))
def environment(request: pytest.FixtureRequest) -> Environment:
    return ENVIRONMENTS[request.param]


@pytest.fixture
def lab(
    environment: Environment, server: LocalServer, api_key: str, tmp_path: Path
) -> Iterator[Laboratory]:
    with Laboratory(environment, tmp_path, server, api_key, "") as laboratory:
        yield laboratory


def start(
    lab: Laboratory,
    *arguments: str,
    boot: int = 30,
    before: str = "",
    after: str = "",
    options: dict[str, Any] | None = None,
    workers: int = WORKERS,
    master: bool = True,
    executable: Path | None = None,
) -> None:
    """Start uWSGI with an application that tracks `boot` operations while it is imported."""
    lab.launch(
        [
            *(str(executable or lab.environment.pyuwsgi), "--need-app", "-p", str(workers)),
            *("--http-socket", f"{HOST}:{lab.port}", "--module", "hosts.uwsgi_scenarios"),
            *(["--master", "--stats", "stats"] if master else []),
            *arguments,
        ],
        LAB_OPTIONS=json.dumps(QUEUED if options is None else options),
        LAB_BOOT=str(boot),
        LAB_BEFORE=before,
        LAB_AFTER=after,
    )


def stop(lab: Laboratory) -> None:
    """A graceful stop, once no worker is busy."""
    wait_until_idle(lab)
    lab.signal(signal.SIGINT)
    lab.wait_for_host()


def assert_exactly_once(lab: Laboratory, expected: int) -> None:
    ledger = lab.ledger()
    assert ledger.exactly_once, f"{lab.account()}\n{lab.output}"
    assert len(ledger.tracked) == expected
    assert not lab.lines("reports"), lab.output


def deliveries(lab: Laboratory) -> list[int]:
    """How many operations each worker had delivered when it ended."""
    return sorted(line["delivered"] for line in lab.lines("accounts"))


def the_taker(lab: Laboratory) -> int:
    """The worker that took over what the master queued."""

    def takers() -> list[int]:
        return [line["pid"] for line in lab.lines("forked") if line["took"]]

    lab.wait_until(takers)
    return takers()[-1]


def replace_worker(lab: Laboratory, pid: int, number: signal.Signals) -> None:
    """End a worker; return when its successor is idle."""
    lab.signal(number, pid)
    lab.wait_for_end([pid])
    lab.wait_until(lambda: len(psutil.Process(lab.main.pid).children()) == WORKERS)
    wait_until_idle(lab)


def test_one_of_four_workers_that_start_at_once_delivers_although_none_tracks(
    lab: Laboratory,
) -> None:
    start(lab, boot=1000, workers=4, options={**QUEUED, "max_batch_size": 100})
    lab.wait_until(lambda: lab.arrived() >= 1000)
    stop(lab)
    assert_exactly_once(lab, 1000)
    assert deliveries(lab) == [0, 0, 0, 1000]


def test_what_a_killed_worker_took_over_goes_to_its_successor(lab: Laboratory) -> None:
    lab.server.fault(key=lab.api_key, path=BATCH, action="never", times=1)
    start(lab, after="who took")
    taker = the_taker(lab)
    lab.wait_until(lambda: not lab.delay_is_armed())
    lab.signal(signal.SIGKILL, taker)
    lab.wait_until(lambda: lab.arrived() >= 30)
    stop(lab)
    assert_exactly_once(lab, 30)
    assert deliveries(lab) == [0, 30]


def test_what_a_killed_worker_had_delivered_of_it_does_not_come_again(lab: Laboratory) -> None:
    lab.server.fault(key=lab.api_key, path=BATCH, action="delay", delay=0.01, times=3)
    lab.server.fault(key=lab.api_key, path=BATCH, action="never", times=1)
    start(lab, boot=100, after="who took", options={**QUEUED, "max_batch_size": 10})
    taker = the_taker(lab)
    lab.wait_until(lambda: not lab.delay_is_armed())
    assert lab.arrived() == 30
    lab.signal(signal.SIGKILL, taker)
    lab.wait_until(lambda: lab.arrived() >= 100)
    stop(lab)
    assert_exactly_once(lab, 100)
    assert deliveries(lab) == [0, 70]


def test_a_worker_that_is_replaced_while_it_delivers_leaves_nothing_to_its_successor(
    lab: Laboratory,
) -> None:
    lab.server.fault(key=lab.api_key, path=BATCH, action="delay", delay=1.0, times=1)
    start(lab, after="who took")
    taker = the_taker(lab)
    lab.wait_until(lambda: not lab.delay_is_armed())
    wait_until_idle(lab)
    replace_worker(lab, taker, signal.SIGHUP)
    assert lab.arrived() == 30
    stop(lab)
    assert_exactly_once(lab, 30)
    assert deliveries(lab) == [0, 0, 30]


def test_a_worker_that_could_not_deliver_until_its_end_leaves_it_to_its_successor(
    lab: Laboratory,
) -> None:
    lab.server.fault(key=lab.api_key, path=BATCH, action="status", status=503, times=None)
    start(lab, after="who took", options={**QUEUED, "shutdown_timeout": 0.2})
    taker = the_taker(lab)
    wait_until_idle(lab)
    lab.signal(signal.SIGHUP, taker)
    lab.wait_for_end([taker])
    lab.server.clear_faults(lab.api_key)
    lab.wait_until(lambda: lab.arrived() >= 30)
    stop(lab)
    ledger = lab.ledger()
    assert ledger.exactly_once, lab.account()
    assert [line["reason"] for line in lab.lines("reports")] == ["undelivered"]


@pytest.mark.parametrize("hooks", ["slots", "decorators"])
@pytest.mark.parametrize("order", ["before", "after"])
def test_hooks_of_the_application_run_beside_ours(lab: Laboratory, hooks: str, order: str) -> None:
    before, after = (hooks, "") if order == "before" else ("", hooks)
    start(lab, "--mule", *SPOOLER, before=before, after=after)
    lab.wait_until(lab.answers)
    lab.request("/mule")
    lab.request("/spool")
    lab.wait_until(lambda: {"mule", "spool"} <= {line["hook"] for line in lab.lines("theirs")})
    wait_until_idle(lab)
    workers = {worker["pid"] for worker in workers_of(lab)}
    lab.request_all("/work?count=10", 10)
    stop(lab)
    assert_exactly_once(lab, 130)
    for hook in ("post_fork", "atexit"):
        pids = [line["pid"] for line in lab.lines("theirs") if line["hook"] == hook]
        assert workers <= set(pids), hook
        assert len(pids) == len(set(pids)), f"{hook} ran twice"


def test_a_worker_that_runs_before_the_master_knows_its_pid_takes_over(lab: Laboratory) -> None:
    start(lab, "--py-call-uwsgi-fork-hooks", after="slow master")
    lab.wait_until(lambda: lab.arrived() >= 30)
    stop(lab)
    assert_exactly_once(lab, 30)
    assert deliveries(lab) == [0, 30]


def test_the_helper_takes_over_where_the_slot_was_overwritten(lab: Laboratory) -> None:
    start(lab, before="overwritten", after="helper")
    lab.wait_until(lambda: lab.arrived() >= 30)
    stop(lab)
    assert_exactly_once(lab, 30)
    assert deliveries(lab) == [0, 30]


def test_the_end_of_a_worker_takes_over_where_the_slot_was_overwritten(lab: Laboratory) -> None:
    start(lab, after="overwritten")
    lab.wait_until(lab.answers)
    stop(lab)
    assert_exactly_once(lab, 30)


def test_calls_in_the_master_after_the_fork_are_refused_and_reported_once(
    lab: Laboratory,
) -> None:
    start(lab, after="late")
    lab.wait_until(lambda: lab.arrived() >= 30)
    (lab.folder / "late.pipe").write_text("7")
    lab.wait_until(lambda: len(lab.lines("late")))
    (late,) = lab.lines("late")
    assert (late["pid"], late["refused"]["master"]) == (lab.main.pid, 7)
    assert lab.output.count("track() was called in a uWSGI master") == 1
    assert not lab.lines("reports")
    for _ in range(2):
        replace_worker(lab, workers_of(lab)[0]["pid"], signal.SIGHUP)
    stop(lab)
    (report,) = lab.lines("reports")
    assert (report["count"], report["reason"]) == (7, "master")
    assert report["pid"] != lab.main.pid
    assert lab.ledger().exactly_once, lab.account()


def test_mules_and_spoolers_deliver_their_own_and_leave_the_masters(lab: Laboratory) -> None:
    start(
        lab, "--mule", "--mule", "--spooler", "spool", "--cheap", after="others track", options=EACH
    )
    lab.wait_until(lambda: len(lab.lines("others")) == 3)
    theirs = {line["pid"] for line in lab.lines("others")}
    lab.wait_until(lambda: lab.ledger(theirs).exactly_once)
    assert lab.arrived() == 3, "there is no worker yet, and somebody delivered the master's"
    lab.wait_until(lab.answers)
    lab.wait_until(lambda: lab.arrived() >= 33)
    stop(lab)
    assert_exactly_once(lab, 33)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="default"),
        pytest.param(["--lazy-apps"], id="lazy-apps"),
        pytest.param(["--threads", "4"], id="threads"),
        pytest.param(["--py-call-uwsgi-fork-hooks"], id="py-call-uwsgi-fork-hooks"),
        pytest.param(["--gevent", "10"], id="gevent"),
    ],
)
def test_a_master_never_has_a_second_thread(lab: Laboratory, options: list[str]) -> None:
    start(lab, *options, boot=1000, options={})
    master = psutil.Process(lab.main.pid)
    counts = {master.num_threads()}
    boot = 1000 * (WORKERS if options == ["--lazy-apps"] else 1)

    def all_has_arrived() -> bool:
        counts.add(master.num_threads())
        return lab.arrived() >= boot + 100

    lab.wait_until(lab.answers)
    lab.request_all("/work?count=10", 10)
    lab.wait_until(all_has_arrived)
    wait_until_idle(lab)
    replace_worker(lab, workers_of(lab)[0]["pid"], signal.SIGHUP)
    counts.add(master.num_threads())
    stop(lab)
    assert counts == {1}
    assert lab.ledger().exactly_once, lab.account()


def test_without_a_master_the_process_that_imported_delivers_alone(lab: Laboratory) -> None:
    start(lab, master=False)
    lab.wait_until(lambda: len(psutil.Process(lab.main.pid).children()) == WORKERS - 1)
    lab.wait_until(lab.answers)
    lab.wait_until(lambda: all(psutil.Process(pid).status() == "sleeping" for pid in lab.pids()))
    os.killpg(lab.main.pid, signal.SIGINT)
    lab.wait_for_host()
    assert_exactly_once(lab, 30)
    (deliverer,) = (line["pid"] for line in lab.lines("accounts") if line["delivered"])
    assert deliverer == lab.main.pid


def test_a_flush_at_import_delivers_in_the_master_and_leaves_nothing(lab: Laboratory) -> None:
    start(lab, after="flush")
    lab.wait_until(lab.answers)
    (flushed,) = lab.lines("flushed")
    assert (flushed["pid"], flushed["delivered"], flushed["queued"]) == (lab.main.pid, 30, 0)
    assert psutil.Process(lab.main.pid).num_threads() == 1
    stop(lab)
    assert_exactly_once(lab, 30)
    assert deliveries(lab) == [0, 0]


@pytest.mark.hosts
@pytest.mark.skipif("WHISPERR_HOSTS" not in os.environ, reason="make hosts runs it")
@pytest.mark.parametrize("environment", THREADLESS_VERSIONS, indirect=True)
def test_without_threads_calls_deliver_and_each_worker_says_so_once(lab: Laboratory) -> None:
    start(lab, options={}, executable=threadless_uwsgi(lab.environment))
    lab.wait_until(lab.answers)
    lab.wait_until(lambda: lab.arrived() >= 30)
    lab.request_all("/work?count=50", 10)
    assert lab.arrived() >= 30 + 400, "the calls themselves delivered full batches"
    stop(lab)
    assert lab.ledger().exactly_once, lab.account()
    reports = lab.lines("reports")
    assert {(report["type"], "enable-threads" in report["message"]) for report in reports} == {
        ("environment", True)
    }
    pids = [report["pid"] for report in reports]
    assert len(pids) == len(set(pids))
    assert lab.main.pid not in pids


@pytest.mark.skipif(sys.platform != "linux", reason="a signal for one thread is Linux's")
def test_a_signal_that_meets_the_senders_thread_does_not_end_its_worker(lab: Laboratory) -> None:
    """UWSGI would end it there, inside the handler, and wait for the main thread for ever."""
    start(lab, boot=0, workers=1)
    lab.wait_until(lab.answers)
    lab.request("/work?count=10")
    (worker,) = (row["pid"] for row in workers_of(lab))
    (sender,) = {thread.id for thread in psutil.Process(worker).threads()} - {worker}
    call = _TGKILL[platform.machine()]
    assert ctypes.CDLL(None).syscall(call, worker, sender, signal.SIGINT) == 0
    lab.request("/work?count=10")
    stop(lab)
    assert_exactly_once(lab, 20)
