"""Forgets what is old, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from chaoying_async.inbox.sql.access import Access
from chaoying_async.inbox.sql.statements import AsideStatements, PruningStatements
from chaoying_async.inbox.sql.tables import Params, message_params
from chaoying_async.sansio.notifications.facts import without_raw
from chaoying_async.sansio.notifications.inbox_values import AHEAD, OrderKey
from chaoying_async.sql.dialects import microseconds

#: Rows in one transaction: few enough that a payment hardly waits for it.
PAGE = 200

_SINCE_EVER = -(1 << 62)


async def prune(
    access: Access,
    tables: Sequence[PruningStatements],
    before: datetime,
    *,
    window: timedelta,
    keys: bool,
) -> int:
    """Empty (or with ``keys`` delete) what ended before then; how many rows."""
    until = microseconds(before)
    if keys:
        kept = (window + AHEAD) // timedelta(microseconds=1)
        until = min(until, await access.now() - kept)
    return sum([await _prune_one(access, table, until, keys=keys) for table in tables])


async def prune_raw(access: Access, asides: AsideStatements, before: datetime) -> int:
    """Take the raw fields out of what waits and came before then; how many messages."""
    params: Params = {"p_before": microseconds(before), "p_limit": PAGE}
    pruned = 0
    while rows := await access.read(asides.with_raw, params):
        changed = 0
        for row in rows:
            key = OrderKey(row.mch_id, row.out_trade_no)
            payload = without_raw(row.payload)
            if payload != row.payload:
                this = message_params(key, row.fingerprint) | {"p_payload": payload}
                changed += await access.write(asides.replace, this)
        if not changed:
            break
        pruned += changed
    return pruned


async def _prune_one(access: Access, table: PruningStatements, until: int, *, keys: bool) -> int:
    params: Params = {"p_before": until, "p_after": _SINCE_EVER}
    pruned = 0
    while rows := await access.read(table.page[keys], params | {"p_limit": PAGE}):
        last = {"p_last": rows[-1].first_seen}
        pruned += await access.write(table.act[keys], params | last)
        params["p_after"] = rows[-1].first_seen
    return pruned
