"""One message from its facts to its outcome: ask the shop, lock, decide, take effect, record."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime
from typing import Any, NamedTuple

import attrs

from chaoying_async.abc import Clock, Inbox, LockedOrder
from chaoying_async.notifications.answering import Counts
from chaoying_async.notifications.callback_watch import CallbackWatch
from chaoying_async.notifications.callbacks import EffectCall, resolved
from chaoying_async.notifications.deciding import (
    Asked,
    DecidedMessage,
    Decider,
    Message,
    storable,
)
from chaoying_async.notifications.reporting import Reporter, log, retry_in
from chaoying_async.notifications.tasks import (
    RECORD_WITHIN,
    CutOffError,
    OwnedTasks,
    Stage,
    must_propagate,
)
from chaoying_async.sansio.currency import fen_in_words
from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import TAKEN_EFFECT, Decision, has_effect
from chaoying_async.sansio.notifications.facts import Facts
from chaoying_async.sansio.notifications.inbox_values import (
    ClaimLostError,
    LookAgainError,
    OrderKey,
    Record,
    SeenState,
    TooManyWaitError,
    TransactionEndedError,
)
from chaoying_async.sansio.paid import PaidOrder
from chaoying_async.sansio.userfunctions import refuse_unbegun

#: The warning where a query says "paid" of the order, and names another transaction (M-15).
CONFIRMED_BY_ANOTHER_NUMBER = (
    "the query that confirms it names another transaction than the notification"
)
#: States in which nobody works on an order any more.
_ENDED = (SeenState.DONE, SeenState.QUARANTINED)
#: Seconds between two looks at an order that another process works on.
LOOK_EVERY = 0.2
#: Seconds after which work here no longer speaks for its order: another one asks the inbox then.
SPEAKS_FOR = 30.0


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


class NotRun(NamedTuple):
    """An order that was locked, and let go again unchanged."""

    asked: Asked
    before: Record | None
    """Its record, read under the lock."""


class Undone(NamedTuple):
    """A try that came to nothing for somebody else's sake; nobody else is known to be at work."""

    error: LookAgainError
    decided: DecidedMessage
    before: Record | None
    has_run: bool
    """Whether the user's function had begun."""


class Work(NamedTuple):
    """Work on an order in this process."""

    ended: asyncio.Event
    since: float


@attrs.frozen(kw_only=True)
class Journey:
    """Takes messages from their facts to their outcomes."""

    inbox: Inbox
    clock: Clock
    decider: Decider
    effects: Mapping[Decision, EffectCall]
    """The user's functions."""
    reporter: Reporter
    tasks: OwnedTasks
    counts: Counts
    callbacks: CallbackWatch
    working: dict[OrderKey, Work] = attrs.field(factory=dict, init=False)
    """The orders that are worked on now."""

    async def run(
        self,
        facts: Facts,
        limits: Limits,
        *,
        first_seen: datetime | None = None,
        by_a_person: bool = False,
        key: OrderKey | None = None,
        came: float | None = None,
    ) -> Outcome:
        """Decide about a message and do what was decided, in a task of its own.

        What the shop's lookup or the inbox raise comes out, and a ``LateError`` of ``limits``.
        ``first_seen``: when this very message first came, if it was set aside before.
        ``by_a_person``: a person said that it is to be applied; ``key``: to this order. ``came``:
        the moment from which ``limits`` count, if that is not now.
        """
        came = self.clock.monotonic() if came is None else came
        message = Message(
            facts,
            first_seen,
            until=came + limits.begin,
            by_a_person=by_a_person,
            has_owner=self.tasks.is_open,
            key=key,
            stage=Stage.BEFORE,
        )
        try:
            return await self.tasks.run(
                self._to_its_end(message, came + limits.wait),
                until=message.until,
                to_the_end=limits.to_the_end,
                progress=message,
            )
        except CutOffError:
            return Outcome(Decision.IN_PROGRESS, durable=False)

    async def _to_its_end(self, message: Message, wait: float) -> Outcome:
        while True:
            asked, decided = await self._decided(message)
            message.key, at_work = decided.key, self.ended(decided.key)
            found: Outcome | NotRun | Undone | None
            if at_work is not None and asked is not None:
                found = await self._beside_our_own(message, asked)
            elif not has_effect(decided.verdict.decision):
                found = await self._without_effect(decided, message)
            elif at_work is not None and not await self._is_done(decided.key):
                found = None
            else:
                found = await self._attempt(message, asked, decided)
            if isinstance(found, NotRun):
                found = await self._not_run(message, found)
            if isinstance(found, Outcome):
                return found
            if not isinstance(found, NotRun) and not await self._waited(decided.key, wait):
                return await self._nothing_done(message, found)

    async def _decided(self, message: Message) -> tuple[Asked | None, DecidedMessage]:
        """What the shop says, and what is to be done; a shop that is asked later says nothing."""
        received = storable(message.facts)
        if received is None:
            return None, self.decider.nameless(message.facts)
        if self.decider.asks_inside:
            return None, self.decider.unasked(message, message.key or received)
        asked = await self.decider.ask(received)
        if message.by_a_person:
            asked = asked._replace(key=message.key or asked.key)
        return asked, await self.decider.decide(message, asked)

    def ended(self, key: OrderKey) -> asyncio.Event | None:
        """Set when this process has ended its work on an order; None: it does not work on it.

        Nor does it where the work has taken long: its connection may be dead, and the order free.
        """
        work = self.working.get(key)
        if work is None or self.clock.monotonic() - work.since >= SPEAKS_FOR:
            return None
        return work.ended

    async def _is_done(self, key: OrderKey) -> bool:
        """Whether the order needs no lock, whoever is at work on it."""
        before = await self.inbox.look(key)
        return before is not None and before.state is SeenState.DONE

    async def _attempt(
        self, message: Message, asked: Asked | None, decided: DecidedMessage
    ) -> Outcome | NotRun | Undone | None:
        """Lock the order, decide again, take effect, record it: one block, left by one commit.

        None where the order is somebody else's.
        """
        key, work = decided.key, Work(asyncio.Event(), self.clock.monotonic())
        if self.ended(key) is None:
            self.working[key] = work
        # Written down for a lock only where somebody may read it there (``Inbox.lock``).
        is_shown = getattr(self.inbox, "shows_claims", not self.inbox.lends_connection)
        entry = decided.entry(payload=is_shown)
        before, runs = None, False
        try:
            async with self.inbox.lock(key, entry) as order:
                if order is None:
                    return None
                before = order.before
                if asked is None:
                    asked = await self.decider.ask(decided.as_received, order)
                    decided = self.decider.judge(message, asked, before)
                elif before is not None:  # otherwise that is what was decided about
                    decided = self.decider.judge(message, asked, before)
                runs = self._is_to_be_run(message, decided, asked)
                if not runs:
                    return NotRun(asked, before)
                await self._take_effect(message, decided, order)
                await order.save(SeenState.DONE, decided.entry(payload=False))
        except LookAgainError as error:
            return self._undone(Undone(error, decided, before, runs), message)
        except BaseException as error:
            if not runs:
                raise
            return await self._failed(self.tasks.cause_of(error, message), decided, before)
        finally:
            if self.working.get(key) is work:
                del self.working[key]
            work.ended.set()
        self.callbacks.saw(decided)
        verdict = decided.verdict
        return Outcome(verdict.decision, durable=True, paid=verdict.paid, is_kept=True)

    async def _take_effect(
        self, message: Message, decided: DecidedMessage, order: LockedOrder
    ) -> None:
        effect, paid = self.effects[decided.verdict.decision], decided.verdict.paid
        async with order.lend() if effect.takes_connection else nullcontext() as connection:
            given = (paid, connection) if effect.takes_connection else (paid,)
            message.stage = Stage.RUNNING
            try:
                returned: Any = await resolved(effect.function(*given))
            finally:
                message.stage = Stage.AFTER
            if returned is not None:  # it may be work that nobody has begun
                refuse_unbegun(effect.name, returned)

    def _undone(self, last: Undone, message: Message) -> Undone | None:
        """What is known of a try that was undone; None where somebody else may have the claim."""
        has_begun = message.stage is not Stage.BEFORE
        message.was_undone = True
        if last.has_run:
            message.stage = Stage.RUNNING  # so that nobody gives it up: its end is to be recorded
        if not isinstance(last.error, ClaimLostError):
            return last
        if has_begun:
            self.counts.add("failed")
        log.warning("order %r: %s", message.facts.out_trade_no, last.error)
        return None

    async def _failed(
        self, error: BaseException, decided: DecidedMessage, before: Record | None
    ) -> Outcome:
        """Record that the function failed; a failing order takes nothing else down."""
        if must_propagate(error):
            raise error
        decision, number = decided.verdict.decision, decided.key.out_trade_no
        name = self.effects[decision].name
        self.counts.add("failed")
        has_ended_it = isinstance(error, TransactionEndedError)
        reason = f"{name} ended the transaction that it was lent" if has_ended_it else ""
        failures = await self._record(decided, before, reason)
        if has_ended_it:
            if failures:
                await self.reporter.report(Decision.CONFLICT, reason, decided.key)
        elif failures > 1:
            log.info("%s of order %r failed again: %s", name, number, type(error).__name__)
        else:
            log.error("%s of order %r failed; it is tried again", name, number, exc_info=error)
        return Outcome(decision, durable=False, is_kept=failures > 0)

    async def _record(self, decided: DecidedMessage, before: Record | None, reason: str) -> int:
        """Record a failure under the order's lock; how many there are, 0: it was not recorded.

        With a ``reason`` the order is QUARANTINED, else it is tried again. Nothing is written over
        what somebody has done since, nor where somebody is at work now: whoever that is has the
        order. That may be the very transaction that has failed, whose connection was thrown away,
        and which the server has not ended yet: so the message is kept, and due soon.
        """
        entry = decided.entry(payload=True)
        state = SeenState.QUARANTINED if reason else SeenState.HELD
        failures = 0
        try:
            async with self.clock.timeout(RECORD_WITHIN):
                async with self.inbox.lock(decided.key, entry) as order:
                    if order is not None and is_as_it_was(order.before, before):
                        earlier = 0 if order.before is None else order.before.failures
                        failures, retry = earlier + 1, retry_in(earlier)
                        await order.save(
                            state, entry, failures=failures, reason=reason, retry_in=retry
                        )
                if order is None and not reason:
                    await self.reporter.keep_in_progress(decided.facts, decided.first_seen)
        except BaseException as error:  # the gateway delivers the message again
            if must_propagate(error):
                raise
            log.warning(
                "the failure of order %r of merchant %r could not be recorded (%s): the gateway's"
                " next delivery tries again",
                *(decided.key.out_trade_no, decided.key.mch_id, type(error).__name__),
            )
            return 0
        return failures

    async def _beside_our_own(self, message: Message, asked: Asked) -> Outcome | None:
        """What becomes of a message while this process is at work on its order.

        That work comes first. But who finds the order done has nothing to wait for: of two hundred
        deliveries of one order, each would be work on it that all others wait for.
        """
        before = await self.inbox.look(asked.key)
        if before is None or before.state not in _ENDED:
            return None
        decided = await self.decider.decide_without_lock(message, asked, before)
        if decided.verdict.paid is not None:
            return None
        return await self._without_effect(decided, message)

    def _is_to_be_run(self, message: Message, decided: DecidedMessage, asked: Asked) -> bool:
        """Whether the function is to be run for an order that is locked, and now."""
        if decided.key != message.key or decided.verdict.paid is None:
            return False
        before = decided.before
        is_kept = before is None or message.kept_token == before.token
        replaces = not is_kept and decided.replaces_another
        if replaces or self._lost_its_owner(message):
            return False
        if message.by_a_person:
            _tell_applied(decided, asked)
        elif decided.verdict.names_another_transaction:
            log.warning("order %r: %s", decided.key.out_trade_no, CONFIRMED_BY_ANOTHER_NUMBER)
        return True

    async def _not_run(self, message: Message, found: NotRun) -> Outcome | NotRun | None:
        """What becomes of a message whose order was let go again; as it was found: begin anew."""
        asked, before = found
        if asked.key != message.key and not message.by_a_person:
            message.key = asked.key  # the shop knows it as another merchant's
            return found
        if self._lost_its_owner(message):
            return Outcome(Decision.IN_PROGRESS, durable=False)
        decided = await self.decider.decide_without_lock(message, asked, before)
        if decided.verdict.paid is None:
            return await self._without_effect(decided, message)
        if before is not None and decided.replaces_another:
            await self.reporter.keep_replaced(before)
            message.kept_token = before.token
        return found

    async def _without_effect(self, decided: DecidedMessage, message: Message) -> Outcome | None:
        """Record a message that has no effect, or none yet."""
        decision, reason = decided.verdict.decision, decided.verdict.reason
        if decision is Decision.IN_PROGRESS:
            return None
        if decision is Decision.DUPLICATE:
            if reason != TAKEN_EFFECT:
                log.warning("order %r: %s", decided.key.out_trade_no, reason)
            self.callbacks.saw(decided)
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

    async def _nothing_done(self, message: Message, last: Undone | None) -> Outcome:
        """The end of a message that has no time left to wait for somebody else's work.

        Where its last try was undone nobody else has the order: its own work may be what stands in
        its way. So that is a failure, and somebody hears of it.
        """
        if last is not None and last.has_run:
            message.stage = Stage.AFTER
            return await self._failed(last.error.__cause__ or last.error, *last[1:3])
        if last is not None and self.decider.asks_inside:
            raise last.error
        if message.was_undone:  # and whoever was in its way may work on something else
            message.stage = Stage.AFTER
            await self.reporter.keep_in_progress(message.facts, message.first_seen)
        return Outcome(Decision.IN_PROGRESS, durable=False, is_kept=message.was_undone)

    def _lost_its_owner(self, message: Message) -> bool:
        """Whether the handler was closed since the message came: then nothing may begin."""
        return message.has_owner and not self.tasks.is_open

    async def _waited(self, key: OrderKey, until: float) -> bool:
        """Wait until the order may be free; False when no time is left."""
        left = until - self.clock.monotonic()
        if left <= 0:
            return False
        ended = self.ended(key)
        if ended is None:
            await self.clock.sleep(min(LOOK_EVERY, left))
            return True
        try:
            async with self.clock.timeout(left):
                return await ended.wait()
        except TimeoutError:
            return False


def _tell_applied(decided: DecidedMessage, asked: Asked) -> None:
    """Log that an order is delivered on a person's word alone; the record says so as well."""
    facts, expected = decided.facts, asked.expected
    told = facts.payable if facts.payable is not None else facts.total_fee
    wanted = ""
    if isinstance(expected, ExpectedOrder):
        wanted = f"{fen_in_words(expected.total_fee, expected.fee_type)} expected"
    log.warning(
        "on_paid is run for order %r of merchant %r because a person said so: %s paid, %s",
        decided.key.out_trade_no,
        decided.key.mch_id,
        "an unknown amount" if told is None else fen_in_words(told, facts.fee_type),
        wanted or "no known order",
    )


def is_as_it_was(record: Record | None, before: Record | None) -> bool:
    """Whether nobody has recorded anything since ``before`` was read.

    A token that is one higher is of our own try: ``on_paid`` has committed it by itself.
    """
    seen = 0 if before is None else before.token
    if record is None:
        return seen == 0
    return record.state not in _ENDED and record.token - seen in (0, 1)
