"""Values: fixed fields, compared and shown by them, without the module dataclasses."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Sequence

import pytest

from whisperr import Channel, FlushResult, ProcessInfo, Stats
from whisperr._value import Value


class Price(Value):
    """Two fields, one with a default."""

    amount: int
    currency: str = "EUR"


class Discount(Price):
    """One more."""

    percent: int = 10


def test_fields_are_given_by_place_or_by_name_and_defaults_fill_the_rest() -> None:
    assert vars(Price(1)) == vars(Price(amount=1)) == {"amount": 1, "currency": "EUR"}
    assert vars(Price(1, "USD")) == vars(Price(currency="USD", amount=1))


def test_a_subclass_has_the_fields_of_its_base_first() -> None:
    assert repr(Discount(1, "USD", 5)) == "Discount(amount=1, currency='USD', percent=5)"


@pytest.mark.parametrize(
    ("given", "named", "said"),
    [
        ((), {}, "Price needs amount."),
        ((1, "EUR", 3), {}, "Price takes amount, currency, each once."),
        ((1,), {"amount": 2}, "Price takes amount, currency, each once."),
        ((1,), {"percent": 2}, "Price takes amount, currency, each once."),
    ],
)
def test_what_does_not_fit_is_a_type_error_that_names_the_fields(
    given: tuple[object, ...], named: dict[str, object], said: str
) -> None:
    with pytest.raises(TypeError) as raised:
        Price(*given, **named)  # type: ignore[arg-type]
    assert str(raised.value) == said


def test_no_field_can_be_assigned_or_deleted() -> None:
    price = Price(1)
    with pytest.raises(AttributeError, match="cannot be changed"):
        price.amount = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="cannot be changed"):
        del price.amount
    assert price == Price(1)


def test_values_are_equal_where_type_and_fields_are() -> None:
    assert Price(1) == Price(1)
    assert hash(Price(1)) == hash(Price(1, "EUR"))
    assert Price(1) != Price(2)
    assert Discount(1) != Price(1)
    assert Price(1) != (1, "EUR")


def test_a_copy_and_a_pickle_are_equal() -> None:
    channel = Channel.push("token", kind="fcm")
    for other in (copy.copy(channel), copy.deepcopy(channel), pickle.loads(pickle.dumps(channel))):
        assert other == channel


def test_what_an_application_is_given_is_no_tuple_and_becomes_json_by_its_names() -> None:
    """A tuple would be formatted as several values, and be a list in JSON without being asked."""
    for kind in (Channel, FlushResult, ProcessInfo, Stats):
        assert not issubclass(kind, Sequence)
    assert "%s" % FlushResult(1) == (  # noqa: UP031 - the trap itself
        "FlushResult(delivered=1, dropped=0, queued=0, timed_out=False)"
    )
    assert json.loads(json.dumps(FlushResult(1), default=vars))["delivered"] == 1
