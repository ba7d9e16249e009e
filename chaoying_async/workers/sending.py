"""Payments and refunds that leave from this process, and whose end is anybody's work (M-23)."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import attrs

from chaoying_async.abc import Clock, Gateway
from chaoying_async.exceptions import (
    AttemptInProgressError,
    StoreError,
    StoreInUseError,
)
from chaoying_async.observation import Observation, observer_of
from chaoying_async.payments.checkout import (
    CheckoutCall,
    intent_of,
    observed_checkout,
    tell_checkout,
)
from chaoying_async.payments.claims import NumberClaim, order_key, refund_key, registry_of
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.payments.records import insist, take_back, taken_back, until_done
from chaoying_async.payments.refunds import RefundTracker, observed_refund, the_same_refund
from chaoying_async.payments.running import RunningPayment, keys_of
from chaoying_async.polling.order import merchant_of
from chaoying_async.pollstore.errands import Errands
from chaoying_async.pollstore.failures import store_error
from chaoying_async.sansio.api.follow_up import Refund
from chaoying_async.sansio.payments.hearing import Payment
from chaoying_async.sansio.payments.intent import CHECKOUT, REFUND
from chaoying_async.sansio.payments.machine import Till
from chaoying_async.sansio.payments.refunds import RefundIntent
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.workers.bringing_over import OldStoreOrders
from chaoying_async.workers.database import FleetDatabase
from chaoying_async.workers.senders_store import SendersStore
from chaoying_async.workers.watching import check_task, slot_of

#: Seconds for which a look at the row counts, before the payment leaves (M-23); how many looks.
_COUNTS_FOR, _LOOKS = 5.0, 3
_PAYMENTS, _REFUNDS = PollSchedule(), PollSchedule.refunds()


class Sending:
    """Sends what is durable already, once, and leaves the rest to the fleet."""

    def __init__(
        self,
        database: FleetDatabase,
        gateway: Gateway,
        *,
        old_store: OldStoreOrders,
        by_merchant: bool,
        clock: Clock,
        rng: random.Random,
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._old_store = old_store
        self._by_merchant = by_merchant
        self._clock = clock
        self._rng = rng
        self._wake = wake
        #: What could not be written down yet: how payments were answered, that refunds stayed.
        self.errands = Errands()

    async def close(self) -> None:
        """Write down what is left, where the database answers in time; leave nothing running."""
        await self.errands.finish(self._clock)

    async def checkout(self, pay: Payment, *, then: str, **options: Any) -> CheckoutOutcome | None:
        """See :meth:`Fleet.checkout`."""
        check_task(then)
        intent = intent_of(self._gateway, pay, self._clock, **options)
        # How its earlier attempts ended says its row, for all processes: a person may release it.
        registry_of(self._gateway).free(order_key(intent.mch_id, intent.order_no))
        claim = NumberClaim((self._gateway,), keys_of(intent), again=False)
        store = SendersStore(self._database, CHECKOUT, intent.key)
        running = RunningPayment(
            self._gateway, store, claim, intent, age=0.0, clock=self._clock, rng=self._rng
        )
        try:
            work = observed_checkout(intent)
            with Observation(observer_of(self._gateway), work, self._clock):
                with _unsent("checkout", intent.out_trade_no):
                    await taken_back(self, self._clock, intent)
                    await self._may_pay(store, running, pay, then)
                outcome = await self._pay(store, running, pay)
                if outcome is not None:  # else the fleet sees it to its end
                    tell_checkout(work, outcome)
                return outcome
        finally:
            claim.release()  # changes nothing where it was settled
            self._wake()

    async def _may_pay(
        self, store: SendersStore, running: RunningPayment, pay: Payment, then: str
    ) -> None:
        """Return when the payment may leave."""
        try:
            await self._admit(store, running, pay, then)
            await self._look(store, running)
        except AttemptInProgressError:
            raise
        except BaseException as error:
            await self._withdraw(store, running, error)
            raise

    async def _admit(
        self, store: SendersStore, running: RunningPayment, pay: Payment, then: str
    ) -> None:
        """Write order and intent down together; of two processes with one order only one may."""
        intent = running.intent
        slot = self._slot(intent.mch_id, intent.out_trade_no)

        async def admit() -> None:
            await store.lock_order(intent.order_key, slot)
            await store.check(partial(self._old_store.refuse, key=intent.order_key))
            await running.order.admit(intent, getattr(pay.out_trade_no, "attempt", 0))
            if not await store.begin(intent.text(), slot, then):
                raise AttemptInProgressError(f"{intent.out_trade_no} is being paid already")

        await store.together(admit)

    async def _look(self, store: SendersStore, running: RunningPayment) -> None:
        """Read that the intent is there and ours; what is read late says nothing any more."""
        for _ in range(_LOOKS):
            began = self._clock.monotonic()
            await store.hold()
            if self._clock.monotonic() - began < _COUNTS_FOR:
                return running.starts()
        raise store_error(TimeoutError())

    async def _pay(
        self, store: SendersStore, running: RunningPayment, pay: Payment
    ) -> CheckoutOutcome | None:
        call = CheckoutCall(pay, running)
        try:
            answer = await call.pay_once()
        except Exception as error:
            if call.refused_here:
                await self._withdraw(store, running, error)
            raise
        end = call.answered(answer, _PAYMENTS.begun(self._clock.now()))
        if isinstance(end, Till):
            running.intent = learnt = running.intent.learnt(end)
            write = partial(running.records.put, learnt.key, learnt.text())
        else:
            write = partial(running.write_end, end)

        async def heard() -> None:
            await write()
            await store.leaves()

        # Together: the order's record may be another attempt's, where the fleet has ended this one
        # meanwhile.
        write_down = partial(store.together, heard)
        try:
            if isinstance(end, Till):
                await write_down()
            else:
                await insist(self._clock, write_down)
        except StoreInUseError:
            return None  # the fleet asks the gateway
        except StoreError:  # the gateway may not say again what was heard here: whose sale it is
            later = partial(until_done, self._clock, write_down)
            key = running.intent.key
            self.errands.begin((CHECKOUT, key), f"{CHECKOUT} {key}", later)
            return None
        if isinstance(end, Till):
            return None
        running.settle(end)
        return running.outcome(end, kept=False)

    async def _withdraw(
        self, store: SendersStore, running: RunningPayment, error: BaseException
    ) -> None:
        """Undo what was written, unless the fleet has taken it over: nothing was sent."""
        intent = running.intent

        async def leave_no_trace() -> None:
            if await store.take_back(intent.text()):
                await running.order.withdraw(intent)

        work = partial(store.together, leave_no_trace)
        await take_back(self, self._clock, intent, work, error=error)

    async def refund(self, refund: Refund, *, then: str) -> None:
        """See :meth:`Fleet.refund`."""
        check_task(then)
        number = refund.out_refund_no
        mch_id = merchant_of(self._gateway, refund.mch_id, "refund", number)
        intent = RefundIntent(refund=refund, mch_id=mch_id, started=self._clock.now())
        # Of senders alone: whoever asks about it here is no reason for an error.
        claim = NumberClaim((self,), (refund_key(mch_id, number),), again=True)
        store = SendersStore(self._database, REFUND, intent.key)
        tracker = RefundTracker(self._gateway, None, _REFUNDS, self._clock, self._rng)
        try:
            observed = Observation(observer_of(self._gateway), observed_refund(intent), self._clock)
            with observed:
                with _unsent("refund", number):
                    await taken_back(self, self._clock, intent)
                    if not await self._may_leave(store, intent, then):
                        return
                try:
                    learnt = await tracker.sent(intent)
                except BaseException as error:
                    if not tracker.left:
                        await self._take_back(store, intent, error)
                    raise
            with suppress(StoreError, StoreInUseError):  # then the fleet takes it up later
                if learnt is not intent:
                    await store.put(REFUND, {learnt.key: learnt.text()})
                await store.leaves()
        finally:
            claim.release()
            self._wake()

    async def _may_leave(self, store: SendersStore, intent: RefundIntent, then: str) -> bool:
        """Whether this process alone is to send the refund now; False where it left before.

        What was handed over and never left is sent when its caller calls again.
        """
        waiting, leaving = _waiting(intent), intent.text()
        slot = self._slot(intent.mch_id, intent.refund.out_refund_no)
        try:
            while True:  # until a row is ours, or says how it stands
                found = waiting
                if not await store.begin(waiting, slot, then):
                    row = await store.found()
                    if row is None:
                        continue  # its sender has taken it back since
                    if _left(intent, *row):
                        return False
                    found = row[0]
                if await store.swap(found, leaving):
                    return True
        except AttemptInProgressError:
            raise
        except BaseException as error:
            await self._take_back(store, intent, error)
            raise

    async def _take_back(
        self, store: SendersStore, intent: RefundIntent, error: BaseException
    ) -> None:
        """Forget what was written of a refund that did not leave, or write down that it did not.

        What another process wrote has another start in it.
        """
        waiting, leaving = _waiting(intent), intent.text()

        async def undo() -> None:
            await store.take_back(waiting, leaving)
            await store.swap(leaving, waiting)  # where an owner of its shard has marked it

        await take_back(self, self._clock, intent, undo, error=error)

    def _slot(self, mch_id: str, number: str) -> int:
        return slot_of(mch_id) if self._by_merchant else slot_of(mch_id, number)


def _waiting(intent: RefundIntent) -> str:
    """The text of a refund that has not left."""
    return attrs.evolve(intent, left=False).text()


def _left(intent: RefundIntent, text: str, said: bool) -> bool:  # noqa: FBT001 - as it is stored
    """Whether the refund of this record left; ``said``: its sender said so.

    :class:`AttemptInProgressError` while nobody knows.
    """
    known = the_same_refund(text, intent)
    if known.left and not said and not known.heard_of:
        raise AttemptInProgressError(
            f"whether the refund {intent.refund.out_refund_no} left is not known yet: call again "
            "in a minute, and send no other one meanwhile"
        )
    return known.left


@contextmanager
def _unsent(doing: str, number: str) -> Generator[None]:
    """Says of what a store raises that nothing was sent."""
    try:
        yield
    except (StoreError, StoreInUseError) as error:
        error.about(doing, number).sent = False
        raise
