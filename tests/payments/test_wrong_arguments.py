"""What is wrong in a call is refused before a byte leaves, and the corrected call is made."""

from __future__ import annotations

from typing import Any

import pytest

from chaoying_async import ParameterError, PollSchedule, UsageError, refund_and_track
from tests.payments.test_refund_and_track import refund
from tests.tills import EXACT, a_till

WRONG: list[dict[str, Any]] = [
    {"schedule": None},
    {"schedule": PollSchedule},
    {"store": "sqlite:///till.db"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
async def test_a_checkout_with_a_wrong_argument_leaves_its_number_free(
    wrong: dict[str, Any],
) -> None:
    """Nothing was sent: the same number and order are charged by the next call."""
    async with a_till() as shop:
        with pytest.raises((ParameterError, UsageError), match=next(iter(wrong))):
            await shop.checkout(100, **wrong)
        assert shop.till.sent == []
        assert (await shop.checkout(100)).status == "PAID"


@pytest.mark.parametrize("wrong", WRONG, ids=str)
async def test_a_refund_with_a_wrong_argument_does_not_leave(wrong: dict[str, Any]) -> None:
    """M-25: it raises before, and not after the money may have gone back."""
    async with a_till() as shop:
        await shop.checkout(10_000)
        given: dict[str, Any] = {"schedule": EXACT, "clock": shop.clock}
        with pytest.raises((ParameterError, UsageError), match=next(iter(wrong))):
            await shop.clock.run(refund_and_track(shop.till, refund(1000), **given | wrong))
        assert shop.till.at("refund") == []
        outcome = await shop.clock.run(refund_and_track(shop.till, refund(1000), **given))
        assert outcome.status == "REFUNDED"
