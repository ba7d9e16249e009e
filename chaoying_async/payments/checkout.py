"""``checkout``: one payment, from before the pay call to its end (M-24)."""

from __future__ import annotations

import random
from typing import Any

import attrs

from chaoying_async.abc import Clock, Gateway, PollStore
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import (
    AttemptInProgressError,
    ParameterError,
    SessionClosedError,
    StoreError,
    StoreInUseError,
)
from chaoying_async.observation import Observation, observer_of
from chaoying_async.payments.claims import NumberClaim
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.payments.records import (
    STORE_ERRORS,
    is_of,
    log,
    shielded,
    take_back,
    taken_back,
)
from chaoying_async.payments.running import RunningPayment, keys_of
from chaoying_async.polling.order import ask_once, default_of, merchant_of
from chaoying_async.pollstore.failures import GONE
from chaoying_async.sansio.api.endpoint import Reply, check_kind
from chaoying_async.sansio.api.follow_up import OrderQuery
from chaoying_async.sansio.enums import PayType, Undocumented
from chaoying_async.sansio.observed import ObservedPayment, order_mark
from chaoying_async.sansio.paid import paid_order, paid_under
from chaoying_async.sansio.payments.hearing import PayAnswer, Payment, PayNews, read_pay
from chaoying_async.sansio.payments.intent import Intent
from chaoying_async.sansio.payments.machine import Till, opened
from chaoying_async.sansio.payments.moves import CheckoutEnd, CheckoutReason, CheckoutStatus
from chaoying_async.sansio.payments.order_numbers import AttemptNumber
from chaoying_async.sansio.payments.wallets import askable
from chaoying_async.sansio.polling.schedule import PollSchedule

DEFAULT_SCHEDULE = PollSchedule()
_DOING = "checkout"

#: How a checkout ends whose pay call decided at once.
_ENDS = {
    PayNews.PAID: CheckoutEnd(CheckoutStatus.PAID),
    PayNews.MISMATCH: CheckoutEnd(CheckoutStatus.UNKNOWN, CheckoutReason.MISMATCH),
    PayNews.NOT_SENT: CheckoutEnd(CheckoutStatus.FAILED, CheckoutReason.NOT_SENT),
    PayNews.REFUSED: CheckoutEnd(CheckoutStatus.FAILED, CheckoutReason.REFUSED),
}


async def checkout(
    gateway: Gateway,
    pay: Payment,
    *,
    schedule: PollSchedule = DEFAULT_SCHEDULE,
    paytype: PayType | Undocumented | str | None = None,
    order_no: str | None = None,
    allow_no_cancel: bool = False,
    store: PollStore | None = None,
    clock: Clock | None = None,
    rng: random.Random | None = None,
) -> CheckoutOutcome:
    """Charge a customer at a till, and say honestly how it ended.

    Pays once. What is not decided at once is asked about on ``schedule`` (whose ``until`` is cut
    at 240 s after the pay call started), then cancelled inside the gateway's window, and asked
    about until the cancel's effect is known. Nothing raises for how a payment ended: look at
    ``outcome.status``, or call ``outcome.unwrap()``. It may take five minutes, and longer when a
    cancelled order turns out paid.

    Cancelling needs a ``paytype``. A ``FacePay`` names it; for a ``Pay`` give it, or it is guessed
    from the payment code's published prefix. Where that fails too, this is a
    :class:`~chaoying_async.exceptions.ParameterError` *before* anything is sent, unless
    ``allow_no_cancel`` says that an order may be left open (it then ends UNKNOWN).

    What is paid, but was not paid by this call, is PAID_EARLIER: the number was used before, by a
    task that was delivered twice (then the goods are still to be handed out) or by another sale
    (then they are not). Where the gateway said so (20004), this call never cancels.

    One business order is charged once: while an attempt is under way, undecided or paid, another
    one of the same order, or with the same ``out_trade_no``, is an
    :class:`~chaoying_async.exceptions.AttemptInProgressError`. The order is ``order_no``, else the
    one that ``OrderNumbers`` made the number for, else the ``out_trade_no`` itself. Without a
    ``store`` that holds for this gateway in this process.

    With a ``store`` what is intended is durable before it leaves, and :func:`resume` takes up what
    a dead process left. Cancelling the awaiting task records UNKNOWN and re-raises; without a
    store it is a line at ERROR. Call ``outcome.done()`` when the outcome took effect.

    A store that fails before the payment leaves, or takes 10 s until then, is a
    :class:`~chaoying_async.exceptions.StoreError` whose ``sent`` is False. Before an end is told,
    the store's lease is read again: where another process has taken the store, or it was closed,
    this raises (``sent`` says whether the payment may have left) and that process tells the end;
    where the database fails, it ends UNKNOWN with the reason STORE_FAILED, and stays in the store.
    """
    if not isinstance(pay, Payment):
        raise TypeError(f"checkout takes Pay and FacePay, not {type(pay).__name__}")
    check_kind("schedule", schedule, PollSchedule)
    clock = clock or SystemClock()
    intent = intent_of(
        *(gateway, pay, clock), paytype=paytype, order_no=order_no, allow_no_cancel=allow_no_cancel
    )
    owners = (gateway,) if store is None else (gateway, store)
    work = observed_checkout(intent)
    with Observation(observer_of(gateway), work, clock):
        claim = NumberClaim(owners, keys_of(intent), again=False)
        try:
            running = RunningPayment(
                gateway, store, claim, intent, age=0.0, clock=clock, rng=rng or random.Random()
            )
            outcome = await CheckoutCall(pay, running).run(schedule.begun(clock.now()))
        finally:
            claim.release()  # changes nothing where it was settled
        tell_checkout(work, outcome)
        return outcome


def observed_checkout(intent: Intent, name: str = _DOING) -> ObservedPayment:
    """What an observer is told of a payment."""
    return ObservedPayment(name=name, order=order_mark(intent.mch_id, intent.out_trade_no))


def tell_checkout(work: ObservedPayment, outcome: CheckoutOutcome) -> None:
    """Say how a payment ended."""
    known = outcome.status is not CheckoutStatus.UNKNOWN
    work.over(outcome.status, outcome.reason, known=known)


def intent_of(
    gateway: Gateway,
    pay: Payment,
    clock: Clock,
    *,
    paytype: PayType | Undocumented | str | None,
    order_no: str | None,
    allow_no_cancel: bool,
) -> Intent:
    """What is written down of a payment before it leaves; see :func:`checkout` for the arguments.

    :class:`ParameterError` for what could not be cancelled, and must not be left open.
    """
    mch_id = merchant_of(gateway, pay.mch_id, "checkout", pay.out_trade_no)
    named = getattr(pay, "paytype", None)  # a FacePay's (C 33)
    if named and paytype and named != paytype:
        raise ParameterError({"paytype": "is another one in the request"})
    known: Any = named or paytype
    if known:  # refuse a wrong one now, not at the first query
        known = OrderQuery(paytype=known, mch_id=mch_id, out_trade_no=pay.out_trade_no).paytype
    guessed = PayType.from_auth_code(getattr(pay, "auth_code", ""))
    found = known or guessed
    number = pay.out_trade_no
    order = order_no or (number.order_no if isinstance(number, AttemptNumber) else number)
    if found is None and not allow_no_cancel:
        rule = "is not known, so it could not be cancelled: name it, or allow_no_cancel=True"
        raise ParameterError({"paytype": rule}).about(_DOING, str.__str__(number))
    return Intent(
        mch_id=mch_id,
        out_trade_no=str.__str__(number),
        order_no=str(order),
        total_fee=int(pay.total_fee),
        # The document's own default (默认为商户号), which a cancel has to spell out.
        op_user_id=pay.op_user_id or default_of(gateway, "op_user_id") or mch_id,
        started=clock.now(),
        paytype=None if found is None else str(found),
        # The code may be of another wallet than the caller names: either could be meant (M-22).
        certain=bool(known) and guessed in (None, known),
    )


class CheckoutCall:
    """One payment by its own pay call, from the first record to the outcome."""

    def __init__(self, pay: Payment, running: RunningPayment) -> None:
        self._pay = pay
        self._running = running
        self._end: CheckoutEnd | None = None
        #: Whether the intent was written: before that, a record under its key is somebody else's.
        self._written = False
        #: Whether the payment was refused in this process, before a byte left.
        self.refused_here = False

    async def run(self, schedule: PollSchedule) -> CheckoutOutcome:
        """Write the intent down, pay, ask until it has ended, and write the end down."""
        running = self._running
        await self._admit()
        try:
            answer = await self.pay_once()
        except BaseException as error:
            await (self._withdraw(error) if self.refused_here else self._interrupt())
            raise
        try:
            self._end = end = await self._to_the_end(answer, schedule)
            await running.record_end(end)
            await running.records.before_an_end(running.clock)
        except StoreError:
            return self._store_failed()
        except GONE as error:
            self._store_lost(error)
            raise
        except BaseException:  # cancelled
            await self._interrupt()
            raise
        running.settle(end)
        return running.outcome(end)

    async def _admit(self) -> None:
        """Write down the order and the intent, before a byte leaves."""
        running, intent = self._running, self._running.intent
        try:
            await taken_back(running.store, running.clock, intent)
            await running.order.admit(intent, getattr(self._pay.out_trade_no, "attempt", 0))
            self._written = True
            await running.records.put(intent.key, intent.text())
            await running.records.hold()
            running.starts()
        except AttemptInProgressError:
            running.claim.release()
            raise
        except BaseException as error:
            await self._withdraw(error)
            if isinstance(error, STORE_ERRORS):
                error.about(_DOING, intent.out_trade_no).sent = False
            raise

    def _store_failed(self) -> CheckoutOutcome:
        """End UNKNOWN: the store fails, and nobody knows what another process heard since."""
        end = self._end
        if end is None or end.status is not CheckoutStatus.UNKNOWN:
            end = CheckoutEnd(CheckoutStatus.UNKNOWN, CheckoutReason.STORE_FAILED)
        self._running.settle(end)
        return self._running.outcome(end, kept=False)

    def _store_lost(self, error: StoreInUseError | SessionClosedError) -> None:
        """Say whether the payment may have left: the store's new owner tells how it ended."""
        self._running.settle(CheckoutEnd(CheckoutStatus.UNKNOWN))
        error.sent = self._end is None or self._end.reason is not CheckoutReason.NOT_SENT
        error.about(_DOING, self._running.intent.out_trade_no)

    async def _withdraw(self, error: BaseException) -> None:
        """Undo what was written, the order first: as long as the attempt stands, no other begins.

        Nothing was sent.
        """
        running, intent = self._running, self._running.intent

        async def leave_no_trace() -> None:
            await running.order.withdraw(intent)
            if self._written and is_of(await running.records.get(intent.key), intent):
                await running.records.drop(intent.key)

        if (store := running.store) is not None:
            await take_back(store, running.clock, intent, leave_no_trace, error=error)
        running.claim.release()

    async def pay_once(self) -> PayAnswer:
        """Send the payment, and read what the answer says of it.

        A payment that is refused here, before a byte left, raises.
        """
        running = self._running
        said, self.refused_here = await ask_once(running.gateway, self._pay, **running.sending)
        if isinstance(said, Exception) and self.refused_here:
            raise said
        running.heard(said)
        try:
            answer = read_pay(self._pay, said)
            if isinstance(said, Reply):
                self._note(said, paid=answer.news in (PayNews.PAID, PayNews.MISMATCH))
        except Exception:  # noqa: BLE001 - a gateway of the user's that returns no Reply
            answer = PayAnswer(PayNews.UNDECIDED, seen=True)
        return answer

    def _note(self, reply: Reply[Any], *, paid: bool) -> None:
        """Keep what was paid, and the wallet, where the reply names it."""
        running, intent = self._running, self._running.intent
        named = askable(reply.raw.get("paytype"))
        if not intent.certain and named is not None:
            known = named in PayType._value2member_map_
            if known or intent.paytype is None:  # a name in no table (C 29) is better than none
                running.intent = intent = attrs.evolve(intent, paytype=named, certain=known)
        if paid:
            found = paid_order(reply.result, mch_id=intent.mch_id, raw=reply.raw)
            running.paid = paid_under(found, intent.paytype)

    async def _to_the_end(self, answer: PayAnswer, schedule: PollSchedule) -> CheckoutEnd:
        then = self.answered(answer, schedule)
        return await self._running.until_ended(then) if isinstance(then, Till) else then

    def answered(self, answer: PayAnswer, schedule: PollSchedule) -> CheckoutEnd | Till:
        """The end, where the pay call's own answer decides; else how to go on from there."""
        end = self._at_once(answer)
        if end is not None:
            return end
        running = self._running
        running.intent = attrs.evolve(running.intent, answered=True, used=answer.used)
        return opened(
            schedule,
            ended=running.now,
            paytype=running.intent.paytype,
            certain=running.intent.certain,
            seen=answer.seen,
            suspect=answer.suspect,
            used=answer.used,
            dice=running.dice(),
        )

    def _at_once(self, answer: PayAnswer) -> CheckoutEnd | None:
        if answer.news is PayNews.FAILED and answer.status is not None:
            return CheckoutEnd(CheckoutStatus.FAILED, CheckoutReason(answer.status.value))
        if answer.news is PayNews.PAID and self._running.paid_earlier:
            return CheckoutEnd(CheckoutStatus.PAID_EARLIER)
        return _ENDS.get(answer.news)

    async def _interrupt(self) -> None:
        """Write down what is known, which is UNKNOWN unless it had just ended.

        The caller then raises again what interrupted it.
        """
        running, intent, end = self._running, self._running.intent, self._end

        async def record() -> None:
            if end is not None:
                await running.record_end(end)
            else:
                unknown = attrs.evolve(intent, interrupted=True)
                await running.records.put(unknown.key, unknown.text())

        try:
            kept = running.store is not None and await shielded(running.clock, record)
            if not kept:
                log.error(
                    "checkout of %s was ended from outside while its payment was under way: %s, "
                    "so query it before anything else",
                    intent.out_trade_no,
                    CheckoutStatus.UNKNOWN if end is None else end.status,
                )
        finally:
            running.settle(end or CheckoutEnd(CheckoutStatus.UNKNOWN))
