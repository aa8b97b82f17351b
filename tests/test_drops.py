"""What a batch lost is told by event type and reason, and in a bounded number of reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from whisperr._drops import MOST_REPORTS, DropLog
from whisperr._fork import Owner
from whisperr._operation import Identify
from whisperr._outcome import judge
from whisperr._queue import Batch
from whisperr._reporter import Reporter
from whisperr._stats import Counters

if TYPE_CHECKING:
    from whisperr import WhisperrError

REFUSED = judge(400, b'{"error": {"message": "no such field: x"}}', events=1)
TOO_LARGE = judge(413, b"", events=1)


class Log(DropLog):
    """A log whose reports are kept."""

    def __init__(self) -> None:
        self.errors: list[WhisperrError] = []
        super().__init__(Reporter(self.errors.append, False, Counters(), Owner()))


def event(name: str, size: int = 100) -> bytes:
    return f'{{"external_user_id":"u","event_type":"{name}"}}'.encode().ljust(size)


def test_one_operation_is_named_with_its_type_and_its_size() -> None:
    log = Log()
    log.add(Batch([event("payment_failed", 1234)]), "too_large", TOO_LARGE)
    log.report()
    (error,) = log.errors
    assert "payment_failed" in error.message
    assert "1234 bytes" in error.message
    assert (error.type, error.status, error.count) == ("dropped", 413, 1)
    assert (error.reason, error.event_types) == ("too_large", ("payment_failed",))


def test_the_services_words_stand_in_their_field_alone() -> None:
    log = Log()
    log.add(Batch([event("signed_up")]), "rejected", REFUSED)
    log.report()
    (error,) = log.errors
    assert error.service_message == "no such field: x"
    assert "no such field" not in error.message


def test_there_is_one_report_for_each_event_type_and_reason() -> None:
    log = Log()
    for name in ("b", "a", "b"):
        log.add(Batch([event(name)]), "rejected", REFUSED)
    log.add(Batch([event("b")]), "too_large", TOO_LARGE)
    log.report()
    assert [(error.event_types, error.reason, error.count) for error in log.errors] == [
        (("b",), "rejected", 2),
        (("a",), "rejected", 1),
        (("b",), "too_large", 1),
    ]


def test_after_twenty_reports_one_tells_how_many_there_are_besides() -> None:
    log = Log()
    for number in range(MOST_REPORTS + 30):
        log.add(Batch([event(f"type_{number:02}")] * 2), "rejected", REFUSED)
    log.report()
    assert len(log.errors) == MOST_REPORTS + 1
    assert [error.count for error in log.errors] == [2] * MOST_REPORTS + [60]
    assert len(log.errors[-1].event_types) == 20


def test_a_piece_that_was_dropped_as_a_whole_says_so() -> None:
    log = Log()
    log.add(Batch([event("good")] * 3), "rejected", REFUSED)
    log.report()
    assert "3 of them in pieces of a batch" in log.errors[0].message
    log.add(Batch([event("good")]), "rejected", REFUSED)
    log.report()
    assert "pieces" not in log.errors[1].message


def test_nothing_is_reported_twice() -> None:
    log = Log()
    log.add(Batch([event("a")]), "rejected", REFUSED)
    log.report()
    log.report()
    assert len(log.errors) == 1


def test_an_interrupt_in_a_callback_costs_no_other_report() -> None:
    def on_error(error: WhisperrError) -> None:
        told.append(error)
        if len(told) == 1:
            raise KeyboardInterrupt

    told: list[WhisperrError] = []
    log = DropLog(Reporter(on_error, False, Counters(), Owner()))
    for name in "abc":
        log.add(Batch([event(name)]), "rejected", REFUSED)
    with pytest.raises(KeyboardInterrupt):
        log.report()
    log.report()
    assert [error.event_types for error in told] == [("a",), ("b",), ("c",)]


def test_an_identify_has_no_event_type() -> None:
    log = Log()
    log.add(Batch([Identify(b"{}")]), "rejected", REFUSED)
    log.report()
    assert log.errors[0].event_types == ()
    assert "One identify of 2 bytes" in log.errors[0].message
