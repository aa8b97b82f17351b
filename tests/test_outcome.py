"""The contract's table of answers, row by row; docs/delivery.md says the same."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from tables import codes, table
from whisperr._outcome import Verdict, judge, no_answer
from whisperr._stats import DROP_REASONS, REFUSAL_REASONS
from whisperr.errors import ErrorType


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


GOOD = body({"accepted": 2, "rejected": 0})


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_ok_by_its_class(status: int) -> None:
    assert judge(status, GOOD, events=2).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("verdict", "statuses"),
    [
        (Verdict.AUTH, [401, 403]),
        (Verdict.RETRY, [408, 425, 429, 500, 501, 502, 503, 504, 520, 599]),
        (Verdict.MISCONFIGURED, [300, 301, 302, 303, 304, 307, 308, 399, 404, 405, 407, 421]),
        (Verdict.DROP, [400, 402, 406, 409, 410, 411, 412, 413, 414, 415, 422, 426, 431, 451, 499]),
    ],
)
def test_each_other_status_has_the_class_of_the_contract(
    verdict: Verdict, statuses: list[int]
) -> None:
    for status in statuses:
        outcome = judge(status, b"", events=1)
        assert (status, outcome.verdict, outcome.status) == (status, verdict, status)


def test_no_answer_is_retried_and_says_whether_nothing_listens() -> None:
    assert no_answer("no answer came in time").verdict is Verdict.RETRY
    assert no_answer("no answer came in time").status is None
    assert not no_answer("no answer came in time").refused
    assert no_answer("nothing listens there", refused=True).refused


def test_rejected_events_are_counted_and_the_rest_stands() -> None:
    outcome = judge(202, body({"accepted": 3, "rejected": 2}), events=5)
    assert (outcome.verdict, outcome.rejected, outcome.unexpected) == (Verdict.OK, 2, False)


def test_an_answer_without_rejected_is_read_as_none_rejected() -> None:
    outcome = judge(202, body({"accepted": 5}), events=5)
    assert (outcome.rejected, outcome.unexpected) == (0, False)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>Welcome</html>",
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 5_000,
        b"null",
        body([{"accepted": 5}]),
        body({}),
        body({"accepted": "5"}),
        body({"accepted": True, "rejected": 4}),
        body({"accepted": 5.0}),
        body({"accepted": 4}),
        body({"accepted": 5, "rejected": 1}),
        body({"accepted": 5, "rejected": None}),
        body({"accepted": -1, "rejected": 6}),
        body({"accepted": 6, "rejected": -1}),
    ],
)
def test_a_2xx_that_is_no_answer_of_the_service_is_ok_and_unexpected(answer: bytes) -> None:
    """It is never resent: the service may have taken it. But it may be a web page's."""
    outcome = judge(200, answer, events=5)
    assert (outcome.verdict, outcome.rejected, outcome.unexpected) == (Verdict.OK, 0, True)


@pytest.mark.parametrize(
    ("answer", "unexpected"), [(b'{"processing": "queued"}', False), (b"", True)]
)
def test_an_identify_is_answered_by_any_object(answer: bytes, unexpected: bool) -> None:
    outcome = judge(202, answer, events=0)
    assert (outcome.verdict, outcome.unexpected) == (Verdict.OK, unexpected)


@pytest.mark.parametrize("status", range(300, 600))
def test_retry_after_counts_on_429_and_503_alone(status: int) -> None:
    expected = 7.0 if status in (429, 503) else None
    assert judge(status, b"", events=1, retry_after=7.0).retry_after == expected


def test_the_services_message_stands_in_a_field_of_its_own_and_is_cut() -> None:
    answer = body({"error": {"code": "bad", "message": "secret " * 200}})
    outcome = judge(400, answer, events=1)
    assert outcome.service_message == ("secret " * 200)[:500]
    assert "secret" not in outcome.detail


@pytest.mark.parametrize(
    "answer", [b"", b"no json", body([]), body({"error": "x"}), body({"error": {"message": 5}})]
)
def test_an_error_of_another_form_has_no_message(answer: bytes) -> None:
    assert judge(400, answer, events=1).service_message is None


def test_a_redirect_names_its_location_without_the_query() -> None:
    outcome = judge(302, b"", events=1, location="https://other.example/login?next=/secret#part")
    assert outcome.detail == "the service answered 302 (a redirect to https://other.example/login)"
    assert "location" not in judge(404, b"", events=1, location="https://x.example").detail


@pytest.mark.parametrize("status", [400, 302, 503])
def test_a_secret_that_the_answer_quotes_is_in_no_part_of_the_outcome(status: int) -> None:
    answer = body({"error": {"message": "x" * 490 + " wrk_secret wrk_secret"}})
    location = "https://x.example/wrk_secret/?key=wrk_secret"
    outcome = judge(status, answer, events=1, location=location, secret="wrk_secret")
    assert "[API key]" in repr(outcome)
    assert "secret" not in repr(outcome)


# --- docs/delivery.md ---------------------------------------------------------------------


def documented() -> dict[int, str]:
    """The class that the document gives to each status from 200 to 599."""
    rows = [(codes(row[0]), row[0], codes(row[1])[0]) for row in table("delivery.md", "Status")]
    found: dict[int, str] = {}
    for names, cell, verdict in sorted(rows, key=lambda row: "any other" not in row[1]):
        assert names or cell.startswith("none"), cell
        for name in names:
            first = int(name[0]) * 100
            statuses = range(first, first + 100) if name.endswith("xx") else [int(name)]
            found |= dict.fromkeys(statuses, verdict)
    return found


def test_the_document_gives_each_status_the_class_that_the_code_gives() -> None:
    expected = {status: judge(status, b"", events=0).verdict.value for status in range(200, 600)}
    assert documented() == expected


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("Type", get_args(ErrorType)),
        ("Refused", REFUSAL_REASONS),
        ("Dropped", DROP_REASONS),
        ("Left", ("undelivered",)),
    ],
)
def test_the_document_explains_every_type_and_reason_and_no_other(
    column: str, names: tuple[str, ...]
) -> None:
    rows = table("delivery.md", column)
    assert {codes(row[0])[0] for row in rows} == set(names)
    for _, meaning, advice in rows:
        assert meaning.endswith((".", ")."))
        assert advice.endswith(".")
