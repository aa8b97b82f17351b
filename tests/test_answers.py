"""docs/answers.md, row by row: each answer is given to a client, which does what the row says."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import requests

from harness import wait_until
from service import BECAUSE, OFFENDER, Scene, Service, treatment
from tables import DOCS, codes, table
from whisperr import Whisperr, WhisperrError
from whisperr.server.ledger import judge

if TYPE_CHECKING:
    from pathlib import Path

KEY = "wrk_test_answers"
USER = "user-of-the-answers"
OPERATIONS = ("a batch", "one event", "an identify")
STATUSES = (
    *(200, 201, 202, 204, 400, 401, 403, 404, 405, 407, 408, 409, 410, 413, 415, 421, 422, 425),
    *(429, 500, 502, 503, 504, 507),
)
#: Each of them has a row, or several for different operations.
REQUIRED = {
    *(f"`{status}`" for status in STATUSES),
    *(f"`{status}`, then `202`" for status in (100, 103)),
    *(f"`{n}` with `Location: https://elsewhere.example/`" for n in (301, 302, 303, 307, 308)),
    *(f"`{n}` with `Retry-After: {form}`" for n in (429, 503) for form in ("1", "<date>")),
    '`202` with `{"accepted": 2, "rejected": 1}`',
    '`202` with `{"accepted": 0, "rejected": 1}`',
    "`200` with `<html></html>`",
    "connection refused",
    "reset before the request was read",
    "reset after the request was taken",
    "no answer in time",
    "a certificate that is not trusted",
    "a name that does not resolve",
}
SHORT = 0.3


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    answer: str
    operation: str
    outcome: str
    report: str
    again: str
    proof: str

    @property
    def name(self) -> str:
        """What the row is called among the tests."""
        parts = (self.answer,) if self.operation == "any" else (self.answer, self.operation)
        return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)

    @property
    def operations(self) -> tuple[str, ...]:
        return OPERATIONS if self.operation == "any" else tuple(self.operation.split(", "))

    @property
    def kept(self) -> bool:
        return codes(self.outcome) == ["kept"]

    def settled(self, count: int) -> tuple[int, int, int]:
        """How many of so many operations are delivered, dropped and queued after a flush."""
        words = codes(self.outcome)
        dropped = count if words == ["dropped"] else words.count("dropped")
        return count - dropped if "delivered" in words else 0, dropped, count * self.kept

    def reported(self, count: int) -> list[tuple[str, str | None, int | None, int]]:
        """Type, reason, status and count of the reports."""
        if self.report == "none":
            return []
        said = dict(re.findall(r"(\w+) `([^`]*)`", self.report))
        status = None if said["status"] == "none" else int(said["status"])
        number = count if said["count"] == "all" else int(said["count"])
        return [(codes(self.report)[0], said.get("reason"), status, number)]


ROWS = [Row(*cells) for cells in table("answers.md", "Answer")]


class Meeting:
    """One operation of a row meets its answer.

    Args:
        row: what the document says.
        operation: which of the row's.
        url: where the client believes the service to be.
        bundle: whose certificates it trusts.
    """

    def __init__(self, row: Row, operation: str, url: str, bundle: str) -> None:
        self.row = row
        self.url = url
        self.errors: list[WhisperrError] = []
        patient = row.again == "Retry-After"
        self.client = Whisperr(
            KEY,
            base_url=url,
            flush_interval=0,
            flush_at=10_000,
            max_retries=0 if patient else 1,
            request_timeout=SHORT if row.answer == "no answer in time" else 10.0,
            on_error=self.errors.append,
            session_factory=lambda: session(bundle),
        )
        self.names = [uuid.uuid4().hex for _ in range(3 if operation == "a batch" else 1)]
        self.event_types = ["first", OFFENDER, "last"] if operation == "a batch" else [OFFENDER]
        if operation == "an identify":
            self.event_types = []
            self.client.identify(USER, traits={"test_id": self.names[0]})
        for name, event_type in zip(self.names, self.event_types, strict=False):
            self.client.track(USER, event_type, {"test_id": name})

    def flush(self, timeout: float = 10.0) -> tuple[int, int, int]:
        """Delivered, dropped and queued."""
        result = self.client.flush(timeout)
        return result.delivered, result.dropped, result.queued

    def expect_outcome_and_report(self) -> None:
        row, count = self.row, len(self.names)
        assert self.flush() == row.settled(count)
        found = [(error.type, error.reason, error.status, error.count) for error in self.errors]
        assert found == row.reported(count)
        for error in self.errors:
            self.expect_words(error)

    def expect_words(self, error: WhisperrError) -> None:
        said = self.row.report
        assert (self.url in error.message) == ("the URL" in said)
        assert ("https://elsewhere.example/" in error.message) == ("the Location" in said)
        assert ("Check base_url" in error.message) == ("advises base_url" in said)
        quoted = error.status is not None and error.status >= 300 and error.status != 304
        assert error.service_message == (BECAUSE if quoted else None)
        assert BECAUSE not in f"{error} {error!r}"
        assert USER not in f"{error} {error!r}"
        if error.reason == "rejected" and error.status == 202:
            assert error.event_types == tuple(sorted(self.event_types))
        elif error.type == "dropped":
            assert error.event_types == tuple({OFFENDER} & set(self.event_types))

    def expect_tries(self, service: Service | None) -> None:
        """As many exchanges as the row says, and none in a pause that the service asked for."""
        tries = self.client.stats().requests
        expected = {"no": [1], "back-off": [2], "rest": [1], "Retry-After": [1]}
        assert tries in expected.get(self.row.again, [2, 3, 4, 5])
        if service is not None and service.times:
            assert len(service.times) == tries
        if self.row.again == "Retry-After":
            assert self.flush(SHORT) == (0, 0, len(self.names))
            assert self.client.stats().requests == 1

    def expect_one_report_for_the_episode(self) -> None:
        before = len(self.errors)
        self.flush(SHORT if self.row.again == "Retry-After" else 10.0)
        assert len(self.errors) == before

    def expect_delivery(self) -> None:
        """The service takes things again: all that was kept arrives, in its order."""
        wait_until(lambda: self.client.flush().queued == 0)
        assert self.client.shutdown()
        assert self.client.stats().balanced

    def expect_arrivals(self, service: Service) -> None:
        """Nothing arrived twice or too early, and what was dropped did not arrive at all."""
        if self.row.again == "Retry-After":
            assert service.times[-1] >= service.not_before - 0.01
        ledger = judge(self.names, service.arrivals)
        assert not ledger.unknown | ledger.twice
        resent = self.row.answer == "reset after the request was taken"
        assert bool(ledger.resent) == resent
        lost = set(self.names[1:2] or self.names) if self.row.settled(1)[1] else set()
        assert ledger.lost == (set() if service_took(self.row) else lost)
        first = list(dict.fromkeys(arrival.id for arrival in service.arrivals))
        assert first == [name for name in self.names if name not in ledger.lost]


def service_took(row: Row) -> bool:
    """Whether it answered 2xx to what it rejected."""
    return row.answer.startswith("`2")


def session(bundle: str) -> requests.Session:
    made = requests.Session()
    made.verify = bundle
    made.trust_env = False
    return made


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_answer(row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for operation in row.operations:
        with Scene(row.answer, tmp_path) as scene, monkeypatch.context() as patch:
            meeting = Meeting(row, operation, scene.url, scene.bundle)
            meeting.expect_outcome_and_report()
            meeting.expect_tries(scene.service)
            if row.kept:
                meeting.expect_one_report_for_the_episode()
            service = scene.recover(patch)
            meeting.expect_delivery()
            meeting.expect_arrivals(service)


# --- Episodes -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_an_episode_is_reported_once_and_ends_by_itself_after_growing_pauses(status: int) -> None:
    """Nobody flushes: the timer alone tries, after 0.5 to 1 s, then after 1 to 2 s."""
    reported = "auth" if status in (401, 403) else "retry_exhausted"
    errors: list[WhisperrError] = []

    def said() -> list[str]:
        return [error.type for error in errors if error.type != "stalled"]  # on a slow machine

    with Service(treatment(f"`{status}`")) as service:
        client = Whisperr(
            KEY, base_url=service.url, flush_interval=0.05, max_retries=0, on_error=errors.append
        )
        names = _report(client)
        wait_until(lambda: len(service.times) == 2 and client.stats().requests == 2)
        service.failing = False
        wait_until(lambda: client.stats().delivered == 3)
        assert said() == [reported]
        assert [arrival.id for arrival in service.arrivals] == names
        first, second = (after - before for before, after in pairwise(service.times[:3]))
        assert first >= 0.5
        assert second >= 1.0
        service.failing = True
        _report(client)
        wait_until(lambda: said() == [reported] * 2)
        service.failing = False
        assert client.flush()


def _report(client: Whisperr) -> list[str]:
    """An event, an identify and another event."""
    names = [uuid.uuid4().hex for _ in range(3)]
    client.track("u", OFFENDER, {"test_id": names[0]})
    client.identify("u", traits={"test_id": names[1]})
    client.track("u", OFFENDER, {"test_id": names[2]})
    return names


# --- The table ------------------------------------------------------------------------------


def test_the_table_has_a_row_for_every_kind_of_answer() -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))
    assert REQUIRED - {row.answer for row in ROWS} == set()


def test_an_answer_without_a_row_for_any_operation_has_one_for_each() -> None:
    answers: dict[str, list[str]] = {}
    for row in ROWS:
        answers.setdefault(row.answer, []).extend(row.operations)
    counted = {answer for answer in answers if '"rejected"' in answer}  # an identify has no counts
    for answer in answers.keys() - counted:
        assert sorted(answers[answer]) == sorted(OPERATIONS), answer


def test_every_row_names_its_own_test_and_others_that_exist() -> None:
    named = [(row, codes(row.proof)) for row in ROWS]
    assert all(proof[0] == f"test_answers.py::test_the_answer[{row.name}]" for row, proof in named)
    tests = {f"tests/{test}" for _, proof in named for test in proof}
    files = sorted({test.split("::")[0] for test in tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(
        [*command, *files], cwd=DOCS.parent, capture_output=True, text=True, timeout=60
    )
    assert tests - set(found.stdout.splitlines()) == set(), found.stderr
