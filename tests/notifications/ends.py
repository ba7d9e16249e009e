"""Ends that come over a user's function from inside it, and shops on every inbox to try them on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import attrs
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async.abc import Inbox
from chaoying_async.inbox.sql import SqlInbox
from tests.inbox.benches import AGEING, REDIS_INBOXES
from tests.inbox.inboxes import INBOXES
from tests.servers import Servers
from tests.sql_shop import DATABASES, effects, sql_shop, take_effect

#: What a function waits for when its end comes.
Work = Callable[[], Awaitable[Any]]
End = Callable[[Work], Awaitable[Any]]
#: Older SQLAlchemys have no pool for SQLite's files unless they are told to.
SMALL: dict[str, Any] = {"pool_size": 3, "max_overflow": 0, "pool_timeout": 5}


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def timeout_of_zero(work: Work) -> None:
    async with asyncio.timeout(0):
        await work()


async def wait_for_zero(work: Work) -> None:
    await asyncio.wait_for(asyncio.ensure_future(work()), 0)


async def fail_after_zero(work: Work) -> None:
    with anyio.fail_after(0):
        await work()


async def scope_that_swallows(work: Work) -> None:
    with anyio.move_on_after(0):
        await work()


async def cancels_itself(work: Work) -> None:
    _this_task().cancel()
    await work()


async def cancels_itself_soon(work: Work) -> None:
    asyncio.get_running_loop().call_soon(_this_task().cancel)
    await work()


async def cancels_itself_and_returns(_work: Work) -> None:
    _this_task().cancel()


async def cancels_itself_and_thinks_better_of_it(work: Work) -> None:
    task = _this_task()
    task.cancel()
    try:
        await work()
    except asyncio.CancelledError:
        task.uncancel()


async def swallows_its_cancellation(work: Work) -> None:
    _this_task().cancel()
    try:
        await work()
    except asyncio.CancelledError:
        await asyncio.sleep(0)


async def raises_by_hand(_work: Work) -> None:
    raise asyncio.CancelledError


async def raises_by_hand_later(work: Work) -> None:
    await work()
    raise asyncio.CancelledError


async def waits_for_a_cancelled_task(work: Work) -> None:
    child = asyncio.ensure_future(work())
    await asyncio.sleep(0)
    child.cancel()
    await child


async def group_that_fails(work: Work) -> None:
    async def fail() -> None:
        raise RuntimeError("no stock")

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        await work()


async def generator_exit(work: Work) -> None:
    await work()
    raise GeneratorExit


ENDS: tuple[End, ...] = (
    timeout_of_zero,
    wait_for_zero,
    fail_after_zero,
    scope_that_swallows,
    cancels_itself,
    cancels_itself_soon,
    cancels_itself_and_returns,
    cancels_itself_and_thinks_better_of_it,
    swallows_its_cancellation,
    raises_by_hand,
    raises_by_hand_later,
    waits_for_a_cancelled_task,
    group_that_fails,
    generator_exit,
)


@attrs.frozen(kw_only=True)
class Till:
    """A shop's inbox, and its own books."""

    inbox: Inbox
    #: None where the inbox lends no connection.
    engine: AsyncEngine | None
    pass_time: Callable[[float], Awaitable[None]]
    #: Of a shop without a database.
    delivered: list[str] = attrs.field(factory=list)

    async def deliver(self, number: str, connection: Any) -> None:
        if self.engine is None:
            self.delivered.append(number)
        else:
            await take_effect(connection, number)

    async def effects(self, number: str) -> int:
        """How often this order took effect, for good."""
        if self.engine is None:
            return self.delivered.count(number)
        question = select(func.count()).select_from(effects).where(effects.c.number == number)
        async with self.engine.connect() as connection:
            return int((await connection.execute(question)).scalar_one())

    def checked_out(self) -> int:
        pool: Any = None if self.engine is None else self.engine.pool
        return 0 if pool is None or not hasattr(pool, "checkedout") else pool.checkedout()


KINDS = ("memory", "redis", *DATABASES)
LENDING = tuple(DATABASES)


@asynccontextmanager
async def till(kind: str, servers: Servers) -> AsyncGenerator[Till]:
    async with AsyncExitStack() as stack:
        if kind in DATABASES:
            yield await _on_sql(kind, servers, stack)
            return
        made = INBOXES[kind]() if kind in INBOXES else REDIS_INBOXES[kind](servers)
        bench = await stack.enter_async_context(made)
        yield Till(inbox=bench.inbox, engine=None, pass_time=bench.pass_time)


async def _on_sql(kind: str, servers: Servers, stack: AsyncExitStack) -> Till:
    shop = await stack.enter_async_context(sql_shop(kind, servers))
    options = {} if kind == "sqlite" else SMALL
    engine = create_async_engine(shop.url, **options)
    stack.push_async_callback(engine.dispose)

    async def age(seconds: float) -> None:
        span = {"span": round(seconds * 1_000_000)}
        async with shop.engine.begin() as connection:
            for change in AGEING:
                await connection.execute(change, span)

    return Till(inbox=SqlInbox(engine), engine=engine, pass_time=age)
