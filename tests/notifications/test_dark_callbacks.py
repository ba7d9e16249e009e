"""A merchant whose callbacks have ceased is noticed, and no other."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from chaoying_async import (
    NO_AMOUNT_CHECK,
    CallbacksDark,
    Decision,
    Fen,
    MemoryInbox,
    NotificationHandler,
    PaidOrder,
    PaidSource,
)
from chaoying_async.testing import FakeClock
from tests.factories import CREDENTIALS
from tests.sizes import FULL

#: Each has 200 orders.
MERCHANTS = [f"{number:08d}" for number in range(1, 51 if FULL else 9)]
DARK = MERCHANTS[7]
#: Seconds from a payment to its query, and to its callback.
QUERY, CALLBACK = 5, 2


class DarkShop:
    """A handler, and what it was told of merchants that are dark."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.told: list[tuple[float, CallbacksDark]] = []
        self.took_effect = defaultdict[str, list[float]](list)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[NotificationHandler]:
        async with NotificationHandler(
            CREDENTIALS,
            MemoryInbox(clock=self.clock),
            self._on_paid,
            expected=NO_AMOUNT_CHECK,
            on_callbacks_dark=self._on_dark,
            clock=self.clock,
        ) as handler:
            yield handler

    def order(self, number: str, mch_id: str, source: PaidSource, paid_at: float) -> PaidOrder:
        since = timedelta(seconds=self.clock.monotonic() - paid_at)
        return PaidOrder(
            mch_id=mch_id,
            out_trade_no=number,
            payable=Fen(100),
            paid=Fen(100),
            transaction_id=f"T{number}",
            time_end=self.clock.now() - since,
            source=source,
        )

    def _on_paid(self, order: PaidOrder) -> None:
        self.took_effect[order.mch_id].append(self.clock.monotonic())

    async def _on_dark(self, dark: CallbacksDark) -> None:
        self.told.append((self.clock.monotonic(), dark))


@pytest.fixture
def shop() -> DarkShop:
    return DarkShop()


@pytest.mark.slow  # thousands of orders: not in `make quick`, nor on the lowest dependencies
async def test_one_dark_merchant_of_many_is_told_within_a_minute(
    shop: DarkShop, caplog: pytest.LogCaptureFixture
) -> None:
    """1,600 orders in two minutes, one callback in twenty lost: no alarm for any other.

    ``FULL=1``: 10,000, of 50 merchants instead of 8.
    """
    rng = random.Random(15)
    events = defaultdict[int, list[tuple[str, str, PaidSource, int]]](list)
    for number in range(200 * len(MERCHANTS)):
        mch_id, paid_at = MERCHANTS[number % len(MERCHANTS)], rng.randrange(120)
        if mch_id != DARK and rng.random() > 0.05:
            told = (f"A{number}", mch_id, PaidSource.NOTIFICATION, paid_at)
            events[paid_at + CALLBACK].append(told)
        events[paid_at + QUERY].append((f"A{number}", mch_id, PaidSource.QUERY, paid_at))
    start = shop.clock.monotonic()
    async with shop.open() as handler:
        for second in range(180):
            for name, mch_id, source, paid_at in events[second]:
                await handler.settle(shop.order(name, mch_id, source, start + paid_at))
            await shop.clock.advance(1)
        counted = handler.stats().callbacks
    ((when, dark),) = shop.told
    assert dark.mch_id == DARK
    assert when - start <= QUERY + 60
    assert [len(shop.took_effect[mch_id]) for mch_id in MERCHANTS] == [200] * len(MERCHANTS)
    assert counted[DARK].is_dark
    assert counted[DARK].share_by_query == 1
    others = [counts for mch_id, counts in counted.items() if mch_id != DARK]
    assert all(0 < counts.share_by_query < 0.15 for counts in others)
    assert {counts.delay for counts in others} == {timedelta(seconds=CALLBACK)}
    lines = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert [DARK in each.getMessage() for each in lines] == [True]


async def test_callbacks_that_come_again_are_said_and_may_cease_again(
    shop: DarkShop, caplog: pytest.LogCaptureFixture
) -> None:
    """One line each time; a single late callback is enough."""
    async with shop.open() as handler:
        for round_ in range(2):
            for number in range(6):
                order = shop.order(f"R{round_}N{number}", DARK, PaidSource.QUERY, 0)
                assert await handler.settle(order) is Decision.APPLY
            await shop.clock.advance(60)
            assert len(shop.told) == round_ + 1
            late = shop.order(f"R{round_}N0", DARK, PaidSource.NOTIFICATION, 0)
            assert await handler.settle(late) is Decision.DUPLICATE
            assert not handler.stats().callbacks[DARK].is_dark
    assert [dark.orders for _, dark in shop.told] == [6, 6]
    assert sum("come again" in each.getMessage() for each in caplog.records) == 2


async def test_a_payment_that_is_told_twice_by_query_counts_once(shop: DarkShop) -> None:
    """An outcome comes at least once; four orders are too few, however often they come."""
    async with shop.open() as handler:
        for number in [*range(4)] * 3:
            await handler.settle(shop.order(f"A{number}", DARK, PaidSource.QUERY, 0))
        await shop.clock.advance(120)
        assert handler.stats().callbacks[DARK].by_query == 4
    assert shop.told == []


async def test_a_hook_that_fails_takes_nothing_down(
    shop: DarkShop, caplog: pytest.LogCaptureFixture
) -> None:
    """The line at ERROR was written before, and the order has its effect."""

    async def broken(dark: CallbacksDark) -> None:
        raise RuntimeError("no pager")

    shop._on_dark = broken  # type: ignore[method-assign]
    async with shop.open() as handler:
        for number in range(5):
            await handler.settle(shop.order(f"A{number}", DARK, PaidSource.QUERY, 0))
        await shop.clock.advance(21)
        order = shop.order("A9", DARK, PaidSource.QUERY, 0)
        assert await handler.settle(order) is Decision.APPLY
    assert "on_callbacks_dark failed" in caplog.text
