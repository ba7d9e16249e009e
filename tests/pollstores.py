"""Stores to hold against their one contract, and a way to let threads and servers finish.

Another store joins by a factory in :data:`STORES`: given the servers and a directory, it returns a
function that makes a store on one and the same storage.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chaoying_async.pollstore import MemoryPollStore
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.testing import FakeClock
from tests.servers import Servers

Maker = Callable[[], Any]
#: Seconds; short, since a database's own clock cannot be moved by hand.
LEASE = 0.6


def memory(_servers: Servers, _directory: Path) -> Maker:
    store = MemoryPollStore()
    return lambda: store


def sqlite(_servers: Servers, directory: Path) -> Maker:
    return lambda: SqlPollStore(directory / "polls.db", lease=LEASE)


def _at(url: str) -> Maker:
    return lambda: SqlPollStore(url, lease=LEASE)


STORES: dict[str, Callable[[Servers, Path], Maker]] = {
    "memory": memory,
    "sqlite": sqlite,
    "postgresql-psycopg": lambda servers, _: _at(servers.postgresql_url("psycopg")),
    "postgresql-asyncpg": lambda servers, _: _at(servers.postgresql_url("asyncpg")),
    "mariadb": lambda servers, _: _at(servers.mariadb_url()),
}


async def until(condition: Callable[[], object]) -> None:
    """Let a thread or a server finish; it lives in real time, and pytest limits that."""
    while not condition():
        await asyncio.sleep(0.002)


async def moving(clock: FakeClock, task: asyncio.Future[Any], sleepers: int = 1) -> Any:
    """Move the clock second by second until this is done.

    Not before so many are asleep: whoever is not is busy in a thread.
    """
    while True:
        await until(lambda: task.done() or clock.waiting >= sleepers)
        if task.done():
            return await task
        await clock.advance(1)


@asynccontextmanager
async def waited_for(clock: FakeClock, store: Any) -> AsyncGenerator[Any]:
    """A store that is free only after a while of this clock."""
    opened = await moving(clock, asyncio.create_task(store.__aenter__()))
    try:
        yield opened
    finally:
        await store.__aexit__(None, None, None)


async def everything(store: Any, kind: str) -> list[tuple[str, str]]:
    return [item async for item in store.load(kind)]
