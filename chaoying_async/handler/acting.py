"""One message, from its facts to its end: decide, then do what was decided."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from chaoying_async.abc import Clock
from chaoying_async.clock import guarded
from chaoying_async.handler.answers import Outcome
from chaoying_async.handler.desk import Desk, Matter
from chaoying_async.handler.effects import Effects, Held
from chaoying_async.handler.endings import tamed
from chaoying_async.handler.reports import Reports, log
from chaoying_async.handler.tasks import Tasks
from chaoying_async.sansio.decisions import Decision, has_effect
from chaoying_async.sansio.facts import Facts
from chaoying_async.sansio.inboxvalues import OrderKey
from chaoying_async.sansio.judging import OTHER_NUMBERS

#: Seconds between two looks at an order that another process works on.
LOOK_EVERY = 0.2


class Limits(NamedTuple):
    """Moments of the monotonic clock."""

    #: Nobody waits for somebody else's work any longer.
    wait_until: float
    #: Everything before the effect has ended, or is given up with a :class:`TimeoutError`.
    claim_until: float
    #: So long the caller waits for work that has an owner, then has a :class:`TimeoutError`; None:
    #: to its end.
    answer_until: float | None = None
    #: Work had an owner when the message came, so none of it may begin without one.
    opened: bool = False


class Acting:
    """Does what is decided."""

    def __init__(
        self, clock: Clock, desk: Desk, effects: Effects, reports: Reports, tasks: Tasks
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._desk = desk
        self._effects = effects
        self._reports = reports

    async def act(
        self,
        facts: Facts,
        limits: Limits,
        *,
        first_seen: datetime | None = None,
    ) -> Outcome:
        """Decide, and do it; what the shop's lookup or the inbox raise comes out.

        So does a :class:`TimeoutError` of ``limits``; what was claimed by then goes on.

        ``first_seen``: when this very message first came, if it was set aside before.
        """
        while True:
            deciding = self._decided(facts, limits, first_seen)
            matter, held = await guarded(deciding, partial(self._until, limits.claim_until))
            decision = matter.verdict.decision
            left = limits.opened and (self._tasks.closing or not self._tasks.opened)
            if held is not None:
                if left:
                    await self._effects.give_back(held)  # its owner has gone in the meantime
                    return Outcome(Decision.IN_PROGRESS, durable=False)
                running = self._effects.run(held)
                durable = await self._tasks.run(running, until=limits.answer_until)
                return Outcome(decision, durable=durable is True)
            if decision is Decision.DUPLICATE:
                if matter.verdict.reason == OTHER_NUMBERS:
                    log.warning("order %r: %s", matter.key.out_trade_no, OTHER_NUMBERS)
                return Outcome(decision, durable=True)
            if decision is not Decision.IN_PROGRESS and not has_effect(decision):
                if left:
                    return Outcome(decision, durable=False)
                keeping = tamed(self._without_effect(matter))
                kept = await self._tasks.run(keeping, until=limits.answer_until)
                return Outcome(decision, durable=kept is True and decision is Decision.NOT_PAID)
            # Somebody holds it, or took it between the decision and our claim.
            if not await self._waited(matter.key, limits):
                return Outcome(Decision.IN_PROGRESS, durable=False)

    def _until(self, moment: float) -> AbstractAsyncContextManager[Any]:
        return self._clock.timeout(max(0.0, moment - self._clock.monotonic()))

    async def _decided(
        self, facts: Facts, limits: Limits, first_seen: datetime | None
    ) -> tuple[Matter, Held | None]:
        matter = await self._desk.decide(facts, first_seen=first_seen, until=limits.claim_until)
        decision, _, paid, source = matter.verdict
        if paid is None:
            return matter, None
        if matter.before is not None:
            keeping = self._effects.keep_what_is_replaced(matter.key, paid, matter.before)
            if not await self._tasks.run(tamed(keeping)):
                return matter, None
        held = await self._effects.claim(matter.key, decision, paid, matter.first_seen, source)
        return matter, held

    async def _without_effect(self, matter: Matter) -> bool:
        """True, when it is durable: what was cancelled half-way returns nothing."""
        if matter.verdict.decision is Decision.NOT_PAID:
            await self._reports.not_paid(matter)
        else:
            await self._reports.set_aside(matter)
        return True

    async def _waited(self, key: OrderKey, limits: Limits) -> bool:
        """Let time pass until the order may be free; False when there is none left."""
        left = limits.wait_until - self._clock.monotonic()
        if left <= 0:
            return False
        ended = self._effects.ended(key)
        if ended is None:
            await self._clock.sleep(min(LOOK_EVERY, left))
            return True
        try:
            async with self._clock.timeout(left):
                await ended.wait()
        except TimeoutError:
            return False
        return True
