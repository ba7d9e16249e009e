"""A handler whose block is left ends, whatever drivers and hooks make of a cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.notifications import tasks
from tests.shop import Shop


class Losing(MemoryInbox):
    """An inbox whose driver makes an error of its own of a cancellation."""

    reached = 0

    async def unfinished(self, limit: int) -> Any:
        self.reached += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ConnectionError("the connection was closed") from None


async def test_a_round_whose_cancellation_was_lost_is_the_last_one() -> None:
    """run_due does not wait half a minute for its next round when nobody owns it any more."""
    shop = Shop()
    inbox = Losing(clock=shop.clock)
    async with asyncio.timeout(20):
        async with shop.handler(inbox, grace=0.0):
            await asyncio.sleep(0.01)
    assert inbox.reached == 1


async def test_work_that_swallows_its_end_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every few seconds, until it has ended."""
    monkeypatch.setattr(tasks, "_CLEAN_UP", 0.01)
    shop = Shop()
    swallowed: list[str] = []

    async def on_paid(order: PaidOrder) -> None:
        while len(swallowed) < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(order.out_trade_no)

    async with asyncio.timeout(20):
        async with shop.handler(on_paid=on_paid, grace=0.0) as handler:
            delivery = asyncio.create_task(handler.handle(shop.body()))
            await asyncio.sleep(0.01)
        await asyncio.wait([delivery])
    assert len(swallowed) == 3
