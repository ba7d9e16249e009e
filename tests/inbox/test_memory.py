"""MemoryInbox by itself: what it forgets and when, and what it may hold on to (M-19, M-27)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.facts import facts_of_order, to_text
from chaoying_async.sansio.notifications.inbox_values import (
    AHEAD,
    Claim,
    Entry,
    InboxFullError,
    Mark,
    OrderKey,
    SeenState,
)
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID, OPENID, ORDER
from tests.shop import Shop, queried

KEY = OrderKey(MCH_ID, ORDER)
WINDOW = timedelta(days=1)
KEPT = (WINDOW + AHEAD).total_seconds()
LEASE = 30.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def entry(clock: FakeClock, *, days_ago: int = 0) -> Entry:
    return Entry(payload="{}", first_seen=clock.now() - timedelta(days=days_ago))


async def claimed(inbox: MemoryInbox, key: OrderKey, what: Entry) -> Claim:
    claim = await inbox.claim(key, what, lease=LEASE)
    assert isinstance(claim, Claim)
    return claim


async def done(inbox: MemoryInbox, key: OrderKey, what: Entry) -> None:
    async with inbox.work(await claimed(inbox, key, what)):
        pass


async def is_full(inbox: MemoryInbox, clock: FakeClock) -> bool:
    """Whether there is no room for one more, which is not kept."""
    try:
        await inbox.not_paid(OrderKey(MCH_ID, "one more"), entry(clock))
    except InboxFullError:
        return True
    return False


# ----------------------------------------------------------------------------------- forgetting


@pytest.mark.parametrize("end", ["done", "not paid", "dismissed"])
async def test_it_remembers_for_a_window_from_the_end_whenever_its_message_came(
    clock: FakeClock, end: str
) -> None:
    """M-19: nothing inside the window goes: a payment may have waited for days for its order."""
    await clock.advance(10 * 86_400)
    inbox = MemoryInbox(clock=clock, window=WINDOW, max_items=1)
    old = entry(clock, days_ago=9)
    if end == "done":
        await done(inbox, KEY, old)
    elif end == "not paid":
        await inbox.not_paid(KEY, old)
    else:
        await inbox.quarantine(await claimed(inbox, KEY, old), "why")
        assert await inbox.mark(KEY, Mark.DISMISS)
    await clock.advance(KEPT - 1)
    assert await is_full(inbox, clock)
    await clock.advance(LEASE + 60)
    assert not await is_full(inbox, clock)
    assert await inbox.look(KEY) is None


async def test_work_that_went_on_for_days_is_remembered_from_its_end(clock: FakeClock) -> None:
    """M-19: its lease was renewed all the time; the window begins when it is done."""
    inbox = MemoryInbox(clock=clock, window=WINDOW, max_items=1)
    claim = await claimed(inbox, KEY, entry(clock))
    async with inbox.work(claim):
        await clock.advance(3 * 86_400)
        assert await inbox.renew(claim, lease=LEASE)
    await clock.advance(KEPT - 1)
    assert await is_full(inbox, clock)
    await clock.advance(LEASE + 60)
    assert not await is_full(inbox, clock)


async def test_what_is_not_at_its_end_is_never_forgotten(clock: FakeClock) -> None:
    """M-19: held, released or in quarantine, for as long as it takes."""
    inbox = MemoryInbox(clock=clock, window=WINDOW, max_items=3)
    await claimed(inbox, OrderKey(MCH_ID, "held"), entry(clock))
    released = await claimed(inbox, OrderKey(MCH_ID, "released"), entry(clock))
    await inbox.release(released, retry_in=1.0, failed=True)
    stuck = await claimed(inbox, OrderKey(MCH_ID, "stuck"), entry(clock))
    await inbox.quarantine(stuck, "why")
    await clock.advance(30 * 86_400)
    assert await is_full(inbox, clock)
    assert len(await inbox.listing(10)) == 3


@pytest.mark.parametrize("jump", [timedelta(days=400), -timedelta(days=400)])
async def test_a_wall_clock_that_jumps_neither_forgets_nor_keeps_for_ever(
    clock: FakeClock, jump: timedelta
) -> None:
    """M-26: ages are on the monotonic clock, and so is the pause between two sweeps."""
    inbox = MemoryInbox(clock=clock, window=WINDOW, max_items=1)
    await done(inbox, KEY, entry(clock))
    wall = clock.now
    clock.now = lambda: wall() + jump  # type: ignore[method-assign]
    assert await is_full(inbox, clock)
    record = await inbox.look(KEY)
    assert record is not None
    assert record.state is SeenState.DONE
    clock.now = wall  # type: ignore[method-assign]
    await clock.advance(KEPT + LEASE + 61)
    assert not await is_full(inbox, clock)


async def test_a_full_inbox_is_swept_once_a_minute_at_most(clock: FakeClock) -> None:
    """A sweep looks at everything, so a flood of new orders must not cause one each."""
    inbox = MemoryInbox(clock=clock, window=WINDOW, max_items=1)
    await done(inbox, KEY, entry(clock))
    await clock.advance(KEPT + LEASE - 30)
    assert await is_full(inbox, clock)
    await clock.advance(59)  # by now it is old, but the last sweep was not a minute ago
    assert await is_full(inbox, clock)
    await clock.advance(1)
    assert not await is_full(inbox, clock)


# ------------------------------------------------------------------------------------- the buyer


def reachable(inbox: MemoryInbox) -> Iterator[object]:
    """Everything that the inbox holds on to, but for code and the clock, which are not its own."""
    waiting: list[object] = [value for name, value in vars(inbox).items() if name != "_clock"]
    seen: set[int] = set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, (type, ModuleType)):
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, FunctionType):
            waiting += [cell.cell_contents for cell in thing.__closure__ or ()]
            waiting += thing.__defaults__ or ()
        else:
            waiting += gc.get_referents(thing)


def knows_the_buyer(inbox: MemoryInbox) -> bool:
    return any(isinstance(thing, str) and OPENID in thing for thing in reachable(inbox))


async def _fails(_order: PaidOrder) -> None:
    raise RuntimeError("no stock")


async def _goes_on(_order: PaidOrder) -> None:
    await asyncio.Event().wait()


async def _ends(_order: PaidOrder) -> None:
    return


@pytest.mark.parametrize("how", [_fails, _goes_on, _ends])
async def test_no_buyer_is_held_beyond_the_work(how: Any) -> None:
    """M-27: neither after work that failed or was cancelled, nor after what is done.

    During the work he is there, which shows that the search would find him.
    """
    shop = Shop()
    inbox = shop.inbox()
    during: list[bool] = []

    async def on_paid(order: PaidOrder) -> None:
        during.append(knows_the_buyer(inbox))
        await how(order)

    async with shop.handler(inbox, on_paid=on_paid, grace=0.0) as handler:
        await shop.clock.run(handler.handle(shop.body()))
    assert during == [True]
    record = await inbox.look(KEY)
    assert record is not None
    assert record.state is (SeenState.DONE if how is _ends else SeenState.HELD)
    assert record.lease == 0.0
    assert not knows_the_buyer(inbox)


@pytest.mark.parametrize(
    "fields", [{"pay_result": "1"}, {"total_fee": 1}, {"out_trade_no": "unknown"}]
)
async def test_no_buyer_is_held_of_what_takes_no_effect(fields: dict[str, Any]) -> None:
    """M-27: failures and messages that are set aside are written down without the buyer."""
    shop = Shop()
    inbox = shop.inbox()
    await shop.handler(inbox).handle(shop.body(**fields))
    assert repr(inbox) in {
        "<MemoryInbox 1 orders, 0 asides>",
        "<MemoryInbox 0 orders, 1 asides>",
    }
    assert not knows_the_buyer(inbox)


@pytest.mark.parametrize("end", ["release", "quarantine", "complete"])
async def test_no_buyer_is_held_by_what_a_text_would_be_written_from(
    clock: FakeClock, end: str
) -> None:
    """M-27: whichever way a claim ends, what may still be read is written, and the rest let go."""
    inbox = MemoryInbox(clock=clock)
    facts = facts_of_order(queried(raw={"openid": OPENID}))
    claim = await claimed(inbox, KEY, Entry(partial(to_text, facts), clock.now()))
    assert knows_the_buyer(inbox)
    if end == "release":
        assert not await inbox.release(claim, retry_in=0.0, failed=False)
    elif end == "quarantine":
        assert await inbox.quarantine(claim, "why")
    else:
        async with inbox.work(claim):
            pass
    assert not knows_the_buyer(inbox)
    record = await inbox.look(KEY)
    assert record is not None
    assert bool(record.entry.payload) == (end != "complete")
