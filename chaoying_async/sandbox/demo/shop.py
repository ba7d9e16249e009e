"""A shop's rush hour: payments, refunds and pre-orders, all at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

import anyio
import attrs

from chaoying_async.abc import Clock, Gateway
from chaoying_async.exceptions import OutcomeUnknownError
from chaoying_async.polling import Poller
from chaoying_async.sandbox.demo.sale import Returned, Sale, refund_parts, take_payment
from chaoying_async.sandbox.demo.warehouse import Warehouse
from chaoying_async.sansio.api.barcode import Pay
from chaoying_async.sansio.api.endpoint import Request
from chaoying_async.sansio.api.follow_up import OrderQuery
from chaoying_async.sansio.api.preorder import AlipayPreOrder, WechatPreOrder
from chaoying_async.sansio.enums import PayType, TradeType
from chaoying_async.sansio.payments.moves import CheckoutStatus
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.sansio.values import Fen

#: What customers do, by the sandbox's scenario numbers (the last three digits of the amount).
CUSTOMERS = (0, 403, 0, 401, 406, 0, 404, 409, 405, 0, 413, 410, 0, 408, 422, 407, 420, 0, 421, 415)
#: The same for pre-orders: paid, paid with a coupon, notified twice, never notified.
SCANNERS = (0, 409, 430, 431)
#: When the shop asks about an order that nobody notified it of.
PREORDERS = PollSchedule.preorder()

#: Prefixes of payment codes, and whose they are.
_CODES = (("13", PayType.WECHAT), ("28", PayType.ALIPAY))

#: Called whenever one more payment, refund or pre-order is done, with which of them.
Progress = Callable[[str], None]


@attrs.frozen(kw_only=True)
class PreOrdered:
    """What became of one pre-order."""

    out_trade_no: str
    paid: Fen


@attrs.define
class Day:
    """The shop's own record of the day, to be compared with the gateway's books."""

    sales: list[Sale] = attrs.field(factory=list)
    returned: list[Returned] = attrs.field(factory=list)
    preorders: list[PreOrdered] = attrs.field(factory=list)

    @property
    def received(self) -> Fen:
        """Cash of all paid sales and pre-orders."""
        sales = sum(sale.paid for sale in self.sales if sale.status is CheckoutStatus.PAID)
        return Fen(sales + sum(order.paid for order in self.preorders))

    @property
    def refunded(self) -> Fen:
        """Cash that customers got back."""
        return Fen(sum(each.cash for each in self.returned))


@attrs.frozen(kw_only=True)
class Shop:
    """A till that serves many customers at the same time."""

    gateway: Gateway
    clock: Clock
    rng: random.Random
    receiver: Warehouse
    poller: Poller
    notify_url: str
    progress: Progress

    async def open(self, payments: int, preorders: int) -> Day:
        """Serve all customers at once, each in a task."""
        day = Day()
        async with anyio.create_task_group() as tasks:
            for number, pay in enumerate(self._customers(payments)):
                tasks.start_soon(self._serve, day, pay, number, name="chaoying demo: customer")
            for number in range(preorders):
                tasks.start_soon(self._preorder, day, number, name="chaoying demo: pre-order")
        return day

    def _customers(self, count: int) -> Iterator[Pay]:
        for number in range(count):
            prefix, _ = _CODES[number % len(_CODES)]
            yield Pay(
                out_trade_no=f"D{number:05d}01",
                body="演示商品",
                total_fee=Fen(1000 * self.rng.randint(1, 99) + CUSTOMERS[number % len(CUSTOMERS)]),
                auth_code=f"{prefix}{self.rng.randint(0, 10**12 - 1):012d}1111",
            )

    async def _serve(self, day: Day, pay: Pay, number: int) -> None:
        sale = await take_payment(self.gateway, pay, self.clock)
        day.sales.append(sale)
        self.progress("payments")
        if sale.status is CheckoutStatus.PAID and number % 3 == 0:
            _, wallet = _CODES[number % len(_CODES)]
            half = Fen(sale.payable // 2)
            parts = [half, Fen(sale.payable - half)] if number % 2 else [half]
            day.returned += await refund_parts(self.gateway, sale, wallet, parts, self.clock)
            self.progress("refunds")

    async def _preorder(self, day: Day, number: int) -> None:
        """Make an order that the customer pays later, and learn of the payment either way."""
        total = Fen(1000 * self.rng.randint(1, 99) + SCANNERS[number % len(SCANNERS)])
        out_trade_no = f"Q{number:05d}"
        wallet = await self.announce(number, out_trade_no, total)
        query = OrderQuery(paytype=wallet, out_trade_no=out_trade_no)
        outcome = await self.poller.wait(query, total, schedule=PREORDERS)
        if outcome.status is PollStatus.PAID and outcome.paid is not None:
            # The second of query and notification is a duplicate.
            await self.receiver.handler.settle(outcome.paid)
            day.preorders.append(await self.reconciled(query))
        self.progress("pre-orders")

    async def reconciled(self, query: OrderQuery) -> PreOrdered:
        """Ask how much the customer paid in cash, which a notification does not say."""
        result = (await self.gateway.send(query)).unwrap()
        return PreOrdered(out_trade_no=result.out_trade_no or "", paid=result.total_fee)

    async def announce(self, number: int, out_trade_no: str, total: Fen) -> PayType:
        """Make a pre-order that the shop knows of before the gateway does."""
        self.receiver.expected[out_trade_no] = total
        kinds = ((WechatPreOrder, PayType.WECHAT), (AlipayPreOrder, PayType.ALIPAY))
        kind, wallet = kinds[number % len(kinds)]
        order = kind(
            out_trade_no=out_trade_no,
            body="演示商品",
            total_fee=total,
            trade_type=TradeType.NATIVE,
            product_id="1",
            notify_url=self.notify_url,
        )
        with suppress(OutcomeUnknownError):  # then the notification or the query tells
            await self.gateway.send(cast("Request[Any]", order))
        return wallet
