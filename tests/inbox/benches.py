"""The inboxes that are kept somewhere, held against the contract on real servers."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from chaoying_async.inbox.redis import RedisInbox
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.testing import FakeClock
from tests.inbox.inboxes import Bench
from tests.inbox.own_inbox import own_inbox_at
from tests.servers import Servers

AGEING = (
    text("UPDATE chaoying_orders SET held_until = held_until - :span, due = due - :span"),
    text("UPDATE chaoying_asides SET due = due - :span"),
)

KeptFactory = Callable[[Servers], AbstractAsyncContextManager[Bench]]


def sqlite_url(directory: Path) -> str:
    return f"sqlite+aiosqlite:///{directory / 'inbox.db'}"


@asynccontextmanager
async def sqlite(servers: Servers) -> AsyncGenerator[Bench]:
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as directory:
        url = sqlite_url(Path(directory))
        async with engine_at(url) as first, engine_at(url) as second:
            inbox, other = (SqlInbox(engine, clock=clock) for engine in (first, second))
            await inbox.create_tables()
            yield Bench(inbox=inbox, other=other, pass_time=clock.advance, now=clock.now)


@asynccontextmanager
async def _on_a_server(url: str) -> AsyncGenerator[Bench]:
    async with engine_at(url) as first, engine_at(url) as second:
        inbox, other = SqlInbox(first), SqlInbox(second)
        await inbox.create_tables()

        async def age(seconds: float) -> None:
            span = {"span": round(seconds * 1_000_000)}
            async with second.begin() as connection:
                for change in AGEING:
                    await connection.execute(change, span)

        yield Bench(inbox=inbox, other=other, pass_time=age, now=lambda: datetime.now(UTC))


def psycopg(servers: Servers) -> AbstractAsyncContextManager[Bench]:
    return _on_a_server(servers.postgresql_url("psycopg"))


def asyncpg(servers: Servers) -> AbstractAsyncContextManager[Bench]:
    return _on_a_server(servers.postgresql_url("asyncpg"))


def mariadb(servers: Servers) -> AbstractAsyncContextManager[Bench]:
    return _on_a_server(servers.mariadb_url())


@asynccontextmanager
async def _on_redis(servers: Servers, *, texts: bool) -> AsyncGenerator[Bench]:
    async with Redis.from_url(servers.redis_url(), decode_responses=texts) as client:

        async def age(seconds: float) -> None:
            span = round(seconds * 1000)
            async for name in client.scan_iter(match="chaoying:*"):
                if (left := await client.pttl(name)) > 0:  # a lease, or what has ended
                    await client.pexpire(name, left - span)
            names: Any = await client.zrange("chaoying:due", 0, -1)
            for name in names:
                await client.zincrby("chaoying:due", -span, name)

        yield Bench(
            inbox=RedisInbox(client),
            other=RedisInbox(client),
            pass_time=age,
            now=lambda: datetime.now(UTC),
        )


def redis(servers: Servers) -> AbstractAsyncContextManager[Bench]:
    return _on_redis(servers, texts=False)


def redis_texts(servers: Servers) -> AbstractAsyncContextManager[Bench]:
    return _on_redis(servers, texts=True)


@asynccontextmanager
async def own(servers: Servers) -> AsyncGenerator[Bench]:
    """An inbox as a user would write it."""
    url = servers.postgresql_url("asyncpg").replace("+asyncpg", "")
    async with own_inbox_at(url) as inbox, own_inbox_at(url) as other:

        async def age(seconds: float) -> None:
            span = timedelta(seconds=seconds)
            await other.pool.execute("UPDATE paid_orders SET due = due - $1::interval", span)
            await other.pool.execute("UPDATE set_aside SET due = due - $1::interval", span)

        yield Bench(inbox=inbox, other=other, pass_time=age, now=lambda: datetime.now(UTC))


@asynccontextmanager
async def engine_at(url: str, *, pooled: bool = True) -> AsyncGenerator[AsyncEngine]:
    """A user's engine, as plain as it can be."""
    engine = create_async_engine(url) if pooled else create_async_engine(url, poolclass=NullPool)
    try:
        yield engine
    finally:
        await engine.dispose()


SQL_INBOXES: dict[str, KeptFactory] = {
    "sqlite": sqlite,
    "psycopg": psycopg,
    "asyncpg": asyncpg,
    "mariadb": mariadb,
}
REDIS_INBOXES: dict[str, KeptFactory] = {"redis": redis, "redis-texts": redis_texts}
KEPT_INBOXES: dict[str, KeptFactory] = {**SQL_INBOXES, **REDIS_INBOXES}
OWN_INBOXES: dict[str, KeptFactory] = {"own": own}
