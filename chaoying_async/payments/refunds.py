"""``refund_and_track``: one refund, from before it is sent until its own status is final (M-25)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import attrs

from chaoying_async.abc import Clock, Gateway, PollStore
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import (
    AttemptInProgressError,
    GatewayError,
    RequestNotSentError,
)
from chaoying_async.observation import Observation, observer_of
from chaoying_async.payments.claims import Key, NumberClaim, refund_key, registry_of
from chaoying_async.payments.outcome import RefundOutcome
from chaoying_async.payments.records import (
    STORE_ERRORS,
    Records,
    forget_refund,
    is_of,
    log,
    take_back,
    taken_back,
)
from chaoying_async.payments.running import as_they_end
from chaoying_async.polling.order import PolledOrder, ask, ask_once, merchant_of, read_said
from chaoying_async.pollstore.errands import Durable, durable
from chaoying_async.pollstore.failures import GONE
from chaoying_async.sansio.api.endpoint import Reply, check_kind
from chaoying_async.sansio.api.follow_up import Refund, RefundQuery
from chaoying_async.sansio.meaning import Family, Meaning
from chaoying_async.sansio.observed import ObservedPayment, order_mark
from chaoying_async.sansio.payments.hearing import moved_nothing
from chaoying_async.sansio.payments.intent import REFUND
from chaoying_async.sansio.payments.refunds import RefundIntent, refund_intent_in
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import Answer, PollStatus, Says, Standing

DEFAULT_SCHEDULE = PollSchedule.refunds()
AT_ONCE = 100


async def refund_and_track(
    gateway: Gateway,
    refund: Refund,
    *,
    schedule: PollSchedule = DEFAULT_SCHEDULE,
    store: PollStore | None = None,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> RefundOutcome:
    """Send a refund once, and wait until its own ``refund_status`` is final: days, by default.

    **Why the number stays the same.** Two sentences of the document, read together, invite a
    double refund. Of ``out_refund_no`` it says 如果出现退款不成功,请变更退款单号重新发起: "if the
    refund did not succeed, change the number and send it again". But a refund whose reply was lost
    "did not succeed" as far as the caller can see, and under a new number it is a second refund.
    The other sentence is the one to keep: 只有在能确定退款失败的情况下,才能重新发起另一笔退款,
    "only where failure is *certain* may another refund be started". So the number belongs to the
    refund that you intend:

    - an unclear answer is followed up with ``refundquery`` under the same number;
    - ``NOTSURE`` ends the waiting, and *you* send it again **under the same number** (call this
      again with the same request);
    - ``REFUND_FAILED`` (its own ``refund_status`` is FAIL), or a
      :class:`~chaoying_async.exceptions.GatewayError` raised by the *first* call with this number,
      are certain: then, and only then, another refund with another number is safe;
    - ``CHANGED`` is for a person: the money came back and has to be paid out another way;
    - ``MISMATCH`` is for a person: another amount or none that can be read, or the number is
      another order's refund's;
    - ``NOT_FOUND`` with ``never_made``: the call was refused (``outcome.refusal`` says why: too
      little money in the account, a wrong parameter), and six queries over half an hour or more
      found no such refund. Mend the cause, and send it again **under the same number** (call this
      again with the same request);
    - every other ``NOT_FOUND``, ``REFUSED``, ``EXPIRED``: not known. Ask again later, with
      ``Poller.wait(RefundQuery(...))``, or by calling this again with a ``store``, before
      ``done()``.

    What the refund applied for is compared with ``base_refund_fee``. A refund that never left
    raises :class:`~chaoying_async.exceptions.RequestNotSentError`, and one that was refused in
    words that prove that nothing moved (M-09) raises the ``GatewayError``.

    Called again with the same number, it asks first and does not send, but for a refund that ended
    NOTSURE or was never made. With a ``store`` that holds after a restart, too: the intent is
    durable before it leaves, another refund under its number is refused
    (:class:`~chaoying_async.exceptions.AttemptInProgressError`), and :func:`resume_refunds` takes
    up what a dead process left. After ``done()``, and without a store, it holds for this gateway in
    this process; in another one, calling this *sends*. To send one again that ended NOT_FOUND
    otherwise is a person's decision: ``gateway.send(refund)``, under the same number.

    A store that fails, or that another process has taken over, raises: ``sent`` of the error says
    whether the refund may have left. Its end is told only after the store's lease was read again.
    """
    check_kind("refund", refund, Refund)
    check_kind("schedule", schedule, PollSchedule)
    clock = clock or SystemClock()
    number = refund.out_refund_no
    mch_id = merchant_of(gateway, refund.mch_id, "refund", number)
    intent = RefundIntent(refund=refund, mch_id=mch_id, started=clock.now())
    tracker = RefundTracker(gateway, store, schedule, clock, rng or random.Random())
    work = observed_refund(intent)
    with Observation(observer_of(gateway), work, clock):
        outcome = await _sent_and_tracked(gateway, intent, tracker)
        tell_refund(work, outcome)
        return outcome


def observed_refund(intent: RefundIntent, name: str = "refund_and_track") -> ObservedPayment:
    """What an observer is told of a refund."""
    number = intent.refund.out_trade_no
    order = order_mark(intent.mch_id, number) if number else None
    return ObservedPayment(name=name, order=order)


def tell_refund(work: ObservedPayment, outcome: RefundOutcome) -> None:
    """Say how a refund ended."""
    work.over(outcome.status, known=outcome.status not in _OPEN or outcome.never_made)


#: After these nobody knows whether the money went back.
_OPEN = frozenset(
    {PollStatus.EXPIRED, PollStatus.NOT_FOUND, PollStatus.NOTSURE, PollStatus.REFUSED}
)


async def _sent_and_tracked(
    gateway: Gateway, intent: RefundIntent, tracker: RefundTracker
) -> RefundOutcome:
    number, store, clock = intent.refund.out_refund_no, tracker.records.store, tracker.clock
    owners: tuple[object, ...] = (gateway,) if store is None else (gateway, store)
    claim = NumberClaim(owners, _keys(intent), again=True)
    tried = any(registry_of(owner).tried(key) for owner in owners for key in claim.keys)
    tracker.left = tried
    try:
        intent, known = await tracker.admitted(intent, tried=tried)
        if not known:
            intent = await tracker.sent(intent)
        outcome = await tracker.track(intent, at_once=known)
        await tracker.records.before_an_end(clock)
        tracker.left = not outcome.may_be_sent_again
        return outcome
    except STORE_ERRORS as error:
        error.about("refund", number).sent = tracker.left
        raise
    except asyncio.CancelledError:
        if store is None:
            log.error(
                "refund %s was ended from outside while it was under way: query it under the same "
                "number before anything else",
                number,
            )
        raise
    finally:
        claim.settle(claim.keys if tracker.left else (), "was sent")


async def resume_refunds(
    gateway: Gateway,
    store: PollStore,
    *,
    schedule: PollSchedule = DEFAULT_SCHEDULE,
    at_once: int = AT_ONCE,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> AsyncGenerator[RefundOutcome]:
    """Ask about the refunds that a store still holds, and say how each ended; none is sent again.

    Each is asked about until its own deadline by the wall clock, and at least once; one that ended
    before, too, since only the gateway still knows its answer. An outcome is forgotten when the
    next one is taken, or ``done()`` called: do not catch, inside the loop, what goes wrong with one
    (see :func:`resume`). Refunds under way in this process are left alone.
    """
    clock = clock or SystemClock()
    tracker = RefundTracker(gateway, store, schedule, clock, rng or random.Random())
    waiting: list[RefundIntent] = []
    async for key, text in tracker.records.load():
        try:
            waiting.append(refund_intent_in(text))
        except ValueError:
            log.error("the store's record of refund %s cannot be read: query it by hand", key)
    work = (tracker.resumed(intent, store) for intent in waiting)
    async with aclosing(as_they_end(work, at_once)) as ends:
        async for intent, outcome in ends:
            await tracker.records.before_an_end(clock)
            yield outcome
            await asyncio.wait([forget_refund(store, intent)])


def _keys(intent: RefundIntent) -> tuple[Key, ...]:
    return (refund_key(intent.mch_id, intent.refund.out_refund_no),)


class RefundTracker:
    """Sends and asks about any number of refunds."""

    def __init__(
        self,
        gateway: Gateway,
        store: PollStore | None,
        schedule: PollSchedule,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._gateway = gateway
        self._schedule = schedule
        self.clock = clock
        self._rng = rng
        self.records = Records(store, REFUND)
        #: What the store held of a refund that is sent again.
        self._before: str | None = None
        #: Whether a refund under this number may have left, now or before.
        self.left = False

    async def admitted(self, intent: RefundIntent, *, tried: bool) -> tuple[RefundIntent, bool]:
        """The refund as the store knows it, and whether it may have left before."""
        await self._settled(intent)
        text = await self.records.get(intent.key)
        if text is None:
            return intent, tried
        self.left = True
        known = the_same_refund(text, intent)
        if known.may_be_sent_again:
            self._before, self.left = text, not known.never_made
            return intent, False
        return known, True

    async def resumed(
        self, intent: RefundIntent, store: PollStore
    ) -> tuple[RefundIntent, RefundOutcome] | None:
        """Ask about one refund until it has ended; None where it is under way, or asking failed."""
        try:
            claim = NumberClaim((self._gateway, store), _keys(intent), again=True)
        except AttemptInProgressError:
            return None
        try:
            await self._settled(intent)
            text = await self.records.get(intent.key)
            if text is None or not is_of(text, intent):
                return None  # it has ended since it was read
            intent = refund_intent_in(text)  # or more was learnt of it
            work = observed_refund(intent, "resume_refunds")
            with Observation(observer_of(self._gateway), work, self.clock):
                outcome = await self.track(intent, at_once=True)
                tell_refund(work, outcome)
            claim.settle(() if outcome.may_be_sent_again else claim.keys, "was sent")
            return intent, outcome
        except GONE as error:
            error.about("resume_refunds", intent.refund.out_refund_no).sent = True
            raise
        except Exception as error:  # noqa: BLE001 - one refund must not stop the others
            number = intent.refund.out_refund_no
            log.error(
                "resuming refund %s failed with %s: its record stays for the next resume_refunds()",
                *(number, type(error).__name__),
            )
            return None
        finally:
            claim.release()

    async def _settled(self, intent: RefundIntent) -> None:
        """Wait for whatever would undo what is written of this refund from now on."""
        await self.records.forgotten(intent.key)
        await taken_back(self.records.store, self.clock, intent)

    async def sent(self, intent: RefundIntent) -> RefundIntent:
        """Send the refund, once; raise the error if it proves that nothing moved."""
        try:
            await self.records.put(intent.key, intent.text())
            await self.records.hold()
        except BaseException as error:
            await self._take_back(intent, error)
            raise
        tried, self.left = self.left, True
        said, refused_here = await ask_once(self._gateway, intent.refund)
        never_left = isinstance(said, RequestNotSentError) or refused_here
        if isinstance(said, Exception) and (never_left or moved_nothing(said, Family.REFUND)):
            self.left = tried
            await self._take_back(intent, said)
            raise said
        learnt = intent
        refusal = said if isinstance(said, GatewayError) else getattr(said, "refusal", None)
        if isinstance(said, Reply) and said.meaning is Meaning.RESULT:
            learnt = attrs.evolve(intent, accepted=True)
        elif isinstance(refusal, GatewayError) and _of_its_wallet(refusal, intent.refund):
            learnt = attrs.evolve(intent, refusal=refusal)
        if learnt is not intent:
            await self.records.note(learnt.key, learnt.text())
        return learnt

    async def _take_back(self, intent: RefundIntent, error: BaseException) -> None:
        """Write into the store what it held before: nothing moved."""

        async def undo() -> None:
            if self._before is None:
                await self.records.drop(intent.key)
            else:
                await self.records.put(intent.key, self._before)

        if (store := self.records.store) is not None:
            await take_back(store, self.clock, intent, undo, error=error)

    async def track(self, intent: RefundIntent, *, at_once: bool) -> RefundOutcome:
        """Ask until the refund has ended; ``at_once`` where it was sent some time ago."""
        clock, refund = self.clock, intent.refund
        now = clock.now()
        age = max(0.0, (now - intent.started).total_seconds()) if at_once else 0.0
        schedule = self._schedule.begun(now)
        left = max(0.0, schedule.until - age)
        schedule = attrs.evolve(schedule, until=left, first=0.0 if at_once else schedule.first)
        query = RefundQuery(
            paytype=refund.paytype, mch_id=intent.mch_id, out_refund_no=refund.out_refund_no
        )
        standing = Standing(seen=intent.accepted)
        order = PolledOrder(query, schedule, int(refund.refund_fee), clock.monotonic(), standing)
        said: Reply[Any] | Exception | None = None
        while (status := order.decide(clock.monotonic(), self._rng.random())) is None:
            if (pause := order.due - clock.monotonic()) > 0:
                await clock.sleep(pause)
            order.sent = max(order.due, clock.monotonic())
            said, answer = read_said(query, await ask(self._gateway, query), order.expected)
            if _of_another_order(refund, said):
                answer = Answer(Says.ENDED, PollStatus.MISMATCH)
            order.heard(answer)
            known, intent = intent, intent.asked(answer, clock.now())
            if intent != known:
                await self.records.note(intent.key, intent.text())
            if intent.never_made:
                status, said = PollStatus.NOT_FOUND, intent.refusal
                break
        kept = self.records.store
        outcome = RefundOutcome(
            query=query,
            status=status,
            reply=said if isinstance(said, Reply) else None,
            error=said if isinstance(said, Exception) else None,
            attempts=order.attempts,
            elapsed=clock.monotonic() - order.started,
            refusal=intent.refusal,
            never_made=intent.never_made,
            forget=None if kept is None else partial(_done, kept, intent),
        )
        ended = attrs.evolve(intent, status=status)
        await self.records.note(ended.key, ended.text())
        return outcome


def _done(store: PollStore, intent: RefundIntent) -> Durable:
    return durable(forget_refund(store, intent))


def _of_its_wallet(refusal: GatewayError, refund: Refund) -> bool:
    """Whether a refusal names the refund's wallet or none; else ours may be the wrong one."""
    return refusal.raw.get("paytype") in (None, "", refund.paytype)


def _of_another_order(refund: Refund, said: Reply[Any] | Exception) -> bool:
    """Whether the number is another order's refund's: then this refund was never carried out."""
    named = getattr(said.result, "out_trade_no", None) if isinstance(said, Reply) else None
    return bool(refund.out_trade_no and named) and named != refund.out_trade_no


def the_same_refund(text: str, intent: RefundIntent) -> RefundIntent:
    """The refund in a store's text; :class:`AttemptInProgressError` where it is another one.

    Another operator may send the same.
    """
    number = intent.refund.out_refund_no
    try:
        known = refund_intent_in(text)
    except ValueError as error:
        raise AttemptInProgressError(
            f"the store's record of refund {number} cannot be read: query it by hand"
        ) from error
    if any(getattr(known.refund, name) != getattr(intent.refund, name) for name in _IDENTITY):
        raise AttemptInProgressError(
            f"{number} is the number of another refund: a number belongs to one refund for ever"
        )
    return known


_IDENTITY = ("paytype", "out_trade_no", "transaction_id", "total_fee", "refund_fee")
