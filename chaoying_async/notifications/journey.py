"""One message from its facts to its outcome: ask the shop, lock, decide, take effect, record."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import attrs

from chaoying_async.abc import Clock, Inbox, LockedOrder
from chaoying_async.clock import within
from chaoying_async.notifications.deciding import (
    Asked,
    DecidedMessage,
    Decider,
    Message,
    storable,
)
from chaoying_async.notifications.effects import Attempt, EffectRunner
from chaoying_async.notifications.reporting import Reporter, log
from chaoying_async.notifications.tasks import CutOffError, OwnedTasks, Stage, only_exceptions
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import OTHER_NUMBERS, Decision, has_effect
from chaoying_async.sansio.notifications.facts import Facts
from chaoying_async.sansio.notifications.inbox_values import OrderKey, SeenState, TooManyWaitError
from chaoying_async.sansio.paid import PaidOrder

#: The warning where a query says "paid" of the order, and names another transaction (M-15).
CONFIRMED_BY_ANOTHER_NUMBER = (
    "the query that confirms it names another transaction than the notification"
)
#: States in which nobody works on an order any more.
_ENDED = (SeenState.DONE, SeenState.QUARANTINED)
#: Seconds between two looks at an order that another process works on.
LOOK_EVERY = 0.2


@attrs.frozen
class Limits:
    """How long a message may take; seconds from when it came."""

    wait: float
    """So long we wait for somebody else's work on the order."""
    begin: float
    """By then the user's function has begun, or it is given up with a :class:`TimeoutError`."""
    to_the_end: bool = False
    """Whether the caller waits for what has begun by then; else that is a :class:`TimeoutError`
    too, and the work goes on. A function of the user's that runs and has no owner is waited for in
    any case.
    """


class Outcome(NamedTuple):
    """What became of a message."""

    decision: Decision
    durable: bool
    """Whether its effect, or that there is none, is recorded."""
    paid: PaidOrder | None = None
    """The order, where its effect is durable."""
    reason: str = ""
    is_kept: bool = False
    """Whether the inbox has something of it, so that ``run_due`` finds it."""


@attrs.frozen(kw_only=True)
class Journey:
    """Takes messages from their facts to their outcomes."""

    inbox: Inbox
    clock: Clock
    decider: Decider
    effects: EffectRunner
    reporter: Reporter
    tasks: OwnedTasks

    async def run(
        self,
        facts: Facts,
        limits: Limits,
        *,
        first_seen: datetime | None = None,
        by_a_person: bool = False,
        key: OrderKey | None = None,
    ) -> Outcome:
        """Decide about a message and do what was decided, in a task of its own.

        What the shop's lookup or the inbox raise comes out, and a :class:`TimeoutError` of
        ``limits``. ``first_seen``: when this very message first came, if it was set aside before.
        ``by_a_person``: a person said that it is to be applied; ``key``: to this order.
        """
        came = self.clock.monotonic()
        message = Message(
            facts,
            first_seen,
            until=came + limits.begin,
            by_a_person=by_a_person,
            has_owner=self.tasks.is_open,
            key=key,
        )
        working = only_exceptions(self._to_its_end(message, came + limits.wait))
        try:
            return await self.tasks.run(
                working,
                until=message.until,
                to_the_end=limits.to_the_end,
                stage=lambda: message.stage,
            )
        except CutOffError:
            return Outcome(Decision.IN_PROGRESS, durable=False)

    async def _to_its_end(self, message: Message, wait: float) -> Outcome:
        while True:
            outcome = await self._once(message)
            if outcome is not None:
                return outcome
            if not await self._waited(message.key, wait):
                if message.was_undone:  # and whoever was in its way may work on something else
                    message.stage = Stage.AFTER
                    await self.reporter.keep_in_progress(message.facts, message.first_seen)
                return Outcome(Decision.IN_PROGRESS, durable=False, is_kept=message.was_undone)

    async def _once(self, message: Message) -> Outcome | None:
        """What became of a message; None where somebody else is at work on its order."""
        received = storable(message.facts)
        if received is None:
            return await self._without_effect(self.decider.nameless(message.facts), message)
        asked: Asked | None = None
        if self.decider.asks_inside:
            message.key = message.key or received
            decided = self.decider.unasked(message, message.key)
        else:
            asked, decided = await self._decided(message, received)
            message.key = decided.key
            if self.effects.ended(decided.key) is not None:
                return await self._beside_our_own(message, asked)
            if not has_effect(decided.verdict.decision):
                return await self._without_effect(decided, message)
        # A transaction shows nobody an order that is not done, so nobody reads a message in it.
        entry = decided.entry(payload=not self.inbox.lends_connection)
        attempt, message.stage = Attempt(decided.key, entry, message), Stage.BEFORE

        async def decide(order: LockedOrder) -> DecidedMessage | None:
            nonlocal asked
            if asked is None:
                asked = await self.decider.ask(received, order)
            elif order.before is None:  # which is what was decided about
                return self._to_be_run(message, decided, asked)
            return self._to_be_run(message, self.decider.judge(message, asked, order.before), asked)

        await self.effects.run(attempt, decide)
        if attempt.decided is not None:
            return self._ran(attempt, attempt.decided)
        if not attempt.was_locked or asked is None:
            return None
        return await self._not_run(message, asked, attempt)

    async def _beside_our_own(self, message: Message, asked: Asked) -> Outcome | None:
        """What becomes of a message while this process is at work on its order.

        That work comes first. But who finds the order done has nothing to wait for: of two hundred
        deliveries of one order, each would be work on it that all others wait for.
        """
        before = await self.inbox.look(asked.key)
        if before is None or before.state not in _ENDED:
            return None
        decided = self.decider.judge(message, asked, before)
        if not has_effect(decided.verdict.decision):
            decided = await self.decider.decide_without_lock(message, asked, before)
        if has_effect(decided.verdict.decision):
            return None
        return await self._without_effect(decided, message)

    async def _decided(self, message: Message, received: OrderKey) -> tuple[Asked, DecidedMessage]:
        asked = await self.decider.ask(received)
        if message.by_a_person:
            asked = asked._replace(key=message.key or asked.key)
        return asked, await self.decider.decide(message, asked)

    def _to_be_run(
        self, message: Message, decided: DecidedMessage, asked: Asked
    ) -> DecidedMessage | None:
        """What is to be run for an order that is locked; None where nothing is, or not yet."""
        if decided.key != message.key or not has_effect(decided.verdict.decision):
            return None
        if decided.takes_the_place_of(decided.before) and not message.has_kept(decided.before):
            return None
        if self._lost_its_owner(message):
            return None
        if message.by_a_person:
            _tell_applied(decided, asked)
        elif decided.verdict.names_another_transaction:
            log.warning("order %r: %s", decided.key.out_trade_no, CONFIRMED_BY_ANOTHER_NUMBER)
        return decided

    async def _not_run(self, message: Message, asked: Asked, attempt: Attempt) -> Outcome | None:
        """What becomes of a message whose order was locked, and let go again unchanged."""
        before = attempt.before
        if asked.key != message.key and not message.by_a_person:
            message.key = asked.key  # the shop knows it as another merchant's
            return await self._once(message)
        if self._lost_its_owner(message):
            return Outcome(Decision.IN_PROGRESS, durable=False)
        decided = self.decider.judge(message, asked, before)
        if not has_effect(decided.verdict.decision):
            decided = await self.decider.decide_without_lock(message, asked, before)
            if not has_effect(decided.verdict.decision):
                return await self._without_effect(decided, message)
        if before is not None and decided.takes_the_place_of(before):
            await self.reporter.keep_replaced(before)
            message.kept_token = before.token
        return await self._once(message)

    def _ran(self, attempt: Attempt, decided: DecidedMessage) -> Outcome:
        return Outcome(
            decided.verdict.decision,
            attempt.is_durable,
            decided.verdict.paid if attempt.is_durable else None,
            is_kept=attempt.is_kept,
        )

    async def _without_effect(self, decided: DecidedMessage, message: Message) -> Outcome | None:
        """Record a message that has no effect, or none yet."""
        decision, reason = decided.verdict.decision, decided.verdict.reason
        if decision is Decision.IN_PROGRESS:
            return None
        if decision is Decision.DUPLICATE:
            if reason == OTHER_NUMBERS:
                log.warning("order %r: %s", decided.key.out_trade_no, OTHER_NUMBERS)
            return Outcome(decision, durable=True, paid=decided.done)
        if self._lost_its_owner(message):
            return Outcome(decision, durable=False)
        message.stage = Stage.RUNNING  # a hook, with what is written before and after it
        try:
            if decided.leaves_nothing:
                pass
            elif decision is Decision.NOT_PAID:
                await self.reporter.not_paid(decided)
            else:
                await self.reporter.set_aside(decided)
        except TooManyWaitError as error:
            self.reporter.refused(decided.as_received, error)
            return Outcome(decision, durable=False, reason=reason)
        return Outcome(decision, durable=True, reason=reason, is_kept=True)

    def _lost_its_owner(self, message: Message) -> bool:
        """Whether the handler was closed since the message came: then nothing may begin."""
        return message.has_owner and not self.tasks.is_open

    async def _waited(self, key: OrderKey | None, until: float) -> bool:
        """Wait until the order may be free; False when no time is left."""
        left = until - self.clock.monotonic()
        if left <= 0:
            return False
        ended = None if key is None else self.effects.ended(key)
        if ended is None:
            await self.clock.sleep(min(LOOK_EVERY, left))
            return True
        try:
            await within(self.clock, left, ended.wait())
        except TimeoutError:
            return False
        return True


def _tell_applied(decided: DecidedMessage, asked: Asked) -> None:
    """Log that an order is delivered on a person's word alone; the record says so as well."""
    facts, expected = decided.facts, asked.expected
    told = facts.payable if facts.payable is not None else facts.total_fee
    wanted = f"{expected.total_fee} fen expected" if isinstance(expected, ExpectedOrder) else ""
    log.warning(
        "on_paid is run for order %r of merchant %r because a person said so: %s fen paid, %s",
        decided.key.out_trade_no,
        decided.key.mch_id,
        told,
        wanted or "no known order",
    )
