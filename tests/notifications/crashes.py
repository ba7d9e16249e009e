"""Killing a process at every point where it waits, and seeing what the next one makes of it.

:class:`Points` counts the places where a handler waits for something outside of it: before and
after every call of the inbox, at both ends of an order's transaction and inside it, in the
functions of the shop. At the chosen one the process dies: in here it never runs again, in a process
of its own ``die=lambda: os._exit(9)`` makes it true. :func:`killed_everywhere` does it at the first
point, then at the second, until a run reaches its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs

from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.notifications import NotificationHandler
from chaoying_async.sansio.notifications.inbox_values import Entry, OrderKey, Record, SeenState
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.testing import FakeClock
from tests.shop import Shop

#: More points than any run has: the harness itself is wrong then.
TOO_MANY = 200


@attrs.define
class Points:
    """``at`` counts from 1; 0: never die. Whatever waits after the death never runs again."""

    at: int = 0
    die: Callable[[], None] | None = None
    passed: int = 0
    dead: bool = False
    #: The test is over: what is left of the process may go.
    buried: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def __call__(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            if self.die is not None:
                self.die()
            self.dead = True
        while self.dead:  # its own time-outs do not wake the dead
            try:
                await self.buried.wait()
            except asyncio.CancelledError:
                if not self.buried.is_set():
                    continue
            raise asyncio.CancelledError


class PointedInbox:
    """The inbox, with a point before and after everything that it does."""

    def __init__(self, inbox: DurableInbox, point: Points) -> None:
        self._inbox = inbox
        self._point = point

    def __getattr__(self, name: str) -> Any:
        method: Any = getattr(self._inbox, name)
        if not callable(getattr(self._inbox, name)):
            return method

        async def pointed(*args: Any, **kwargs: Any) -> Any:
            await self._point()
            result = await method(*args, **kwargs)
            await self._point()
            return result

        return pointed

    @asynccontextmanager
    async def lock(self, key: OrderKey, entry: Entry) -> AsyncGenerator[Any]:
        await self._point()
        async with self._inbox.locked(key, entry, self._point) as order:
            await self._point()
            yield order
            await self._point()
        await self._point()


class DurableInbox(MemoryInbox):
    """What a database promises: the effects on its connection and the record, both or neither.

    And that the lock of an order ends with the process that has it.
    """

    lends_connection = True

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.books: list[str] = []
        self._holders: dict[OrderKey, Points] = {}

    @asynccontextmanager
    async def locked(
        self, key: OrderKey, _entry: Entry, point: Points
    ) -> AsyncGenerator[Transaction | None]:
        """As ``lock``, for the process that dies at one of these points."""
        holder, before = self._holders.get(key), await self.look(key)
        is_done = before is not None and before.state is SeenState.DONE
        if holder is not None and not holder.dead and not is_done:
            yield None
            return
        order = Transaction(key, before, point)
        self._holders[key] = point
        try:
            yield order
            if order.saved is not None:
                self._keep(order.saved, order.retry_in)
                self.books += order.staged
        finally:
            if self._holders.get(key) is point:
                del self._holders[key]


@attrs.define
class Transaction:
    """An order that is locked: what is done in it counts when it is committed."""

    key: OrderKey
    before: Record | None
    point: Points
    staged: list[str] = attrs.field(factory=list)
    saved: Record | None = None
    retry_in: float = 0.0

    @asynccontextmanager
    async def lend(self) -> AsyncGenerator[list[str]]:
        await self.point()
        yield self.staged
        await self.point()

    async def save(
        self,
        state: SeenState,
        entry: Entry,
        *,
        failures: int = 0,
        reason: str = "",
        retry_in: float = 0.0,
    ) -> None:
        await self.point()
        self.retry_in = retry_in
        self.saved = Record(
            key=self.key, state=state, entry=entry, failures=failures, reason=reason
        )
        await self.point()


@attrs.frozen(kw_only=True)
class World:
    """What outlives a process: the storage, the shop's orders, time."""

    shop: Shop
    inbox: DurableInbox
    #: How often each order took effect, durably.
    books: Callable[[], Awaitable[list[str]]]
    pass_time: Callable[[float], Awaitable[None]]
    #: Await something, whatever time it takes.
    wait: Callable[[Awaitable[Any]], Awaitable[Any]]

    def process(self, point: Points, **options: Any) -> NotificationHandler:
        """A handler as a new process would make it."""

        async def on_paid(order: PaidOrder, connection: Any) -> None:
            await point()
            if self.shop.before is not None:
                await self.shop.before(order)
            connection.append(order.out_trade_no)
            await point()

        pointed: Any = PointedInbox(self.inbox, point)
        return self.shop.handler(pointed, on_paid=on_paid, **options)


@asynccontextmanager
async def durable_world() -> AsyncGenerator[World]:
    shop = Shop()
    inbox = DurableInbox(shop.clock)

    async def books() -> list[str]:
        return inbox.books

    yield World(
        shop=shop, inbox=inbox, books=books, pass_time=shop.clock.advance, wait=shop.clock.run
    )


#: What the process does that is going to be killed; given a handler.
Doing = Callable[[NotificationHandler], Awaitable[Any]]
#: What happens afterwards, in a world where it is dead; given a way to start the next process.
Then = Callable[[World], Awaitable[None]]


async def killed_everywhere(
    doing: Doing, then: Then, *, prepare: Callable[[World], Awaitable[None]] | None = None
) -> int:
    """Kill ``doing`` at each of its points in turn, in a new world each; how many there were."""
    for at in range(1, TOO_MANY):
        async with durable_world() as world:
            if prepare is not None:
                await prepare(world)
            point = Points(at)
            task = asyncio.ensure_future(doing(world.process(point)))
            while not task.done() and not point.dead:
                await world.pass_time(0.1)
            try:
                if not point.dead:
                    await task
                await then(world)
            finally:
                point.buried.set()
                task.cancel()
                await asyncio.wait([task])
            if not point.dead:
                return at - 1
    raise AssertionError("it has no end")
