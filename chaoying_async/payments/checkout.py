"""``checkout``: one payment, from before the pay call to its end (M-24)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
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
    UsageError,
)
from chaoying_async.payments.claims import Claim, Key, number_key, order_key
from chaoying_async.payments.letting import Letting
from chaoying_async.payments.orders import OrderBook
from chaoying_async.payments.outcome import CheckoutOutcome, ended
from chaoying_async.payments.records import GONE, STORE_ERRORS, Keeper, log, shielded
from chaoying_async.payments.running import Acting
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.api.follow_up import OrderQuery, Refund
from chaoying_async.sansio.enums import PayType, Undocumented
from chaoying_async.sansio.paid import PaidOrder, paid_order
from chaoying_async.sansio.payments.hearing import PayAnswer, Payment, PayNews, read_pay
from chaoying_async.sansio.payments.intent import CHECKOUT, Intent, paid_under, wallet
from chaoying_async.sansio.payments.machine import opened
from chaoying_async.sansio.payments.moves import CheckoutReason, CheckoutStatus, End
from chaoying_async.sansio.payments.order_numbers import LONGEST, AttemptNumber
from chaoying_async.sansio.polling.schedule import PollSchedule

DEFAULT_SCHEDULE = PollSchedule()
_DOING = "checkout"

#: Pay calls that decide at once.
_ENDS = {
    PayNews.PAID: End(CheckoutStatus.PAID),
    PayNews.MISMATCH: End(CheckoutStatus.UNKNOWN, CheckoutReason.MISMATCH),
    PayNews.NOT_SENT: End(CheckoutStatus.FAILED, CheckoutReason.NOT_SENT),
    PayNews.REFUSED: End(CheckoutStatus.FAILED, CheckoutReason.REFUSED),
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

    A store that fails before the payment leaves is a :class:`~chaoying_async.exceptions.StoreError`
    whose ``sent`` is False. Before an end is told, the store's lease is read again: where another
    process has taken the store, or it was closed, this raises (``sent`` says whether the payment
    may have left) and that process tells the end; where the database fails, it ends UNKNOWN with
    the reason STORE_FAILED, and stays in the store.
    """
    if not isinstance(pay, Payment):
        raise TypeError(f"checkout takes Pay and FacePay, not {type(pay).__name__}")
    clock = clock or SystemClock()
    intent = _intent(gateway, pay, clock, paytype, order_no)
    if intent.paytype is None and not allow_no_cancel:
        rule = "is not known, so it could not be cancelled: name it, or allow_no_cancel=True"
        raise ParameterError({"paytype": rule}).about("checkout", intent.out_trade_no)
    claim = Claim((gateway,) if store is None else (gateway, store), keys_of(intent), again=False)
    running = _Running(
        gateway, pay, intent, claim, store=store, clock=clock, rng=rng or random.Random()
    )
    return await running.run(schedule.begun(clock.now()))


def keys_of(intent: Intent) -> tuple[Key, ...]:
    """What an attempt occupies: its number and its business order."""
    number = number_key(intent.mch_id, intent.out_trade_no)
    return (number, order_key(intent.mch_id, intent.order_no))


def settle(claim: Claim, intent: Intent, end: End) -> None:
    """The number is used up, unless it never left; the order is free where it was not paid."""
    if end.reason is CheckoutReason.NOT_SENT:
        claim.release()
        return
    number, order = keys_of(intent)
    unpaid = end.status in (CheckoutStatus.FAILED, CheckoutStatus.CANCELLED)
    claim.settle((number,) if unpaid else (number, order), ended(end.status))


def _intent(
    gateway: Gateway,
    pay: Payment,
    clock: Clock,
    paytype: PayType | Undocumented | str | None,
    order_no: str | None,
) -> Intent:
    defaults: Any = getattr(gateway, "defaults", None)  # a session has them; a fake need not
    mch_id = pay.mch_id or getattr(defaults, "mch_id", None)
    if not mch_id:
        rule = "is required: name it in the request or give the session a default"
        raise ParameterError({"mch_id": rule}).about("checkout", pay.out_trade_no)
    named = getattr(pay, "paytype", None)  # a FacePay's (C 33)
    if named and paytype and named != paytype:
        raise ParameterError({"paytype": "is another one in the request"})
    known: Any = named or paytype
    if known:  # refused now, not at the first query
        known = OrderQuery(paytype=known, mch_id=mch_id, out_trade_no=pay.out_trade_no).paytype
    guessed = PayType.from_auth_code(getattr(pay, "auth_code", ""))
    found = known or guessed
    number = pay.out_trade_no
    order = order_no or (number.order_no if isinstance(number, AttemptNumber) else number)
    return Intent(
        mch_id=mch_id,
        out_trade_no=str.__str__(number),
        order_no=str(order),
        total_fee=int(pay.total_fee),
        # The document's own default (默认为商户号), which a cancel has to spell out.
        op_user_id=pay.op_user_id or getattr(defaults, "op_user_id", None) or mch_id,
        started=clock.now(),
        paytype=None if found is None else str(found),
        # A code of another wallet than the caller names: either could be meant (M-22).
        certain=bool(known) and guessed in (None, known),
    )


class _Running:
    """One checkout under way."""

    def __init__(
        self,
        gateway: Gateway,
        pay: Payment,
        intent: Intent,
        claim: Claim,
        *,
        store: PollStore | None,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._gateway = gateway
        self._pay = pay
        self._claim = claim
        self._store = store
        self._clock = clock
        self._keeper = Keeper(store, CHECKOUT)
        self._orders = OrderBook(store)
        self._acting = Acting(gateway, clock, rng, self._keeper, intent, age=0.0)
        self._end: End | None = None
        #: The intent is being written: before that, one under its key is somebody else's.
        self._written = False

    async def run(self, schedule: PollSchedule) -> CheckoutOutcome:
        """From the first record to the outcome."""
        await self._admit()
        try:
            answer = await self._pay_once()
        except (ParameterError, UsageError):  # refused here, before a byte left
            await self._withdraw()
            raise
        except BaseException:
            await self._interrupt()
            raise
        try:
            self._end = end = await self._to_the_end(answer, schedule)
            await self._record_end()
            await self._keeper.before_an_end(self._clock)
        except StoreError:
            return self._untold()
        except GONE as error:
            self._lost(error)
            raise
        except BaseException:  # cancelled
            await self._interrupt()
            raise
        settle(self._claim, self._acting.intent, end)
        return outcome_of(
            self._acting.intent, end, self._acting.paid, self._acting.replies, self._store
        )

    async def _admit(self) -> None:
        """Everything that has to be durable before a byte leaves."""
        intent = self._acting.intent
        try:
            await self._orders.admit(intent, getattr(self._pay.out_trade_no, "attempt", 0))
            self._written = True
            await self._keeper.put(intent.key, intent.text())
            await self._keeper.hold()
        except AttemptInProgressError:
            self._claim.release()
            raise
        except BaseException as error:
            await self._withdraw()
            if isinstance(error, STORE_ERRORS):
                error.about(_DOING, intent.out_trade_no).sent = False
            raise
        self._acting.starts()

    def _untold(self) -> CheckoutOutcome:
        """The store fails: nobody knows whether what we heard is the end, so it is none."""
        acting, end = self._acting, self._end
        if end is None or end.status is not CheckoutStatus.UNKNOWN:
            end = End(CheckoutStatus.UNKNOWN, CheckoutReason.STORE_FAILED)
        settle(self._claim, acting.intent, end)
        return outcome_of(acting.intent, end, acting.paid, acting.replies)

    def _lost(self, error: StoreInUseError | SessionClosedError) -> None:
        """The store is not ours any more: whoever has it says how this payment ended."""
        settle(self._claim, self._acting.intent, End(CheckoutStatus.UNKNOWN))
        error.sent = self._end is None or self._end.reason is not CheckoutReason.NOT_SENT
        error.about(_DOING, self._acting.intent.out_trade_no)

    async def _withdraw(self) -> None:
        """Nothing was sent: leave no trace."""
        intent = self._acting.intent

        async def leave_no_trace() -> None:
            if self._written:
                await self._keeper.forget(intent.key)
            await self._orders.withdraw(intent)

        if self._store is not None:
            await shielded(self._clock, leave_no_trace)
        self._claim.release()

    async def _pay_once(self) -> PayAnswer:
        acting = self._acting
        said: Reply[Any] | Exception
        try:
            said = await self._gateway.send(self._pay)
        except (ParameterError, UsageError):
            raise
        except Exception as error:  # noqa: BLE001 - read_pay says what it means
            said = error
        acting.heard(said)
        try:
            answer = read_pay(self._pay, said)
            if isinstance(said, Reply):
                self._note(said, paid=answer.news in (PayNews.PAID, PayNews.MISMATCH))
        except Exception:  # noqa: BLE001 - a gateway of the user's that returns no Reply
            answer = PayAnswer(PayNews.UNDECIDED, seen=True)
        return answer

    def _note(self, reply: Reply[Any], *, paid: bool) -> None:
        """Keep what was paid, and the wallet, where the reply names it."""
        acting = self._acting
        intent = acting.intent
        named = reply.raw.get("paytype")
        if not intent.certain and isinstance(named, str) and named:
            known = named in PayType._value2member_map_
            if known or intent.paytype is None:  # a name that is in no table (C 29) beats no guess
                acting.intent = intent = attrs.evolve(intent, paytype=named, certain=known)
        if paid:
            found = paid_order(reply.result, mch_id=intent.mch_id, raw=reply.raw)
            acting.paid = paid_under(found, intent.paytype)

    async def _to_the_end(self, answer: PayAnswer, schedule: PollSchedule) -> End:
        acting = self._acting
        if answer.news is PayNews.FAILED and answer.status is not None:
            return End(CheckoutStatus.FAILED, CheckoutReason(answer.status.value))
        if answer.news is PayNews.PAID and acting.paid_earlier:
            return End(CheckoutStatus.PAID_EARLIER)
        if (end := _ENDS.get(answer.news)) is not None:
            return end
        acting.intent = attrs.evolve(acting.intent, answered=True, used=answer.used)
        till = opened(
            schedule,
            ended=acting.now,
            paytype=acting.intent.paytype,
            certain=acting.intent.certain,
            seen=answer.seen,
            suspect=answer.suspect,
            used=answer.used,
            dice=acting.dice(),
        )
        return await acting.until_ended(till)

    async def _record_end(self) -> None:
        if self._end is not None:
            await record_end(self._keeper, self._orders, self._acting, self._end)

    async def _interrupt(self) -> None:
        """Record what is known, which is UNKNOWN unless it had just ended; then raise again."""
        acting = self._acting
        intent = acting.intent

        async def record() -> None:
            if self._end is not None:
                await self._record_end()
            else:
                unknown = attrs.evolve(intent, interrupted=True)
                await self._keeper.put(unknown.key, unknown.text())

        kept = self._store is not None and await shielded(self._clock, record)
        if not kept:
            log.error(
                "checkout of %s was ended from outside while its payment was under way: %s, "
                "so query it before anything else",
                intent.out_trade_no,
                CheckoutStatus.UNKNOWN if self._end is None else self._end.status,
            )
        settle(self._claim, intent, self._end or End(CheckoutStatus.UNKNOWN))


async def record_end(keeper: Keeper, orders: OrderBook, acting: Acting, end: End) -> None:
    """The order first: dying in between, the attempt is asked about once more."""
    paid = _worth_keeping(end, acting.paid)
    intent = attrs.evolve(acting.intent, end=end, paid=paid, interrupted=False)
    if keeper.store is None:
        return
    try:
        await orders.close(intent, end)
    except GONE:
        raise
    except Exception as error:  # noqa: BLE001 - the outcome counts more than its record
        log.error("%s (order %s)", error, intent.order_no)
    await keeper.note(intent.key, intent.text())


def _worth_keeping(end: End, paid: PaidOrder | None) -> PaidOrder | None:
    """What was paid once and then reversed is not "paid" any more."""
    return paid if end.status in _PAID or end.reason in _SAW_PAID else None


_PAID = frozenset(
    {CheckoutStatus.PAID, CheckoutStatus.PAID_EARLIER, CheckoutStatus.PAID_AFTER_CANCEL}
)
_SAW_PAID = frozenset(
    {CheckoutReason.MISMATCH, CheckoutReason.PAID_UNCONFIRMED, CheckoutReason.REFUNDED}
)


def outcome_of(
    intent: Intent,
    end: End,
    paid: PaidOrder | None,
    replies: Sequence[Reply[Any] | Exception] = (),
    store: PollStore | None = None,
) -> CheckoutOutcome:
    """The outcome as its consumer gets it."""
    paid = _worth_keeping(end, paid)
    closed = attrs.evolve(intent, end=end)
    return CheckoutOutcome(
        status=end.status,
        mch_id=intent.mch_id,
        out_trade_no=intent.out_trade_no,
        order_no=intent.order_no,
        paid=paid,
        replies=tuple(replies),
        paytype=None if intent.paytype is None else wallet(intent.paytype),
        suggested_refund=(
            _refund(intent, paid) if end.status is CheckoutStatus.PAID_AFTER_CANCEL else None
        ),
        reason=end.reason,
        forget=None if store is None else partial(Letting(store).soon, closed),
    )


def _refund(intent: Intent, paid: PaidOrder | None) -> Refund | None:
    """All of it, under a number that belongs to this payment: suggested twice, it is one refund."""
    if intent.paytype is None:
        return None
    number = f"R-{intent.out_trade_no}"
    amount = intent.total_fee if paid is None or paid.payable is None else paid.payable
    return Refund(
        paytype=wallet(intent.paytype),
        mch_id=intent.mch_id,
        out_trade_no=intent.out_trade_no,
        # No out_trade_no has a hyphen, so the two forms never meet (C 49, C 53).
        out_refund_no=number if len(number) <= LONGEST else intent.out_trade_no,
        total_fee=amount,
        refund_fee=amount,
        op_user_id=intent.op_user_id,
    )
