"""What belongs to one event loop: a lock, and the connections of a pool.

asyncpg and aiomysql read and write by their loop's transports. In another loop a pooled connection
fails with one riddle after another ("attached to a different loop", "Event loop is closed"), and a
handler that swallows them would answer ``fail`` for ever. So that is told at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import ReferenceType, WeakKeyDictionary, ref

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from chaoying_async.exceptions import UsageError

T = TypeVar("T")

#: Drivers whose connections are bound to the loop in which they were made.
_BOUND = frozenset({"asyncpg", "aiomysql", "asyncmy"})

#: By the pool, since ``dispose`` gives an engine a new one: the loop in which we first saw it.
_loops: WeakKeyDictionary[QueuePool, ReferenceType[asyncio.AbstractEventLoop]] = WeakKeyDictionary()


def check_loop(engine: AsyncEngine) -> None:
    """:class:`UsageError` where the engine's pool has connections of another event loop."""
    pool = engine.pool
    if engine.dialect.driver not in _BOUND or not isinstance(pool, QueuePool):
        return  # a NullPool keeps no connection
    loop = asyncio.get_running_loop()
    known = _loops.get(pool)
    if known is not None and known() is loop:
        return
    if known is not None and (pool.checkedin() or pool.checkedout()):
        raise UsageError(
            "this engine's pool belongs to another event loop (asyncio.run makes a new one each"
            f" time), and {engine.dialect.driver}'s connections work in their own loop only: make"
            " the engine inside the loop, or await engine.dispose() before the loop ends, or give"
            " the engine poolclass=NullPool"
        )
    _loops[pool] = ref(loop)


class PerLoop(Generic[T]):
    """Makes one object for each event loop when it first asks: several loops may share an inbox."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def get(self) -> T:
        """The object of the running loop."""
        loop = asyncio.get_running_loop()
        found = self._made.get(loop)
        if found is None:
            found = self._made[loop] = self._make()
        return found
