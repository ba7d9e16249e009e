"""Writes payments and refunds into a store, and forgets those whose outcome took effect.

Without a store nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

import attrs

from chaoying_async.abc import Clock, PollStore
from chaoying_async.exceptions import ChaoyingError, StoreError
from chaoying_async.observation import SafeLog
from chaoying_async.payments.claims import number_key, refund_key, registry_of
from chaoying_async.pollstore.errands import Task, errands_of
from chaoying_async.pollstore.failures import GONE, told
from chaoying_async.pollstore.guarded import GuardedStore
from chaoying_async.sansio.payments.intent import (
    CHECKOUT,
    ORDER,
    REFUND,
    Intent,
    intent_in,
    number_in,
    order_record_in,
)
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
from chaoying_async.sansio.payments.refunds import RefundIntent, refund_intent_in

log = SafeLog("chaoying_async.payments")

#: Everything that a store raises: it failed, or is not ours any more. Where it is not, nothing is
#: paid, cancelled or told.
STORE_ERRORS = (StoreError, *GONE)
#: Seconds that a record may take while its task is being cancelled.
SHIELDED_FOR = 10.0
#: Seconds after which a store that failed is tried again.
_AGAIN = (1.0, 2.0, 4.0)
#: The same for what is tried in the background until it is done.
_UNTIL_DONE = 2.0
_TAKE_BACK = "take back"


class Records:
    """One kind of texts in a store; ``None`` keeps nothing."""

    def __init__(self, store: PollStore | None, kind: str) -> None:
        self.store = store
        self.kind = kind
        self._texts = None if store is None else GuardedStore(store)

    async def put(self, key: str, text: str) -> None:
        """Write a text, durable on return; :class:`StoreError` where the store fails."""
        if self._texts is not None:
            await self._texts.put(self.kind, {key: text})

    async def get(self, key: str) -> str | None:
        """The text under a key."""
        return None if self._texts is None else await self._texts.get(self.kind, key)

    async def load(self) -> AsyncGenerator[tuple[str, str]]:
        """Everything of this kind, as key and text."""
        if self._texts is not None:
            async for item in self._texts.load(self.kind):
                yield item

    async def hold(self) -> None:
        """Read again that the store is ours."""
        if self._texts is not None:
            await self._texts.hold()

    async def before_money(self, key: str, text: str) -> bool:
        """Write a text, and read again that the store is ours; False: then nothing may leave."""

        async def put_and_hold() -> None:
            await self.put(key, text)
            await self.hold()

        return await self._done(key, put_and_hold)

    async def before_an_end(self, clock: Clock) -> None:
        """Read again that the store is ours; without that nobody is told how anything ended (M-23).

        What another process that has taken the store over did since is not known here: it may have
        cancelled what we believe paid, or have been told of a payment that we did not see. A
        database that fails is asked again for a few seconds, and then raises.
        """
        await insist(clock, self.hold)

    async def note(self, key: str, text: str) -> bool:
        """Write a text; if the store fails, log that and go on. Whether it was written."""
        return await self._done(key, partial(self.put, key, text))

    async def _done(self, key: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Whether the work was done; if the store fails, log that."""
        try:
            await work()
        except GONE:
            raise
        except ChaoyingError as error:
            log.error("%s (%s %s)", error, self.kind, key)  # noqa: TRY400
            return False
        return True

    async def drop(self, key: str) -> None:
        """Drop a text, durable on return; :class:`StoreError` where the store fails."""
        if self._texts is not None:
            await self._texts.forget(self.kind, [key])

    def forget_soon(self, key: str, work: Callable[[], Awaitable[None]]) -> Task:
        """Begin the ``work`` that ends in forgetting this key, once at a time."""
        return errands_of(self.store).begin(self._where(key), f"{self.kind} {key}", work)

    async def forgotten(self, key: str) -> None:
        """Wait for a forgetting that was begun: it must not drop what is written from now on."""
        if (under_way := errands_of(self.store).under_way(self._where(key))) is not None:
            await asyncio.wait([under_way])

    def _where(self, key: str) -> tuple[int, str, str]:
        return (id(self.store), self.kind, key)


async def insist(clock: Clock, work: Callable[[], Awaitable[None]]) -> None:
    """Do what no end is told without; a store that fails is tried again for a few seconds."""
    for pause in _AGAIN:
        try:
            return await work()
        except StoreError as error:
            log.warning("%s: it is tried again in %.0f s", error, pause)
            await clock.sleep(pause)
    return await work()


async def shielded(clock: Clock, work: Callable[[], Awaitable[None]]) -> bool:
    """Do the work although this task is being cancelled, and return whether it was done in time."""

    async def bounded() -> None:
        async with clock.timeout(SHIELDED_FOR):
            await work()

    task = asyncio.create_task(bounded(), name="chaoying payments: write down")
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue  # the caller raises it again when this is written down
    return not task.cancelled() and task.exception() is None


async def take_back(
    store: object,
    clock: Clock,
    intent: Intent | RefundIntent,
    work: Callable[[], Awaitable[None]],
    *,
    error: BaseException,
) -> None:
    """Undo what was written of a payment or refund that certainly never left, by its ``error``.

    Where the store fails, this goes on in the background until it is done; whoever sends it next
    waits for that (:func:`taken_back`), since its record says that it may have left (M-25).
    """
    name = f"{CHECKOUT if isinstance(intent, Intent) else REFUND} {number_in(intent.key)[1]}"
    if not isinstance(error, StoreError):  # else who called has waited for the store already
        if await shielded(clock, work):
            return
        log.error(
            "%s never left, but its record, which says that it may have, could not be taken back: "
            "it is tried again until it is",
            name,
        )
    errands_of(store).begin(_of(store, intent), name, partial(until_done, clock, work))


async def taken_back(store: object, clock: Clock, intent: Intent | RefundIntent) -> None:
    """Wait until that is done; :class:`StoreError` where the store fails still."""
    if (task := errands_of(store).under_way(_of(store, intent))) is not None:
        with told():
            async with clock.timeout(SHIELDED_FOR):
                await asyncio.wait([task])


def _of(store: object, intent: Intent | RefundIntent) -> tuple[str, int, type, str]:
    """The key of that errand: a payment and a refund may have one number."""
    return _TAKE_BACK, id(store), type(intent), intent.key


async def until_done(clock: Clock, work: Callable[[], Awaitable[None]]) -> None:
    """Try it again while the store fails, and is ours: its next owner asks the gateway."""
    with suppress(*GONE):
        while True:
            try:
                return await work()
            except StoreError:
                await clock.sleep(_UNTIL_DONE)


_READ: Mapping[type, Callable[[str], Intent | RefundIntent]] = {
    Intent: intent_in,
    RefundIntent: refund_intent_in,
}


def is_of(text: str | None, intent: Intent | RefundIntent) -> bool:
    """Whether a text is of this very attempt, since a number that moved nothing is used again."""
    try:
        return text is not None and _READ[type(intent)](text).started == intent.started
    except ValueError:
        return False


def forget_attempt(store: PollStore, intent: Intent) -> Task:
    """Begin to delete the record of a payment that ended, unless a newer attempt has its number.

    Without its attempt an order that still says "under way" would pass for one whose payment was
    never sent, and could be charged again: so the order is closed before the attempt is dropped.
    """
    records = Records(store, CHECKOUT)
    # Asked now: whoever takes the number from now on waits until this is done.
    busy = registry_of(store).runs(number_key(intent.mch_id, intent.out_trade_no))

    async def forget() -> None:
        if busy or not is_of(await records.get(intent.key), intent):
            return
        await close_order(store, intent)
        await records.drop(intent.key)

    return records.forget_soon(intent.key, forget)


async def close_order(store: PollStore, intent: Intent) -> None:
    """Write into the order's record how its attempt ended, where that is still open."""
    if intent.end is not None and intent.end.reason is not CheckoutReason.NOT_SENT:
        text = await store.get(ORDER, intent.order_key)
        await _close(store, intent.order_key, text, intent.out_trade_no, intent.end.status)


def forget_unreadable(store: PollStore, key: str, text: str) -> Task:
    """Begin to delete the record of a payment that nobody can read."""
    records = Records(store, CHECKOUT)

    async def forget() -> None:
        mch_id, number = number_in(key)
        async for order, record in store.load(ORDER):
            if number_in(order)[0] == mch_id:
                await _close(store, order, record, number, CheckoutStatus.UNKNOWN)
        if await records.get(key) == text:
            await records.drop(key)

    return records.forget_soon(key, forget)


async def _close(
    store: PollStore, order: str, text: str | None, number: str, status: CheckoutStatus
) -> None:
    """Write into an order's record how its attempt ``number`` ended, where that is still open."""
    try:
        record = None if text is None else order_record_in(text)
    except ValueError:
        return  # a record that cannot be read bars its order anyway
    if record is not None and record.out_trade_no == number and record.status is None:
        await store.put(ORDER, {order: attrs.evolve(record, status=status).text()})


def forget_refund(store: PollStore, intent: RefundIntent) -> Task:
    """Begin to delete a refund's record, unless it is being sent again (NOTSURE), or was since."""
    records = Records(store, REFUND)
    # Asked now: whoever takes the number from now on waits until this is done.
    busy = registry_of(store).runs(refund_key(intent.mch_id, intent.refund.out_refund_no))

    async def forget() -> None:
        if not busy and is_of(await records.get(intent.key), intent):
            await records.drop(intent.key)

    return records.forget_soon(intent.key, forget)
