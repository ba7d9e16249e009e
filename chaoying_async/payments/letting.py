"""Forgets payments whose outcome took effect, without opening their order to a second charge."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import attrs

from chaoying_async.abc import PollStore
from chaoying_async.payments.claims import attempts_of, number_key
from chaoying_async.payments.records import Keeper
from chaoying_async.pollstore.errands import Durable, Task, durable
from chaoying_async.sansio.payments.intent import (
    CHECKOUT,
    ORDER,
    Intent,
    intent_in,
    number_in,
    order_record_in,
)
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus


class Letting:
    """Lets go of an ended attempt, and of nothing that took its number since.

    Without its attempt an order that still says "under way" would pass for one whose payment was
    never sent, and could be charged again: so the order is closed before the attempt is dropped.
    """

    def __init__(self, store: PollStore) -> None:
        self._store = store
        self._checkouts = Keeper(store, CHECKOUT)

    def soon(self, intent: Intent) -> Durable:
        """Begin it in a task; what is returned may be awaited."""
        return durable(self._begun(intent))

    async def now(self, intent: Intent) -> None:
        """Done, or in the log, on return."""
        await asyncio.wait([self._begun(intent)])

    def unreadable(self, key: str, text: str) -> Durable:
        """The same for a record that nobody can read."""
        work = partial(self._drop_unreadable, key, text)
        return durable(self._checkouts.forget_soon(key, work))

    def _begun(self, intent: Intent) -> Task:
        # Asked now: whoever takes the number from now on waits until this is done.
        busy = attempts_of(self._store).runs(number_key(intent.mch_id, intent.out_trade_no))
        return self._checkouts.forget_soon(intent.key, partial(self._drop, intent, busy=busy))

    async def _drop(self, intent: Intent, *, busy: bool) -> None:
        if busy or not same_attempt(await self._checkouts.get(intent.key), intent):
            return
        if intent.end is not None and intent.end.reason is not CheckoutReason.NOT_SENT:
            text = await self._store.get(ORDER, intent.order_key)
            await self._close(intent.order_key, text, intent.out_trade_no, intent.end.status)
        await self._store.forget(CHECKOUT, [intent.key])

    async def _drop_unreadable(self, key: str, text: str) -> None:
        mch_id, number = number_in(key)
        async for order, record in self._store.load(ORDER):
            if number_in(order)[0] == mch_id:
                await self._close(order, record, number, CheckoutStatus.UNKNOWN)
        if await self._checkouts.get(key) == text:
            await self._store.forget(CHECKOUT, [key])

    async def _close(
        self, order: str, text: str | None, number: str, status: CheckoutStatus
    ) -> None:
        try:
            record = None if text is None else order_record_in(text)
        except ValueError:
            return  # one that cannot be read bars its order as it is
        if record is not None and record.out_trade_no == number and record.status is None:
            model: Any = record  # attrs' own, but for type checkers dataclass-like
            await self._store.put(ORDER, {order: attrs.evolve(model, status=status).text()})


def same_attempt(text: str | None, intent: Intent) -> bool:
    """Whether a store's text is of this very attempt: a number that never left is used again."""
    try:
        return text is not None and intent_in(text).started == intent.started
    except ValueError:
        return False
