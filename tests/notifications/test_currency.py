"""A payment in another currency is set aside, wherever it was written down in between (M-13)."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaoying_async import (
    CheckoutStatus,
    Decision,
    ExpectedOrder,
    NotificationHandler,
    PaidOrder,
    PaidSource,
    PollStatus,
)
from chaoying_async.inbox import MemoryInbox
from chaoying_async.sansio.notifications.facts import facts_of_order, kept_facts, to_text
from chaoying_async.sansio.payments.intent import Intent, intent_in
from chaoying_async.sansio.payments.moves import CheckoutEnd
from chaoying_async.sansio.values import Fen
from chaoying_async.workers.outcomes import paid_order_of
from tests.factories import CREDENTIALS, MCH_ID
from tests.pollers import always, order, poller_on
from tests.polling.store_world import World
from tests.workers.fleets import ENDED, GIVEN, SOON, FleetWorld, until

IN_DOLLARS = {"fee_type": "HKD"}


async def decided(paid: PaidOrder | None) -> Decision:
    """What a handler says of it whose shop expects that many fen, in CNY."""
    assert paid is not None
    assert paid.payable is not None
    amount = int(paid.payable)

    async def expected(mch_id: str, _: str) -> ExpectedOrder:
        return ExpectedOrder(amount, mch_id)

    async def on_paid(_: PaidOrder) -> None:
        raise AssertionError("it was delivered")

    async with NotificationHandler(CREDENTIALS, MemoryInbox(), on_paid, expected=expected) as shop:
        return await shop.settle(paid)


async def test_as_it_comes_from_a_poller() -> None:
    """Nothing was written down."""
    world = World(always(IN_DOLLARS))
    async with poller_on(world.gateway) as poller:
        outcome = await world.clock.run(poller.wait(order("A1")))
    assert await decided(outcome.paid) is Decision.CONFLICT


async def test_as_a_poller_finds_it_in_its_store() -> None:
    """Its consumer died before it had settled it."""
    world = World(always(IN_DOLLARS))
    async with world.store:
        async with world.poller() as poller:
            poller.track(order("A1"))
            await world.clock.advance(10)
        world.later()
        async with world.poller() as poller:
            (outcome,) = [outcome async for outcome in poller.drain()]
            assert await decided(outcome.paid) is Decision.CONFLICT


async def test_as_a_fleet_tells_it(tmp_path: Path) -> None:
    """An outcome is JSON, and so is the order in it."""
    GIVEN.clear()
    world = FleetWorld(f"sqlite:///{tmp_path}/fleet.db", always(IN_DOLLARS))
    async with world.open(1, lease=15, shards=1) as (fleet,):
        await fleet.watch(order("A1"), then=ENDED, schedule=SOON)
        await until(lambda: GIVEN)
    (outcome,) = GIVEN["A1"]
    assert outcome["status"] == "PAID"
    assert await decided(paid_order_of(json.loads(json.dumps(outcome)))) is Decision.CONFLICT


async def test_as_a_till_left_it() -> None:
    """The record of a payment that has ended, which `resume` reads."""
    paid = PaidOrder(
        mch_id=MCH_ID, out_trade_no="A1", payable=Fen(1), source=PaidSource.QUERY, raw=IN_DOLLARS
    )
    intent = Intent(
        mch_id=MCH_ID,
        out_trade_no="A1",
        order_no="A1",
        total_fee=1,
        op_user_id="1",
        started=datetime(2026, 1, 1, tzinfo=UTC),
        paytype="WECHAT",
        certain=True,
        end=CheckoutEnd(CheckoutStatus.PAID),
        paid=paid,
    )
    assert await decided(intent_in(intent.text()).paid) is Decision.CONFLICT


async def test_as_it_was_pickled() -> None:
    """As a queue of the user's own may do; what was received is left out of it (M-27)."""
    paid = PaidOrder(
        mch_id=MCH_ID, out_trade_no="A1", payable=Fen(1), source=PaidSource.QUERY, raw=IN_DOLLARS
    )
    assert await decided(pickle.loads(pickle.dumps(paid))) is Decision.CONFLICT  # noqa: S301 - our own


def test_as_an_inbox_keeps_it() -> None:
    """What was settled, and failed or was set aside, is judged again by its text."""
    paid = PaidOrder(mch_id=MCH_ID, out_trade_no="A1", source=PaidSource.QUERY, raw=IN_DOLLARS)
    assert kept_facts(to_text(facts_of_order(paid)), "QUERY").fee_type == "HKD"


@pytest.mark.parametrize(
    ("raw", "status"), [(IN_DOLLARS, PollStatus.MISMATCH), ({}, PollStatus.PAID)], ids=repr
)
async def test_as_a_poller_is_told_it(raw: dict[str, str], status: PollStatus) -> None:
    """``Poller.settle`` compares what the poller's own query would have compared."""
    world = World(always({"trade_state": "NEED_QUERY", "code": "10001"}))
    paid = PaidOrder(
        mch_id=MCH_ID, out_trade_no="A1", payable=Fen(100), source=PaidSource.QUERY, raw=raw
    )
    async with poller_on(world.gateway) as poller:
        poller.track(order("A1"), 100)
        assert poller.settle(paid)
        (outcome,) = [outcome async for outcome in poller.drain()]
    assert outcome.status is status
