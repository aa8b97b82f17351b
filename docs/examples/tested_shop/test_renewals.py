"""What Whisperr hears of renewals. Nothing is sent."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import renewals

from whisperr import BillingEvent

if TYPE_CHECKING:
    from whisperr.testing import Events


def test_a_renewal_is_reported_with_its_price(whisperr_events: Events) -> None:
    renewals.renew("ada", Decimal("19.90"))
    whisperr_events.one(BillingEvent.RENEWAL_SUCCEEDED, user="ada", properties={"price": 19.9})
    assert whisperr_events.one_identify(user="ada").traits == {"plan": "pro"}


def test_a_card_that_is_declined_is_an_issue_and_no_renewal(whisperr_events: Events) -> None:
    renewals.renew("ada", Decimal("1900.00"))
    whisperr_events.one("billing_issue_started", user="ada")
    whisperr_events.none("renewal_succeeded")


def test_everyone_is_billed_in_a_process_of_their_own(whisperr_events: Events) -> None:
    renewals.renew_all({"ada": Decimal(19), "grace": Decimal(29)})
    renewed = whisperr_events.all("renewal_succeeded")
    assert {event.user for event in renewed} == {"ada", "grace"}
    assert len({event.pid for event in renewed}) == 2
