"""``resume``: the payments that a dead process left, asked about until each has ended (M-24)."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime

import attrs

from chaoying_async.abc import Clock, Gateway, PollStore
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import AttemptInProgressError
from chaoying_async.payments.checkout import (
    DEFAULT_SCHEDULE,
    keys_of,
    outcome_of,
    record_end,
    settle,
)
from chaoying_async.payments.claims import Claim
from chaoying_async.payments.letting import Letting, same_attempt
from chaoying_async.payments.orders import OrderBook
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.payments.records import GONE, Keeper, log
from chaoying_async.payments.running import Acting
from chaoying_async.sansio.payments.intent import CHECKOUT, Intent, intent_in, number_in
from chaoying_async.sansio.payments.machine import reopened
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus
from chaoying_async.sansio.polling.schedule import PollSchedule

#: So many payments are taken up at once.
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
    """How the payments ended that a store still holds; nothing is ever paid again.

    Run it at every start, before or beside new checkouts (those under way in this process are left
    alone). Outcomes that nobody took come first, then the others as they end: an order that is old
    enough needs one query, a young one is asked about, and cancelled between 30 and 240 s after
    its pay call started by the wall clock. An outcome is forgotten when the next one is taken, or
    ``done()`` called; where a consumer dies before, it comes again.

    ``gateway`` has to be of the agent that paid: another one's knows nothing of these orders, and
    what nobody knows is FAILED in the end.

    What goes wrong with one order does not stop the others: it comes as UNKNOWN, and stays in the
    store. Before an outcome is told, the store's lease is read again: where that fails, or another
    process has taken the store, this raises, and nothing is lost by that.
    """
    clock = clock or SystemClock()
    keeper, letting = Keeper(store, CHECKOUT), Letting(store)
    ended: list[tuple[Intent, CheckoutOutcome]] = []
    unreadable: list[CheckoutOutcome] = []
    waiting: list[Intent] = []
    async for key, text in keeper.load():
        try:
            intent = intent_in(text)
        except ValueError:
            unreadable.append(_unreadable(key, text, letting))
            continue
        if intent.end is None:
            waiting.append(intent)
        else:
            ended.append((intent, outcome_of(intent, intent.end, intent.paid, (), store)))
    for intent, outcome in ended:
        if same_attempt(await keeper.get(intent.key), intent):  # not done() meanwhile
            await keeper.before_an_end(clock)
            yield outcome
            await letting.now(intent)
    for outcome in unreadable:
        yield outcome
    # The youngest first: only they can still be cancelled.
    youngest = sorted(waiting, key=_started, reverse=True)
    runs = _Resuming(
        gateway, store, keeper, schedule=schedule, clock=clock, rng=rng or random.Random()
    )
    async with aclosing(runs.all(deque(youngest), at_once)) as ends:
        async for intent, outcome, over in ends:
            if over:
                await keeper.before_an_end(clock)
            yield outcome
            if over:
                await letting.now(intent)


def _started(intent: Intent) -> datetime:
    return intent.started


def _unreadable(key: str, text: str, letting: Letting) -> CheckoutOutcome:
    mch_id, number = number_in(key)
    return CheckoutOutcome(
        status=CheckoutStatus.UNKNOWN,
        mch_id=mch_id,
        out_trade_no=number,
        order_no=number,
        reason=CheckoutReason.UNREADABLE,
        forget=lambda: letting.unreadable(key, text),
    )


#: An order, its outcome, and whether that is its end (else it stays in the store).
Ended = tuple[Intent, CheckoutOutcome, bool]


class _Resuming:
    """All orders of one ``resume``, a task each."""

    def __init__(
        self,
        gateway: Gateway,
        store: PollStore,
        keeper: Keeper,
        *,
        schedule: PollSchedule,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._gateway = gateway
        self._store = store
        self._keeper = keeper
        self._schedule = schedule
        self._clock = clock
        self._rng = rng

    async def all(self, waiting: deque[Intent], at_once: int) -> AsyncGenerator[Ended]:
        """Outcomes as they come; whoever stops early leaves nothing running."""
        tasks: set[asyncio.Task[Ended | None]] = set()
        try:
            while waiting or tasks:
                while waiting and len(tasks) < max(1, at_once):
                    tasks.add(asyncio.ensure_future(self._one(waiting.popleft())))
                done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if (ended := task.result()) is not None:
                        yield ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _one(self, intent: Intent) -> Ended | None:
        try:
            claim = Claim((self._gateway, self._store), keys_of(intent), again=True)
        except AttemptInProgressError:
            return None  # it is under way in this very process
        try:
            left = await self._still_left(intent)
            if left is None:
                claim.release()
                return None
            return await self._asked(left, claim)
        except GONE as error:
            claim.release()
            error.about("resume", intent.out_trade_no).sent = True
            raise  # the store is gone, for all of them
        except Exception as error:  # noqa: BLE001 - one order must not stop the others
            log.error("resuming %s failed with %s", intent.out_trade_no, type(error).__name__)
            claim.release()
            unknown = CheckoutOutcome(
                status=CheckoutStatus.UNKNOWN,
                mch_id=intent.mch_id,
                out_trade_no=intent.out_trade_no,
                order_no=intent.order_no,
                replies=(error,),
            )
            return intent, unknown, False
        except BaseException:
            claim.release()
            raise

    async def _still_left(self, intent: Intent) -> Intent | None:
        """What the store says now: it was read some time ago, and may have ended since."""
        await self._keeper.forgotten(intent.key)
        text = await self._keeper.get(intent.key)
        if text is None:
            return None
        now = intent_in(text)
        return now if now.end is None and now.started == intent.started else None

    async def _asked(self, intent: Intent, claim: Claim) -> Ended:
        age = (self._clock.now() - intent.started).total_seconds()
        acting = Acting(self._gateway, self._clock, self._rng, self._keeper, intent, age=age)
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
            dice=acting.dice(),
        )
        end = await acting.until_ended(till)
        await record_end(self._keeper, OrderBook(self._store), acting, end)
        settle(claim, acting.intent, end)
        outcome = outcome_of(acting.intent, end, acting.paid, acting.replies, self._store)
        return attrs.evolve(acting.intent, end=end), outcome, True
