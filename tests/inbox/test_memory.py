"""MemoryInbox by itself: what it forgets and when, and what it may hold on to (M-19, M-27)."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from datetime import timedelta
from types import FunctionType, ModuleType
from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.inbox.leases import LEASE
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.inbox_values import (
    AHEAD,
    Entry,
    InboxFullError,
    Mark,
    OrderKey,
    SeenState,
)
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID, OPENID, ORDER
from tests.shop import Shop

KEY = OrderKey(MCH_ID, ORDER)
WINDOW = timedelta(hours=4)
KEPT = (WINDOW + AHEAD).total_seconds()
DONE = SeenState.DONE


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def entry(clock: FakeClock, *, days_ago: int = 0) -> Entry:
    return Entry(payload="{}", first_seen=clock.now() - timedelta(days=days_ago))


async def keep(inbox: MemoryInbox, key: OrderKey, what: Entry, state: SeenState = DONE) -> None:
    async with inbox.lock(key, what) as order:
        assert order is not None
        await order.save(state, what)


async def is_full(inbox: MemoryInbox, clock: FakeClock) -> bool:
    """Whether there is no room for one more, which is not kept."""
    try:
        async with inbox.lock(OrderKey(MCH_ID, "one more"), entry(clock)):
            return False
    except InboxFullError:
        return True


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
        await keep(inbox, KEY, old)
    elif end == "not paid":
        await keep(inbox, KEY, old, SeenState.NOT_PAID)
    else:
        await keep(inbox, KEY, old, SeenState.QUARANTINED)
        assert await inbox.mark(KEY, Mark.DISMISS)
    await clock.advance(KEPT - 1)
    assert await is_full(inbox, clock)
    await clock.advance(LEASE + 60)
    assert not await is_full(inbox, clock)
    assert await inbox.look(KEY) is None


async def test_work_that_went_on_for_long_is_remembered_from_its_end(clock: FakeClock) -> None:
    """M-19: its lease was renewed all the time; the window begins when it is done."""
    inbox = MemoryInbox(clock=clock, window=WINDOW, max_items=1)
    async with inbox.lock(KEY, entry(clock)) as order:
        assert order is not None
        await clock.advance(2 * KEPT)
        await order.save(DONE, entry(clock))
    await clock.advance(KEPT - 1)
    assert await is_full(inbox, clock)
    await clock.advance(LEASE + 60)
    assert not await is_full(inbox, clock)


async def test_what_is_not_at_its_end_is_never_forgotten(clock: FakeClock) -> None:
    """M-19: being worked on, waiting for its retry or in quarantine, for as long as it takes."""
    inbox = MemoryInbox(clock=clock, window=WINDOW, max_items=3)
    async with inbox.lock(OrderKey(MCH_ID, "new"), entry(clock)):
        await keep(inbox, OrderKey(MCH_ID, "failed"), entry(clock), SeenState.HELD)
        await keep(inbox, OrderKey(MCH_ID, "stuck"), entry(clock), SeenState.QUARANTINED)
        await clock.advance(2 * KEPT)
        assert await is_full(inbox, clock)
    await clock.advance(30 * 86_400)
    assert not await is_full(inbox, clock)
    assert len(await inbox.listing(10)) == 2


async def test_a_full_inbox_takes_no_new_order_before_its_work_begins(clock: FakeClock) -> None:
    """M-19: those that are being worked on take their places; what is known is worked on."""
    inbox = MemoryInbox(clock=clock, window=WINDOW, max_items=2)
    known, new = OrderKey(MCH_ID, "known"), OrderKey(MCH_ID, "new")
    await keep(inbox, known, entry(clock), SeenState.HELD)
    async with inbox.lock(new, entry(clock)) as order:
        assert order is not None
        assert await is_full(inbox, clock)
        await keep(inbox, known, entry(clock))
        assert await is_full(inbox, clock)
        await order.save(DONE, entry(clock))
    assert await is_full(inbox, clock)
    assert repr(inbox) == "<MemoryInbox 2 orders, 0 asides>"


@pytest.mark.parametrize("jump", [timedelta(days=400), -timedelta(days=400)])
async def test_a_wall_clock_that_jumps_neither_forgets_nor_keeps_for_ever(
    clock: FakeClock, jump: timedelta
) -> None:
    """M-26: ages are on the monotonic clock, and so is the pause between two sweeps."""
    inbox = MemoryInbox(clock=clock, window=WINDOW, max_items=1)
    await keep(inbox, KEY, entry(clock))
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
    await keep(inbox, KEY, entry(clock))
    await clock.advance(KEPT + LEASE - 30)
    assert await is_full(inbox, clock)
    await clock.advance(59)  # by now it is old, but the last sweep was not a minute ago
    assert await is_full(inbox, clock)
    await clock.advance(1)
    assert not await is_full(inbox, clock)


async def test_the_text_of_what_is_done_is_forgotten_at_once(clock: FakeClock) -> None:
    """M-19: nobody runs it again; what failed or waits for a person keeps it."""
    inbox = MemoryInbox(clock=clock)
    for state in SeenState:
        await keep(inbox, OrderKey(MCH_ID, state), entry(clock), state)
    for state in SeenState:
        record = await inbox.look(OrderKey(MCH_ID, state))
        assert record is not None
        assert bool(record.entry.payload) == (state is not DONE)


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


async def test_a_buyer_who_is_held_would_be_found(clock: FakeClock) -> None:
    """What the other tests search by."""
    inbox = MemoryInbox(clock=clock)
    assert not knows_the_buyer(inbox)
    known = Entry(payload=f'{{"openid":"{OPENID}"}}', first_seen=clock.now())
    await keep(inbox, KEY, known, SeenState.HELD)
    assert knows_the_buyer(inbox)


async def _fails(_order: PaidOrder) -> None:
    raise RuntimeError("no stock")


async def _goes_on(_order: PaidOrder) -> None:
    await asyncio.Event().wait()


async def _ends(_order: PaidOrder) -> None:
    return


@pytest.mark.parametrize("how", [_fails, _goes_on, _ends])
async def test_no_buyer_is_held_while_the_work_goes_on_nor_after_it(how: Any) -> None:
    """M-27: whether it failed, was cancelled or is done."""
    shop = Shop()
    inbox = shop.inbox()
    during: list[bool] = []

    async def on_paid(order: PaidOrder) -> None:
        during.append(knows_the_buyer(inbox))
        await how(order)

    async with shop.handler(inbox, on_paid=on_paid, grace=0.0) as handler:
        await shop.clock.run(handler.handle(shop.body()))
    assert during == [False]
    record = await inbox.look(KEY)
    states = {_fails: SeenState.HELD, _ends: DONE}
    assert (record and record.state) == states.get(how)
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
