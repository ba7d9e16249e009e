"""Decides whether a business order may be charged once more, by the record of its last attempt."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime

from chaoying_async.abc import Clock, Gateway, PollStore
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import AttemptInProgressError
from chaoying_async.payments.claims import order_key, registry_of
from chaoying_async.payments.records import Records
from chaoying_async.polling.order import merchant_of
from chaoying_async.sansio.payments.intent import (
    CHECKOUT,
    ORDER,
    Intent,
    OrderRecord,
    key_of,
    number_in,
    order_record_in,
)
from chaoying_async.sansio.payments.moves import CheckoutEnd, CheckoutReason, why_no_other_attempt

_NOT_ENDED = "is not known to be unpaid: resume() finds out; do not charge again before"
#: How many orders are looked at at once while they are pruned.
_TOGETHER = 10


class BusinessOrder:
    """The store's record of the business order that one checkout charges for."""

    def __init__(self, store: PollStore | None) -> None:
        self._orders = Records(store, ORDER)
        self._checkouts = Records(store, CHECKOUT)
        self._before: str | None = None
        self._record: OrderRecord | None = None

    async def admit(self, intent: Intent, attempt: int) -> None:
        """Write this attempt down as the order's last one, or :class:`AttemptInProgressError`."""
        if self._orders.store is None:
            return
        await self._checkouts.forgotten(intent.key)
        if await self._checkouts.get(intent.key) is not None:
            raise AttemptInProgressError(
                f"{intent.out_trade_no} is in the store already: call done() on its outcome, or "
                "let resume() find out how it ended; do not charge again before"
            )
        self._before = await self._orders.get(intent.order_key)
        if self._before is not None:
            await self._check(intent, self._before)
        self._record = OrderRecord(
            out_trade_no=intent.out_trade_no, attempt=attempt, started=intent.started
        )
        await self._orders.put(intent.order_key, self._record.text())

    async def _check(self, intent: Intent, text: str) -> None:
        record = _record_of(intent.order_no, text)
        if record.out_trade_no == intent.out_trade_no and record.free:
            raise AttemptInProgressError(
                f"{intent.out_trade_no} was used before: take the next one"
            )
        if record.free:
            return
        last = key_of(intent.mch_id, record.out_trade_no)
        if record.status is None and await self._checkouts.get(last) is None:
            return  # that process died between the two records: nothing was sent
        how = _NOT_ENDED if record.status is None else why_no_other_attempt(record.status)
        raise AttemptInProgressError(
            f"the attempt {record.out_trade_no} of order {intent.order_no} {how}"
        )

    async def withdraw(self, intent: Intent) -> None:
        """Write the record as it was before, where it is this attempt's: nothing was sent."""
        key, record = intent.order_key, self._record
        if record is None or await self._orders.get(key) != record.text():
            return
        if self._before is not None:
            await self._orders.put(key, self._before)
        else:
            await self._orders.drop(key)

    async def close(self, intent: Intent, end: CheckoutEnd) -> None:
        """Write down how the attempt ended; raises what the store raises."""
        if end.reason is CheckoutReason.NOT_SENT:
            await self.withdraw(intent)
            return
        before = self._record
        if before is None:  # a dead process wrote it
            text = await self._orders.get(intent.order_key)
            before = None if text is None else order_record_in(text)
        record = OrderRecord(
            out_trade_no=intent.out_trade_no,
            attempt=0 if before is None else before.attempt,
            started=intent.started,
            status=end.status,
        )
        if before is None or before.out_trade_no == intent.out_trade_no:
            await self._orders.put(intent.order_key, record.text())


def _record_of(order_no: str, text: str) -> OrderRecord:
    try:
        return order_record_in(text)
    except ValueError as error:
        raise AttemptInProgressError(
            f"the store's record of order {order_no} cannot be read: look at its attempts by "
            "hand, then release_order()"
        ) from error


async def attempts_so_far(store: PollStore, order_no: str, *, mch_id: str) -> int:
    """The last attempt that a store knows of: ``OrderNumbers(order_no, last=...)`` goes on there.

    0 where there was none, or where its number was not from ``OrderNumbers``.
    """
    text = await Records(store, ORDER).get(key_of(mch_id, order_no))
    return 0 if text is None else _record_of(order_no, text).attempt


async def release_order(
    gateway: Gateway,
    order_no: str,
    *,
    mch_id: str | None = None,
    store: PollStore | None = None,
    clock: Clock | None = None,
) -> None:
    """Allow another attempt: a person found that every one of this order is unpaid, or paid back.

    For orders whose checkout ended UNKNOWN or PAID_AFTER_CANCEL, or PAID_EARLIER where that payment
    turned out to be another sale's. The library cannot check what you say here: who is wrong
    charges a customer twice. An order that is still under way is an
    :class:`~chaoying_async.exceptions.AttemptInProgressError`. The store keeps when this was said,
    and how the attempt had ended, until there is another one. For the orders of a fleet:
    :meth:`Fleet.release_order() <chaoying_async.workers.Fleet.release_order>`.
    """
    merchant = merchant_of(gateway, mch_id, where="")
    key = order_key(merchant, order_no)
    owners: tuple[object, ...] = (gateway,) if store is None else (gateway, store)
    if any(registry_of(owner).runs(key) for owner in owners):
        raise AttemptInProgressError(f"{order_no} is under way: wait for its outcome")
    if store is not None:
        await _release_in(store, key_of(merchant, order_no), (clock or SystemClock()).now())
    for owner in owners:
        registry_of(owner).free(key)


async def _release_in(store: PollStore, key: str, now: datetime) -> None:
    orders = Records(store, ORDER)
    text = await orders.get(key)
    if text is None:
        return
    try:
        record = order_record_in(text)
    except ValueError:
        await orders.drop(key)
        return
    attempt = key_of(number_in(key)[0], record.out_trade_no)
    if record.status is None and await Records(store, CHECKOUT).get(attempt):
        raise AttemptInProgressError(
            f"{record.out_trade_no} is in the store: let resume() find out how it ended first"
        )
    await orders.put(key, record.release(now).text())


async def prune_orders(store: PollStore, *, before: datetime) -> int:
    """Forget orders whose last attempt ended and was started before that moment; how many.

    A store keeps a record of every business order, so that none is charged twice; prune those that
    nobody can want to charge any more.
    """
    orders = Records(store, ORDER)
    old = []
    async for key, text in orders.load():
        with suppress(ValueError):  # a person looks at a record that cannot be read
            record = order_record_in(text)
            if record.status is not None and record.started < before:
                old.append((key, text))
    pruned = 0
    for start in range(0, len(old), _TOGETHER):
        group = (_prune(orders, *each) for each in old[start : start + _TOGETHER])
        pruned += sum(
            await asyncio.gather(
                *(asyncio.create_task(each, name="chaoying payments: prune") for each in group)
            )
        )
    return pruned


async def _prune(orders: Records, key: str, text: str) -> bool:
    """Forget an order, unless another attempt has begun since its text was read."""
    busy = registry_of(orders.store).runs(order_key(*number_in(key)))
    if busy or await orders.get(key) != text:
        return False
    await orders.drop(key)
    return True
