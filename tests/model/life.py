"""One process: its client, driven by the steps of a test, and judged after each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forked import in_child

from .accounts import Call, Model
from .service import LIMIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whisperr import FlushResult, Whisperr, WhisperrError

    from .clock import Clock
    from .service import Service

#: A step by the name of a method of Life's, and its argument.
Step = tuple[str, Any]
_TOO_LARGE = "x" * 256 * 1024


class Life:
    """What a process did with its client so far.

    Args:
        name: of the process; its operations' user ids begin with it.
        client: the one of this process and of those that it forks.
        reports: what the client's on_error appends to.
        clock: the time.
        service: what answers.
        limits: the client's max_queue_size and max_batch_size.
    """

    def __init__(
        self,
        name: str,
        client: Whisperr,
        reports: list[WhisperrError],
        clock: Clock,
        service: Service,
        limits: tuple[int, int],
    ) -> None:
        self.name = name
        self._client = client
        self._reports = reports
        self._clock = clock
        self._service = service
        self._limits = limits
        self.model = Model(*limits)
        self._read_to = service.size()
        self._flushed = (0, 0)
        self._undelivered: list[int] = []
        self._children = 0

    # --- Steps --------------------------------------------------------------------------------

    def call(self, kinds: Sequence[str]) -> None:
        """Make a call of each kind, with no time in between."""
        for kind in kinds:
            call = Call(f"{self.name}-{self.model.called}", kind)
            self.model.call(call)
            self._make(call)
            self._catch_up()

    def _make(self, call: Call) -> None:
        if call.kind == "identify":
            self._client.identify(call.user, traits={"plan": "pro"})
        elif call.kind == "invalid":
            self._client.track(call.user, "Not Snake Case")
        else:
            malformed = call.kind == "malformed"
            value = _TOO_LARGE if call.kind == "too_large" else "small"
            self._client.track(call.user, "seen", {"malformed": malformed, "value": value})

    def flush(self, timeout: float | None) -> None:
        self._judge_flush(self._client.flush(timeout), timeout)

    def shutdown(self, timeout: float | None) -> None:
        first, self.model.closed = not self.model.closed, True
        self._judge_flush(self._client.shutdown(timeout), timeout)
        if first and self.model.owed:  # what is left is reported once
            self._undelivered = [len(self.model.owed)]

    def wait(self, seconds: float) -> None:
        self._clock.sleep(seconds)

    def fork(self, steps: Sequence[Step]) -> None:
        """Fork a child that takes these steps, flushes, and ends by os._exit."""
        self._children += 1
        name = f"{self.name}.{self._children}"
        since = self._service.size()
        child = in_child(lambda: self._as_child(name, steps), seconds=LIMIT)
        self._judge_child(name, child, since)

    # --- Judgement ----------------------------------------------------------------------------

    def _as_child(self, name: str, steps: Sequence[Step]) -> dict[str, Any]:
        self._clock.forked()
        self._reports.clear()
        life = Life(name, self._client, self._reports, self._clock, self._service, self._limits)
        for step, argument in (*steps, ("flush", 10.0)):
            getattr(life, step)(argument)
            life.judge()
        owed = [call.user for call in life.model.owed]
        return {"called": life.model.called, "delivered": life.model.delivered, "owed": owed}

    def _judge_child(self, name: str, child: dict[str, Any], since: int) -> None:
        """Nothing of another process arrived meanwhile, and the child's accounts agree with it."""
        arrivals = self._service.read(since)
        self._read_to = self._service.size()
        users = {user for arrival in arrivals for user in arrival.users}
        assert all(user.startswith((f"{name}-", f"{name}.")) for user in users), users
        own = [arrival for arrival in arrivals if arrival.users[0].startswith(f"{name}-")]
        taken = [arrival for arrival in own if arrival.answer.taken]
        delivered = sum(len(arrival.users) - arrival.answer.rejected for arrival in taken)
        assert delivered == child["delivered"]
        assert not {user for arrival in taken for user in arrival.users} & {*child["owed"]}

    def _catch_up(self) -> None:
        """Tell the model what arrived."""
        for arrival in self._service.read(self._read_to):
            self.model.arrive(arrival)
        self._read_to = self._service.size()

    def _judge_flush(self, result: FlushResult, timeout: float | None) -> None:
        self._catch_up()
        self._flushed = self.model.judge_flush(result, self._flushed)
        waited = timeout != 0 and not result.timed_out
        self.model.judge_reports(self._reports, complete=waited)

    def judge(self) -> None:
        """Let everyone come to rest, and compare."""
        self._clock.sleep(0)
        self._catch_up()
        self.model.judge(self._client.stats())
        self.model.judge_reports(self._reports, complete=False)
        left = [report.count for report in self._reports if report.reason == "undelivered"]
        assert left == self._undelivered

    def end(self) -> None:
        """With a service that works again all is delivered; then no thread is left."""
        self._service.answers.clear()
        self.flush(None)
        assert not self.model.owed
        self.shutdown(None)
        self.judge()
        assert self._clock.threads == 0
