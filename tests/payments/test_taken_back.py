"""M-24: a payment that never left, whose record could not be taken back at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoying_async import AttemptInProgressError, StoreError, UsageError
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.refunds import refund_and_track
from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.sansio.payments.intent import order_record_in
from chaoying_async.sansio.payments.moves import CheckoutStatus
from tests.factories import MCH_ID
from tests.payments.test_refund_and_track import refund
from tests.tills import a_till, pay


class Unheard(MemoryPollStore):
    """A store that is away from the first text of this kind on, which it has written."""

    away = False

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind: str | None = kind

    async def put(self, kind: str, items: Any) -> None:
        await self.hold()
        await super().put(kind, items)
        if kind == self._kind:
            self._kind, self.away = None, True
            await self.hold()

    async def hold(self) -> None:
        if self.away:
            raise ConnectionResetError
        await super().hold()


@pytest.mark.parametrize("unheard", ["checkout-order", "checkout"])
async def test_a_payment_that_never_left_is_sent_by_the_next_call(unheard: str) -> None:
    """M-24: what wrote it down was made, and nobody heard; then the store was away for a while."""
    async with a_till() as shop:
        store = Unheard(unheard)
        async with store:
            with pytest.raises(StoreError) as caught:
                await shop.checkout(100, store=store)
            assert caught.value.sent is False
            store.away = False
            assert (await shop.checkout(100, store=store)).status is CheckoutStatus.PAID
        assert shop.till.at("pay") == [shop.clock.monotonic()]


async def test_what_is_taken_back_late_leaves_the_next_attempt_of_its_order_alone() -> None:
    """M-24: else an order that is paid could be charged again."""
    async with a_till() as shop:
        store = Unheard("checkout-order")
        async with store:
            with pytest.raises(StoreError):
                await shop.checkout(100, store=store, order_no="A10001")
            store.away = False
            paid = await shop.checkout(100, store=store, order_no="A10001", number="A100012")
            assert paid.status is CheckoutStatus.PAID
            await shop.clock.advance(10)
            ((_, text),) = [each async for each in store.load("checkout-order")]
            assert order_record_in(text).out_trade_no == "A100012"
            with pytest.raises(AttemptInProgressError):
                await shop.checkout(100, store=store, order_no="A10001", number="A100013")


async def test_a_payment_and_a_refund_of_one_number_are_both_taken_back() -> None:
    """M-24, M-25: a shop may count its refunds as it counts its orders."""
    number, store = "A200011", Unheard("")
    async with a_till() as shop, store:

        class Stopping:
            mch_id = MCH_ID

            async def send(self, request: Any, *, timeout: Any = None) -> Any:
                await shop.clock.sleep(1)
                store.away = True
                raise UsageError

        def pays(gateway: Any) -> Any:
            return checkout(gateway, pay(100, number), store=store, clock=shop.clock)

        def gives_back(gateway: Any) -> Any:
            return refund_and_track(gateway, refund(100, number), store=store, clock=shop.clock)

        stopped = asyncio.gather(pays(Stopping()), gives_back(Stopping()), return_exceptions=True)
        assert [type(each) for each in await shop.clock.run(stopped)] == [UsageError, UsageError]
        store.away = False
        await shop.clock.advance(10)
        await shop.checkout(10_000)
        assert (await shop.clock.run(pays(shop.till))).status == "PAID"
        assert (await shop.clock.run(gives_back(shop.till), within=10**6)).status == "REFUNDED"
