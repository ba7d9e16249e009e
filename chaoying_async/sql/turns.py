"""How a process uses a database: so many connections at a time, and none of them for too long.

A connection whose network has gone says nothing at all: no driver raises anything for hours. So
what takes too long is given up, and what comes next is tried with another connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

from chaoying_async.abc import Clock
from chaoying_async.sql.engines import is_ours
from chaoying_async.sql.loops import PerLoop
from chaoying_async.sql.transactions import retried, whole

T = TypeVar("T")

#: Seconds for which work that was given up may put its connection away, before each of two pushes.
_PUTTING_AWAY = 0.5
_opened: WeakKeyDictionary[Engine, WeakSet[ConnectionPoolEntry]] = WeakKeyDictionary()
#: Work that was given up and has not ended: the loop alone would not keep it.
_given_up: set[asyncio.Task[Any]] = set()


class Turns:
    """Lets ``at_once`` works at a time use the engine, each for at most ``seconds``.

    Work waits for its turn for as long at most. ``seconds`` None: it takes as long as it takes.
    SQLite has no limit of ours: its statements end by themselves, at the latest when the
    ``busy_timeout`` has passed, and one that is cut off would leave its file locked.

    After work that took too long, no connection that is open is used again: none may be well. Of an
    engine that others use too, that takes two in a row: one may just have been slow.
    """

    def __init__(
        self, engine: AsyncEngine, clock: Clock, *, seconds: float | None, at_once: int
    ) -> None:
        self._engine = engine
        self._opened = _opened_by(engine)
        self._clock = clock
        self._seconds = seconds
        self._on_sqlite = engine.dialect.name == "sqlite"
        #: How many turns in a row took too long; and from how many on no connection is trusted.
        self._too_long = 0
        self._suspicious = 1 if is_ours(engine) else 2
        self._places = PerLoop(partial(asyncio.Semaphore, at_once))

    async def take(
        self, work: Callable[[], Coroutine[Any, Any, T]], *, seconds: float | None = None
    ) -> T:
        """What ``work`` returns; :class:`TimeoutError` where it took too long.

        It may have been committed all the same. ``work`` is called again where the database rolled
        it back for somebody else's sake. ``seconds`` takes the place of the usual ones.
        """
        places = self._places.get()
        limit = self._seconds if seconds is None else seconds
        if self._on_sqlite or limit is None:
            async with places:
                return await whole(self._engine, retried(work))
        async with self._clock.timeout(limit):
            await places.acquire()
        try:
            result = await ended_in_time(self._clock, limit, retried(work))
        except TimeoutError:
            self._too_long += 1
            if self._too_long >= self._suspicious:
                for each in [*self._opened]:  # else each of them would have to be waited for once
                    each.invalidate(soft=True)
            raise
        else:
            self._too_long = 0
            return result
        finally:
            places.release()


def _opened_by(engine: AsyncEngine) -> WeakSet[ConnectionPoolEntry]:
    """The connections that this engine opens from now on, as long as its pool has them."""
    found = _opened.get(engine.sync_engine)
    if found is None:
        found = _opened[engine.sync_engine] = WeakSet()
        event.listen(engine.sync_engine, "connect", partial(_add, found))
    return found


def _add(found: WeakSet[ConnectionPoolEntry], _driver: object, entry: ConnectionPoolEntry) -> None:
    found.add(entry)


async def ended_in_time(clock: Clock, seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns, or a :class:`TimeoutError`: on time, whatever the driver does.

    A driver may wait for the server's word once more when it is cancelled. It is cancelled twice,
    and then left to itself.
    """
    task = asyncio.get_running_loop().create_task(work, name="chaoying sql: in time")
    try:
        async with clock.timeout(seconds):
            await asyncio.wait([task])
    except BaseException as error:
        if not (task.done() and isinstance(error, TimeoutError)):
            await _give_up(clock, task)
            raise
    return await task


async def _give_up(clock: Clock, task: asyncio.Task[Any]) -> None:
    _given_up.add(task)
    task.add_done_callback(_ended)
    for _ in range(2):
        task.cancel()
        with suppress(TimeoutError):
            async with clock.timeout(_PUTTING_AWAY):
                await asyncio.wait([task])
                return


def _ended(task: asyncio.Task[Any]) -> None:
    _given_up.discard(task)
    if not task.cancelled():
        task.exception()  # nobody is left to hear of it
