"""How much of what strangers send an inbox keeps; one suite over all of them (M-15)."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.inbox.redis import inbox as redis_inbox
from chaoying_async.inbox.sql import inbox as sql_inbox
from chaoying_async.sansio.notifications import inbox_values
from chaoying_async.sansio.notifications.inbox_values import (
    MOST_MESSAGES,
    Aside,
    InboxFullError,
    OrderKey,
    TooManyWaitError,
)
from chaoying_async.testing import FakeClock
from tests.inbox.inboxes import KEY, Bench, an_aside
from tests.sizes import FULL


def numbered(bench: Bench, number: int, **changes: Any) -> Aside:
    """A message of its own about the order."""
    return an_aside(bench, fingerprint=f"{number:064x}", **changes)


def of_order(bench: Bench, number: int, **changes: Any) -> Aside:
    """A message about an order of its own, which the shop does not know."""
    key = OrderKey(changes.pop("mch_id", KEY.mch_id), f"F{number}")
    return an_aside(bench, key=key, **{"foreign": True} | changes)


@pytest.fixture
def most_foreign(monkeypatch: pytest.MonkeyPatch) -> int:
    """Of so many unknown orders of a merchant messages are kept: 30 here, 200 with ``FULL=1``."""
    for module in () if FULL else (inbox_values, sql_inbox, redis_inbox):
        monkeypatch.setattr(module, "MOST_FOREIGN", 30)
    return inbox_values.MOST_FOREIGN


async def keep(bench: Bench, *asides: Aside) -> None:
    for aside in asides:
        assert await bench.inbox.set_aside(aside, retry_in=None)


async def is_refused(bench: Bench, aside: Aside) -> bool:
    try:
        return not await bench.other.set_aside(aside, retry_in=None)
    except TooManyWaitError:
        return True


async def test_of_one_order_so_many_messages_wait_and_no_more(bench: Bench) -> None:
    """M-15: what is kept already may still change; what is closed makes room."""
    kept = [numbered(bench, number) for number in range(MOST_MESSAGES)]
    await keep(bench, *kept)
    more = numbered(bench, MOST_MESSAGES)
    with pytest.raises(TooManyWaitError):
        await bench.other.set_aside(more, retry_in=None)
    assert await bench.inbox.aside(KEY, more.fingerprint) is None
    changed = attrs.evolve(kept[3], decision="CONFLICT")
    assert await bench.other.set_aside(changed, retry_in=None)
    await keep(bench, an_aside(bench, key=OrderKey(KEY.mch_id, "another")))
    await bench.inbox.close(kept[0])
    await keep(bench, more)
    assert len(await bench.other.asides(KEY)) == MOST_MESSAGES


async def test_messages_that_come_together_are_counted_together(bench: Bench) -> None:
    """M-15: two processes may go beyond it by what they are writing at that moment."""
    tries = [
        inbox.set_aside(numbered(bench, number + 100 * which), retry_in=None)
        for number in range(2 * MOST_MESSAGES)
        for which, inbox in enumerate((bench.inbox, bench.other))
    ]
    got = await asyncio.gather(*tries, return_exceptions=True)
    assert {type(one) for one in got} == {bool, TooManyWaitError}
    assert MOST_MESSAGES <= len(await bench.inbox.asides(KEY)) <= MOST_MESSAGES + 1


async def test_of_one_merchant_so_many_unknown_orders_wait_and_no_more(
    bench: Bench, most_foreign: int
) -> None:
    """M-15: another merchant, a known order and an order that is one of them have room."""
    kept = [of_order(bench, number) for number in range(most_foreign)]
    await keep(bench, *kept)
    assert await is_refused(bench, of_order(bench, most_foreign))
    (listed,) = await bench.other.asides(kept[0].key)
    assert listed == kept[0]
    await keep(
        bench,
        of_order(bench, 0, fingerprint="cd" * 32),
        of_order(bench, most_foreign, mch_id="00000002"),
        of_order(bench, most_foreign + 1, foreign=False),
    )
    # One of them is known by now, two are closed: there is room for three.
    known = attrs.evolve(kept[1], decision="CONFLICT", foreign=False)
    assert await bench.inbox.set_aside(known, retry_in=None)
    await bench.inbox.close(kept[2])
    await bench.other.close(kept[3])
    await keep(bench, *(of_order(bench, number) for number in range(1000, 1003)))
    assert await is_refused(bench, of_order(bench, 1003))


async def test_of_one_merchant_a_tenth_of_a_memory_inbox_waits() -> None:
    """M-15: known orders too, and the others' messages still have their place."""
    clock = FakeClock()
    bench = Bench(
        inbox=(inbox := MemoryInbox(clock=clock, max_items=100)),
        other=inbox,
        pass_time=clock.advance,
        now=clock.now,
    )
    kept = [of_order(bench, number, foreign=number % 2 == 0) for number in range(10)]
    await keep(bench, *kept)
    assert await is_refused(bench, of_order(bench, 10, foreign=False))
    await keep(bench, of_order(bench, 10, mch_id="00000002"))
    await inbox.close(kept[0])
    await keep(bench, of_order(bench, 10))
    assert issubclass(TooManyWaitError, InboxFullError)
