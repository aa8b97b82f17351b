"""The event names and properties that the service reserves for billing."""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, get_args

from ._loaded import loaded_class

if TYPE_CHECKING:
    from decimal import Decimal
    from typing import TypedDict

    from typing_extensions import Unpack

StoreCancelReason = Literal[
    "unsubscribe",
    "billing_error",
    "developer_initiated",
    "price_increase",
    "customer_support",
    "unknown",
]
EndReason = Literal[
    "voluntary",
    "billing",
    "price_increase",
    "product_unavailable",
    "developer_initiated",
    "refund",
    "other",
]
AccessSource = Literal[
    "self_subscription", "lifetime", "family_share", "promotional", "sponsored", "web_other"
]
_CLOSED_LISTS = {
    "store_cancel_reason": get_args(StoreCancelReason),
    "end_reason": get_args(EndReason),
    "access_source": get_args(AccessSource),
}
_TEXTS = ("plan_id", "transaction_id", "store")
_NAMES = {*_TEXTS, "price", "currency", "plan_period", *_CLOSED_LISTS}
_CURRENCY = r"[A-Z]{3}"
#: Years to days, or weeks, or a time after them; one part at least, and one after a T.
_DURATION = (
    r"P(?:[0-9]+W|(?=.)(?:[0-9]+Y)?(?:[0-9]+M)?(?:[0-9]+D)?"
    r"(?:T(?=.)(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+S)?)?)"
)


class BillingEvent(str, Enum):
    """Names for ``track()``; each is also a plain string.

    What goes with them: `BillingProperties`.
    """

    TRIAL_STARTED = "trial_started"
    TRIAL_CONVERTED = "trial_converted"
    TRIAL_AUTO_RENEW_DISABLED = "trial_auto_renew_disabled"
    MEMBERSHIP_STARTED = "membership_started"
    RENEWAL_SUCCEEDED = "renewal_succeeded"
    AUTO_RENEW_DISABLED = "auto_renew_disabled"
    AUTO_RENEW_ENABLED = "auto_renew_enabled"
    MEMBERSHIP_ENDED = "membership_ended"
    BILLING_ISSUE_STARTED = "billing_issue_started"
    BILLING_RECOVERED = "billing_recovered"
    REFUND_GRANTED = "refund_granted"

    def __str__(self) -> str:
        return self.value


if TYPE_CHECKING:

    class _Values(TypedDict, total=False):
        plan_id: str | None
        price: float | Decimal | None
        currency: str | None
        plan_period: str | None
        transaction_id: str | None
        store: str | None
        store_cancel_reason: StoreCancelReason | None
        end_reason: EndReason | None
        access_source: AccessSource | None


class BillingProperties(dict[str, Any]):
    """The properties of a billing event; checked by ``track()``, so making them never raises.

    ``track()`` refuses the event (``invalid``) where a value breaks a rule, and says which.

    Args:
        others: properties of your own; what stands below as well is held to its rule.
        **values: None leaves one out.

            - plan_id: your id of the plan.
            - price: in major units (``49.0``); a Decimal given here is sent as a number.
            - currency: ISO 4217, upper case (``EUR``).
            - plan_period: an ISO 8601 duration (``P1M``).
            - transaction_id: the payment provider's.
            - store: where it was bought.
            - store_cancel_reason, end_reason, access_source: one of the service's lists.
    """

    __slots__ = ("_is_dict",)

    def __init__(self, others: dict[str, Any] | None = None, /, **values: Unpack[_Values]) -> None:
        self._is_dict = others is None or issubclass(type(others), dict)
        super().__init__(dict.items(others) if self._is_dict and others is not None else ())
        for name, value in values.items():
            if value is not None:
                self[name] = value
        for name in _NAMES & self.keys():
            self[name] = _plain(self[name])

    @property
    def problem(self) -> str | None:
        """Which rule a value breaks, None where all hold. Quotes no value."""
        if not getattr(self, "_is_dict", True):  # __init__ may be a subclass's
            return "The properties of your own must be a dict."
        return _problem(dict.copy(self))


def _plain(value: Any) -> Any:
    """The number of a Decimal, which elsewhere is sent as text, and what a subclass stands for."""
    if issubclass(type(value), str):
        return str.__str__(value)
    if issubclass(type(value), float):
        return float.__float__(value)
    decimal = loaded_class("decimal", "Decimal")
    if not issubclass(type(value), decimal) or decimal.is_snan(value):
        return value
    return decimal.__float__(value)


def _problem(values: dict[str, Any]) -> str | None:
    for name in _TEXTS:
        if name in values and not (type(values[name]) is str and values[name]):
            return f"{name} must be a non-empty string."
    if "price" in values and not _is_number(values["price"]):
        return "price must be a finite number in major units, such as 49.0."
    if "currency" in values and not _matches(_CURRENCY, values["currency"]):
        return "currency must be an ISO 4217 code in upper case, such as EUR."
    if "plan_period" in values and not _matches(_DURATION, values["plan_period"]):
        return "plan_period must be an ISO 8601 duration, such as P1M."
    for name, allowed in _CLOSED_LISTS.items():
        if name in values and not (type(values[name]) is str and values[name] in allowed):
            return f"{name} must be one of {', '.join(allowed)}."
    return None


def _is_number(value: Any) -> bool:
    """Whether it is sent as one: an int of more than 64 bits is not."""
    if type(value) is int:
        return abs(value) < 2**63
    return type(value) is float and math.isfinite(value)


def _matches(pattern: str, value: Any) -> bool:
    return type(value) is str and re.fullmatch(pattern, value) is not None
