"""Texts in a table while this process owns them: written in batches that prove it (M-26)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any

import attrs
from sqlalchemy import Delete, Executable, Table, and_, bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.exceptions import StoreInUseError
from chaoying_async.observation import SafeLog
from chaoying_async.pollstore.failures import told
from chaoying_async.pollstore.sql.ownership import Ownership
from chaoying_async.sql.batching import Batches, Take
from chaoying_async.sql.many import execute_for_each
from chaoying_async.sql.transactions import rows_of, transaction
from chaoying_async.sql.turns import Turns

log = SafeLog("chaoying_async.pollstore")

#: Rows that are read at a time.
_PAGE = 5000
#: How often a lease is renewed while it runs.
_RENEWALS = 3
#: Seconds before a renewal that failed is tried again; each further time it is twice as long.
_RENEW_AGAIN = 0.1
#: So many changes go into one transaction.
_MOST = 2000

#: ``(kind, key)`` to the text to keep; None: to be dropped.
Changes = Mapping[tuple[str, str], str | None]


@attrs.frozen(eq=False)
class TextStatements:
    """How texts are written and read; their parameters are ``p_kind``, ``p_item``, ``p_body``."""

    put: Executable
    drop: Delete
    get: Executable
    page: Executable
    """The next rows of ``p_kind``, after the one whose ``seq`` is ``p_after``."""

    @classmethod
    def of(cls, table: Table, put: Executable, *only: Any) -> TextStatements:
        """Those of a table; ``only``: conditions on what is dropped, and on what is loaded."""
        columns = table.c
        same = and_(columns.kind == bindparam("p_kind"), columns.item == bindparam("p_item"))
        return cls(
            put=put,
            drop=delete(table).where(same, *only),
            get=select(columns.body).where(same),
            page=select(columns.seq, columns.item, columns.body)
            .where(columns.kind == bindparam("p_kind"), columns.seq > bindparam("p_after"), *only)
            .order_by(columns.seq)
            .limit(_PAGE),
        )


class OwnedTexts:
    """Writes and reads the texts of one owner, and goes on renewing its lease."""

    def __init__(
        self,
        engine: AsyncEngine,
        owned: Ownership,
        statements: TextStatements,
        turns: Turns,
    ) -> None:
        self.engine = engine
        self._turns = turns
        self.owned = owned
        self._do = statements

    def start(self, clock: Clock) -> None:
        """Begin to write, and to renew the lease, which was just taken."""
        self.writer: Batches[Changes, None] = Batches(self._write, most=_MOST, size=len)
        self.renewing = asyncio.get_running_loop().create_task(
            self._renew(clock), name="chaoying store: renew its lease"
        )

    async def stop(self) -> None:
        """Write what is left, and give back what was owned; cancelled, it writes less.

        The rest is done all the same: a transaction that is cut off may leave a SQLite file locked,
        and a renewal that goes on would keep the texts from everybody.
        """
        ending = asyncio.get_running_loop().create_task(
            self._give_back(), name="chaoying store: give back"
        )
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            self.writer.drop()
            await asyncio.wait([ending])
            raise

    async def _give_back(self) -> None:
        await self.writer.close()
        self.renewing.cancel()
        await asyncio.wait([self.renewing])
        try:
            await self.owned.release()
        except Exception as error:  # noqa: BLE001 - drivers raise errors of their own too
            log.warning(
                "the store's lease could not be given back (%s): others wait until it runs out",
                type(error).__name__,
            )

    async def _renew(self, clock: Clock) -> None:
        """Renew the lease for as long as it is ours; after an error, try again.

        A database that is down is asked less and less often, and told of once in a usual pause.
        """
        usual = pause = self.owned.lease / _RENEWALS
        again, told_at = _RENEW_AGAIN, -inf
        while True:
            await clock.sleep(pause)
            try:
                await self.owned.renew()
            except StoreInUseError:
                log.error("%s", "another process has taken the poll store over")  # noqa: TRY400
                return
            except Exception as error:  # noqa: BLE001 - drivers raise errors of their own too
                if clock.monotonic() - told_at >= usual:
                    told_at = clock.monotonic()
                    log.warning(
                        "the store's lease could not be renewed (%s): tried again while it lasts",
                        type(error).__name__,
                    )
                pause = min(usual, again)  # the next connection may be well
                again = 2 * pause
            else:
                pause, again = usual, _RENEW_AGAIN

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        """See :meth:`PollStore.put`."""
        if items:
            await self._add({(kind, key): text for key, text in items.items()})

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        """See :meth:`PollStore.forget`."""
        if keys:
            await self._add({(kind, key): None for key in keys})

    async def _add(self, changes: Changes) -> None:
        with told():
            await self.writer.add(changes)

    async def get(self, kind: str, key: str) -> str | None:
        """See :meth:`PollStore.get`."""
        with told():
            rows = await self._read(self._do.get, {"p_kind": kind, "p_item": key})
        return rows[0].body if rows else None

    async def pages(self, kind: str, check: Callable[[], object]) -> AsyncGenerator[Any]:
        """Every row of one kind, read in pages, so no transaction is held open.

        ``check`` is called before each page: it raises where nothing may be read any more.
        """
        after = -1
        while True:
            check()
            with told():
                rows = await self._read(self._do.page, {"p_kind": kind, "p_after": after})
            for row in rows:
                after = row.seq
                yield row
            if len(rows) < _PAGE:
                return

    async def _read(self, statement: Executable, values: dict[str, Any]) -> Sequence[Any]:
        return await self._turns.take(partial(rows_of, self.engine, statement, values))

    async def _write(self, take: Take[Changes]) -> Sequence[None]:
        """Write what waits in one transaction; what is newer counts."""
        batch = take()
        together: dict[tuple[str, str], str | None] = {}
        for changes in batch:
            together.update(changes)
        await self._turns.take(partial(self._commit, together))
        return [None] * len(batch)

    async def _commit(self, changes: Changes) -> None:
        """The lease is renewed in the same transaction, which proves that it is the owner's."""
        put, drop = [], []
        for (kind, key), text in changes.items():
            where = {"p_kind": kind, "p_item": key}
            if text is None:
                drop.append(where)
            else:
                put.append(where | {"p_body": text})
        async with transaction(self.engine) as connection:
            await self.owned.renew_in(connection)
            if put:
                await execute_for_each(connection, self._do.put, put)
            if drop:
                await execute_for_each(connection, self._do.drop, drop)
