"""Brings over what a ``SqlPollStore`` of one owner holds: the fleet sees it to its end."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Any

from sqlalchemy import bindparam, delete, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.abc import Clock
from chaoying_async.exceptions import AttemptInProgressError
from chaoying_async.pollstore.failures import told
from chaoying_async.pollstore.sql.ownership import Ownership
from chaoying_async.pollstore.sql.tables import store_tables
from chaoying_async.sansio.payments.intent import (
    CHECKOUT,
    ORDER,
    REFUND,
    key_of,
    number_in,
    order_record_in,
)
from chaoying_async.sansio.polling.record import POLL, PendingOrder, read_pending
from chaoying_async.sql.dialects import microseconds
from chaoying_async.sql.transactions import connected, transaction
from chaoying_async.workers.database import FleetDatabase, Sharding
from chaoying_async.workers.log_texts import log
from chaoying_async.workers.tables import FRESH, KEPT, NO_TASK
from chaoying_async.workers.watching import row_kind, slot_in

#: How many rows are brought over in one transaction.
_TOGETHER = 500
#: Seconds after which it is looked again whether there is such a store.
_LOOK_AGAIN = 60.0


class OldStoreOrders:
    """Business orders of a store that one process owns, as long as they were not brought over."""

    def __init__(self, prefix: str, clock: Clock) -> None:
        _, self._texts, _ = store_tables(prefix)
        self._clock = clock
        self._is_there = False
        self._look_again = -inf
        same = self._texts.c.kind == ORDER, self._texts.c.item == bindparam("p_item")
        self._find = select(self._texts.c.seq).where(*same)

    async def refuse(self, connection: AsyncConnection, key: str) -> None:
        """:class:`AttemptInProgressError` where the order of this key is there.

        To be called under the lock of its record in the fleet: what is brought over waits for that.
        """
        if not self._is_there and self._clock.monotonic() >= self._look_again:
            self._is_there = await _has_table(connection, self._texts.name)
            self._look_again = self._clock.monotonic() + _LOOK_AGAIN
        if not self._is_there:
            return
        if (await connection.execute(self._find, {"p_item": key})).first() is not None:
            raise AttemptInProgressError(
                f"{number_in(key)[1]} is in the poll store of before: the fleet takes it over"
                " within a minute after the process that owns the store has ended; then try again"
            )


async def _has_table(connection: AsyncConnection, name: str) -> bool:
    return await connection.run_sync(lambda sync: bool(inspect(sync).has_table(name)))


class OldStore:
    """The tables of a store that one process owns, in the fleet's own database."""

    def __init__(
        self, database: FleetDatabase, prefix: str, sharding: Sharding, clock: Clock, lease: float
    ) -> None:
        _, self._texts, owner = store_tables(prefix)
        self._database = database
        self._sharding = sharding
        self._owned = Ownership(database.engine, owner, clock, lease, turns=database.leases)
        self._page = select(self._texts).order_by(self._texts.c.seq).limit(_TOGETHER)
        self._said = False

    async def bring_over(self) -> int:
        """Bring everything over that is there, where nobody owns the store; how many rows.

        What cannot be read stays where it is. While an older process owns the store, its orders are
        its own, and a line at WARNING says so, once.
        """
        with told():
            work = self._database.work
            if not await work.take(self._is_there):
                return 0
            if not await self._owned.take_if_free():
                if not self._said:
                    self._said = True
                    log.warning(
                        "another process still owns the poll store of this database: the fleet "
                        "takes its orders over when that process has ended"
                    )
                return 0
            try:
                brought = await self._bring_all()
            finally:
                await self._owned.release()
        if brought:
            log.warning("%d rows of the poll store were brought over into the fleet", brought)
        return brought

    async def _is_there(self) -> bool:
        """Whether there is such a store, and anything in it."""
        async with connected(self._database.engine) as connection:
            if not await _has_table(connection, self._texts.name):
                return False
            return (await connection.execute(self._page.limit(1))).first() is not None

    async def _bring_all(self) -> int:
        brought, after = 0, -1
        while True:
            last, count = await self._database.work.take(partial(self._bring_page, after))
            if last is None:
                return brought
            brought, after = brought + count, last

    async def _bring_page(self, after: int) -> tuple[int | None, int]:
        """Bring the next rows over: the last one's number, None where there was none; how many."""
        async with transaction(self._database.engine) as connection:
            await self._owned.renew_in(connection)
            page = self._page.where(self._texts.c.seq > after)
            rows = (await connection.execute(page)).all()
            if not rows:
                return None, 0
            return rows[-1].seq, await self._bring(connection, rows)

    async def _bring(self, connection: AsyncConnection, rows: Any) -> int:
        brought = 0
        for row in rows:
            if row.kind == ORDER:
                brought += await self._bring_attempt(connection, row)
            brought += await self._bring_row(connection, row)
        return brought

    async def _bring_attempt(self, connection: AsyncConnection, row: Any) -> int:
        """Bring the last attempt of a business order over with it, where one is under way.

        Without it the order would pass for one whose payment was never sent, until a later page
        brings it, and could be charged again.
        """
        try:
            record = order_record_in(row.body)
        except ValueError:
            return 0
        columns = self._texts.c
        attempt = key_of(number_in(row.item)[0], record.out_trade_no)
        same = columns.kind == CHECKOUT, columns.item == attempt
        found = (await connection.execute(select(self._texts).where(*same))).first()
        return 0 if found is None else await self._bring_row(connection, found)

    async def _bring_row(self, connection: AsyncConnection, row: Any) -> int:
        values = self._values(row.kind, row.item, row.body)
        if values is None:
            log.error(
                "the %s %s cannot be read by this version and stays in the poll store: query it"
                " by hand",
                *(row.kind, row.item),
            )
            return 0
        shard, kind = KEPT if row.kind == ORDER else FRESH, row_kind(row.kind, row.item)
        await connection.execute(self._database.handing_over(kind, values, shard=shard))
        gone = delete(self._texts).where(self._texts.c.seq == row.seq)
        return int((await connection.execute(gone)).rowcount)

    def _values(self, kind: str, item: str, body: str) -> Mapping[str, Any] | None:
        """The row in the fleet's table; None for what this version cannot read."""
        values: dict[str, Any] = {"item": item, "body": body, "then": NO_TASK}
        if kind == POLL:
            try:
                record = read_pending(body)
            except ValueError:
                return None
            if isinstance(record, PendingOrder):
                values["created"] = microseconds(record.started)
        elif kind not in (CHECKOUT, REFUND, ORDER):
            return None
        slot = slot_in(values["item"], by_merchant=self._sharding.by_merchant)
        return None if slot is None else values | {"slot": slot}
