"""Events that wait for the commit of a transaction."""

from __future__ import annotations

import gc
import unittest
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections, transaction
from django.http import HttpResponse
from django.test import TestCase
from django.test.utils import override_settings
from django.utils.connection import ConnectionDoesNotExist

from frameworks.django.project import AUTHENTICATION, OURS, SESSIONS, new_user, visit
from whisperr.django import get_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from frameworks.django.conftest import Reported


class RolledBackError(Exception):
    """Ends a block."""


@contextmanager
def rolled_back_block() -> Iterator[None]:
    """A transaction, or a savepoint in one, that an exception ends."""
    with suppress(RolledBackError), transaction.atomic():
        yield
        raise RolledBackError


@pytest.fixture
def request_client(reported: Reported) -> Any:
    """The client of a request whose user is loaded."""
    found = []

    def view(request: Any) -> None:
        assert request.user.is_authenticated
        found.append(request.whisperr)

    visit(view, new_user())
    return found[0]


@pytest.fixture
def types(reported: Reported) -> Callable[[], list[str]]:
    """The types of the events that arrived."""
    return lambda: [event_type for _, event_type in reported.arrived]


def accepted() -> int:
    return get_client().stats().accepted


def rolled_back() -> int:
    return get_client().stats().refused["rolled_back"]


def test_an_event_is_accepted_when_its_transaction_commits(
    reported: Reported, request_client: Any, types: Callable[[], list[str]]
) -> None:
    with transaction.atomic():
        request_client.track("order_placed", on_commit=True)
        request_client.identify(traits={"orders": 1}, on_commit=True)
        request_client.track("page_viewed")
        assert accepted() == 1
        assert types() == ["page_viewed"]
    assert accepted() == 3
    assert types() == ["page_viewed", "order_placed", "identify"]
    assert reported.stats.balanced


def test_an_event_is_stamped_and_encoded_at_the_call(
    reported: Reported, request_client: Any
) -> None:
    properties = {"items": [1]}
    with transaction.atomic():
        request_client.track("order_placed", properties, on_commit=True)
        properties["items"].append(2)
        get_client().track("user", "later")
    placed, later = sorted(reported.bodies, key=lambda body: body["event_type"] == "later")
    assert placed["properties"] == {"items": [1]}
    assert placed["occurred_at"] <= later["occurred_at"]


def test_what_is_wrong_with_an_event_is_said_at_the_call(
    reported: Reported, request_client: Any
) -> None:
    with transaction.atomic():
        request_client.track("Not A Name", on_commit=True)
        assert reported.stats.refused["invalid"] == 1
    assert rolled_back() == 0
    assert reported.arrived == []


def test_what_is_rolled_back_is_counted_and_goes_nowhere(
    reported: Reported, request_client: Any
) -> None:
    with rolled_back_block():
        request_client.track("order_placed", on_commit=True)
        request_client.identify(traits={"orders": 1}, on_commit=True)
    assert rolled_back() == 2
    assert accepted() == 0
    assert reported.stats.balanced
    assert reported.arrived == []
    assert reported.problems == []  # it was asked for


def test_a_savepoint_that_is_rolled_back_takes_its_own_events_alone(
    request_client: Any, types: Callable[[], list[str]]
) -> None:
    with transaction.atomic():
        request_client.track("outer_before", on_commit=True)
        with rolled_back_block():
            request_client.track("inner", on_commit=True)
            with transaction.atomic():
                request_client.track("innermost", on_commit=True)
        assert rolled_back() == 2
        with transaction.atomic():
            request_client.track("second_inner", on_commit=True)
        request_client.track("outer_after", on_commit=True)
        assert accepted() == 0
    assert types() == ["outer_before", "second_inner", "outer_after"]
    assert rolled_back() == 2


def test_what_an_inner_block_has_released_is_rolled_back_with_the_outer_one(
    reported: Reported, request_client: Any
) -> None:
    with rolled_back_block():
        with transaction.atomic():
            request_client.track("inner", on_commit=True)
        with transaction.atomic(savepoint=False):
            request_client.track("without_a_savepoint", on_commit=True)
    assert rolled_back() == 2
    assert reported.arrived == []


def test_using_names_the_database_whose_transaction_counts(
    request_client: Any, types: Callable[[], list[str]]
) -> None:
    with transaction.atomic(using="other"):
        with rolled_back_block():
            request_client.track("of_the_other", on_commit=True, using="other")
            request_client.track("of_the_default", on_commit=True)
        assert rolled_back() == 1
        request_client.track("at_once", on_commit=True)  # the default database has no block now
        assert types() == ["at_once"]
    assert types() == ["at_once", "of_the_other"]


def test_a_database_that_is_not_there_is_said_at_once(request_client: Any) -> None:
    with pytest.raises(ConnectionDoesNotExist):
        request_client.track("order_placed", on_commit=True, using="no_such_alias")


def test_outside_a_transaction_it_is_accepted_at_once_and_opens_no_connection(
    request_client: Any, types: Callable[[], list[str]]
) -> None:
    connections["other"].close()
    connection = connections["other"].connection
    try:
        connections["other"].connection = None  # one in memory is not closed
        request_client.track("order_placed", on_commit=True, using="other")
        assert connections["other"].connection is None
    finally:
        connections["other"].connection = connection
    assert types() == ["order_placed"]


def test_with_transactions_that_are_managed_by_hand_it_is_accepted_at_once(
    request_client: Any, types: Callable[[], list[str]]
) -> None:
    transaction.set_autocommit(False)
    try:
        request_client.track("order_placed", on_commit=True)
        assert types() == ["order_placed"]
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


def test_a_setting_makes_it_the_default(
    reported: Reported, request_client: Any, types: Callable[[], list[str]]
) -> None:
    options = {**reported.settings["WHISPERR"], "on_commit": True}
    with override_settings(WHISPERR=options):

        def view(request: Any) -> None:
            with transaction.atomic():
                request.whisperr.track("by_default")
                request.whisperr.track("at_once", on_commit=False)
                assert accepted() == 1
            assert accepted() == 2

        visit(view, new_user())
        assert types() == ["at_once", "by_default"]


def test_a_disabled_client_has_nothing_to_wait_for(reported: Reported) -> None:
    def view(request: Any) -> None:
        with transaction.atomic():
            request.whisperr.track("order_placed", on_commit=True)
            assert not connections["default"].run_on_commit

    with override_settings(WHISPERR_DISABLED=True):
        assert visit(view, new_user()).content == b"served"


def test_a_hook_that_raises_keeps_later_ones_from_running(
    reported: Reported, request_client: Any, types: Callable[[], list[str]]
) -> None:
    """Django's own rule. What was committed then is counted as rolled back: see docs/django.md."""

    def raising() -> None:
        raise RolledBackError

    with suppress(RolledBackError), transaction.atomic():
        request_client.track("before_it", on_commit=True)
        transaction.on_commit(raising)
        request_client.track("after_it", on_commit=True)
    gc.collect()  # the exception kept what was left of the hooks
    assert types() == ["before_it"]
    assert rolled_back() == 1
    assert reported.stats.balanced


# In tests of the application's


class Checkout(TestCase):
    """Tests of an application's, run below: Django wraps each in a transaction."""

    __test__ = False  # nothing for pytest
    databases = "__all__"
    client_of_request: Any = None

    def track(self, event_type: str, **more: Any) -> None:
        self.client_of_request.track(event_type, on_commit=True, **more)

    def captured_and_executed(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks:
            self.track("captured")
            with transaction.atomic():
                self.track("captured_inside")
            assert accepted() == 0
        assert len(callbacks) == 2
        assert accepted() == 2

    def captured_for_another_database(self) -> None:
        with self.captureOnCommitCallbacks(using="other", execute=True):
            self.track("captured_other", using="other")
        assert accepted() == 1

    def never_committed(self) -> None:
        self.track("never_committed")
        assert accepted() == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("captured_and_executed", ["captured", "captured_inside"]),
        ("captured_for_another_database", ["captured_other"]),
        ("never_committed", []),
    ],
)
def test_a_test_case_captures_the_commit(
    request_client: Any,
    types: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    expected: list[str],
) -> None:
    monkeypatch.setattr(Checkout, "client_of_request", request_client)
    result = unittest.TestResult()
    unittest.TestSuite([Checkout(name)]).run(result)
    assert result.testsRun == 1
    assert result.wasSuccessful(), result.errors + result.failures
    assert types() == expected
    assert rolled_back() == (not expected)


# In asynchronous code


def in_a_transaction(get_response: Any) -> Any:
    """A middleware that rolls back for a status of 409."""

    def middleware(request: Any) -> Any:
        with transaction.atomic():
            response = get_response(request)
            if response.status_code == 409:
                transaction.set_rollback(True)
        return response

    return middleware


@pytest.mark.parametrize("status", [200, 409])
def test_an_awaited_call_waits_for_the_transaction_around_it(
    reported: Reported, types: Callable[[], list[str]], status: int
) -> None:
    async def view(request: Any) -> HttpResponse:
        await request.whisperr.atrack("order_placed", on_commit=True)
        await request.whisperr.aidentify(traits={"orders": 1}, on_commit=True)
        assert accepted() == 0
        return HttpResponse(status=status)

    chain = [f"{__name__}.in_a_transaction", SESSIONS, AUTHENTICATION, OURS]
    with override_settings(MIDDLEWARE=chain):
        visit(view, new_user())
    assert types() == ([] if status == 409 else ["order_placed", "identify"])
    assert rolled_back() == (2 if status == 409 else 0)


def test_an_awaited_call_outside_a_transaction_is_accepted_at_once(
    reported: Reported, types: Callable[[], list[str]]
) -> None:
    async def view(request: Any) -> None:
        await request.whisperr.atrack("order_placed", on_commit=True)
        assert accepted() == 1
        request.whisperr.track("plain", on_commit=True)
        assert accepted() == 2

    visit(view, new_user(), chain="async")
    assert types() == ["order_placed", "plain"]
    assert reported.problems == []
