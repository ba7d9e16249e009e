"""What the processes of a fleet share: how it is cut, who lives, which shards are free."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Any

import attrs
from sqlalchemy import Executable, bindparam, delete, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql.dml import Insert

from chaoying_async.exceptions import ParameterError, UsageError
from chaoying_async.pollstore.failures import told
from chaoying_async.pollstore.sql.ownership import longest_idle
from chaoying_async.sansio.payments.intent import CHECKOUT, REFUND
from chaoying_async.sansio.polling.record import POLL
from chaoying_async.sql.creation import make_tables
from chaoying_async.sql.dialects import EPOCH, NOW, dialect_of
from chaoying_async.sql.transactions import connected, limit_idling, limited, rows_of, transaction
from chaoying_async.sql.turns import Turns
from chaoying_async.workers.database_clock import DatabaseClock
from chaoying_async.workers.renumbering import renumber
from chaoying_async.workers.tables import FRESH, WATCH, FleetTables

#: The name of the row that says how the fleet is cut: no worker has it.
FLEET = ""
#: What a fleet sees to its end. Other kinds may be a newer version's, and are left to it.
WAITED_FOR = (POLL, WATCH, CHECKOUT, REFUND)
#: Seconds after which the owner of its shard takes a payment up that its sender said no more of:
#: longer than a pay call takes.
HEAD_START = 60
#: How many rows of a kind are taken up at a time.
FRESH_AT_A_TIME = 2000
#: How many connections a process uses at a time for leases, and for everything else.
LEASES_AT_ONCE, WORK_AT_ONCE = 2, 3
#: Seconds after which a caller that hands something over is told that it did not work.
PATIENCE = 10.0
#: The same for making the tables.
_MAKING_TABLES = 60.0
#: A worker that was silent for so many leases is forgotten.
_FORGOTTEN = 20
_MICRO = 1_000_000


@attrs.frozen
class Sharding:
    """How a fleet's orders are divided among its shards; the same for every process."""

    shards: int
    """How many shards there are."""
    by_merchant: bool = False
    """Whether all orders of a merchant are in one shard; else each order is by itself."""

    def __attrs_post_init__(self) -> None:
        whole_number = isinstance(self.shards, int) and not isinstance(self.shards, bool)
        if not whole_number or not 1 <= self.shards <= _MOST_SHARDS:
            rule = f"must be a whole number from 1 to {_MOST_SHARDS}"
            raise ParameterError({"shards": rule})

    def __str__(self) -> str:
        return f"{self.shards} shards by {'merchant' if self.by_merchant else 'order'}"


#: Each shard has a lease to renew and a poller of its own.
_MOST_SHARDS = 4096


@attrs.frozen
class Look:
    """What a worker saw when it looked."""

    sharding: Sharding
    """How the fleet is cut."""
    workers: Sequence[str]
    """The names of the processes that serve shards, this one's included, in their order."""
    taken: Mapping[int, int]
    """The shards that somebody has, and their owners' tokens."""


class FleetDatabase:
    """The statements of one process; none of them waits for another process's lease.

    All of a process's statements are part of one of two kinds, so that it never takes more
    connections than SQLAlchemy's pool has by itself, and a lease never waits for the writing down
    of outcomes.
    """

    def __init__(
        self, engine: AsyncEngine, tables: FleetTables, clock: DatabaseClock, lease: float
    ) -> None:
        self.engine = engine
        self.tables = tables
        self._clock = clock
        self._lease = round(lease * _MICRO)
        # A worker's row is free again before the worker counts as dead.
        self._idle = longest_idle(lease)
        self._dialect = dialect_of(engine)
        one = self._dialect.one_writer  # SQLite's own queue of writers has no order, ours has
        #: Of leases, and of who lives: there is time for several tries before a lease runs out.
        self.leases = Turns(
            engine, clock.own, seconds=max(1.0, lease / 6), at_once=1 if one else LEASES_AT_ONCE
        )
        #: Of everything else.
        self.work = Turns(
            engine, clock.own, seconds=max(1.0, lease), at_once=1 if one else WORK_AT_ONCE
        )
        now, workers, shards = self._dialect.now, tables.workers, tables.shards
        self._beat = (
            update(workers)
            .where(workers.c.name == bindparam("p_name"), *self._dialect.limits_idling(self._idle))
            .values(held_until=now + self._lease, body=bindparam("p_body"))
        )
        self._enter = self._dialect.insert_or_keep(workers, "name").values(
            name=bindparam("p_name"), held_until=now + self._lease, body=bindparam("p_body")
        )
        self._all = select(workers.c.name, workers.c.held_until, now.label("now")).where(
            workers.c.name != FLEET
        )
        self._tidy = delete(workers).where(
            workers.c.name == bindparam("p_name"), workers.c.held_until <= bindparam("p_until")
        )
        self._leave = delete(workers).where(workers.c.name == bindparam("p_name"))
        # An end further off than a whole lease was written before a clock was set back.
        self._taken = select(shards.c.id, shards.c.token).where(
            shards.c.held_until > now, shards.c.held_until <= now + shards.c.lease
        )
        self._read_sharding = select(workers.c.body).where(workers.c.name == FLEET)
        # Who changes it sees this worker, or this worker sees the change.
        self._keep_sharding = self._read_sharding.with_for_update(read=True)

    async def open(self, wanted: Sharding) -> None:
        """Make the tables; :class:`UsageError` where the fleet is cut in another way."""
        with told():
            make = partial(make_tables, self.engine, self.tables.metadata)
            await self.work.take(make, seconds=_MAKING_TABLES)
            if self._dialect.one_writer:
                await self.work.take(partial(renumber, self.engine, self.tables))
            self._cut = {"p_name": FLEET, "p_body": json.dumps(attrs.asdict(wanted))}
            await self.work.take(partial(self._write, self._enter, self._cut))
            found = await self.sharding()
            await self.work.take(self._compare_clocks)  # a payment may come before the first look
        if found != wanted:
            raise UsageError(
                f"this fleet has {found}, not {wanted}: name what it has, or let `chaoying poller"
                " reshard` change it while nobody serves it"
            )

    async def _compare_clocks(self) -> None:
        async with connected(self.engine) as connection:
            asked = self._clock.own.now()
            found = await connection.execute(select(self._dialect.now), self._time())
            self._clock.compare(EPOCH + timedelta(microseconds=int(found.scalar_one())), asked)

    async def sharding(self) -> Sharding | None:
        """How the fleet is cut; None where it never was."""
        rows = await self.read(self._read_sharding, {})
        return Sharding(**json.loads(rows[0].body)) if rows else None

    async def look(self, name: str, says: Mapping[str, Any]) -> Look:
        """Say that this worker lives, and see who else does, and which shards are taken."""
        with told():
            return await self.leases.take(partial(self._look, name, json.dumps(says)))

    async def _look(self, name: str, body: str) -> Look:
        cut = await self._say(name, body)
        async with connected(self.engine) as connection:
            asked = self._clock.own.now()
            workers = (await connection.execute(self._all, self._time())).all()
            now = int(workers[0].now) if workers else 0
            if workers:
                self._clock.compare(EPOCH + timedelta(microseconds=now), asked)
            taken = (await connection.execute(self._taken, self._time())).all()
        latest = now + self._lease  # further off is what was written before a clock was set back
        live = {name, *(row.name for row in workers if now < row.held_until <= latest)}
        for row in workers:
            if row.held_until < now - _FORGOTTEN * self._lease:
                await self._write(self._tidy, {"p_name": row.name, "p_until": row.held_until})
        sharding = Sharding(**json.loads(cut))
        return Look(sharding, sorted(live), {int(row.id): int(row.token) for row in taken})

    async def _say(self, name: str, body: str) -> str:
        """Each process writes its own row alone: whoever locks two waits for others in a circle.

        The fleet's row is only read, under a lock that others share; returned is its text.
        """
        values = {"p_name": name, "p_body": body} | self._time()
        async with transaction(self.engine) as connection:
            beat = await connection.execute(self._beat, values)
            if not beat.rowcount:
                await limit_idling(connection, self._idle)
                await connection.execute(self._enter, values)
            cut = (await connection.execute(self._keep_sharding)).scalar_one_or_none()
            if cut is None:
                # Somebody emptied the table; all who live agreed to this when they began.
                await connection.execute(self._enter, self._cut | self._time())
                cut = self._cut["p_body"]
            return str(cut)

    async def leave(self, name: str) -> None:
        """Say that this worker serves no more."""
        with told():
            await self.leases.take(partial(self._write, self._leave, {"p_name": name}))

    async def fresh(self, mine: Collection[int], of: int) -> Sequence[Any]:
        """Rows of these shards that nobody has taken up, in the order in which they are seen.

        They are found by having nobody's mark, never by a number or a time: a transaction that
        began earlier may commit later. What is due much later than ever was meant was written
        before a clock was set back. Whose own time is as old as that has lost its lease, and marks
        nothing.
        """
        columns, now = self.tables.rows.c, self._dialect.now
        never = now + 2 * HEAD_START * _MICRO + self._lease
        statement = (
            select(columns.seq, columns.slot, columns.kind, columns.item)
            .add_columns(columns.body, columns.created)
            .where(columns.shard == FRESH, columns.kind == bindparam("p_kind"))
            .where(or_(columns.due <= now, columns.due > never))
            .order_by(columns.seq)
            .limit(FRESH_AT_A_TIME)
        )
        if len(mine) < of:
            statement = statement.where((columns.slot % of).in_(sorted(mine)))
        found: list[Any] = []
        with told():
            for kind in WAITED_FOR:  # one after the other, as the index has them
                found += await self.leases.take(partial(self._read_now, statement, kind))
        return found

    async def _read_now(self, statement: Executable, kind: str) -> Sequence[Any]:
        """By the time of this turn, which may have been waited for."""
        return await rows_of(self.engine, statement, {"p_kind": kind} | self._time())

    def handing_over(self, kind: str, values: Mapping[str, Any], *, shard: int = FRESH) -> Insert:
        """The statement that hands something over: a row that nobody has taken up.

        A row of the same kind and key that is there stays as it is.
        """
        inserting = self._dialect.insert_or_keep(self.tables.rows, "kind")
        return inserting.values({**self._handed_over(kind), **values, "shard": shard})

    def handing_over_new(self, kind: str, values: Mapping[str, Any], *, due: int) -> Insert:
        """The same, which tells whether there was none: no row, or an error ``is_duplicate``.

        ``due`` is seconds from now.
        """
        inserting = self._dialect.insert_new(self.tables.rows)
        return inserting.values(**self._handed_over(kind, due), **values, shard=FRESH)

    def handing_over_many(self, kind: str) -> Insert:
        """The same for many rows: the parameters of each are its columns ``p_item`` and so on."""
        inserting = self._dialect.insert_or_keep(self.tables.rows, "kind")
        names = ("item", "slot", "body", "then")
        parameters: dict[str, Any] = {name: bindparam(f"p_{name}") for name in names}
        return inserting.values({**self._handed_over(kind), "shard": FRESH, **parameters})

    def _handed_over(self, kind: str, due: int = 0) -> dict[str, Any]:
        now: Any = self._dialect.now
        if self._dialect.one_writer:  # a statement of a user's cannot be given the time later
            now = literal(self._dialect.timed(self._clock.own)[NOW])
        due_at = now + due * _MICRO if due else 0
        return {"kind": kind, "created": now, "due": due_at, "tries": 0}

    async def read(self, statement: Executable, values: Mapping[str, Any]) -> Sequence[Any]:
        """All rows of one statement, in a connection of its own."""
        timed = {**values, **self._time()}
        return await self.work.take(partial(rows_of, self.engine, statement, timed))

    async def write_rows(self, statement: Executable, rows: Any = None) -> None:
        """Commit one statement for somebody who waits for that."""
        with told():
            await self.work.take(partial(self._write_rows, statement, rows), seconds=PATIENCE)

    async def _write_rows(self, statement: Executable, rows: Any) -> None:
        async with self.writing() as connection:
            await connection.execute(statement, rows)

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction whose locks do not outlive its process for long, on PostgreSQL."""
        return limited(self.engine, self._idle)

    async def _write(self, statement: Executable, values: Mapping[str, Any]) -> None:
        async with self.writing() as connection:
            await connection.execute(statement, {**values, **self._time()})

    def _time(self) -> dict[str, int]:
        return self._dialect.timed(self._clock.own)
