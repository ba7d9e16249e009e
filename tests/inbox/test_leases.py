"""The lock of the inboxes that have none of their own: claims, their renewal, take-overs (M-16)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import nullcontext
from typing import Any
from unittest import mock

import pytest
import pytest_asyncio

from chaoying_async.exceptions import ChaoyingError, UsageError
from chaoying_async.inbox.leases import LEASE, LEAVE_WITHIN, Claim, LeasingInbox
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.inbox_values import (
    ClaimLostError,
    Entry,
    LookAgainError,
    Mark,
    OrderKey,
    Record,
    SeenState,
)
from chaoying_async.testing import FakeClock
from tests.factories import MCH_ID, ORDER
from tests.inbox.benches import REDIS_INBOXES
from tests.inbox.contract import DONE, HELD, QUARANTINED, state_of
from tests.inbox.inboxes import INBOXES, KEY, Bench, an_entry, saved
from tests.servers import Servers

ORDER_KEY = OrderKey(MCH_ID, ORDER)

# --------------------------------------------------------------------------------------- renewal


class Watched(MemoryInbox):
    """An inbox whose renewals are counted and may fail."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        super().__init__(clock=self.clock)
        self.renewed: list[float] = []
        self.left: list[float] = []
        #: Done instead of a renewal.
        self.instead: Callable[[], Awaitable[bool]] | None = None
        self.leaving: Callable[[], Awaitable[None]] | None = None

    async def _renew(self, claim: Claim) -> bool:
        self.renewed.append(self.clock.monotonic())
        if self.instead is not None:
            return await self.instead()
        return await super()._renew(claim)

    async def _leave(self, claim: Claim) -> None:
        if self.leaving is not None:
            await self.leaving()
        await super()._leave(claim)
        self.left.append(self.clock.monotonic())

    def entry(self) -> Entry:
        return Entry(payload="{}", first_seen=self.clock.now())

    async def work(self, seconds: float, *, swallows: bool = False, saves: bool = True) -> None:
        """Hold the order so long, then record that it is done."""
        async with self.lock(ORDER_KEY, self.entry()) as order:
            assert order is not None
            try:
                await self.clock.sleep(seconds)
            except asyncio.CancelledError:
                if not swallows:
                    raise
            if saves:
                await order.save(DONE, self.entry())

    async def is_free(self) -> bool:
        async with self.lock(ORDER_KEY, self.entry()) as order:
            return order is not None

    async def state(self) -> SeenState | None:
        record = await self.look(ORDER_KEY)
        return None if record is None else record.state


async def breaks() -> bool:
    raise ConnectionError


async def hangs() -> bool:
    await asyncio.Event().wait()
    return True


async def is_lost() -> bool:
    return False


@pytest.fixture
def inbox() -> Watched:
    return Watched()


async def test_a_claim_is_renewed_every_10_s_while_the_block_runs(inbox: Watched) -> None:
    """M-16: a lease of 30 s carries work of any length, and nobody else gets in."""
    task = asyncio.create_task(inbox.work(100))
    await inbox.clock.advance(50)
    assert not await inbox.is_free()
    await inbox.clock.advance(50)
    await task
    assert await inbox.state() is DONE
    assert inbox.renewed == [float(n) for n in range(10, 100, 10)]
    assert inbox.clock.waiting == 0


async def test_short_work_leaves_no_task_and_no_timer_behind(inbox: Watched) -> None:
    """M-17: the renewal ends with its block, and never asked for anything."""
    await inbox.work(0)
    await asyncio.sleep(0)
    assert (inbox.renewed, inbox.clock.waiting) == ([], 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_few_failed_renewals_are_no_failure(inbox: Watched) -> None:
    """M-16: one error is no failure; it is tried again every second, until 5 s before the end."""
    task = asyncio.create_task(inbox.work(60))
    await inbox.clock.advance(5)
    inbox.instead = breaks
    await inbox.clock.advance(7.5)
    inbox.instead = None
    await inbox.clock.advance(60)
    await task
    assert inbox.renewed[:5] == [10.0, 11.0, 12.0, 13.0, 23.0]


@pytest.mark.parametrize("instead", [breaks, hangs])
@pytest.mark.parametrize("swallows", [False, True])
async def test_renewals_that_keep_failing_end_the_block_before_the_lease_ends(
    inbox: Watched, instead: Callable[[], Awaitable[bool]], *, swallows: bool
) -> None:
    """M-16: none succeeded until 5 s before the end; work can never go on twice at a time."""
    inbox.instead = instead
    with pytest.raises(ClaimLostError):
        await inbox.clock.run(inbox.work(1000, swallows=swallows))
    assert inbox.clock.monotonic() == 25.0
    assert await inbox.state() is None
    assert await inbox.is_free()


@pytest.mark.parametrize("swallows", [False, True])
@pytest.mark.parametrize("saves", [False, True])
async def test_a_claim_that_is_somebody_elses_ends_the_block(
    inbox: Watched, *, swallows: bool, saves: bool
) -> None:
    """M-16: what swallows the cancellation, and saves, is not recorded either."""
    inbox.instead = is_lost
    with pytest.raises(ClaimLostError):
        await inbox.clock.run(inbox.work(1000, swallows=swallows, saves=saves))
    assert inbox.clock.monotonic() == 10.0
    assert await inbox.state() is None


async def test_a_block_that_answers_its_end_by_an_error_has_lost_its_claim(inbox: Watched) -> None:
    """M-16: nobody failed; the error is told as the cause."""
    inbox.instead = is_lost

    async def work() -> None:
        async with inbox.lock(ORDER_KEY, inbox.entry()):
            try:
                await inbox.clock.sleep(1000)
            finally:
                raise ValueError("a clean-up that failed")

    with pytest.raises(ClaimLostError) as caught:
        await inbox.clock.run(work())
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_cancellation_from_outside_stays_one(inbox: Watched, *, lost: bool) -> None:
    """M-17: also where the claim is lost at the same moment; the claim is left at once."""
    task = asyncio.create_task(inbox.work(1000))

    async def at_once() -> bool:
        task.cancel()
        return not lost

    inbox.instead = at_once
    await inbox.clock.advance(10)
    assert task.cancelled()
    assert inbox.left == [10.0]
    assert await inbox.is_free()


async def test_a_time_out_around_a_lost_block_stays_one(inbox: Watched) -> None:
    """M-17: ``timeout`` and the renewal count their cancellations apart."""
    inbox.instead = hangs

    async def work(seconds: float) -> None:
        async with inbox.clock.timeout(seconds):
            await inbox.work(1000)

    with pytest.raises(TimeoutError):
        await inbox.clock.run(work(20))
    with pytest.raises(ClaimLostError):
        await inbox.clock.run(work(200))


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
async def test_a_renewal_that_ends_in_an_odd_way_never_lets_the_block_go_on(
    inbox: Watched, error: type[BaseException]
) -> None:
    """M-16: drivers raise more than an ``Exception``; unless somebody renews it, a block ends."""

    async def odd() -> bool:
        raise error

    inbox.instead = odd
    with pytest.raises(ClaimLostError):
        await inbox.clock.run(inbox.work(1000))
    assert inbox.clock.monotonic() == 10.0
    await asyncio.sleep(0)


@pytest.mark.parametrize("leaving", [hangs, breaks])
async def test_leaving_takes_no_longer_than_an_answer_can_wait(
    inbox: Watched, leaving: Any
) -> None:
    """M-17: an inbox that hangs holds nobody up, nor hides what was raised; the lease ends."""
    inbox.leaving = leaving

    async def work() -> None:
        async with inbox.lock(ORDER_KEY, inbox.entry()):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await inbox.clock.run(work())
    assert inbox.clock.monotonic() == (LEAVE_WITHIN if leaving is hangs else 0.0)
    inbox.leaving = None
    assert not await inbox.is_free()
    await inbox.clock.advance(LEASE)
    assert await inbox.is_free()


@pytest.mark.parametrize(("stopped", "begins"), [(24.0, True), (25.0, False), (60.0, False)])
async def test_a_block_is_not_begun_once_its_claim_has_run_out(
    inbox: Watched, *, stopped: float, begins: bool
) -> None:
    """M-16: its process stood still between the claim and its answer: somebody may be at work."""
    claim, begun = inbox._claim, list[float]()

    async def answered_late(key: OrderKey, entry: Entry) -> Claim | None:
        taken = await claim(key, entry)
        await inbox.clock.advance(stopped)
        return taken

    async def work() -> None:
        async with inbox.lock(ORDER_KEY, inbox.entry()):
            begun.append(inbox.clock.monotonic())

    with (
        mock.patch.object(inbox, "_claim", answered_late),
        nullcontext() if begins else pytest.raises(ClaimLostError, match="had run out before"),
    ):
        await work()
    assert begun == [stopped] * begins
    assert len(inbox.left) == 1
    assert inbox.clock.waiting == 0
    assert await inbox.is_free()


async def test_an_order_is_saved_once_and_never_when_it_is_done(inbox: Watched) -> None:
    """M-16: whoever does otherwise is told, and changes nothing."""

    async def saves(times: int) -> None:
        async with inbox.lock(ORDER_KEY, inbox.entry()) as order:
            assert order is not None
            for _ in range(times):
                await order.save(DONE, inbox.entry())

    with pytest.raises(UsageError):
        await saves(2)
    assert await inbox.state() is None
    await saves(1)
    with pytest.raises(UsageError):
        await saves(1)
    assert await inbox.state() is DONE


def test_losing_a_claim_is_one_of_our_errors() -> None:
    """A caller's ``except ChaoyingError`` sees it; a handler looks again."""
    assert issubclass(ClaimLostError, LookAgainError)
    assert issubclass(LookAgainError, ChaoyingError)


# ------------------------------------------------------- the steps, as memory and Redis do them

LEASING = {"memory": lambda _servers: INBOXES["memory"](), **REDIS_INBOXES}


@pytest_asyncio.fixture(params=LEASING)
async def bench(request: pytest.FixtureRequest, servers: Servers) -> AsyncGenerator[Bench]:
    async with LEASING[request.param](servers) as made:
        yield made


class Steps:
    """The steps of a holder who may die or be late between any two of them."""

    def __init__(self, bench: Bench) -> None:
        inbox: Any = bench.inbox
        self.inbox: LeasingInbox = inbox
        self.entry = an_entry(bench)

    async def claim(self) -> Claim:
        claim = await self.inbox._claim(KEY, self.entry)
        assert claim is not None
        assert claim.token
        return claim

    async def renew(self, claim: Claim) -> bool:
        return await self.inbox._renew(claim)

    async def save(self, claim: Claim, state: SeenState = DONE) -> bool:
        return await self.inbox._save(claim, Record(key=KEY, state=state, entry=self.entry))

    async def leave(self, claim: Claim) -> None:
        await self.inbox._leave(claim)


async def is_free(bench: Bench) -> bool:
    async with bench.other.lock(KEY, an_entry(bench)) as order:
        return order is not None


async def test_a_dead_holders_order_is_free_when_its_lease_ends(bench: Bench) -> None:
    """M-16: not before; nothing of the record has changed."""
    await saved(bench, QUARANTINED, reason="why")
    await Steps(bench).claim()
    await bench.pass_time(29)
    assert not await is_free(bench)
    record = await bench.other.look(KEY)
    assert record is not None
    assert (record.state, record.reason) == (QUARANTINED, "why")
    assert 0 < record.lease <= 1
    await bench.pass_time(1.1)
    assert await is_free(bench)


async def test_an_order_is_not_due_while_its_lease_runs(bench: Bench) -> None:
    """M-17: its own time to be tried again stays what it was."""
    await saved(bench, HELD, retry_in=40.0)
    await Steps(bench).claim()
    await bench.pass_time(31)
    assert not await bench.other.unfinished(10)
    claim = await Steps(bench).claim()
    await bench.pass_time(10)
    assert not await bench.other.unfinished(10)
    await bench.pass_time(21)
    assert len(await bench.other.unfinished(10)) == 1
    assert await Steps(bench).renew(claim)
    assert not await bench.other.unfinished(10)


async def test_a_renewed_lease_lasts(bench: Bench) -> None:
    """M-16: from the renewal on, the whole lease again."""
    holder = Steps(bench)
    claim = await holder.claim()
    for _ in range(4):
        await bench.pass_time(20)
        assert await holder.renew(claim)
    assert not await is_free(bench)


async def test_whoever_is_late_has_the_claim_while_nobody_came(bench: Bench) -> None:
    """M-16: a loop that stalled; what it did is recorded, else it would be done again."""
    holder = Steps(bench)
    claim = await holder.claim()
    await bench.pass_time(31)
    assert await holder.renew(claim)
    assert not await is_free(bench)
    await bench.pass_time(31)
    assert await holder.save(claim)
    assert await state_of(bench) is DONE


@pytest.mark.parametrize("then", ["holds", HELD, QUARANTINED, DONE])
async def test_an_old_holder_can_do_nothing_any_more(bench: Bench, then: Any) -> None:
    """M-16: fencing; whatever the next one does, the old one changes nothing of it."""
    old, new = Steps(bench), Steps(bench)
    stale = await old.claim()
    await bench.pass_time(31)
    claim = await new.claim()
    assert claim.token != stale.token
    if then != "holds":
        assert await new.save(claim, then)
    before = await bench.other.look(KEY)
    assert not await old.renew(stale)
    assert not await old.save(stale)
    await old.leave(stale)
    after = await bench.other.look(KEY)
    assert without_lease(after) == without_lease(before)
    if then == "holds":
        assert await new.renew(claim)
        assert await new.save(claim)


def without_lease(record: Record | None) -> Any:
    return record and (record.state, record.entry, record.failures, record.token)


@pytest.mark.parametrize("state", SeenState)
async def test_a_claim_ends_with_what_was_saved(bench: Bench, state: SeenState) -> None:
    """M-16: a renewal that arrives after it keeps nobody out, and leaving undoes nothing."""
    holder = Steps(bench)
    claim = await holder.claim()
    assert await holder.save(claim, state)
    assert not await holder.renew(claim)
    await holder.leave(claim)
    assert await state_of(bench) is state
    record = await bench.other.look(KEY)
    assert record is not None
    assert record.lease == 0.0
    assert await is_free(bench)


async def test_a_late_leaving_takes_nothing_from_the_next_new_claim(bench: Bench) -> None:
    """M-16: no two claims have one token, even where nothing is left of the first."""
    holder = Steps(bench)
    first = await holder.claim()
    await holder.leave(first)
    assert await bench.other.look(KEY) is None
    second = await holder.claim()
    await holder.leave(first)
    assert not await is_free(bench)
    assert await holder.save(second)


async def test_what_a_person_decides_ends_a_claim(bench: Bench) -> None:
    """M-16: its holder read the record before that, and can save nothing over it."""
    await saved(bench, QUARANTINED)
    holder = Steps(bench)
    claim = await holder.claim()
    assert await bench.people.mark(KEY, Mark.RETRY)
    assert not await holder.save(claim)
    assert await state_of(bench) is HELD
    assert await is_free(bench)
