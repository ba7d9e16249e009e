"""A shop with a handler: what it sells, what was paid, and the messages about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from chaoying_async.abc import Gateway, Inbox
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.notifications import NotificationHandler
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision, NotificationAnswer, SetAside
from chaoying_async.sansio.notifications.message import Notification
from chaoying_async.sansio.paid import PaidOrder, PaidSource
from chaoying_async.sansio.values import Fen
from chaoying_async.testing import FakeClock, sign_notification
from tests.factories import CREDENTIALS, MCH_ID, OPENID, ORDER, TRANSACTION

PRICE = 100
#: What ``monotonic()`` says when a test begins: not 0, under which a moment passes for a duration.
BEGAN = 1000.0
OUT_TRANSACTION = "4200000001"


class RunningClock(FakeClock):
    """A clock that was made :data:`BEGAN` seconds ago."""

    def __init__(self) -> None:
        super().__init__(datetime(2026, 1, 1, tzinfo=UTC) - timedelta(seconds=BEGAN))
        self._ns = int(BEGAN) * 1_000_000_000


@attrs.define(kw_only=True)
class Shop:
    """Its books are lists; every function of the handler's is a method that a test may replace."""

    clock: FakeClock = attrs.field(factory=RunningClock)
    orders: dict[str, ExpectedOrder] = attrs.field(
        factory=lambda: {ORDER: ExpectedOrder(PRICE, MCH_ID)}
    )
    delivered: list[PaidOrder] = attrs.field(factory=list)
    unpaid: list[Notification] = attrs.field(factory=list)
    told: list[SetAside] = attrs.field(factory=list)
    after_close: list[PaidOrder] = attrs.field(factory=list)
    #: Awaited, or raised, before an order is delivered.
    before: Callable[[PaidOrder], Any] | None = None

    async def expected(self, mch_id: str, out_trade_no: str) -> ExpectedOrder | None:
        return self.orders.get(out_trade_no)

    async def on_paid(self, order: PaidOrder) -> None:
        if self.before is not None:
            await self.before(order)
        self.delivered.append(order)

    async def on_not_paid(self, notification: Notification) -> None:
        self.unpaid.append(notification)

    async def on_conflict(self, aside: SetAside) -> None:
        self.told.append(aside)

    async def on_paid_after_close(self, order: PaidOrder) -> None:
        self.after_close.append(order)

    def inbox(self, **options: Any) -> MemoryInbox:
        return MemoryInbox(clock=self.clock, **options)

    def handler(
        self, inbox: Inbox | None = None, credentials: Any = CREDENTIALS, **options: Any
    ) -> NotificationHandler:
        """With every hook but ``on_paid_after_close``; ``options`` add or replace."""
        knobs: dict[str, Any] = {
            "expected": self.expected,
            "on_not_paid": self.on_not_paid,
            "on_conflict": self.on_conflict,
            "clock": self.clock,
        }
        on_paid = options.pop("on_paid", self.on_paid)
        return NotificationHandler(credentials, inbox or self.inbox(), on_paid, **knobs | options)

    def body(self, **fields: Any) -> bytes:
        """A paid notification of now, for :data:`ORDER` at its price; with a buyer in it."""
        return sign_notification(CREDENTIALS, **message(self.clock.now(), **fields))

    def reasons(self) -> list[Decision]:
        return [aside.decision for aside in self.told]


def message(now: datetime, **fields: Any) -> dict[str, Any]:
    """The fields of a payment; None takes one out."""
    paid: dict[str, Any] = {
        "mch_id": MCH_ID,
        "out_trade_no": ORDER,
        "transaction_id": TRANSACTION,
        "out_transaction_id": OUT_TRANSACTION,
        "total_fee": PRICE,
        "time_end": now - timedelta(seconds=5),
        "trade_type": "pay.weixin.jspay",
        "sub_openid": OPENID,
        "nonce_str": "1523929649387",
    }
    return paid | fields


def queried(**fields: Any) -> PaidOrder:
    """The same payment as a poller learns it."""
    paid: dict[str, Any] = {
        "mch_id": MCH_ID,
        "out_trade_no": ORDER,
        "transaction_id": TRANSACTION,
        "payable": Fen(PRICE),
        "paid": Fen(PRICE),
        "source": PaidSource.QUERY,
    }
    return PaidOrder(**paid | fields)


def said(answer: NotificationAnswer) -> tuple[str | None, bytes]:
    """The decision, and what the gateway hears."""
    return answer.decision, answer.body


SUCCESS, FAIL = b"success", b"fail"


class Dead:
    """A gateway that never answers, or raises what it is given."""

    mch_id = None

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked = 0

    async def send(self, request: Any, *, timeout: Any = None) -> Any:
        self.asked += 1
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()


def as_gateway(gateway: Any) -> Gateway:
    found: Gateway = gateway
    return found


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel it, and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def slow(shop: Shop, seconds: float) -> Callable[[PaidOrder], Any]:
    """An ``on_paid`` that takes so many seconds of the shop's clock."""

    async def wait(_order: PaidOrder) -> None:
        await shop.clock.sleep(seconds)

    return wait


def failing(times: int) -> Callable[[PaidOrder], Any]:
    """An ``on_paid`` that fails so many times, and then no more."""
    left = [times]

    async def fail(_order: PaidOrder) -> None:
        if left[0]:
            left[0] -= 1
            raise RuntimeError("no stock")

    return fail
