"""``refund_and_track``: one refund, from before it is sent until its own status is final (M-25)."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator
from datetime import datetime
from functools import partial
from typing import Any

import attrs

from chaoying_async.abc import Clock, Gateway, PollStore
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import (
    AttemptInProgressError,
    GatewayError,
    ParameterError,
    RequestNotSentError,
    UsageError,
)
from chaoying_async.payments.claims import Claim, Key, attempts_of, refund_key
from chaoying_async.payments.records import GONE, STORE_ERRORS, Keeper, log, shielded
from chaoying_async.payments.refundoutcome import RefundOutcome
from chaoying_async.pollstore.errands import Durable, Task, durable
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.api.follow_up import Refund, RefundQuery, RefundQueryResult
from chaoying_async.sansio.meaning import SETTLED_REFUSALS, Family, Meaning
from chaoying_async.sansio.payments.intent import REFUND
from chaoying_async.sansio.payments.refunds import RefundIntent, refund_intent_in
from chaoying_async.sansio.polling.schedule import Done, PollSchedule, Wait, next_step
from chaoying_async.sansio.polling.status import (
    Answer,
    PollStatus,
    Says,
    Standing,
    read_answer,
    taken_together,
)

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
    - ``MISMATCH`` is for a person: another amount, or the number is another order's refund's;
    - ``NOT_FOUND`` with ``never_made``: the call was refused (``outcome.refusal`` says why: too
      little money in the account, a wrong parameter), and six queries over half an hour or more
      found no such refund. Mend the cause, and send it again **under the same number** (call this
      again with the same request);
    - every other ``NOT_FOUND``, ``REFUSED``, ``EXPIRED``: not known. Ask again later, by calling
      this again with a ``store``, or with ``Poller.wait(RefundQuery(...))``.

    What the refund applied for is compared with ``base_refund_fee``. A refund that never left
    raises :class:`~chaoying_async.exceptions.RequestNotSentError`, and one that was refused in
    words that prove that nothing moved (M-09) raises the ``GatewayError``.

    Called again with the same number, it asks first and does not send, but for a refund that ended
    NOTSURE or was never made. With a ``store`` that holds after a restart, too: the intent is
    durable before it leaves, another refund under its number is refused
    (:class:`~chaoying_async.exceptions.AttemptInProgressError`), and :func:`resume_refunds` takes
    up what a dead process left. Without a store it holds for this gateway in this process; in
    another one, calling this *sends*. To send one again that ended NOT_FOUND otherwise is a
    person's decision: ``gateway.send(refund)``, under the same number.

    A store that fails, or that another process has taken over, raises: ``sent`` of the error says
    whether the refund may have left. Its end is told only after the store's lease was read again.
    """
    clock = clock or SystemClock()
    mch_id = _merchant(gateway, refund)
    intent = RefundIntent(refund=refund, mch_id=mch_id, started=clock.now())
    owners: tuple[object, ...] = (gateway,) if store is None else (gateway, store)
    claim = Claim(owners, _keys(intent), again=True)
    keeper = Keeper(store, REFUND)
    tracking = _Tracking(gateway, keeper, schedule, clock, rng or random.Random())
    tried = any(attempts_of(owner).tried(key) for owner in owners for key in claim.keys)
    tracking.left = tried
    try:
        intent, known = await tracking.admitted(intent, tried=tried)
        if not known:
            intent = await tracking.sent(intent)
        outcome = await tracking.track(intent, at_once=known)
        await keeper.before_an_end(clock)
        tracking.left = not outcome.may_be_sent_again
        return outcome
    except STORE_ERRORS as error:
        error.about("refund", refund.out_refund_no).sent = tracking.left
        raise
    finally:
        claim.settle(claim.keys if tracking.left else (), "was sent")


async def resume_refunds(
    gateway: Gateway,
    store: PollStore,
    *,
    schedule: PollSchedule = DEFAULT_SCHEDULE,
    at_once: int = AT_ONCE,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> AsyncGenerator[RefundOutcome]:
    """How the refunds ended that a store still holds; none is ever sent again.

    Each is asked about until its own deadline by the wall clock, and at least once; one that ended
    before, too, since only the gateway still knows its answer. An outcome is forgotten when the
    next one is taken, or ``done()`` called. Refunds under way in this process are left alone.
    """
    clock = clock or SystemClock()
    keeper = Keeper(store, REFUND)
    waiting: deque[RefundIntent] = deque()
    async for key, text in keeper.load():
        try:
            waiting.append(refund_intent_in(text))
        except ValueError:
            log.error("the store's record of refund %s cannot be read: query it by hand", key)
    tracking = _Tracking(gateway, keeper, schedule, clock, rng or random.Random())
    tasks: set[asyncio.Task[tuple[RefundIntent, RefundOutcome] | None]] = set()
    try:
        while waiting or tasks:
            while waiting and len(tasks) < max(1, at_once):
                tasks.add(asyncio.ensure_future(tracking.resumed(waiting.popleft(), store)))
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (ended := task.result()) is not None:
                    await keeper.before_an_end(clock)
                    yield ended[1]
                    await asyncio.wait([tracking.letting_go(ended[0])])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _merchant(gateway: Gateway, refund: Refund) -> str:
    default: str | None = getattr(getattr(gateway, "defaults", None), "mch_id", None)
    if found := refund.mch_id or default:
        return found
    rule = "is required: name it in the request or give the session a default"
    raise ParameterError({"mch_id": rule}).about("refund", refund.out_refund_no)


def _keys(intent: RefundIntent) -> tuple[Key, ...]:
    return (refund_key(intent.mch_id, intent.refund.out_refund_no),)


class _Tracking:
    """Sends and asks for any number of refunds."""

    def __init__(
        self,
        gateway: Gateway,
        keeper: Keeper,
        schedule: PollSchedule,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._gateway = gateway
        self._keeper = keeper
        self._schedule = schedule
        self._clock = clock
        self._rng = rng
        #: What the store held of a refund that is sent again.
        self._before: str | None = None
        #: Whether a refund under this number may have left, now or before.
        self.left = False

    async def admitted(self, intent: RefundIntent, *, tried: bool) -> tuple[RefundIntent, bool]:
        """The refund as the store knows it, and whether it may have left before."""
        await self._keeper.forgotten(intent.key)
        text = await self._keeper.get(intent.key)
        if text is None:
            return intent, tried
        try:
            known = refund_intent_in(text)
        except ValueError as error:
            raise AttemptInProgressError(
                f"the store's record of refund {intent.refund.out_refund_no} cannot be read: "
                "query it by hand"
            ) from error
        self.left = True
        if _differs(known, intent):
            raise AttemptInProgressError(
                f"{intent.refund.out_refund_no} is the number of another refund: a number "
                "belongs to one refund for ever"
            )
        if known.may_be_sent_again:
            self._before, self.left = text, False
            return intent, False
        return known, True

    async def resumed(
        self, intent: RefundIntent, store: PollStore
    ) -> tuple[RefundIntent, RefundOutcome] | None:
        """One that was left; None where it is under way, or something unforeseen failed."""
        try:
            claim = Claim((self._gateway, store), _keys(intent), again=True)
        except AttemptInProgressError:
            return None
        try:
            await self._keeper.forgotten(intent.key)
            text = await self._keeper.get(intent.key)
            if not _same_sending(text, intent):  # it was read some time ago, and is over since
                return None
            outcome = await self.track(intent, at_once=True)
            claim.settle(() if outcome.may_be_sent_again else claim.keys, "was sent")
            return intent, outcome
        except GONE as error:
            error.about("resume_refunds", intent.refund.out_refund_no).sent = True
            raise
        except Exception as error:  # noqa: BLE001 - one refund must not stop the others
            number = intent.refund.out_refund_no
            log.error("resuming refund %s failed with %s", number, type(error).__name__)
            return None
        finally:
            claim.release()

    async def sent(self, intent: RefundIntent) -> RefundIntent:
        """The one time that it leaves; raises what proves that nothing moved."""
        before = self._before
        try:
            await self._keeper.put(intent.key, intent.text())
            await self._keeper.hold()
        except BaseException:
            await self._take_back(intent, before)
            raise
        tried, self.left = self.left, True
        try:
            said = await self._gateway.send(intent.refund)
        except (RequestNotSentError, ParameterError, UsageError):
            self.left = tried
            await self._take_back(intent, before)
            raise
        except GatewayError as error:
            if error.state == "FAIL" and error.code in SETTLED_REFUSALS[Family.REFUND]:
                self.left = tried
                await self._take_back(intent, before)
                raise
            return await self._refused(intent, error)
        except Exception as error:  # noqa: BLE001 - it may have been carried out: ask (M-25)
            return await self._refused(intent, getattr(error, "refusal", None))
        except asyncio.CancelledError:
            self._complain(intent)
            raise
        if isinstance(said, Reply) and said.meaning is Meaning.RESULT:
            intent = attrs.evolve(intent, accepted=True)
            await self._keeper.note(intent.key, intent.text())
        return intent

    async def _refused(self, intent: RefundIntent, refusal: object) -> RefundIntent:
        """Remember what the gateway said, unless it names another wallet: ours may be wrong."""
        if not isinstance(refusal, GatewayError):
            return intent
        if refusal.raw.get("paytype") not in (None, "", intent.refund.paytype):
            return intent
        intent = attrs.evolve(intent, refusal=refusal)
        await self._keeper.note(intent.key, intent.text())
        return intent

    async def _take_back(self, intent: RefundIntent, before: str | None) -> None:
        """Nothing moved: what the store held before is all there is."""

        async def take_back() -> None:
            if before is None:
                await self._keeper.forget(intent.key)
            else:
                await self._keeper.note(intent.key, before)

        if self._keeper.store is not None:
            await shielded(self._clock, take_back)

    async def track(self, intent: RefundIntent, *, at_once: bool) -> RefundOutcome:
        """Ask until it has ended; ``at_once`` where it was sent some time ago."""
        try:
            return await self._tracked(intent, at_once=at_once)
        except asyncio.CancelledError:
            self._complain(intent)
            raise

    def _complain(self, intent: RefundIntent) -> None:
        if self._keeper.store is None:
            log.error(
                "refund %s was ended from outside while it was under way: query it under the same "
                "number before anything else",
                intent.refund.out_refund_no,
            )

    async def _tracked(self, intent: RefundIntent, *, at_once: bool) -> RefundOutcome:
        clock = self._clock
        now = clock.now()
        age = max(0.0, (now - intent.started).total_seconds()) if at_once else 0.0
        schedule = self._schedule.begun(now)
        left = max(0.0, schedule.until - age)
        schedule = attrs.evolve(schedule, until=left, first=0.0 if at_once else schedule.first)
        asking = _Asking(
            intent,
            RefundQuery(
                paytype=intent.refund.paytype,
                mch_id=intent.mch_id,
                out_refund_no=intent.refund.out_refund_no,
            ),
            Standing(seen=intent.accepted),
        )
        outcome = await self._until_ended(asking, schedule)
        ended = attrs.evolve(asking.intent, status=outcome.status)
        await self._keeper.note(ended.key, ended.text())
        return outcome

    async def _until_ended(self, asking: _Asking, schedule: PollSchedule) -> RefundOutcome:
        clock, started = self._clock, self._clock.monotonic()
        attempts, sent, intent = 0, 0.0, asking.intent
        said: Reply[Any] | Exception | None = None
        while True:
            step = next_step(schedule, attempts, sent, asking.standing, self._rng.random())
            if not isinstance(step, Wait):
                break
            due = sent + step.seconds
            due = schedule.until if schedule.until - _SAME <= due < schedule.until else due
            if (left := started + due - clock.monotonic()) > 0:
                await clock.sleep(left)
            sent = max(due, clock.monotonic() - started)
            try:
                said = await self._gateway.send(asking.query)
            except Exception as error:  # noqa: BLE001 - no answer: ask again
                said = error
            attempts += 1
            said = asking.heard(said, clock.now())
            if asking.intent != intent:
                intent = asking.intent
                await self._keeper.note(intent.key, intent.text())
            if intent.never_made:
                step, said = Done(PollStatus.NOT_FOUND), intent.refusal
                break
        kept = self._keeper.store is not None
        return RefundOutcome(
            query=asking.query,
            status=step.status if isinstance(step, Done) else PollStatus.EXPIRED,
            reply=said if isinstance(said, Reply) else None,
            error=said if isinstance(said, Exception) else None,
            attempts=attempts,
            elapsed=clock.monotonic() - started,
            refusal=intent.refusal,
            never_made=intent.never_made,
            forget=partial(self.let_go, asking.intent) if kept else None,
        )

    def let_go(self, intent: RefundIntent) -> Durable:
        """As :meth:`letting_go`, for a consumer, who may wait for it or not."""
        return durable(self.letting_go(intent))

    def letting_go(self, intent: RefundIntent) -> Task:
        """Forget it in a task, unless it is being sent again (NOTSURE), or was since."""
        # Asked now: whoever takes the number from now on waits until this is done.
        busy = attempts_of(self._keeper.store or self).runs(*_keys(intent))
        return self._keeper.forget_soon(intent.key, partial(self._drop, intent, busy=busy))

    async def _drop(self, intent: RefundIntent, *, busy: bool) -> None:
        if not busy and _same_sending(await self._keeper.get(intent.key), intent):
            await self._keeper.drop(intent.key)


#: Sums of floats drift: a query that is due this near to the deadline is the last one.
_SAME = 1e-6


@attrs.define
class _Asking:
    """One refund and what its queries say."""

    intent: RefundIntent
    query: RefundQuery
    standing: Standing

    def heard(self, said: Reply[Any] | Exception, now: datetime) -> Reply[Any] | Exception:
        """Take an answer in; the answer, or why it was none."""
        try:
            answer = read_answer(self.query, said, int(self.intent.refund.refund_fee))
            if isinstance(said, Reply) and _of_another_order(self.intent.refund, said.result):
                answer = Answer(Says.ENDED, PollStatus.MISMATCH)
        except Exception as error:  # noqa: BLE001 - a gateway of the user's that returns no Reply
            said, answer = error, Answer(Says.TROUBLE)
        self.standing = taken_together(self.standing, answer)
        self.intent = self.intent.asked(answer, now)
        return said


def _of_another_order(refund: Refund, result: RefundQueryResult | None) -> bool:
    """The number is known, as that of another order's refund: this one was never carried out."""
    named = None if result is None else result.out_trade_no
    return bool(refund.out_trade_no and named) and named != refund.out_trade_no


def _same_sending(text: str | None, intent: RefundIntent) -> bool:
    """Whether a store's text is of this very sending: under NOTSURE a number is sent again."""
    try:
        return text is not None and refund_intent_in(text).started == intent.started
    except ValueError:
        return False


def _differs(known: RefundIntent, wanted: RefundIntent) -> bool:
    """Whether two requests under one number are two refunds; who asks may have changed."""
    one, other = known.refund, wanted.refund
    return any(getattr(one, name) != getattr(other, name) for name in _IDENTITY)


_IDENTITY = ("paytype", "out_trade_no", "transaction_id", "total_fee", "refund_fee")
