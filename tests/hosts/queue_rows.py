"""RQ, dramatiq and huey."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from hosts.endings import signal_main
from hosts.queues import MAX_TASKS, QueueRow, enqueue, recycle, wait_for
from hosts.row import KILLED, NORMAL, RECYCLE, RELOAD, STOP, End, Ending

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from hosts.laboratory import Laboratory
    from hosts.row import Row

_BOOT = 30
_OPERATIONS = 50


# RQ: a process for each job, which ends by os._exit


def _end_job(lab: Laboratory) -> Collection[int]:
    enqueue(lab, "tell", "end")
    return lab.workers()


def _stop_rq_by(number: signal.Signals) -> End:
    def end(lab: Laboratory) -> Collection[int]:
        """The worker waits for its job."""
        lab.signal(number)
        return _end_job(lab)

    return end


def _time_out_job(lab: Laboratory) -> Collection[int]:
    """What RQ's timer does when a job takes too long."""
    workers = lab.workers()
    for pid in workers:
        lab.signal(signal.SIGALRM, pid)
    return workers


def _kill_job(lab: Laboratory) -> Collection[int]:
    enqueue(lab, "kill")
    return lab.workers()


_OS_EXIT = "Everything that a job left queued: RQ ends its process by os._exit."
_SIGKILL = "Everything that the job held."
_NO_RELOAD = "RQ has no reload."


def _rq_endings(bound: str | None) -> dict[str, Ending]:
    return {
        RECYCLE: Ending(_end_job, RECYCLE, bound),
        STOP: Ending(_stop_rq_by(signal.SIGTERM), STOP, bound, ends_host=True),
        "stop by INT": Ending(_stop_rq_by(signal.SIGINT), STOP, bound, ends_host=True),
        KILLED: Ending(_kill_job, KILLED, bound=_SIGKILL),
        "job timed out": Ending(_time_out_job, KILLED, bound),
    }


class RqRow(QueueRow):
    """A worker whose jobs have processes of their own."""

    host = "rq"
    module = "hosts.rq_app"

    def __init__(self, *, delivering: bool) -> None:
        self._delivering = delivering
        self.name = "RQ" + " with delivering()" * delivering
        self.endings = _rq_endings(None if delivering else _OS_EXIT)
        self.missing = {RELOAD: _NO_RELOAD}
        if not delivering:
            self.missing[NORMAL] = "Each job is a process that ends; see recycle."
        self.usual = (STOP, "queued") if delivering else None

    def command(self, lab: Laboratory) -> list[str]:
        """One worker."""
        return _rq(lab)

    def wait_for_workers(self, lab: Laboratory) -> None:
        """One job that goes on, except where each piece of work is a job."""
        if lab.ending == NORMAL:
            enqueue(lab, "ready")
        else:
            enqueue(lab, "obey", "delivering" if self._delivering else "plain")
        super().wait_for_workers(lab)

    def work(self, lab: Laboratory, count: int) -> None:
        """By the job that goes on, or in jobs of fifty operations each."""
        before = len(lab.lines("journal"))
        if lab.ending == NORMAL:
            enqueue(lab, "deliver", _OPERATIONS, count // _OPERATIONS)
        else:
            enqueue(lab, "tell", count)
        wait_for(lab, "journal", before + count)


class SimpleRqRow(QueueRow):
    """RQ's worker that runs its jobs itself."""

    name = "RQ SimpleWorker"
    host = "rq"
    module = "hosts.rq_app"
    endings: Mapping[str, Ending] = {
        RECYCLE: Ending(recycle, RECYCLE, ends_host=True),
        STOP: Ending(signal_main(signal.SIGTERM), STOP, ends_host=True),
        "stop by INT": Ending(signal_main(signal.SIGINT), STOP, ends_host=True),
    }
    missing: Mapping[str, str] = {RELOAD: _NO_RELOAD, KILLED: "A worker kills nobody but jobs."}

    def command(self, lab: Laboratory) -> list[str]:
        """One worker; `lab.ending` may need an option."""
        options = ["--max-jobs", str(MAX_TASKS)] if lab.ending == RECYCLE else []
        return [*_rq(lab), "--worker-class", "rq.SimpleWorker", *options]

    def wait_for_workers(self, lab: Laboratory) -> None:
        """The first job."""
        enqueue(lab, "ready")
        super().wait_for_workers(lab)


def _rq(lab: Laboratory) -> list[str]:
    return [*lab.environment.script("rq"), "worker", "--url", lab.variables["LAB_BROKER"]]


# dramatiq: processes of multiprocessing


def _reload_dramatiq(lab: Laboratory) -> Collection[int]:
    lab.signal(signal.SIGHUP)
    wait_for(lab, "ready", 2 * DramatiqRow.ready)
    return lab.workers()


def _terminate_twice(lab: Laboratory) -> Collection[int]:
    """Whoever asks a second time has the processes end in the middle of a task."""
    enqueue(lab, "block")
    wait_for(lab, "blocked")
    lab.signal(signal.SIGTERM)
    lab.wait_until(lambda: lab.output.count("Stopping worker process") >= DramatiqRow.ready)
    lab.signal(signal.SIGTERM)
    return lab.workers()


class DramatiqRow(QueueRow):
    """Two processes with two threads each."""

    name = "dramatiq"
    host = "dramatiq"
    module = "hosts.dramatiq_app"
    ready = 2
    endings: Mapping[str, Ending] = {
        STOP: Ending(signal_main(signal.SIGTERM), STOP, ends_host=True),
        "stop by INT": Ending(signal_main(signal.SIGINT), STOP, ends_host=True),
        RELOAD: Ending(_reload_dramatiq, RELOAD),
        KILLED: Ending(_terminate_twice, KILLED, ends_host=True),
    }
    missing: Mapping[str, str] = {RECYCLE: "dramatiq replaces no process."}
    usual = (STOP, "queued")

    def command(self, lab: Laboratory) -> list[str]:
        """Two processes with two threads each."""
        options = ["--processes", str(self.ready), "--threads", "2"]
        return [*lab.environment.script("dramatiq"), self.module, *options]


# huey: processes of multiprocessing, or threads


def _hears(lab: Laboratory) -> bool:
    """Whether the main process handles SIGTERM: its workers are ready before it does."""
    status = Path(f"/proc/{lab.main.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def _reload_huey(lab: Laboratory) -> Collection[int]:
    """The main process begins anew; it ends with the host."""
    workers = len(lab.lines("ready"))
    lab.signal(signal.SIGHUP)
    wait_for(lab, "ready", 2 * workers)
    lab.wait_until(lambda: _hears(lab))
    lab.signal(signal.SIGINT)
    return {lab.main.pid}


_EXEC = "What the main process held: huey replaces it without running an exit handler."
_HUEY_ENDINGS = {
    STOP: Ending(signal_main(signal.SIGINT), STOP, ends_host=True),
    "stop at once by TERM": Ending(signal_main(signal.SIGTERM), STOP, ends_host=True),
    RELOAD: Ending(_reload_huey, RELOAD, bound=_EXEC, ends_host=True),
}


class HueyRow(QueueRow):
    """A consumer with two workers of one type."""

    host = "huey"
    module = "hosts.huey_app"
    ready = 2

    def __init__(self, workers: str, *, hook: bool = False) -> None:
        self._workers = workers
        self._hook = hook
        self.name = f"huey {workers}" + " with a shutdown hook" * hook
        self.endings = dict(_HUEY_ENDINGS)
        self.missing = {KILLED: "huey kills nobody."}
        if hook:
            self.endings[RELOAD] = Ending(_reload_huey, RELOAD, ends_host=True)
        if workers == "process":
            self.boot = _BOOT
            self.endings[RECYCLE] = Ending(recycle, RECYCLE)
            self.usual = (STOP, "queued")
        else:
            self.missing[RECYCLE] = "There are no processes to replace."

    def start(self, lab: Laboratory) -> None:
        """Start it with or without the hook."""
        lab.variables["LAB_HELPER"] = "on" if self._hook else "off"
        super().start(lab)

    def command(self, lab: Laboratory) -> list[str]:
        """Two workers; `lab.ending` may need an option."""
        options = ["--max-tasks", str(MAX_TASKS), "-c", "1"] if lab.ending == RECYCLE else []
        script = lab.environment.script("huey_consumer")
        workers = ["--worker-type", self._workers, "--workers", str(self.ready)]
        return [*script, f"{self.module}.huey", *workers, *options]

    def wait_for_workers(self, lab: Laboratory) -> None:
        """And for the main process."""
        super().wait_for_workers(lab)
        lab.wait_until(lambda: _hears(lab))

    def stop(self, lab: Laboratory) -> None:
        """Gracefully."""
        lab.signal(signal.SIGINT)


ROWS: list[Row] = [
    RqRow(delivering=True),
    RqRow(delivering=False),
    SimpleRqRow(),
    DramatiqRow(),
    HueyRow("process"),
    HueyRow("thread"),
    HueyRow("thread", hook=True),
]
