"""``resume``: asks about the payments that a dead process left until each has ended (M-24)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing

import attrs

from chaoying_async.abc import Clock, Gateway, PollStore
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import AttemptInProgressError
from chaoying_async.observation import Observation, observer_of
from chaoying_async.payments.checkout import (
    DEFAULT_SCHEDULE,
    observed_checkout,
    tell_checkout,
)
from chaoying_async.payments.claims import NumberClaim
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.payments.records import (
    Records,
    forget_attempt,
    forget_unreadable,
    is_of,
    log,
    taken_back,
)
from chaoying_async.payments.running import RunningPayment, as_they_end, keys_of, outcome_of
from chaoying_async.pollstore.errands import durable
from chaoying_async.pollstore.failures import GONE
from chaoying_async.sansio.payments.intent import CHECKOUT, Intent, intent_in, number_in
from chaoying_async.sansio.payments.machine import reopened
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
from chaoying_async.sansio.polling.schedule import PollSchedule

#: How many payments are asked about at once.
AT_ONCE = 100


async def resume(
    gateway: Gateway,
    store: PollStore,
    *,
    schedule: PollSchedule = DEFAULT_SCHEDULE,
    at_once: int = AT_ONCE,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> AsyncGenerator[CheckoutOutcome]:
    """Ask about the payments that a store still holds, and say how each ended; none is paid again.

    Run it at every start, before or beside new checkouts (those under way in this process are left
    alone). Outcomes that nobody took come first, then the others as they end: an order that is old
    enough needs one query, a young one is asked about, and cancelled between 30 and 240 s after
    its pay call started by the wall clock. An outcome is forgotten when the next one is taken, or
    ``done()`` called; where a consumer dies before, it comes again. So an exception that you catch
    inside the loop, to go on with the next order, loses the outcome: let it out, or leave the loop,
    and run ``resume`` again later.

    ``gateway`` has to be of the agent that paid: another one's knows nothing of these orders, and
    what nobody knows is FAILED in the end.

    What goes wrong with one order does not stop the others: it comes as UNKNOWN, and stays in the
    store. Before an outcome is told, the store's lease is read again: where that fails, or another
    process has taken the store, this raises, and nothing is lost by that.
    """
    clock = clock or SystemClock()
    rng = rng or random.Random()
    records = Records(store, CHECKOUT)
    ended: list[tuple[Intent, CheckoutOutcome]] = []
    unreadable: list[CheckoutOutcome] = []
    waiting: list[Intent] = []
    async for key, text in records.load():
        try:
            intent = intent_in(text)
        except ValueError:
            unreadable.append(_unreadable(store, key, text))
            continue
        if intent.end is None:
            waiting.append(intent)
        else:
            ended.append((intent, outcome_of(intent, intent.end, intent.paid, (), store)))
    for intent, outcome in ended:
        if is_of(await records.get(intent.key), intent):  # else somebody called done() meanwhile
            await records.before_an_end(clock)
            yield outcome
            await asyncio.wait([forget_attempt(store, intent)])
    for outcome in unreadable:
        yield outcome
    # The youngest first: only they can still be cancelled.
    waiting.sort(key=lambda intent: intent.started, reverse=True)
    resuming = Resuming(gateway, store, records, schedule=schedule, clock=clock, rng=rng)
    async with aclosing(as_they_end(map(resuming.until_ended, waiting), at_once)) as ends:
        async for intent, outcome, over in ends:
            if over:
                await records.before_an_end(clock)
            yield outcome
            if over:
                await asyncio.wait([forget_attempt(store, intent)])


def _unreadable(store: PollStore, key: str, text: str) -> CheckoutOutcome:
    mch_id, number = number_in(key)
    return CheckoutOutcome(
        status=CheckoutStatus.UNKNOWN,
        mch_id=mch_id,
        out_trade_no=number,
        order_no=number,
        reason=CheckoutReason.UNREADABLE,
        forget=lambda: durable(forget_unreadable(store, key, text)),
    )


#: An order, its outcome, and whether that is its end (else it stays in the store).
Ended = tuple[Intent, CheckoutOutcome, bool]


class Resuming:
    """Asks about payments that another process began."""

    def __init__(
        self,
        gateway: Gateway,
        store: PollStore,
        records: Records,
        *,
        schedule: PollSchedule,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._gateway = gateway
        self._store = store
        self.records = records
        self._schedule = schedule
        self._clock = clock
        self._rng = rng

    async def until_ended(self, intent: Intent) -> Ended | None:
        """Ask about one order until it has ended; None where it has ended, or is under way here."""
        try:
            claim = NumberClaim((self._gateway, self._store), keys_of(intent), again=True)
        except AttemptInProgressError:
            return None  # it is under way in this process
        try:
            left = await self._still_left(intent)
            return None if left is None else await self._asked(left, claim)
        except GONE as error:
            error.about("resume", intent.out_trade_no).sent = True
            raise  # the store is gone, for all of them
        except Exception as error:  # noqa: BLE001 - one order must not stop the others
            log.error(
                "resuming %s failed with %s: its outcome is UNKNOWN; query it before anything else",
                *(intent.out_trade_no, type(error).__name__),
            )
            unknown = CheckoutOutcome(
                status=CheckoutStatus.UNKNOWN,
                mch_id=intent.mch_id,
                out_trade_no=intent.out_trade_no,
                order_no=intent.order_no,
                replies=(error,),
            )
            return intent, unknown, False
        finally:
            claim.release()  # changes nothing where it was settled

    async def _still_left(self, intent: Intent) -> Intent | None:
        """The attempt as the store has it now; None if it has ended since it was read."""
        await self.records.forgotten(intent.key)
        await taken_back(self._store, self._clock, intent)
        text = await self.records.get(intent.key)
        if text is None:
            return None
        now = intent_in(text)
        return now if now.end is None and now.started == intent.started else None

    async def _asked(self, intent: Intent, claim: NumberClaim) -> Ended:
        age = (self._clock.now() - intent.started).total_seconds()
        running = RunningPayment(
            self._gateway,
            self._store,
            claim,
            intent,
            age=age,
            clock=self._clock,
            rng=self._rng,
        )
        till = reopened(
            self._schedule.begun(self._clock.now()),
            age=age,
            paytype=intent.paytype,
            certain=intent.certain,
            seen=intent.seen,
            suspect=intent.suspect,
            cancels=intent.cancels,
            used=intent.used,
            answered=intent.answered,
            dice=running.dice(),
        )
        work = observed_checkout(intent, "resume")
        with Observation(observer_of(self._gateway), work, self._clock):
            end = await running.until_ended(till)
            await running.record_end(end)
            running.settle(end)
            outcome = running.outcome(end)
            tell_checkout(work, outcome)
        return attrs.evolve(running.intent, end=end), outcome, True
