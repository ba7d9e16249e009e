"""A shop on a SQL database, with an inbox beside its own table of effects."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from sqlalchemy import Column, Integer, MetaData, String, Table, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped

from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.sansio.notifications.inbox_values import Entry, OrderKey, SeenState
from tests.factories import MCH_ID

if TYPE_CHECKING:
    from tests.servers import Servers  # whose clients a killed process's successor need not load

OnPaid = Callable[[AsyncConnection], Awaitable[Any]]

KEY = OrderKey(MCH_ID, "A100011")

metadata = MetaData()
#: No constraint on the number: what took effect twice is there twice.
effects = Table(
    "effects",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", String(64), nullable=False),
)
singles = Table("singles", metadata, Column("number", String(64), primary_key=True))


class Base(DeclarativeBase):
    metadata = metadata


class Effect(Base):
    """The same table, for sessions."""

    __table__ = effects
    number: Mapped[str]


class Single(Base):
    __table__ = singles
    number: Mapped[str]


def _sqlite(servers: Servers, stack: ExitStack) -> str:
    directory = stack.enter_context(tempfile.TemporaryDirectory())
    return f"sqlite+aiosqlite:///{Path(directory, 'shop.db')}"


#: Kind of database -> the address of an empty one.
DATABASES: dict[str, Callable[[Servers, ExitStack], str]] = {
    "sqlite": _sqlite,
    "psycopg": lambda servers, stack: servers.postgresql_url("psycopg"),
    "asyncpg": lambda servers, stack: servers.postgresql_url("asyncpg"),
    "mariadb": lambda servers, stack: servers.mariadb_url(),
}


@attrs.frozen
class SqlShop:
    kind: str
    url: str
    engine: AsyncEngine
    inbox: SqlInbox

    @asynccontextmanager
    async def working(self, key: OrderKey = KEY) -> AsyncGenerator[AsyncConnection]:
        """The connection lent for an order, as by a handler; the order is done with the block."""
        async with working(self.inbox, key) as connection:
            yield connection

    async def paid(self, on_paid: OnPaid, key: OrderKey = KEY) -> None:
        """As a handler does it: ``on_paid`` runs under the order's lock."""
        async with self.working(key) as connection:
            await on_paid(connection)

    async def record(self, state: SeenState, key: OrderKey = KEY, **told: Any) -> None:
        """Record this of an order, under its lock."""
        entry = an_entry(**{name: told.pop(name) for name in ("first_seen",) if name in told})
        async with self.inbox.lock(key, entry) as order:
            assert order is not None
            await order.save(state, entry, **told)

    async def is_free(self, key: OrderKey = KEY) -> bool:
        """Whether the order's lock can be had now."""
        async with self.inbox.lock(key, an_entry()) as order:
            return order is not None

    async def effects(self, number: str | None = None) -> int:
        """How often an order (or any) took effect."""
        question = select(func.count()).select_from(effects)
        if number is not None:
            question = question.where(effects.c.number == number)
        async with self.engine.connect() as connection:
            return int((await connection.execute(question)).scalar_one())

    async def state(self, key: OrderKey = KEY) -> str | None:
        record = await self.inbox.look(key)
        return None if record is None else str(record.state)


def an_entry(**changes: Any) -> Entry:
    """What a handler knows of a payment, for an inbox that lends connections."""
    fields: dict[str, Any] = {"payload": "{}", "first_seen": datetime.now(UTC), "payable": 1}
    return Entry(**fields | changes)


@asynccontextmanager
async def working(inbox: SqlInbox, key: OrderKey = KEY) -> AsyncGenerator[AsyncConnection]:
    """The connection lent for an order by this inbox; the order is done with the block."""
    entry = an_entry()
    async with inbox.lock(key, entry) as order:
        assert order is not None
        async with order.lend() as connection:
            yield connection
        await order.save(SeenState.DONE, entry)


async def take_effect(connection: Any, number: str = KEY.out_trade_no) -> None:
    await connection.execute(insert(effects).values(number=number))


@asynccontextmanager
async def sql_shop(kind: str, servers: Servers, **options: Any) -> AsyncGenerator[SqlShop]:
    """A fresh one, its tables made."""
    with ExitStack() as stack:
        url = DATABASES[kind](servers, stack)
        engine = create_async_engine(url, **options)
        try:
            inbox = SqlInbox(engine)
            await inbox.create_tables()
            async with engine.begin() as connection:
                await connection.run_sync(metadata.create_all)
            yield SqlShop(kind, url, engine, inbox)
        finally:
            await engine.dispose()
