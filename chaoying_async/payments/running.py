"""One payment while its order is asked about and cancelled, until its end is written and told.

What to do next is decided in ``sansio.payments.machine``; ``checkout`` and ``resume`` start here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Coroutine, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import attrs

from chaoying_async.abc import Clock, Gateway, PollStore
from chaoying_async.exceptions import ProtocolError, StoreError
from chaoying_async.payments.claims import Key, NumberClaim, number_key, order_key
from chaoying_async.payments.orders import BusinessOrder
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.payments.records import Records, forget_attempt, insist, log
from chaoying_async.polling.order import ask, leaving_within
from chaoying_async.pollstore.errands import Durable, durable
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.api.follow_up import Cancel as CancelRequest
from chaoying_async.sansio.api.follow_up import OrderQuery, OrderQueryResult, Refund
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.sansio.paid import (
    PaidOrder,
    paid_order,
    paid_under,
    refunded_order,
    requested_paytype,
)
from chaoying_async.sansio.payments.hearing import all_wrongly_signed, made_earlier, read_cancel
from chaoying_async.sansio.payments.intent import CHECKOUT, Intent
from chaoying_async.sansio.payments.machine import Till, heard_cancel, heard_query, next_move
from chaoying_async.sansio.payments.moves import (
    Ask,
    CancelNews,
    CheckoutEnd,
    CheckoutReason,
    CheckoutStatus,
    SendCancel,
    WaitUntil,
    why_no_other_attempt,
)
from chaoying_async.sansio.payments.refunds import full_refund
from chaoying_async.sansio.polling.status import Answer, Says, read_answer

#: A ``Date`` header is exact to so many seconds.
_A_DATE_HAS = 1.0
#: Seconds from the start that is stored until the pay call leaves, at most: a restarted till
#: cancels from 30 s after the start.
_STARTS_WITHIN = 10.0
#: Seconds in which a call that is late may leave all the same; 0 would be no limit at all.
_LEAST = 0.1
#: After so many answers that fail their signature check the key is likely to be wrong.
_SUSPICIOUS = 2

T = TypeVar("T")


class RunningPayment:
    """One payment that is asked about, and cancelled, until it has ended.

    ``age`` says how many seconds ago the pay call started, by the wall clock.
    """

    def __init__(
        self,
        gateway: Gateway,
        store: PollStore | None,
        claim: NumberClaim,
        intent: Intent,
        *,
        age: float,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.gateway = gateway
        self.store = store
        self.claim = claim
        self.records = Records(store, CHECKOUT)
        self.order = BusinessOrder(store)
        self.clock = clock
        self._rng = rng
        self._zero = clock.monotonic() - max(0.0, age)
        #: Whether our clock was set back since the start was stored: nobody knows when that was.
        self._set_back = age < 0 and intent.ahead is None
        self._began = clock.now() if self._set_back else intent.started
        self._kept = intent
        #: The intent, with everything that was learnt since.
        self.intent = intent
        self.replies: list[Reply[Any] | Exception] = []
        self.paid: PaidOrder | None = None
        self._warned = False
        #: Options of the pay call, which has to leave in time.
        self.sending: dict[str, Any] = {}

    def starts(self) -> None:
        """Count the seconds from now: the pay call leaves, soon after the start that is stored.

        :class:`StoreError` where that was too long ago: whoever took the payment up by what is
        stored would cancel it, or believe that it never arrived, while it is on its way (M-24).
        """
        late = (self.clock.now() - self.intent.started).total_seconds()
        if self.store is not None and late > _STARTS_WITHIN - _LEAST:
            raise StoreError(
                f"it took {late:.0f} s to write the payment down: the store is slow or locked, or "
                "this process was stopped meanwhile"
            )
        self._zero = self.clock.monotonic()
        self._began = self.clock.now()
        if self.store is not None:
            self.sending = leaving_within(self.gateway, _STARTS_WITHIN - late)

    def heard(self, said: Reply[Any] | Exception) -> None:
        """Keep a reply or an error; log a warning, once, when none of them can be believed."""
        self.replies.append(said)
        self._compare_clocks(getattr(said, "date", None))
        if not self._warned and all_wrongly_signed(self.replies, at_least=_SUSPICIOUS):
            self._warned = True
            log.warning(
                "checkout of %s: every answer so far failed its signature check, and none is "
                "believed: are key and algorithm right? chaoying check tells",
                self.intent.out_trade_no,
            )

    def _compare_clocks(self, date: datetime | None) -> None:
        """Learn by how much the gateway's clock was ahead of ours when the pay call started (M-24).

        In doubt the value is taken with which a payment of this call never seems earlier: our clock
        may be put forward, or the machine sleep, and several servers' clocks differ.
        """
        if date is None or self._set_back:
            return
        by_the_wall = (self.clock.now() - self._began).total_seconds()
        since = (date - self.intent.started).total_seconds()
        found = since - max(self.now, by_the_wall)
        ahead = self.intent.ahead
        if ahead is None or found < ahead - _A_DATE_HAS:
            self.intent = attrs.evolve(self.intent, ahead=found)

    @property
    def paid_earlier(self) -> bool:
        """Whether the payment that was last seen was made before the pay call started."""
        intent = self.intent
        time_end = None if self.paid is None else self.paid.time_end
        started = self._began if self._set_back else intent.started
        return made_earlier(time_end, started, intent.ahead)

    def _explained(self, end: CheckoutEnd) -> CheckoutEnd:
        """The same end with another reason, where every answer failed its signature check."""
        if end.reason is CheckoutReason.NO_ANSWER and all_wrongly_signed(self.replies):
            return CheckoutEnd(end.status, CheckoutReason.UNVERIFIED)
        return end

    @property
    def now(self) -> float:
        """Seconds since the pay call started."""
        return self.clock.monotonic() - self._zero

    def dice(self) -> float:
        """The jitter of the next pause."""
        return self._rng.random()

    async def until_ended(self, till: Till) -> CheckoutEnd:
        """Send the queries and cancels that the till decides on, until it decides on an end."""
        waited = 0.0  # the moment that was slept for: a sleep may end a little early
        await self.learnt(till)
        while True:
            now = max(self.now, waited)
            move = next_move(till, now)
            match move:
                case CheckoutEnd():
                    return self._explained(move)
                case WaitUntil():
                    await self.clock.sleep(move.moment - now)
                    waited = move.moment
                case Ask():
                    till = await self._ask(till, move, now)
                case SendCancel():
                    till = await self._cancel(till, move)

    async def _ask(self, till: Till, move: Ask, now: float) -> Till:
        intent = self.intent
        query = OrderQuery(
            paytype=requested_paytype(move.paytype),
            mch_id=intent.mch_id,
            out_trade_no=intent.out_trade_no,
        )
        said = await ask(self.gateway, query)
        self.heard(said)
        answer = self._read(query, said)
        till = heard_query(
            till,
            answer,
            sent=now,
            paytype=move.paytype,
            about=isinstance(said, ProtocolError),
            earlier=self.paid_earlier,
            heard=self.now,
            dice=self.dice(),
        )
        await self.learnt(till)
        return till

    def _read(self, query: OrderQuery, said: Reply[Any] | Exception) -> Answer:
        try:
            answer = read_answer(query, said, self.intent.total_fee)
            if isinstance(said, Reply) and isinstance(said.result, OrderQueryResult):
                paid = paid_order(said.result, mch_id=self.intent.mch_id, raw=said.raw)
                self.paid = paid_under(paid, str(query.paytype))
            elif isinstance(said, Reply) and said.meaning is Meaning.REFUNDED:
                intent = self.intent
                self.paid = refunded_order(
                    said.raw, mch_id=intent.mch_id, out_trade_no=intent.out_trade_no
                )
        except Exception:  # noqa: BLE001 - a gateway of the user's that returns no Reply
            return Answer(Says.TROUBLE)
        return answer

    async def _cancel(self, till: Till, move: SendCancel) -> Till:
        """Write the cancel down before it leaves: whoever restarts must know that it may have."""
        unclear = till.cancels.after(CancelNews.UNCLEAR, self.now)
        before = self.intent.learnt(attrs.evolve(till, cancels=unclear))
        news = CancelNews.NOT_SENT
        if await self.records.before_money(before.key, before.text()) and self.now <= move.until:
            self.intent = before  # this is recorded if the task is cancelled meanwhile
            news = await self._send_cancel(move)
        self._kept = before
        till = heard_cancel(till, news, ended=self.now)
        await self.learnt(till)
        return till

    async def _send_cancel(self, move: SendCancel) -> CancelNews:
        intent = self.intent
        said: Reply[Any] | Exception
        try:
            said = await self.gateway.send(
                CancelRequest(
                    paytype=requested_paytype(move.paytype),
                    mch_id=intent.mch_id,
                    out_trade_no=intent.out_trade_no,
                    op_user_id=intent.op_user_id,
                ),
                **leaving_within(self.gateway, max(_LEAST, move.until - self.now)),
            )
        except Exception as error:  # noqa: BLE001 - read_cancel says what it means
            said = error
        self.heard(said)
        try:
            return read_cancel(said)
        except Exception:  # noqa: BLE001 - a gateway of the user's that returns no Reply
            return CancelNews.UNCLEAR

    async def learnt(self, till: Till) -> None:
        """Write down what a restart must know: that the order exists, its wallet, its cancels."""
        self.intent = self.intent.learnt(till)
        now = self.intent
        if now != self._kept and await self.records.note(now.key, now.text()):
            self._kept = now

    async def record_end(self, end: CheckoutEnd) -> None:
        """Write down how it ended, the order first: dying in between, it is asked about again.

        :class:`StoreError` where that cannot be done: the end must not be told then, since whoever
        finds the record would take the payment for an open one, and cancel it (M-23).
        """
        if self.store is not None:
            await insist(self.clock, partial(self.write_end, end))

    async def write_end(self, end: CheckoutEnd) -> None:
        """Write down how it ended, once."""
        paid = _worth_keeping(end, self.paid)
        intent = attrs.evolve(self.intent, end=end, paid=paid, interrupted=False)
        try:
            await self.order.close(intent, end)
        except ValueError as error:  # a record that cannot be read bars its order anyway
            log.error("%s (order %s)", error, intent.order_no)
        await self.records.put(intent.key, intent.text())

    def settle(self, end: CheckoutEnd) -> None:
        """Free the order where it was not paid, and the number too where the call never left."""
        if end.reason is CheckoutReason.NOT_SENT:
            self.claim.release()
            return
        number, order = keys_of(self.intent)
        unpaid = end.status in (CheckoutStatus.FAILED, CheckoutStatus.CANCELLED)
        self.claim.settle(
            (number,) if unpaid else (number, order), why_no_other_attempt(end.status)
        )

    def outcome(self, end: CheckoutEnd, *, kept: bool = True) -> CheckoutOutcome:
        """The outcome as the consumer gets it; ``kept``: a store has it until it is ``done()``."""
        store = self.store if kept else None
        return outcome_of(self.intent, end, self.paid, self.replies, store)


def keys_of(intent: Intent) -> tuple[Key, Key]:
    """The keys that an attempt claims: of its number and of its business order."""
    number = number_key(intent.mch_id, intent.out_trade_no)
    return (number, order_key(intent.mch_id, intent.order_no))


def outcome_of(
    intent: Intent,
    end: CheckoutEnd,
    paid: PaidOrder | None,
    replies: Sequence[Reply[Any] | Exception],
    store: PollStore | None,
) -> CheckoutOutcome:
    """The outcome of a payment that ended; a ``store`` has it until it is ``done()``."""
    paid = _worth_keeping(end, paid)
    return CheckoutOutcome(
        status=end.status,
        mch_id=intent.mch_id,
        out_trade_no=intent.out_trade_no,
        order_no=intent.order_no,
        paid=paid,
        replies=tuple(replies),
        paytype=None if intent.paytype is None else requested_paytype(intent.paytype),
        suggested_refund=(
            _refund(intent, paid) if end.status is CheckoutStatus.PAID_AFTER_CANCEL else None
        ),
        reason=end.reason,
        forget=None if store is None else partial(_done, store, attrs.evolve(intent, end=end)),
    )


def _done(store: PollStore, intent: Intent) -> Durable:
    return durable(forget_attempt(store, intent))


_PAID = frozenset(
    {CheckoutStatus.PAID, CheckoutStatus.PAID_EARLIER, CheckoutStatus.PAID_AFTER_CANCEL}
)
_SAW_PAID = frozenset(
    {CheckoutReason.MISMATCH, CheckoutReason.PAID_UNCONFIRMED, CheckoutReason.REFUNDED}
)


def _worth_keeping(end: CheckoutEnd, paid: PaidOrder | None) -> PaidOrder | None:
    """The paid order, unless it was reversed since: then it is not "paid" any more."""
    return paid if end.status in _PAID or end.reason in _SAW_PAID else None


def _refund(intent: Intent, paid: PaidOrder | None) -> Refund | None:
    if intent.paytype is None:
        return None
    return full_refund(
        paytype=intent.paytype,
        mch_id=intent.mch_id,
        out_trade_no=intent.out_trade_no,
        amount=intent.total_fee if paid is None or paid.payable is None else paid.payable,
        op_user_id=intent.op_user_id,
    )


async def as_they_end(
    work: Iterator[Coroutine[Any, Any, T | None]], at_once: int
) -> AsyncGenerator[T]:
    """Run at most ``at_once`` coroutines at a time; yield their results that are not None.

    A consumer that stops early leaves nothing running.
    """
    tasks: set[asyncio.Task[T | None]] = set()
    try:
        while True:
            for each in islice(work, max(1, at_once) - len(tasks)):
                tasks.add(asyncio.create_task(each, name="chaoying payments: resume"))
            if not tasks:
                return
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (result := task.result()) is not None:
                    yield result
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
