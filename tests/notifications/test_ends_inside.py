"""Whatever ends a user function from inside: its order is not stuck, and ends once (M-17)."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from chaoying_async import ExpectedOrder, Fen, NotificationHandler, PaidOrder
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import OrderKey, SeenState
from chaoying_async.sansio.paid import PaidSource
from tests.cancelling import eventually
from tests.factories import CREDENTIALS, MCH_ID
from tests.hard.inbox_workers import FEE, notification
from tests.notifications.ends import ENDS, KINDS, LENDING, End, Till, Work, till
from tests.servers import Servers
from tests.sizes import cases

Main = Callable[[], Coroutine[Any, Any, None]]


def _eager(main: Main) -> None:
    async def eagerly() -> None:
        factory = getattr(asyncio, "eager_task_factory")  # noqa: B009 - from Python 3.12 on
        asyncio.get_running_loop().set_task_factory(factory)
        await main()

    asyncio.run(eagerly())


def _uvloop(main: Main) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _plain(main: Main) -> None:
    asyncio.run(main())


#: The loops and task factories that a shop may have.
LOOPS: dict[str, Callable[[Main], None]] = {"asyncio": _plain, "uvloop": _uvloop}
if sys.version_info >= (3, 12):
    LOOPS["eager"] = _eager

#: Where the end comes: before the effect, or while it is written, or behind it.
BEFORE, DURING, BEHIND = "before", "during", "behind"


class Shop:
    """Its functions end oddly the first time that they come to a place; then they go well."""

    def __init__(self, books: Till, end: End, place: str, number: str) -> None:
        self.books, self.end, self.place, self.number = books, end, place, number
        self.left = 1

    async def at(self, place: str, work: Work) -> None:
        if place == self.place and self.left:
            self.left -= 1
            await self.end(work)
        else:
            await work()

    async def on_paid(self, order: PaidOrder, connection: Any = None) -> None:
        number = order.out_trade_no
        await self.at(BEFORE, _a_moment)
        await self.at(DURING, lambda: self.books.deliver(number, connection))
        await self.at(BEHIND, _a_moment)

    async def on_paid_connected(self, order: PaidOrder, connection: Any) -> None:
        await self.on_paid(order, connection)

    async def expected(self, mch_id: str, number: str) -> ExpectedOrder | None:
        await self.at("expected", _a_moment)
        return ExpectedOrder(Fen(FEE), mch_id, closed=self.place == "after close")

    async def expected_inside(
        self, mch_id: str, number: str, connection: Any
    ) -> ExpectedOrder | None:
        return await self.expected(mch_id, number)

    def handler(self, *, inside: bool = False, **options: Any) -> NotificationHandler:
        lends = self.books.engine is not None
        knobs: dict[str, Any] = {
            "expected": self.expected_inside if inside else self.expected,
            "budget": 5.0,
        }
        on_paid = self.on_paid_connected if lends else self.on_paid
        return NotificationHandler(CREDENTIALS, self.books.inbox, on_paid, **knobs | options)


async def _a_moment() -> None:
    await asyncio.sleep(0.001)


def queried(number: str) -> PaidOrder:
    return PaidOrder(
        mch_id=MCH_ID,
        out_trade_no=number,
        transaction_id=f"T{number}",
        payable=Fen(FEE),
        paid=Fen(FEE),
        source=PaidSource.QUERY,
    )


async def opened(handler: NotificationHandler, number: str) -> bool:
    async with handler:
        return (await handler.handle(notification(number))).body == b"success"


async def unopened(handler: NotificationHandler, number: str) -> bool:
    return (await handler.handle(notification(number))).body == b"success"


async def settled(handler: NotificationHandler, number: str) -> bool:
    return await handler.settle(queried(number)) in (Decision.APPLY, Decision.DUPLICATE)


async def settled_or_told(handler: NotificationHandler, number: str) -> bool:
    """What ``expected`` raises comes out of ``settle``."""
    try:
        return await settled(handler, number)
    except Exception:  # noqa: BLE001 - each end has one of its own
        return False


Doing = Callable[[NotificationHandler, str], Awaitable[bool]]


async def is_clean(books: Till, before: set[asyncio.Task[Any]]) -> bool:
    """No task is left, and every connection is in its pool."""

    async def holds() -> bool:
        left = {task for task in asyncio.all_tasks() - before if not _is_drivers(task)}
        return not books.checked_out() and not left

    return await eventually(holds)


def _is_drivers(task: asyncio.Task[Any]) -> bool:
    """SQLAlchemy closes a connection in a task of its own, which aiosqlite forgets if hurried."""
    return "_terminate_graceful_close" in repr(task.get_coro())


async def ends_well(shop: Shop, doing: Doing, *, due: bool = False, inside: bool = False) -> None:
    """The first try ends oddly; the next one (or with ``due`` run_due alone) makes it good."""
    books, number = shop.books, shop.number
    told = f"{shop.end.__name__} {shop.place} {doing.__name__} due={due} inside={inside}"
    before = asyncio.all_tasks()
    async with asyncio.timeout(20):
        handler = shop.handler(inside=inside)
        done = await doing(handler, number)
        found = await books.effects(number)
        assert found == int(done) or (found and not done and books.engine is None), told
        record = await books.inbox.look(OrderKey(MCH_ID, number))
        assert done or record is None or record.lease == 0, told  # nobody seems to work on it
        recorded = record is not None and record.state is SeenState.DONE
        if not (done or recorded) and shop.place in (BEFORE, DURING, BEHIND):
            assert handler.stats().failed == 1, told  # somebody hears of it
            # A server may take its time to let go of a lock whose connection was thrown away.
            kept = await books.inbox.asides(OrderKey(MCH_ID, number))
            assert kept if record is None else record.failures == 1, told  # and it is tried again
        if due:
            await books.pass_time(40)
            await shop.handler(inside=inside).run_due()
        else:
            assert await unopened(shop.handler(inside=inside), number), told
        total = await books.effects(number)
        assert total == 1 or (total == 2 and found and not done and books.engine is None), told
        record = await books.inbox.look(OrderKey(MCH_ID, number))
        assert record is not None, told
        assert record.state is SeenState.DONE, told
        assert await unopened(shop.handler(inside=inside), number), told
    assert await is_clean(books, before), (told, asyncio.all_tasks() - before)


def _all(
    loop: str, kind: str, servers: Servers, each: Callable[[Till, End, str], Awaitable[None]]
) -> None:
    async def main() -> None:
        numbers = (f"E{n}" for n in itertools.count())
        async with till(kind, servers) as books:
            for end in ENDS:
                await each(books, end, next(numbers))

    LOOPS[loop](main)


_LOOPS = cases(
    [
        *(("asyncio", kind) for kind in KINDS),
        *((loop, kind) for kind in ("memory", "asyncpg") for loop in LOOPS if loop != "asyncio"),
    ],
    more=[(loop, kind) for kind in KINDS for loop in LOOPS if loop != "asyncio"],
)
#: For what the inbox has little part in.
_FEW_LOOPS = cases(
    [("asyncio", "memory"), ("asyncio", "mariadb"), ("uvloop", "asyncpg")],
    more=_LOOPS,
)
every_inbox = pytest.mark.parametrize(("loop", "kind"), _LOOPS)
every_lending_inbox = pytest.mark.parametrize(
    ("loop", "kind"), [(loop, kind) for loop, kind in _LOOPS if kind in LENDING]
)


@every_inbox
@pytest.mark.parametrize(
    ("place", "doing"),
    cases(
        [(BEFORE, unopened), (DURING, opened), (BEHIND, opened)],
        more=[(BEFORE, opened), (DURING, unopened), (BEHIND, unopened)],
    ),
)
def test_the_gateways_next_delivery_makes_it_good(
    servers: Servers, loop: str, kind: str, place: str, doing: Doing
) -> None:
    """M-17: rolled back, and tried again; the answer is `success` only with the effect."""

    async def each(books: Till, end: End, number: str) -> None:
        await ends_well(Shop(books, end, place, number), doing)

    _all(loop, kind, servers, each)


@every_inbox
@pytest.mark.parametrize("place", cases([BEHIND], more=[BEFORE]))
def test_what_a_poller_has_settled_is_made_good_by_run_due(
    servers: Servers, loop: str, kind: str, place: str
) -> None:
    """M-16: its caller forgets the order, so that nothing but run_due is left."""

    async def each(books: Till, end: End, number: str) -> None:
        await ends_well(Shop(books, end, place, number), settled, due=True)

    _all(loop, kind, servers, each)


@every_inbox
@pytest.mark.parametrize("doing", cases([opened], more=[unopened, settled_or_told]))
def test_a_lookup_that_ends_oddly_is_asked_again(
    servers: Servers, loop: str, kind: str, doing: Doing
) -> None:
    """M-14: nothing is known then, so nothing is done, and the answer is `fail`."""

    async def each(books: Till, end: End, number: str) -> None:
        await ends_well(Shop(books, end, "expected", number), doing)

    _all(loop, kind, servers, each)


@every_lending_inbox
@pytest.mark.parametrize("doing", cases([unopened], more=[opened, settled_or_told]))
def test_so_is_one_that_is_asked_under_the_orders_lock(
    servers: Servers, loop: str, kind: str, doing: Doing
) -> None:
    """M-16: the lock is given back, and the next one gets it."""

    async def each(books: Till, end: End, number: str) -> None:
        await ends_well(Shop(books, end, "expected", number), doing, inside=True)

    _all(loop, kind, servers, each)


@pytest.mark.parametrize(("loop", "kind"), _FEW_LOOPS)
def test_hooks_that_end_oddly_are_told_again_and_block_no_payment(
    servers: Servers, loop: str, kind: str
) -> None:
    """M-15, M-17: on_not_paid and on_conflict; then the payment itself comes."""

    async def each(books: Till, end: End, number: str) -> None:
        shop = Shop(books, end, "hook", number)
        told: list[str] = []
        before = asyncio.all_tasks()

        async def hook(_told: Any) -> None:
            await shop.at("hook", _a_moment)
            told.append(number)

        async def deliver(**fields: Any) -> bytes:
            async with shop.handler(on_not_paid=hook, on_conflict=hook) as handler:
                return (await handler.handle(notification(number, **fields))).body

        for fields in ({"pay_result": "1"}, {"total_fee": 1}):
            shop.left = 1
            async with asyncio.timeout(20):
                await deliver(**fields)
                await deliver(**fields)
        assert await deliver() == b"success"
        assert await books.effects(number) == 1
        assert told, end.__name__
        assert await is_clean(books, before), end.__name__

    _all(loop, kind, servers, each)
