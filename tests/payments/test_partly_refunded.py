"""An order of which something came back: what is known of it, and who may not deliver it."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

from chaoying_async import (
    ExpectedOrder,
    Fen,
    OrderQuery,
    ParameterError,
    PayType,
    Poller,
    PollStatus,
    Refund,
    RefundedOrder,
    RefundQuery,
    TradeRefundedError,
)
from chaoying_async.payments.resume import resume
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.paid import advice_in_refund, refunded_order
from chaoying_async.sansio.payments.moves import CheckoutReason
from chaoying_async.sansio.stored import paid_in, paid_members
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID
from tests.pollers import Scripted, always, order, poller_on
from tests.shop import Shop as Receiver
from tests.tills import EXACT, ORDER, a_till, pay

IN_REFUND = {"code": "10002", "trade_state": "REFUND"}
AMOUNTS = {"base_fee": "10000", "total_fee": "9000", "coupon_fee": "1000"}
NAMED = {
    **IN_REFUND,
    **AMOUNTS,
    "transaction_id": "T1",
    "out_transaction_id": "W1",
    "time_end": "20260101080000",
}


async def ended(fields: dict[str, Any]) -> Any:
    clock = FakeClock()
    async with poller_on(Scripted(clock, always(fields))) as poller:
        return await clock.run(poller.wait(order(), expected=10_000))


async def test_a_refunded_order_settles_nothing_as_paid() -> None:
    """M-13: given to ``settle``, it has the order asked about at once instead."""
    clock = FakeClock()
    async with poller_on(Scripted(clock, always(NAMED))) as poller:
        waiting = asyncio.ensure_future(poller.wait(order(), expected=10_000))
        await clock.advance(0)
        known = refunded_order(NAMED, mch_id=MCH_ID, out_trade_no=order().out_trade_no)
        assert known is not None
        assert poller.settle(known) is False
        outcome = await clock.run(waiting)
    assert outcome.status is PollStatus.REFUNDED


async def test_settle_says_what_it_wants_where_there_is_no_paid_order() -> None:
    """An outcome that is not paid has none; both `settle` name the mistake."""
    clock = FakeClock()
    nothing: Any = None
    async with Receiver().handler() as handler:
        with pytest.raises(ParameterError, match="look at the status"):
            await handler.settle(nothing)
    async with poller_on(Scripted(clock, always(NAMED))) as poller:
        with pytest.raises(ParameterError, match="look at the status"):
            poller.settle(nothing)


def test_a_zero_says_nothing_of_how_much_came_back() -> None:
    """C 39: an order in refund of which nothing came back is none; so the amount is not known."""
    known = refunded_order({**NAMED, "refund_fee": "0"}, mch_id=MCH_ID, out_trade_no=ORDER)
    assert known is not None
    assert known.refunded is None
    assert "deliver nothing before you know" in advice_in_refund(known)


async def test_what_the_answer_names_is_in_the_outcome() -> None:
    """C 39, M-13: the payment, as far as it is named, and how much came back where it says so."""
    outcome = await ended({**NAMED, "refund_fee": "100"})
    paid = outcome.paid
    assert isinstance(paid, RefundedOrder)
    assert (paid.payable, paid.paid, paid.coupon_fee) == (10_000, 9_000, 1_000)
    assert (paid.transaction_id, paid.out_transaction_id) == ("T1", "W1")
    assert paid.time_end is not None
    assert (outcome.refunded, paid.refunded) == (Fen(100), Fen(100))
    assert "1.00 of 90.00 yuan came back so far" in outcome.advice
    with pytest.raises(TradeRefundedError, match=r"1\.00 of 90\.00 yuan") as caught:
        outcome.unwrap()
    assert caught.value.paid == paid
    assert caught.value.reply is outcome.reply


async def test_what_it_does_not_name_is_not_guessed() -> None:
    """C 39: then it was paid, and all of it or a part came back."""
    outcome = await ended({**dict.fromkeys(NAMED, ""), **IN_REFUND})
    assert isinstance(outcome.paid, RefundedOrder)
    assert (outcome.paid.mch_id, outcome.paid.out_trade_no) == (MCH_ID, order().out_trade_no)
    assert (outcome.paid.payable, outcome.paid.paid, outcome.refunded) == (None, None, None)
    assert "all of it or a part" in outcome.advice


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "all of it or a part came back"),
        ({"refund_fee": "100"}, "1.00 yuan came back so far"),
        ({**AMOUNTS, "refund_fee_summary": "9000"}, "all of it came back (90.00 yuan)"),
        ({**AMOUNTS, "refund_fee_summary": "300", "refund_fee": "100"}, "3.00 of 90.00 yuan"),
        ({"base_fee": "10000", "base_refund_fee": "200"}, "2.00 of 100.00 yuan came back"),
        ({"base_fee": "409", "refund_fee": "307"}, "3.07 yuan came back so far"),
        ({**AMOUNTS, "base_refund_fee": "9000"}, "90.00 of 100.00 yuan came back"),
        ({**AMOUNTS, "base_refund_fee": "10000"}, "all of it came back"),
        ({**AMOUNTS, "refund_fee": "x", "total_fee": "-1"}, "all of it or a part came back"),
    ],
)
def test_the_advice_fits_what_came_back(fields: dict[str, str], words: str) -> None:
    """A part is not the whole, and what nobody says is neither."""
    assert words in advice_in_refund(refunded_order(fields, mch_id="1", out_trade_no="A"))


@pytest.mark.parametrize("fields", [{"refund_fee": "100"}, {**AMOUNTS, "refund_fee": "100"}])
def test_no_rest_is_delivered_while_another_refund_may_be_under_way(fields: dict[str, str]) -> None:
    """M-25: the answer about an order says nothing of refunds that have not ended."""
    advice = advice_in_refund(refunded_order(fields, mch_id="1", out_trade_no="A"))
    assert "deliver nothing before its refunds have ended" in advice
    assert "deliver what" not in advice


async def test_one_yuan_of_a_hundred_that_came_back() -> None:
    """The sandbox says what the document promises: that it is in refund, and no amount."""
    async with a_till() as shop:
        await shop.checkout(10_000)
        await shop.till.send(
            Refund(
                paytype=PayType.WECHAT,
                out_trade_no=ORDER,
                out_refund_no="R-1",
                total_fee=10_000,
                refund_fee=100,
                op_user_id="op",
            )
        )
        await shop.clock.advance(5)
        query = OrderQuery(paytype=PayType.WECHAT, out_trade_no=ORDER)
        async with Poller(shop.till, clock=shop.clock) as poller:
            outcome = await shop.clock.run(poller.wait(query, expected=10_000))
            back = await shop.clock.run(
                poller.wait(RefundQuery(paytype=PayType.WECHAT, out_refund_no="R-1"))
            )
        assert (outcome.status, back.refunded) == ("REFUNDED", Fen(100))
        assert isinstance(outcome.paid, RefundedOrder)
        assert outcome.paid.out_trade_no == ORDER
        with pytest.raises(TradeRefundedError) as caught:
            (await shop.till.send(query)).unwrap()
        assert caught.value.paid is not None
        assert caught.value.paid.out_trade_no == ORDER


async def test_a_checkout_whose_order_went_into_refund_says_what_is_known() -> None:
    """M-24: UNKNOWN, for a person, with the payment; over a restart too."""
    async with a_till() as shop:
        await shop.till.send(pay(100))
        await shop.till.send(
            Refund(
                paytype=PayType.WECHAT,
                out_trade_no=ORDER,
                out_refund_no="R-1",
                total_fee=100,
                refund_fee=40,
                op_user_id="op",
            )
        )
        await shop.clock.advance(5)
        async with MemoryPollStore() as store:
            outcome = await shop.checkout(100, store=store)
            assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.REFUNDED)
            assert isinstance(outcome.paid, RefundedOrder)
            again = resume(shop.till, store, schedule=EXACT, clock=shop.clock)
            kept = await anext(again)
            assert isinstance(kept.paid, RefundedOrder)
            await again.aclose()


async def test_an_order_in_refund_is_never_delivered_by_settle() -> None:
    """M-15: set aside and reported, whoever hands it over; on_paid does not run."""
    shop = Receiver(orders={ORDER: ExpectedOrder(10_000, MCH_ID)})
    async with shop.handler() as handler:
        found = refunded_order(NAMED, mch_id=MCH_ID, out_trade_no=ORDER)
        assert found is not None
        for _ in range(2):
            assert await handler.settle(found) is Decision.UNREADABLE
        await handler.run_due()
    assert shop.delivered == []
    assert [(each.decision, each.out_trade_no) for each in shop.told] == [
        (Decision.UNREADABLE, ORDER)
    ]


def test_it_comes_back_from_a_store_and_a_pickle_as_what_it_is() -> None:
    """M-23: else it would pass for one that is simply paid."""
    for fields in (NAMED, {**NAMED, "refund_fee": "100"}, IN_REFUND):
        found = refunded_order(fields, mch_id="1", out_trade_no="A1")
        assert found is not None
        kept = paid_in(paid_members(found))
        assert isinstance(kept, RefundedOrder)
        assert (kept.refunded, kept.refunded_of) == (found.refunded, found.refunded_of)
        copied = pickle.loads(pickle.dumps(copy.copy(found)))  # noqa: S301 - our own
        assert copied.refunded == found.refunded
