"""Records of an order that is waited for already: whose end is theirs, and which are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from chaoying_async import Poller
from chaoying_async.sansio.polling.record import POLL, PendingOrder, number_in, record_key
from tests.factories import MCH_ID
from tests.pollers import CLOSED, EXACT, PAID, PENDING, always, collected, order
from tests.polling.store_world import World


class Shared:
    """A poller, and others who write records of one order into its store."""

    def __init__(self, world: World, poller: Poller) -> None:
        self.world = world
        self.poller = poller
        self._answers = asyncio.Event()
        self._answers.set()

    async def hand_over(self, number: int, *, ago: float = 0.0) -> None:
        """A record of that number is seen, which was written so long ago."""
        started = self.world.clock.now() - timedelta(seconds=ago)
        record = PendingOrder(query=order(), expected=100, schedule=EXACT, started=started)
        key = record_key(("orderquery", MCH_ID, "WECHAT", "out_trade_no", "A100011"), number)
        await self.world.store.put(POLL, {key: record.text(MCH_ID)})
        self.poller.take_up([(key, record.text(MCH_ID))])

    def hold_answers(self) -> None:
        """Queries leave, and nothing comes back."""
        self._answers.clear()

        async def wait(_: str) -> None:
            await self._answers.wait()

        self.world.gateway.before = wait

    async def answer(self, said: dict[str, Any]) -> None:
        """Everything is answered so from now on."""
        self.world.gateway.script = always(said)
        self._answers.set()
        await self.world.clock.advance(1)

    @property
    def asked(self) -> int:
        return len(self.world.gateway.asked)

    def kept(self) -> list[int]:
        """The numbers of the records in the store."""
        return [number_in(key) for key in self.world.store._texts.get(POLL, {})]

    async def ends(self) -> list[str]:
        """How all waits ended that had begun; the store has nothing of them after that."""
        draining = asyncio.create_task(collected(self.poller.drain()))
        await self.world.clock.advance(400)
        ended = [str(outcome.status) for outcome in await draining]
        await self.world.clock.advance(1)
        assert self.kept() == []
        return ended


@asynccontextmanager
async def shared(script: dict[str, Any] = PENDING) -> AsyncGenerator[Shared]:
    world = World(always(script))
    async with world.store, world.poller() as poller:
        yield Shared(world, poller)


async def test_a_record_that_is_seen_while_its_order_is_waited_for_shares_the_end() -> None:
    """The order is asked no more often for it, and told once."""
    async with shared() as one:
        await one.hand_over(1)
        await one.world.clock.advance(100)
        await one.hand_over(2)
        assert await one.ends() == ["EXPIRED"]
        assert one.asked == 36


async def test_a_record_that_is_seen_after_the_last_query_left_is_waited_for() -> None:
    """An answer that was on its way is no end of what nobody had asked about yet (M-23)."""
    async with shared() as one:
        await one.hand_over(1)
        await one.world.clock.advance(179)
        one.hold_answers()
        await one.world.clock.advance(1)
        before = one.asked
        await one.hand_over(2, ago=60)
        await one.answer(PENDING)
        one.world.gateway.script = always(PAID)
        assert sorted(await one.ends()) == ["EXPIRED", "PAID"]
        assert one.asked > before


async def test_an_order_that_is_over_without_a_payment_is_asked_about_again() -> None:
    """As closed as it was, the record's own transaction may have waited for longer."""
    async with shared() as one:
        await one.hand_over(1)
        await one.world.clock.advance(4)
        one.hold_answers()
        await one.world.clock.advance(1)
        await one.hand_over(2, ago=3)
        await one.answer(CLOSED)
        assert await one.ends() == ["CLOSED", "CLOSED"]
        assert one.asked == 2


async def test_a_payment_that_was_found_after_the_record_was_written_is_told_once() -> None:
    """Whether it is seen while the answer is on its way, or a moment after the end."""
    for late in (False, True):
        async with shared() as one:
            await one.hand_over(1)
            await one.world.clock.advance(4)
            one.hold_answers()
            await one.world.clock.advance(1)
            if late:
                await one.answer(PAID)
            await one.hand_over(2, ago=3)
            await one.answer(PAID)
            assert await one.ends() == ["PAID"]
            assert one.asked == 1


async def test_a_payment_that_was_found_before_the_record_was_written_is_found_again() -> None:
    """What somebody waits for from now on is asked about from now on."""
    for late in (False, True):
        async with shared() as one:
            await one.hand_over(1)
            await one.world.clock.advance(4)
            one.hold_answers()
            await one.world.clock.advance(3)
            if late:
                await one.answer(PAID)
            await one.hand_over(2, ago=0.5)
            await one.answer(PAID)
            assert await one.ends() == ["PAID", "PAID"]
            assert one.asked == 2


async def test_a_payment_is_remembered_for_seconds_and_not_for_ever() -> None:
    """Then a record is waited for anew, which is asked for once more than it has to be."""
    async with shared(PAID) as one:
        await one.hand_over(1)
        await one.world.clock.advance(60)
        one.poller.track(order("A2"), 100)
        await one.world.clock.advance(6)
        await one.hand_over(2, ago=65)
        assert await one.ends() == ["PAID", "PAID", "PAID"]


async def test_many_records_of_one_order_leave_one_in_the_store_beside_the_first() -> None:
    """A page that hands its order over at every look of a customer; the last one is asked for."""
    async with shared() as one:
        for number in range(1, 30):
            await one.hand_over(number)
            await one.world.clock.advance(1)
        assert one.kept() == [1, 2]
        one.hold_answers()
        await one.world.clock.advance(5)
        await one.hand_over(30)
        await one.answer(CLOSED)
        assert await one.ends() == ["CLOSED", "CLOSED"]


async def test_a_record_that_is_seen_twice_joins_nothing() -> None:
    """Neither the first of its order, nor the one that joined it, is forgotten for itself."""
    async with shared() as one:
        for number in (1, 1, 2, 2):
            await one.hand_over(number)
        await one.world.clock.advance(1)
        assert one.kept() == [1, 2]
        assert await one.ends() == ["EXPIRED"]


async def test_the_next_process_has_what_joined_a_wait() -> None:
    """The first record is asked about, and the other one shares its end or is next."""
    async with shared() as one:
        await one.hand_over(1)
        await one.hand_over(2)
        await one.world.clock.advance(1)
        kept = dict(one.world.store._texts[POLL])
    world = World(always(PAID))
    world.store._texts[POLL] = kept
    async with world.store, world.poller() as poller:
        assert await Shared(world, poller).ends() == ["PAID"]
