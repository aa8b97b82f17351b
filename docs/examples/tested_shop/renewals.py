"""Renewals of a shop: each is billed in a process of its own, and Whisperr hears how it went."""

from __future__ import annotations

import multiprocessing
from decimal import Decimal

from whisperr import BillingEvent, BillingProperties, Whisperr

client = Whisperr()  # in the tests it needs no key, see pytest.ini
LIMIT = Decimal(100)


def renew(customer: str, price: Decimal) -> None:
    """Bill a customer; a card takes 100 euros at most here."""
    billing = BillingProperties(plan_id="pro_monthly", price=price, currency="EUR")
    if price > LIMIT:
        client.track(customer, BillingEvent.BILLING_ISSUE_STARTED, billing)
        return
    client.track(customer, BillingEvent.RENEWAL_SUCCEEDED, billing)
    client.identify(customer, traits={"plan": "pro"})


def renew_all(prices: dict[str, Decimal]) -> None:
    """Bill everyone, and wait until it is done."""
    processes = [
        multiprocessing.Process(target=renew, args=customer) for customer in prices.items()
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
