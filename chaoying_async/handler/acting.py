"""One message, from its facts to its end: decide, then do what was decided."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Any, TypeVar

import attrs

from chaoying_async.abc import Clock
from chaoying_async.clock import within
from chaoying_async.handler.desk import Desk, Matter
from chaoying_async.handler.effects import Effect, Effects, Held
from chaoying_async.handler.reports import Reports, log
from chaoying_async.handler.tasks import Tasks
from chaoying_async.sansio.decisions import Decision, has_effect
from chaoying_async.sansio.facts import Facts
from chaoying_async.sansio.inboxvalues import OrderKey
from chaoying_async.sansio.judging import OTHER_NUMBERS
from chaoying_async.sansio.notifications import Notification

T = TypeVar("T")

#: Seconds between two looks at an order that another process works on.
LOOK_EVERY = 0.2


@attrs.frozen(kw_only=True)
class Limits:
    """Moments of the monotonic clock."""

    #: Nobody waits for somebody else's work any longer.
    wait_until: float
    #: The gateway has answered a question for confirmation, or counts as silent.
    ask_until: float
    #: Everything before the effect has ended, or is given up with a :class:`TimeoutError`.
    claim_until: float
    #: So long the caller waits for work that has an owner, then has a :class:`TimeoutError`; None:
    #: to its end.
    answer_until: float | None = None


@attrs.frozen
class Outcome:
    """What became of a message."""

    decision: Decision
    #: Its effect, or that there is none, is recorded.
    durable: bool


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
        notification: Notification | None = None,
        first_seen: datetime | None = None,
    ) -> Outcome:
        """Decide, and do it; what the shop's lookup or the inbox raise comes out.

        So does a :class:`TimeoutError` of ``limits``; what was claimed by then goes on.

        ``first_seen``: when this very message first came, if it was set aside before.
        """
        while True:
            left = limits.claim_until - self._clock.monotonic()
            deciding = self._decided(facts, limits, first_seen)
            matter, held = await within(self._clock, left, deciding)
            decision = matter.verdict.decision
            if held is not None:
                durable = await self._owned(self._effects.run(held), limits)
                return Outcome(decision, durable=durable is True)
            if decision is Decision.DUPLICATE:
                if matter.verdict.reason == OTHER_NUMBERS:
                    log.warning("order %r: %s", matter.key.out_trade_no, OTHER_NUMBERS)
                return Outcome(decision, durable=True)
            if decision is not Decision.IN_PROGRESS and not has_effect(decision):
                await self._owned(self._without_effect(matter, notification), limits)
                return Outcome(decision, durable=decision is Decision.NOT_PAID)
            # Somebody holds it, or took it between the decision and our claim.
            if not await self._waited(matter.key, limits):
                return Outcome(Decision.IN_PROGRESS, durable=False)

    async def _decided(
        self, facts: Facts, limits: Limits, first_seen: datetime | None
    ) -> tuple[Matter, Held | None]:
        patience = max(0.0, limits.ask_until - self._clock.monotonic())
        matter = await self._desk.decide(facts, first_seen=first_seen, patience=patience)
        paid = matter.verdict.paid
        if paid is None:
            return matter, None
        effect = Effect(
            key=matter.key,
            decision=matter.verdict.decision,
            order=paid,
            first_seen=matter.first_seen,
        )
        return matter, await self._effects.claim(effect)

    async def _owned(self, work: Coroutine[Any, Any, T], limits: Limits) -> T | None:
        """What must not end with its caller; None when it was cancelled with the handler."""
        ended = await self._tasks.run(work, until=limits.answer_until)
        if ended.error is not None:
            raise ended.error
        return ended.result

    async def _without_effect(self, matter: Matter, notification: Notification | None) -> None:
        if matter.verdict.decision is Decision.NOT_PAID:
            await self._reports.not_paid(matter, notification)
        else:
            await self._reports.set_aside(matter)

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
