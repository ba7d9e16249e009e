"""The wrong notifications that the sandbox makes on request are wrong, whatever the order is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from chaoying_async import (
    ExpectedOrder,
    GatewaySession,
    MemoryInbox,
    NotificationHandler,
    PaidOrder,
    TradeType,
    WechatPreOrder,
)
from chaoying_async.sandbox import Order, Sandbox
from chaoying_async.sandbox.serving.events import EVENTS, body_of, imagined
from chaoying_async.testing import FakeClock

#: What the page of ``trigger`` lists as what must not take effect.
WRONG = sorted(EVENTS.keys() - {"paid", "duplicate", "late"})
#: A shop with two merchants, whose orders have neighbours under every letter that may come next.
ORDERS = [
    *(("00000001", f"A1000{last}") for last in ("11", "1X", "1Y", "XX", "YY")),
    *(("00000002", f"A1000{last}") for last in ("11", "1Z")),
]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """One where the shop has made its orders, and every customer has paid."""
    async with Sandbox(clock=FakeClock()) as made:
        for mch_id, number in ORDERS:
            async with GatewaySession(
                made.credentials, mch_id=mch_id, transport=made.transport, clock=made.clock
            ) as gateway:
                asked = WechatPreOrder(
                    out_trade_no=number,
                    body="tea",
                    total_fee=1230,
                    trade_type=TradeType.NATIVE,
                    product_id="1",
                )
                (await gateway.send(asked)).unwrap()
            made.customer_pays(number, mch_id)
        yield made


async def _took_effect(sandbox: Sandbox, order: Order, name: str, known: Order) -> bool:
    """Whether a receiver that compares as it should still delivers."""
    delivered = []

    async def on_paid(paid: PaidOrder) -> None:
        delivered.append(paid)

    async def expected(mch_id: str, number: str) -> ExpectedOrder | None:
        ours = (mch_id, number) in {*ORDERS, known.key}
        return ExpectedOrder(1230, mch_id) if ours else None

    handler = NotificationHandler(
        sandbox.credentials, MemoryInbox(), on_paid, expected=expected, clock=sandbox.clock
    )
    await handler.handle(body_of(EVENTS[name], sandbox._runtime.gateway, order))
    return bool(delivered)


@pytest.mark.parametrize(("mch_id", "number"), ORDERS)
async def test_no_wrong_notification_takes_effect(
    sandbox: Sandbox, mch_id: str, number: str
) -> None:
    """Also where the order's number ends as the wrong one would, or its merchant is the other."""
    order = sandbox.ledger.order(number, mch_id)
    assert await _took_effect(sandbox, order, "paid", order)
    assert [name for name in WRONG if await _took_effect(sandbox, order, name, order)] == []


@pytest.mark.parametrize("number", ["A90000X", "A1234", "X" * 32])
async def test_nor_does_one_about_an_order_that_nobody_made(sandbox: Sandbox, number: str) -> None:
    """The shop may know it from elsewhere: it still is not named."""
    order = imagined(sandbox._runtime.gateway, "00000002", number, total=1230)
    assert await _took_effect(sandbox, order, "paid", order)
    assert [name for name in WRONG if await _took_effect(sandbox, order, name, order)] == []
