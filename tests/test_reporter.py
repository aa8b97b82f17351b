"""What went wrong reaches on_error, the log and stderr; what on_error raises goes no further."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from forked import os_fork
from interruptions import storm
from whisperr._fork import ForkedInCallback, Owner
from whisperr._operation import Reason, Refusal
from whisperr._reporter import REPORT_INTERVAL, Reporter
from whisperr._schedule import NEVER
from whisperr._stats import REFUSAL_REASONS, Counters

if TYPE_CHECKING:
    from collections.abc import Callable

    from whisperr import WhisperrError

REPORTED: tuple[Reason, ...] = (
    "invalid",
    "closed",
    "too_large",
    "before_send",
    "user_unresolved",
)


class Made:
    """A reporter, its counters, and what it reported."""

    def __init__(
        self, on_error: Callable[[WhisperrError], object] | None = None, **how: Any
    ) -> None:
        self.errors: list[WhisperrError] = []
        self.counters = Counters()
        self.reporter = Reporter(
            on_error or self.errors.append, how.get("debug", False), self.counters, Owner()
        )

    def refuse(self, reason: Reason, times: int = 1, name: str = "", detail: str = "Why.") -> None:
        for _ in range(times):
            self.reporter.refuse(Refusal(reason, detail, name))

    def overflow(self, times: int) -> None:
        self.counters.dropped["overflow"].advance(range(times))


def test_the_reasons_of_this_test_are_all_but_those_that_a_process_does_not_report() -> None:
    others = {"discarded", "rolled_back", "master"}
    assert {*REPORTED, *others} == set(REFUSAL_REASONS)


def test_nothing_is_pending_at_first() -> None:
    made = Made()
    assert not made.reporter.pending
    made.reporter.report_pending()
    assert made.errors == []


@pytest.mark.parametrize("reason", REPORTED)
def test_refusals_are_counted_at_once_and_reported_later_together(reason: Reason) -> None:
    made = Made()
    made.refuse(reason, 3)
    assert made.errors == []
    assert made.reporter.pending
    assert made.counters.refused[reason].value == made.counters.calls == 3
    made.reporter.report_pending()
    (error,) = made.errors
    assert (error.type, error.reason, error.count, error.status) == ("dropped", reason, 3, None)
    assert error.message == f"3 calls queued nothing ({reason}). Why."
    assert not made.reporter.pending


def test_what_was_reported_is_not_reported_again() -> None:
    made = Made()
    made.refuse("invalid")
    made.reporter.report_pending()
    made.refuse("invalid", 2)
    made.reporter.report_pending()
    made.reporter.report_pending()
    assert [error.count for error in made.errors] == [1, 2]


@pytest.mark.parametrize("reason", ["discarded", "rolled_back"])
def test_what_the_caller_asked_for_is_counted_and_not_reported(reason: Reason) -> None:
    made = Made()
    made.refuse(reason, 5)
    assert not made.reporter.pending
    made.reporter.report_pending()
    assert made.errors == []
    assert made.counters.refused[reason].value == made.counters.calls == 5


def test_calls_for_an_anonymous_user_are_a_line_of_debug_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = Made(debug=True)
    for _ in range(3):
        made.reporter.mention_anonymous()
    assert made.reporter.pending
    made.reporter.report_pending()
    assert not made.reporter.pending
    assert made.errors == []
    assert made.counters.calls == 0
    line = "whisperr: 3 calls were for an anonymous user: nothing is sent for them.\n"
    assert capsys.readouterr().err == line


def test_without_debug_calls_for_an_anonymous_user_are_nothing() -> None:
    made = Made()
    made.reporter.mention_anonymous()
    assert not made.reporter.pending


def test_calls_after_the_shutdown_are_reported_once() -> None:
    made = Made()
    for _ in range(3):
        made.refuse("closed", 2)
        made.reporter.report_pending()
        assert not made.reporter.pending
    assert [error.count for error in made.errors] == [2]


def test_each_reason_has_a_report_of_its_own() -> None:
    made = Made()
    for reason in REPORTED:
        made.refuse(reason, detail=f"{reason} it was.")
    made.overflow(4)
    made.reporter.report_pending()
    assert [error.reason for error in made.errors] == [*REPORTED, "overflow"]
    for error in made.errors[:-1]:
        assert f"{error.reason} it was." in error.message


def test_an_overflow_is_reported_with_its_count_and_advice() -> None:
    made = Made()
    made.overflow(4)
    assert made.reporter.pending
    made.reporter.report_pending()
    made.overflow(3)
    made.reporter.report_pending()
    assert [(error.type, error.count) for error in made.errors] == [("dropped", 4), ("dropped", 3)]
    assert "max_queue_size" in made.errors[0].message


def test_event_types_are_named_once_sorted_and_twenty_at_most() -> None:
    made = Made()
    for number in range(30):
        made.refuse("too_large", 2, f"event_{number:02}")
    made.refuse("too_large")
    made.reporter.report_pending()
    assert made.errors[0].event_types == tuple(f"event_{number:02}" for number in range(20))


def test_a_flood_of_refusals_is_counted_exactly_and_kept_in_little_memory() -> None:
    made = Made()
    made.refuse("invalid", 10_000)
    assert len(made.reporter._recent) == 100
    made.reporter.report_pending()
    assert [error.count for error in made.errors] == [10_000]


def test_a_signal_handler_that_raises_never_unbalances_called_and_refused() -> None:
    made = Made()

    def work() -> None:
        made.refuse("invalid")
        made.refuse("discarded")

    storm(work, 3000)
    refused = sum(counter.value for counter in made.counters.refused.values())
    assert made.counters.calls == refused > 3000
    made.reporter.report_pending()
    assert made.errors[0].count == made.counters.refused["invalid"].value


def test_what_goes_on_is_reported_at_once_and_then_at_a_bounded_rate() -> None:
    made = Made()
    made.overflow(3)
    now = time.monotonic()
    made.reporter.report_pending(now)
    made.overflow(4)
    assert made.reporter.pending
    assert made.reporter.due_at() == pytest.approx(now + REPORT_INTERVAL, abs=1)
    made.reporter.report_pending(now + REPORT_INTERVAL / 2)
    assert [error.count for error in made.errors] == [3]
    made.reporter.report_pending(made.reporter.due_at())
    assert [error.count for error in made.errors] == [3, 4]
    assert made.reporter.due_at() == NEVER


def test_whoever_waits_is_told_everything_at_once() -> None:
    made = Made()
    for _ in range(3):
        made.overflow(1)
        made.reporter.report_pending()
    assert [error.count for error in made.errors] == [1, 1, 1]


def test_one_reason_does_not_hold_another_back_nor_take_its_details() -> None:
    made = Made()
    made.refuse("invalid", detail="First.")
    made.reporter.report_pending(time.monotonic())
    made.refuse("invalid", name="early", detail="Second.")
    made.refuse("too_large", name="large", detail="Too large.")
    made.reporter.report_pending(time.monotonic())
    assert [(error.reason, error.count) for error in made.errors] == [
        ("invalid", 1),
        ("too_large", 1),
    ]
    made.reporter.report_pending()
    assert made.errors[-1].event_types == ("early",)
    assert "Second." in made.errors[-1].message


def test_something_true_for_the_whole_process_is_said_once() -> None:
    made = Made()
    for topic in ("threads", "threads", "address"):
        made.reporter.say_once(topic, "environment", f"No {topic}.")
    assert [(error.type, error.message) for error in made.errors] == [
        ("environment", "No threads."),
        ("environment", "No address."),
    ]


def test_a_report_carries_what_it_was_given() -> None:
    made = Made()
    made.reporter.report(
        "auth", "Refused.", 401, count=2, reason="r", event_types=("a",), service_message="words"
    )
    assert vars(made.errors[0]) == {
        "type": "auth",
        "message": "Refused.",
        "status": 401,
        "count": 2,
        "reason": "r",
        "event_types": ("a",),
        "service_message": "words",
    }


def test_every_report_is_logged_without_the_services_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Made().reporter.report("auth", "Refused.", service_message="of a@example.com")
    assert caplog.messages == ["auth: Refused."]
    assert [record.name for record in caplog.records] == ["whisperr"]


def test_a_report_goes_to_stderr_in_debug_mode_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Made().reporter.report("auth", "Refused.")
    assert capsys.readouterr().err == ""
    Made(debug=True).reporter.report("auth", "Refused.")
    assert capsys.readouterr().err == "whisperr: auth: Refused.\n"


def closed_stream() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stderr", [None, closed_stream()])
def test_a_stderr_that_is_gone_costs_no_report(
    stderr: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", stderr)
    made = Made(debug=True)
    made.reporter.report("auth", "Refused.")
    assert [error.message for error in made.errors] == ["Refused."]
    assert capsys.readouterr().out == ""


def test_a_log_handler_that_raises_costs_no_report() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError(record.msg)

    handler = Broken()
    made = Made()
    logging.getLogger("whisperr").addHandler(handler)
    try:
        made.reporter.report("auth", "Refused.")
    finally:
        logging.getLogger("whisperr").removeHandler(handler)
    assert [error.message for error in made.errors] == ["Refused."]


@pytest.mark.parametrize("raised", [ValueError("secret"), SystemExit(3), GeneratorExit()])
def test_what_on_error_raises_is_logged_by_its_name_alone(
    raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def on_error(_error: WhisperrError) -> None:
        raise raised

    Made(on_error).reporter.report("auth", "Refused.")
    expected = f"on_error raised {type(raised).__name__}; its report was: Refused."
    assert caplog.messages[-1] == expected
    assert "secret" not in caplog.text


def test_an_interrupt_from_the_keyboard_passes_through() -> None:
    def on_error(_error: WhisperrError) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Made(on_error).reporter.report("auth", "Refused.")


def test_an_on_error_that_is_refused_itself_is_reported_next_time() -> None:
    """And does not go round in circles now."""
    made = Made(lambda _: made.refuse("invalid"))
    made.refuse("invalid")
    made.reporter.report_pending()
    assert made.counters.refused["invalid"].value == 2
    assert made.reporter.pending


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("raised", [None, SystemExit(3)])
def test_the_child_of_an_on_error_that_forks_is_stopped_and_keeps_what_was_raised(
    raised: BaseException | None,
) -> None:
    children: list[int] = []

    def on_error(_error: WhisperrError) -> None:
        children.append(os_fork())
        if children == [0] and raised is not None:
            raise raised

    status = 1
    try:
        Made(on_error).reporter.report("auth", "Refused.")
    except ForkedInCallback as away:
        status = 0 if away.__cause__ is raised else 2
    finally:
        if children == [0]:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


def test_without_on_error_the_log_is_all() -> None:
    counters = Counters()
    reporter = Reporter(None, False, counters, Owner())
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        reporter.report("auth", "Refused.")
    assert stderr.getvalue() == ""
