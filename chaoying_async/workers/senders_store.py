"""A poll store for who sends a payment or refund, until the owner of its shard takes it over."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.exceptions import StoreInUseError
from chaoying_async.pollstore.failures import told
from chaoying_async.sansio.payments.intent import ORDER
from chaoying_async.sql.dialects import is_duplicate
from chaoying_async.workers.database import HEAD_START, PATIENCE, FleetDatabase
from chaoying_async.workers.tables import FRESH, KEPT

T = TypeVar("T")

_TAKEN_OVER = "the fleet has taken this over: its outcome comes to its task"


class SendersStore:
    """A :class:`~chaoying_async.abc.PollStore` of one payment or refund.

    Its sender makes the row and writes into it, as long as no owner of a shard has marked it; from
    then on each call is a :class:`~chaoying_async.exceptions.StoreInUseError`. The row is marked
    only after the sender said that it :meth:`leaves`, or after ``HEAD_START`` seconds.
    """

    def __init__(self, database: FleetDatabase, kind: str, key: str) -> None:
        self._database = database
        self._kind = kind
        self._key = key
        #: The transaction that everything is part of, while one is open.
        self._joined: AsyncConnection | None = None
        columns = database.tables.rows.c
        rows = database.tables.rows
        same = columns.kind == bindparam("p_kind"), columns.item == bindparam("p_item")
        fresh = columns.shard == FRESH
        self._get = select(columns.body).where(*same)
        self._found = select(columns.body, columns.due).where(*same)
        self._get_locked = select(columns.body).where(*same).with_for_update()
        self._hold = select(columns.seq).where(*same, fresh)
        self._put = update(rows).where(*same, fresh).values(body=bindparam("p_body"))
        self._put_order = (
            update(rows).where(*same, columns.shard == KEPT).values(body=bindparam("p_body"))
        )
        self._forget = delete(rows).where(*same, columns.shard.in_((FRESH, KEPT)))
        self._swap = (
            update(rows)
            .where(*same, columns.body == bindparam("p_old"))
            .values(body=bindparam("p_body"))
        )
        self._take_back = delete(rows).where(
            *same, fresh, columns.body.in_(bindparam("p_texts", expanding=True))
        )
        self._leave = update(rows).where(*same, fresh).values(due=0)

    async def together(self, work: Callable[[], Awaitable[T]]) -> T:
        """What ``work`` returns; whatever it writes here is committed with its end, or not at all.

        It may be called again where the database rolled it back for somebody else's sake.
        """

        async def joined() -> T:
            async with self._database.writing() as connection:
                self._joined = connection
                try:
                    return await work()
                finally:
                    self._joined = None

        with told():
            return await self._database.work.take(joined, seconds=PATIENCE)

    async def lock_order(self, key: str, slot: int) -> None:
        """Make the record of a business order where there is none, and keep others from it."""
        inserting = self._database.handing_over(
            ORDER, {"item": key, "slot": slot, "body": "", "then": ""}, shard=KEPT
        )
        while True:
            await self._do(lambda connection: connection.execute(inserting))
            if await self._rows(self._get_locked, ORDER, key):
                return  # else an old record was there, and was forgotten before we had its lock

    async def check(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """What ``work`` returns, in the transaction that is open."""
        return await self._do(work)

    async def begin(self, text: str, slot: int, then: str) -> bool:
        """Make the row; False where there is one."""
        values = {"item": self._key, "slot": slot, "body": text, "then": then}
        inserting = self._database.handing_over_new(self._kind, values, due=HEAD_START)

        async def begin(connection: AsyncConnection) -> bool:
            try:
                return bool((await connection.execute(inserting)).rowcount)
            except DBAPIError as error:
                if is_duplicate(error):
                    return False
                raise

        return await self._do(begin)

    async def leaves(self) -> None:
        """Let the owner of its shard take it up now."""
        await self._write(self._leave, self._kind, self._key)

    async def swap(self, old: str, new: str) -> bool:
        """Write ``new`` where ``old`` is, whoever has taken the row up; of several one succeeds."""
        return bool(await self._write(self._swap, self._kind, self._key, p_old=old, p_body=new))

    async def found(self) -> tuple[str, bool] | None:
        """The row's text, and whether its sender said that it leaves; None: there is no row."""
        rows = await self._rows(self._found, self._kind, self._key)
        return (rows[0].body, rows[0].due == 0) if rows else None

    async def take_back(self, *texts: str) -> bool:
        """Forget the row where it has one of these texts, and no owner of a shard has marked it."""
        return bool(await self._write(self._take_back, self._kind, self._key, p_texts=texts))

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        for key, text in items.items():
            statement = self._put_order if kind == ORDER else self._put
            written = await self._write(statement, kind, key, p_body=text)
            if not written and kind == self._kind:
                raise StoreInUseError(_TAKEN_OVER)

    async def get(self, kind: str, key: str) -> str | None:
        rows = await self._rows(self._get, kind, key)
        return rows[0].body or None if rows else None

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        for key in keys:
            written = await self._write(self._forget, kind, key)
            if not written and kind == self._kind:
                raise StoreInUseError(_TAKEN_OVER)

    async def load(self, kind: str) -> AsyncGenerator[tuple[str, str]]:
        """Its own, where it is of this kind: a sender knows of nothing else."""
        text = await self.get(kind, self._key)
        if text is not None:
            yield self._key, text

    async def hold(self) -> None:
        if not await self._rows(self._hold, self._kind, self._key):
            raise StoreInUseError(_TAKEN_OVER)

    async def _rows(self, statement: Any, kind: str, key: str) -> Any:
        values = {"p_kind": kind, "p_item": key}

        async def read(connection: AsyncConnection) -> Any:
            return (await connection.execute(statement, values)).all()

        return await self._do(read)

    async def _write(self, statement: Any, kind: str, key: str, **values: Any) -> int:
        where = {"p_kind": kind, "p_item": key}

        async def write(connection: AsyncConnection) -> int:
            return int((await connection.execute(statement, where | values)).rowcount)

        return await self._do(write)

    async def _do(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        with told():
            if self._joined is not None:
                return await work(self._joined)
            return await self._database.work.take(partial(self._alone, work), seconds=PATIENCE)

    async def _alone(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._database.writing() as connection:
            return await work(connection)
