"""Reads what a poll store and a fleet hold of an order, beside their owners: nothing is taken."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs

from chaoying_async.cli.stores import SHOP_PREFIX, WATCH_PREFIX
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import StoreError, StoreTrouble
from chaoying_async.sansio.explanation.from_store import KeptRecord, KeptText, is_named, kept_about
from chaoying_async.sansio.explanation.told import Bearing, Witness
from chaoying_async.sansio.payments.intent import CHECKOUT, ORDER, REFUND
from chaoying_async.sansio.polling.record import POLL

if TYPE_CHECKING:
    from chaoying_async.pollstore.sql import SqlPollStore


async def records_about(
    url: str, prefix: str, *, mch_id: str, number: str
) -> dict[Witness, tuple[KeptRecord, ...]]:
    """What each of the two holds; one that has no tables there is left out.

    Where neither has any under the usual prefix, the store of ``chaoying watch`` is read.
    :class:`~chaoying_async.exceptions.StoreError` where that is missing too.
    """
    try:
        return await _under_prefix(url, prefix, mch_id, number)
    except StoreError as error:
        if error.kind is not StoreTrouble.TABLE_MISSING or prefix != SHOP_PREFIX:
            raise
        with suppress(StoreError):
            return await _under_prefix(url, WATCH_PREFIX, mch_id, number)
        raise


async def _under_prefix(
    url: str, prefix: str, mch_id: str, number: str
) -> dict[Witness, tuple[KeptRecord, ...]]:
    from chaoying_async.pollstore.sql import SqlPollStore

    source = SqlPollStore(url, table_prefix=prefix)
    texts: dict[Witness, list[KeptText]] = {}
    missing: list[StoreError] = []
    for witness, read in _READ:
        try:
            texts[witness] = await read(source, prefix, number)
        except StoreError as error:
            if error.kind is not StoreTrouble.TABLE_MISSING:
                raise
            missing.append(error)
    if not texts:
        raise missing[0]
    told = {witness: _about(found, number, mch_id) for witness, found in texts.items()}
    if prefix == WATCH_PREFIX:
        told = {w: tuple(attrs.evolve(each, owed=False) for each in k) for w, k in told.items()}
    checkouts = [each for kept in told.values() for each in kept if each.kind == CHECKOUT]
    orders = sorted({each.attempt for each in checkouts if each.attempt} - {number})
    for order_no, (witness, read) in itertools.product(orders, _READ):
        if witness in texts:
            found = await read(source, prefix, order_no)
            told[witness] += _last_attempts(found, order_no, number, mch_id)
    return told


def _about(texts: list[KeptText], number: str, mch_id: str) -> tuple[KeptRecord, ...]:
    found = (kept_about(each, number, mch_id) for each in texts)
    return tuple(each for each in found if each is not None)


def _last_attempts(
    texts: list[KeptText], order_no: str, number: str, mch_id: str
) -> tuple[KeptRecord, ...]:
    """The records of a business order whose last attempt is another one than was asked about."""
    records = _about([each for each in texts if each.kind == ORDER], order_no, mch_id)
    others = (each for each in records if each.attempt != number)
    return tuple(attrs.evolve(each, bearing=Bearing.NONE) for each in others)


async def _in_store(source: SqlPollStore, _prefix: str, number: str) -> list[KeptText]:
    return [
        KeptText(witness=Witness.STORE, kind=kind, key=key, text=text)
        for kind in (ORDER, CHECKOUT, REFUND, POLL)
        for key, text in await source.peek(kind)
        if is_named(number, key, text)
    ]


async def _in_fleet(source: SqlPollStore, prefix: str, number: str) -> list[KeptText]:
    from chaoying_async.workers.order_rows import rows_naming
    from chaoying_async.workers.tables import WATCH, fleet_tables

    engine = source.new_engine()
    try:
        rows = await rows_naming(engine, fleet_tables(prefix), SystemClock(), number)
    finally:
        await source.dispose(engine)
    return [
        KeptText(
            witness=Witness.FLEET,
            kind=POLL if row.kind == WATCH else row.kind,
            key=row.item,
            text=row.body,
            written=row.written,
            tries=row.tries,
        )
        for row in rows
    ]


_Read = Callable[["SqlPollStore", str, str], Awaitable[list[KeptText]]]
_READ: tuple[tuple[Witness, _Read], ...] = (
    (Witness.STORE, _in_store),
    (Witness.FLEET, _in_fleet),
)
