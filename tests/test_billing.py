"""Properties of billing events: each rule, at track() and not before."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, get_args

import pytest

from tables import codes, table
from whisperr import BillingEvent, BillingProperties, Whisperr
from whisperr.billing import _CLOSED_LISTS, _NAMES, AccessSource, EndReason, StoreCancelReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import LocalServer
    from reported import Errors

SECRET = "s3cret"
RIGHT: list[dict[str, Any]] = [
    {},
    {"plan_id": "pro", "transaction_id": "tx_1", "store": "stripe"},
    *({"price": price} for price in (0, 49, 49.0, -1.5, 2**63 - 1, 1e300)),
    {"currency": "EUR"},
    *({"plan_period": text} for text in ("P1M", "P1W", "P1Y2M3D", "P1Y2M3DT4H5M6S", "PT30M")),
    *({"store_cancel_reason": reason} for reason in get_args(StoreCancelReason)),
    *({"end_reason": reason} for reason in get_args(EndReason)),
    *({"access_source": source} for source in get_args(AccessSource)),
    {"campaign": object(), "plan_Id": 3},
]
WRONG: list[tuple[str, Any]] = [
    *((name, value) for name in ("plan_id", "transaction_id", "store") for value in ("", 7, b"x")),
    *(
        ("price", value)
        for value in ("49.0", True, float("nan"), float("-inf"), 10**400, 2**63, SECRET, [1])
    ),
    *(("price", Decimal(text)) for text in ("NaN", "sNaN", "Infinity", "1e400")),
    *(("currency", value) for value in ("eur", "EURO", "", "€", 978, SECRET)),
    *(
        ("plan_period", value)
        for value in ("", "P", "PT", "P1", "1M", "P1MT", "P1H", "p1m", "P\uff11M", "P1W2D", 30)
    ),
    *(
        (name, value)
        for name in ("store_cancel_reason", "end_reason", "access_source")
        for value in ("", "Voluntary", SECRET, ["other"], 0)
    ),
]


class Money(str, Enum):
    EUR = "EUR"

    def __str__(self) -> str:
        return "Euro"


@pytest.fixture
def client(server: LocalServer, api_key: str, errors: Errors) -> Iterator[Whisperr]:
    client = Whisperr(api_key, base_url=server.url, flush_interval=0, on_error=errors)
    yield client
    client.shutdown()
    assert client.stats().balanced


def properties_sent(server: LocalServer, api_key: str, client: Whisperr) -> list[dict[str, Any]]:
    assert client.flush()
    return [
        event["properties"]
        for row in server.requests(api_key)
        for event in json.loads(row["body"])["events"]
    ]


@pytest.mark.parametrize("values", RIGHT)
def test_what_keeps_the_rules_has_no_problem(values: dict[str, Any]) -> None:
    assert BillingProperties(**values).problem is None
    assert BillingProperties(values).problem is None


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_what_breaks_a_rule_is_made_all_the_same_and_names_the_property(
    name: str, value: Any
) -> None:
    for made in (BillingProperties({name: value}), BillingProperties(**{name: value})):
        assert made.problem
        assert made.problem.startswith(f"{name} must be ")
        assert made.problem.endswith(".")
        assert SECRET not in made.problem


def test_a_value_that_is_set_later_is_held_to_its_rule() -> None:
    made = BillingProperties(price=49.0)
    made["price"] = "49.00"
    assert made.problem == "price must be a finite number in major units, such as 49.0."


@pytest.mark.parametrize("others", [[], [("plan_id", "pro")], "plan_id", 7, object()])
def test_what_is_no_dict_of_own_properties_does_not_raise_either(others: Any) -> None:
    assert BillingProperties(others).problem == "The properties of your own must be a dict."
    assert copy.copy(BillingProperties(others)).problem


def test_methods_that_a_dict_of_own_properties_overrides_are_not_called() -> None:
    class Settings(dict[str, Any]):
        def _never(self, *_arguments: object) -> Any:
            raise RuntimeError("never called")

        __bool__ = __iter__ = __len__ = __getitem__ = keys = items = copy = _never

    assert BillingProperties(Settings(theme="dark")) == {"theme": "dark"}


def test_none_leaves_a_property_out_and_own_ones_stay() -> None:
    made = BillingProperties({"campaign": "june", "price": 1}, plan_id=None, price=49.0)
    assert made == {"campaign": "june", "price": 49.0}


def test_a_copy_and_a_pickle_keep_the_rules() -> None:
    made = BillingProperties({"campaign": "june"}, price=49.0)
    made["currency"] = "eur"
    for other in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(other) is BillingProperties
        assert other == made
        assert other.problem == made.problem is not None


def test_a_subclass_with_a_constructor_of_its_own_is_judged_as_well() -> None:
    class Ours(BillingProperties):
        def __init__(self) -> None:
            self["currency"] = "eur"

    assert Ours().problem


class Price(float):
    """As numpy.float64 is one."""


@pytest.mark.parametrize("made", [Decimal("49.90"), 49.9, Price(49.9)])
def test_a_price_is_sent_as_a_number(
    server: LocalServer, api_key: str, client: Whisperr, made: Any
) -> None:
    client.track("u", BillingEvent.RENEWAL_SUCCEEDED, BillingProperties(price=made))
    client.track("u", BillingEvent.RENEWAL_SUCCEEDED, BillingProperties({"price": made}))
    sent = properties_sent(server, api_key, client)
    assert sent == [{"price": 49.9}] * 2
    assert all(type(one["price"]) is float for one in sent)


def test_an_enum_of_strings_is_sent_as_its_text(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    made = BillingProperties(currency=Money.EUR)
    client.track("u", BillingEvent.REFUND_GRANTED, made)
    assert properties_sent(server, api_key, client) == [{"currency": "EUR"}]


def test_an_event_that_breaks_a_rule_is_refused_and_the_report_quotes_no_value(
    server: LocalServer, api_key: str, client: Whisperr, errors: Errors
) -> None:
    client.track("u", BillingEvent.REFUND_GRANTED, BillingProperties(currency=SECRET))
    client.track("u", "happened")
    assert properties_sent(server, api_key, client) == [{}]
    (error,) = errors
    assert (error.type, error.reason, error.count) == ("dropped", "invalid", 1)
    assert error.event_types == ("refund_granted",)
    assert error.message.endswith("currency must be an ISO 4217 code in upper case, such as EUR.")
    assert SECRET not in repr(vars(error))
    assert client.stats().refused["invalid"] == 1


def test_before_send_sees_a_plain_dict_of_what_keeps_the_rules_and_nothing_else(
    server: LocalServer, api_key: str, errors: Errors
) -> None:
    seen: list[Any] = []

    def before_send(operation: dict[str, Any], _kind: str) -> dict[str, Any]:
        seen.append(operation["properties"])
        operation["properties"]["campaign"] = "june"
        return operation

    made = BillingProperties(price=Decimal("49.90"))
    with Whisperr(
        api_key, base_url=server.url, flush_interval=0, on_error=errors, before_send=before_send
    ) as client:
        client.track("u", BillingEvent.REFUND_GRANTED, made)
        client.track("u", BillingEvent.REFUND_GRANTED, BillingProperties(price=SECRET))  # type: ignore[arg-type]
        sent = properties_sent(server, api_key, client)
    assert [type(one) for one in seen] == [dict]
    assert sent == [{"price": 49.9, "campaign": "june"}]
    assert made == {"price": 49.9}
    assert [error.reason for error in errors] == ["invalid"]


def test_plain_dicts_and_names_go_on_working_and_are_held_to_no_rule(
    server: LocalServer, api_key: str, client: Whisperr
) -> None:
    client.track("u", "refund_granted", {"price": "49.00", "currency": "eur"})
    assert properties_sent(server, api_key, client) == [{"price": "49.00", "currency": "eur"}]


@pytest.mark.parametrize("event", BillingEvent)
def test_a_reserved_name_is_a_plain_string(event: BillingEvent) -> None:
    assert event == event.value == str(event) == f"{event}"


def test_the_page_has_every_name_and_every_value_of_a_list() -> None:
    names = {
        codes(member)[0]: codes(name)[0] for member, name in table("billing.md", "`BillingEvent`")
    }
    assert names == {event.name: event.value for event in BillingEvent}
    rules = {
        name: codes(rule)
        for names, rule in table("billing.md", "Property")
        for name in codes(names)
    }
    assert rules.keys() == _NAMES
    assert {name: tuple(rules[name]) for name in _CLOSED_LISTS} == _CLOSED_LISTS
