"""How much of what strangers send an inbox keeps; one suite over all of them (M-15)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import pytest_asyncio

from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.facts import Facts, facts_from_text, to_text
from chaoying_async.sansio.notifications.inbox_values import (
    MOST_FOREIGN,
    MOST_MESSAGES,
    Aside,
    InboxFullError,
    Mark,
    OrderKey,
    TooManyWaitError,
)
from chaoying_async.sansio.notifications.message import NotificationOutcome
from chaoying_async.sansio.paid import PaidSource
from chaoying_async.sansio.values import Fen
from chaoying_async.testing import FakeClock
from tests.inbox.benches import KEPT_INBOXES
from tests.inbox.inboxes import INBOXES, KEY, Bench, ago, an_aside
from tests.servers import Servers


@pytest_asyncio.fixture(params=[*INBOXES, *KEPT_INBOXES])
async def bench(request: pytest.FixtureRequest, servers: Servers) -> AsyncGenerator[Bench]:
    kind = request.param
    async with INBOXES[kind]() if kind in INBOXES else KEPT_INBOXES[kind](servers) as made:
        yield made


def numbered(bench: Bench, number: int, **changes: Any) -> Aside:
    """A message of its own about the order."""
    return an_aside(bench, fingerprint=f"{number:064x}", **changes)


def of_order(bench: Bench, number: int, **changes: Any) -> Aside:
    """A message about an order of its own, which the shop does not know."""
    key = OrderKey(changes.pop("mch_id", KEY.mch_id), f"F{number}")
    return an_aside(bench, key=key, **{"foreign": True} | changes)


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


async def test_of_one_merchant_so_many_unknown_orders_wait_and_no_more(bench: Bench) -> None:
    """M-15: another merchant, a known order and an order that is one of them have room."""
    kept = [of_order(bench, number) for number in range(MOST_FOREIGN)]
    await keep(bench, *kept)
    assert await is_refused(bench, of_order(bench, MOST_FOREIGN))
    (listed,) = await bench.other.asides(kept[0].key)
    assert listed == kept[0]
    await keep(
        bench,
        of_order(bench, 0, fingerprint="cd" * 32),
        of_order(bench, MOST_FOREIGN, mch_id="00000002"),
        of_order(bench, MOST_FOREIGN + 1, foreign=False),
    )
    # One of them is known by now, one is closed, one dismissed: there is room for three.
    known = attrs.evolve(kept[1], decision="CONFLICT", foreign=False)
    assert await bench.inbox.set_aside(known, retry_in=None)
    await bench.inbox.close(kept[2])
    assert await bench.inbox.mark(kept[3].key, Mark.DISMISS, kept[3].fingerprint)
    await keep(bench, *(of_order(bench, number) for number in range(1000, 1003)))
    assert await is_refused(bench, of_order(bench, 1003))


def a_text(**raw: str) -> str:
    return to_text(
        Facts(
            PaidSource.NOTIFICATION,
            KEY.mch_id,
            KEY.out_trade_no,
            NotificationOutcome.PAID,
            transaction_id="T1",
            total_fee=Fen(100),
            time_end=datetime(2026, 1, 1, tzinfo=UTC),
            raw=raw,
        )
    )


async def test_pruning_takes_the_raw_fields_out_of_what_waits(bench: Bench) -> None:
    """M-15, M-19: numbers, amounts and the fingerprint stay, so it can still be applied."""
    text = a_text(attach="x" * 1000)
    waits = an_aside(bench, payload=text, first_seen=ago(bench, days=3), foreign=True)
    young = numbered(bench, 7, payload=text)
    await keep(bench, waits, young)
    assert await bench.inbox.prune(ago(bench, days=2)) == 1
    assert await bench.inbox.prune(ago(bench, days=2)) == 0
    by_fingerprint = {each.fingerprint: each for each in await bench.other.asides(KEY)}
    pruned = facts_from_text(by_fingerprint[waits.fingerprint].payload)
    before = facts_from_text(text)
    assert attrs.evolve(pruned, told_as="") == attrs.evolve(before, raw={})
    assert pruned.fingerprint == before.fingerprint
    assert by_fingerprint[waits.fingerprint].foreign
    assert by_fingerprint[young.fingerprint].payload == text


async def test_pruning_keys_forgets_strangers_messages_outside_the_window(bench: Bench) -> None:
    """M-15, M-19: what waits for a known order is kept, and so is what is young."""
    old = bench.now() - bench.inbox.window - timedelta(days=1)
    stranger = of_order(bench, 1, first_seen=old)
    young = of_order(bench, 2)
    known = numbered(bench, 3, first_seen=old)
    await keep(bench, stranger, young, known)
    await bench.inbox.prune(bench.now() + timedelta(days=1), keys=True)
    assert not await bench.other.asides(stranger.key)
    assert list(await bench.other.asides(young.key)) == [young]
    assert list(await bench.other.asides(KEY)) == [known]


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
