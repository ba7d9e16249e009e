from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoying_async import PayType
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.sandbox.bank.scenarios import SCENARIOS
from chaoying_async.sandbox.serving.faults import Fault
from chaoying_async.sansio.payments.moves import CheckoutStatus
from tests.sizes import FULL, cases
from tests.tills import TillOnSandbox, a_till, pay

ORDERS = 2000 if FULL else 75

#: What the gateway's books may say of an order that ended so.
TRUE: dict[CheckoutStatus, set[str | None]] = {
    CheckoutStatus.PAID: {"PAID"},
    CheckoutStatus.PAID_AFTER_CANCEL: {"PAID"},
    CheckoutStatus.FAILED: {"FAILED", "CLOSED", "REVOKED", None},
    CheckoutStatus.CANCELLED: {"CLOSED", "REVOKED"},
    CheckoutStatus.UNKNOWN: {"OPEN", "PAID", "FAILED", "CLOSED", "REVOKED", None},
}


async def every_outcome(shop: TillOnSandbox, seed: int) -> list[CheckoutOutcome]:
    """That many customers at once, each with a scenario of the sandbox."""
    shop.sandbox.faults.reseed(seed)
    amounts = [1000 + number for number in SCENARIOS]

    async def one(number: int) -> Any:
        amount = amounts[number % len(amounts)]
        request = pay(amount, f"A{number:07d}")
        return await shop.charging(amount, pay=request, paytype=PayType.WECHAT)

    return await shop.clock.run(asyncio.gather(*map(one, range(ORDERS))), within=5000)


@pytest.mark.slow
@pytest.mark.timeout(1800 if FULL else 60)
@pytest.mark.parametrize("seed", cases([1], more=[2]))
async def test_a_fifth_of_everything_fails_and_the_books_agree(seed: int) -> None:
    """M-24: no outcome says what the gateway's own books do not, and nobody is charged twice."""
    async with a_till() as shop:
        for fault in (
            Fault.REFUSED,
            Fault.RESET_BEFORE,
            Fault.RESET_AFTER,
            Fault.HALF_BODY,
            Fault.HTTP_500,
            Fault.HTTP_502,
            Fault.WRONG_SIGN,
            Fault.SLOW,
        ):
            shop.sandbox.faults.add(fault, probability=0.028)  # a fifth, taken together
        outcomes = await every_outcome(shop, seed)
        books = {order.out_trade_no: order for order in shop.sandbox.ledger.orders.values()}
        for outcome in outcomes:
            order = books.get(outcome.out_trade_no)
            status = None if order is None else order.status.value
            assert status in TRUE[outcome.status], (outcome, status)
            if outcome.status is CheckoutStatus.PAID:
                assert order is not None
                assert outcome.unwrap().payable == order.payable
        kept = sum(
            order.paid
            for outcome in outcomes
            if outcome.status in (CheckoutStatus.PAID, CheckoutStatus.PAID_AFTER_CANCEL)
            and (order := books.get(outcome.out_trade_no)) is not None
        )
        unknown = [outcome for outcome in outcomes if outcome.status is CheckoutStatus.UNKNOWN]
        assert kept <= shop.sandbox.books.kept
        assert len(unknown) < len(outcomes) / 4
        assert {outcome.status for outcome in outcomes} == set(CheckoutStatus) - {
            CheckoutStatus.PAID_EARLIER
        }
