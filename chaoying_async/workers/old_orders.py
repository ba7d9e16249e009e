"""Forgets the records of business orders that nobody can want to charge any more.

A fleet writes a row for each business order that it charges, so that none is charged twice. No
other row of a fleet outlives its work: what is waited for becomes an outcome, and an outcome goes
when its task has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, delete, select

from chaoying_async.abc import Clock
from chaoying_async.exceptions import ParameterError
from chaoying_async.pollstore.failures import told
from chaoying_async.sansio.payments.intent import (
    CHECKOUT,
    ORDER,
    key_of,
    number_in,
    order_record_in,
)
from chaoying_async.sansio.payments.moves import CheckoutStatus
from chaoying_async.sql.dialects import dialect_of, microseconds
from chaoying_async.workers.database import FleetDatabase
from chaoying_async.workers.log_texts import log
from chaoying_async.workers.outcomes import OUTCOME, item_in
from chaoying_async.workers.tables import KEPT

#: How long the record of a business order stays, and the least: wallets take refunds for a year.
KEEP, LEAST_KEPT = timedelta(days=400), timedelta(days=366)
#: How many rows are read, and deleted, at a time: nobody waits long for their locks.
PAGE = 200
#: Seconds between two pages.
_PAUSE = 0.1
#: With more outcomes on their way than this nothing is forgotten: each page reads all of them.
_MOST_UNDELIVERED = 10_000

#: How a business order ended where nobody has to look into it any more.
_SETTLED = frozenset(
    {
        CheckoutStatus.PAID,
        CheckoutStatus.PAID_EARLIER,
        CheckoutStatus.FAILED,
        CheckoutStatus.CANCELLED,
    }
)


def check_keep(keep: object) -> None:
    """:class:`ParameterError` for what is no time, or so short that it could be refunded still."""
    if keep is None or (isinstance(keep, timedelta) and keep >= LEAST_KEPT):
        return
    rule = f"must be a timedelta of {LEAST_KEPT.days} days or more, or None: they stay for ever"
    raise ParameterError({"keep_orders": rule})


class OldOrders:
    """Forgets business orders whose last attempt is so old, and is known to have ended.

    What was not decided (UNKNOWN, PAID_AFTER_CANCEL), or cannot be read, stays for a person,
    however old it is; and so does what is under way, or whose outcome is still to be delivered.
    What is old is old by the database's clock and by the process's own: a clock that leapt ahead
    forgets nothing. ``clock`` is the process's own.
    """

    def __init__(self, database: FleetDatabase, clock: Clock, keep: timedelta | None) -> None:
        self._database = database
        self._clock = clock
        self._keep = None if keep is None else keep // timedelta(microseconds=1)
        rows = database.tables.rows
        columns = rows.c
        now = dialect_of(database.engine).now
        orders = columns.shard == KEPT, columns.kind == ORDER
        self._page = (
            select(columns.seq, columns.item, columns.body, columns.created, now.label("now"))
            .where(*orders, columns.seq > bindparam("p_after"))
            .order_by(columns.seq)
            .limit(PAGE)
        )
        self._under_way = select(columns.item).where(
            columns.kind == CHECKOUT, columns.item.in_(bindparam("p_items", expanding=True))
        )
        self._undelivered = (
            select(columns.item).where(columns.kind == OUTCOME).limit(_MOST_UNDELIVERED + 1)
        )
        # By its number alone: a range would keep others' new rows out on MariaDB. Where another
        # attempt was begun meanwhile, the text is not the same.
        self._forget = delete(rows).where(
            columns.seq == bindparam("p_seq"), *orders, columns.body == bindparam("p_body")
        )

    async def prune(self, goes_on: Callable[[], object] = lambda: True) -> int:
        """Forget what is old, a page at a time, as long as it ``goes_on``; how many."""
        if self._keep is None:
            return 0
        forgotten, after = 0, -1
        while goes_on():
            with told():
                page = await self._database.read(self._page, {"p_after": after})
                # By the slower of the two clocks.
                before = min([microseconds(self._clock.now()), *(row.now for row in page)])
                before -= self._keep
                old = await self._old(page, before)
                if old:
                    await self._database.write_rows(self._forget, old)
            forgotten += len(old)
            # Rows stand in the order in which they were made: behind a young one none is old.
            if len(page) < PAGE or page[-1].created > before:
                break
            after = page[-1].seq
            await self._clock.sleep(_PAUSE)
        if forgotten:
            log.info("the records of %d old business orders were forgotten", forgotten)
        return forgotten

    async def _old(self, page: Sequence[Any], before: int) -> list[dict[str, Any]]:
        """Which of these rows may go, as the parameters of the statement that deletes them."""
        found = {row.seq: row for row in page if row.created <= before}
        ended = {seq: attempt for seq, row in found.items() if (attempt := _ended(row, before))}
        over = await self._without_what_is_under_way(ended)
        return [{"p_seq": seq, "p_body": found[seq].body} for seq in over]

    async def _without_what_is_under_way(self, attempts: Mapping[int, str]) -> Mapping[int, str]:
        if not attempts:
            return attempts
        # In this order: an attempt becomes an outcome, never the other way round.
        values = {"p_items": [*attempts.values()]}
        busy = {row.item for row in await self._database.read(self._under_way, values)}
        undelivered = await self._database.read(self._undelivered, {})
        if len(undelivered) > _MOST_UNDELIVERED:
            return {}
        busy |= {item_in(row.item) for row in undelivered}
        return {seq: attempt for seq, attempt in attempts.items() if attempt not in busy}


def _ended(row: Any, before: int) -> str | None:
    """The key of an order's last attempt; None where it is young, or was not decided."""
    try:
        record = order_record_in(row.body)
    except ValueError:
        return None
    if record.status not in _SETTLED or microseconds(record.started) > before:
        return None
    return key_of(number_in(row.item)[0], record.out_trade_no)
