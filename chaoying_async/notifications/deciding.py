"""Decides about one message: asks the shop, the inbox and the gateway, and has it judged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from chaoying_async.abc import Clock, Gateway, Inbox
from chaoying_async.notifications.callbacks import resolved
from chaoying_async.notifications.tasks import must_propagate
from chaoying_async.sansio.api.follow_up import OrderQuery, OrderQueryResult
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.notifications.case import (
    Case,
    Confirmation,
    ExpectedOrder,
    NoAmountCheck,
    Seen,
    Unconfirmed,
    order_of_case,
)
from chaoying_async.sansio.notifications.decide import (
    OTHER_NUMBERS,
    Decision,
    Judgement,
    is_anothers,
    is_told_otherwise,
    judge,
    repeats_what_is_done,
)
from chaoying_async.sansio.notifications.decide import first_seen as judged_as_of
from chaoying_async.sansio.notifications.facts import Facts, facts_from_text, to_text
from chaoying_async.sansio.notifications.inbox_values import (
    LONGEST_MCH_ID,
    LONGEST_NUMBER,
    Aside,
    InboxFullError,
    OrderKey,
    Record,
)
from chaoying_async.sansio.notifications.message import NotificationOutcome
from chaoying_async.sansio.paid import PaidOrder, PaidSource, paid_order
from chaoying_async.sansio.polling.status import PollStatus, Says, read_answer
from chaoying_async.sansio.values import Fen

#: ``expected(mch_id, out_trade_no)``.
Lookup = Callable[[str, str], Awaitable[ExpectedOrder | None] | ExpectedOrder | None]

#: Seconds of the budget kept back for setting aside a message that was not confirmed in time.
SPARE = 0.25
_CONTROL = frozenset(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
#: Stands in a message's key for a name that could not be kept.
NO_NAME = "?"

#: Decisions for which only the gateway's word is missing.
_WORTH_ASKING = frozenset({Decision.UNCONFIRMED, Decision.UNREADABLE})
#: Ends of an order under which it must not be delivered.
_NOT_PAID = frozenset(
    {PollStatus.FAILED, PollStatus.CLOSED, PollStatus.REVOKED, PollStatus.REFUNDED}
)

#: The name under which an order's first message of the other way is kept; no message has such a
#: fingerprint.
FIRST: Final = "0" * 64
#: Seconds until ``run_due`` closes that message, where the process died before it could.
CLOSED_IN: Final = 30.0

NOT_KEPT: Final = "it may be another payment: there was no room to remember its numbers"
TWO_PAYMENTS: Final = "two messages of the same kind name different transactions of an order"


@attrs.define
class DecidedMessage:
    """A message, and what was decided about it."""

    facts: Facts
    key: OrderKey
    """The order by the shop's own merchant number; the message may spell it another way."""
    verdict: Judgement
    first_seen: datetime
    before: Record | None = None
    """The order's record in the inbox when this was decided."""
    done: PaidOrder | None = None
    """For a duplicate: the order that took effect, where the message says the same of it."""
    foreign: bool = False
    """The shop knows no such order of this merchant: strangers send such messages (M-15)."""

    @property
    def as_received(self) -> OrderKey:
        """The order as the message names it."""
        return storable(self.facts) or _nameless_key(self.facts)

    @property
    def leaves_nothing(self) -> bool:
        """Whether it is a failure of an order that is not this merchant's (M-15)."""
        failed = self.facts.outcome is NotificationOutcome.NOT_PAID
        return self.foreign and failed and self.verdict.decision is not Decision.UNREADABLE


def storable(facts: Facts) -> OrderKey | None:
    """The message's own names, where they can be a key."""
    mch_id, number = facts.mch_id, facts.out_trade_no
    if 0 < len(mch_id) <= LONGEST_MCH_ID and 0 < len(number) <= LONGEST_NUMBER:
        named = mch_id + number
        # Printable text has no control character; other text is looked at, one by one.
        if named.isprintable() or _CONTROL.isdisjoint(named):
            return OrderKey(mch_id, number)
    return None


class Decider:
    """Gathers what is known about a message, and has :func:`judge` decide."""

    def __init__(
        self,
        inbox: Inbox,
        clock: Clock,
        *,
        expected: Lookup | NoAmountCheck,
        confirm: Gateway | None,
        trust_coupon_fee: bool,
        takes_closed: bool,
    ) -> None:
        self._inbox = inbox
        self._window = inbox.window
        self._clock = clock
        self._expected = expected
        self._confirm = confirm
        self._trust_coupon_fee = trust_coupon_fee
        self._takes_closed = takes_closed

    async def expected(
        self, mch_id: str, out_trade_no: str
    ) -> ExpectedOrder | NoAmountCheck | None:
        """What the shop expects for an order number as received."""
        if isinstance(self._expected, NoAmountCheck):
            return self._expected
        found: Any = await resolved(self._expected(mch_id, out_trade_no))
        if found is None or isinstance(found, ExpectedOrder):
            return found
        raise TypeError("expected() must return an ExpectedOrder or None")

    async def decide(
        self, facts: Facts, *, first_seen: datetime | None, until: float
    ) -> DecidedMessage:
        """What is to be done about a message.

        Of what is asked for it, only the gateway is given up in time, a moment before ``until``.
        ``first_seen``: when this message first came; None: now, as far as anybody knows.
        """
        received = storable(facts)
        if received is None:
            return self._nameless(facts)
        expected = await self.expected(*received)
        key = _key(received, expected)
        record = await self._inbox.look(key)
        foreign = expected is None or is_anothers(facts.mch_id, expected)
        case = self._case(facts, expected, record, first_seen)
        verdict = judge(case)
        if verdict.decision is Decision.STALE and first_seen is None:
            aside = await self._inbox.aside(received, facts.fingerprint)
            if aside is not None:
                case = attrs.evolve(case, first_seen=aside.first_seen)
                verdict = judge(case)
        is_open = case.confirmation is Unconfirmed.NO_ANSWER and not foreign
        if is_open and verdict.decision in _WORTH_ASKING:
            case = attrs.evolve(case, confirmation=await self._ask(key, facts, until - SPARE))
            verdict = judge(case)
        if verdict.decision is Decision.PAID_AFTER_CLOSE and not self._takes_closed:
            verdict = Judgement(Decision.CONFLICT, verdict.reason)
        if is_told_otherwise(case, verdict):
            verdict = await self._compared_with_its_kind(key, case, verdict)
        done = order_of_case(case) if repeats_what_is_done(case, verdict) else None
        if foreign and key != received:
            # Its key did not verify this message: nothing is kept under it.
            key, record = received, await self._inbox.look(received)
        return DecidedMessage(facts, key, verdict, judged_as_of(case), record, done, foreign)

    async def _compared_with_its_kind(
        self, key: OrderKey, case: Case, verdict: Judgement
    ) -> Judgement:
        """The verdict about a duplicate that came the other way than the payment that took effect.

        A query and a notification may name one payment by different numbers (M-13), so the first
        message of the other way is taken for the payment that is known; with a warning, where no
        number meets. Its numbers are kept, and the next message of that way is compared with them:
        two notifications with different numbers, or two queries, are two payments (M-15).
        """
        try:
            if await self._is_another(key, case.facts, case.now):
                return Judgement(Decision.CONFLICT, TWO_PAYMENTS)
        except InboxFullError:
            if verdict.reason == OTHER_NUMBERS:
                return Judgement(Decision.CONFLICT, NOT_KEPT)
        return verdict

    async def _is_another(self, key: OrderKey, facts: Facts, first_seen: datetime) -> bool:
        """Whether another payment of this order was told in the same way before.

        Two first messages may come at the same moment: a closed one is not overwritten, so both
        then read the same one. :class:`InboxFullError` where the inbox has no room for it.
        """
        if not facts.numbers or facts.outcome is not NotificationOutcome.PAID:
            return False
        kept = await self._inbox.aside(key, FIRST)
        if kept is None:
            first = Aside(
                key=key,
                fingerprint=FIRST,
                decision=Decision.DUPLICATE,
                reason=OTHER_NUMBERS,
                payload=to_text(facts),
                first_seen=first_seen,
            )
            await self._inbox.set_aside(first, retry_in=CLOSED_IN)
            await self._inbox.close(first)  # it needs nobody's attention
            kept = await self._inbox.aside(key, FIRST)
        # Where the payload has been pruned, nobody can tell any more.
        if kept is None or not kept.payload:
            return False
        return facts_from_text(kept.payload).numbers.isdisjoint(facts.numbers)

    async def case(
        self, facts: Facts, received: OrderKey, first_seen: datetime
    ) -> tuple[Case, Record | None]:
        """The case of a message that a person decided about, and the order's record."""
        expected = await self.expected(*received)
        record = await self._inbox.look(_key(received, expected))
        return self._case(facts, expected, record, first_seen), record

    def _case(
        self,
        facts: Facts,
        expected: ExpectedOrder | NoAmountCheck | None,
        record: Record | None,
        first_seen: datetime | None,
    ) -> Case:
        now = self._clock.now()
        told = facts.payable is not None or facts.outcome is NotificationOutcome.NOT_PAID
        unasked = self._confirm is None or told
        return Case(
            facts=facts,
            seen=None if record is None else seen_of(record, now),
            first_seen=first_seen,
            expected=expected,
            now=now,
            window=self._window,
            trust_coupon_fee=self._trust_coupon_fee,
            confirmation=Unconfirmed.NOT_ASKED if unasked else Unconfirmed.NO_ANSWER,
        )

    async def _ask(self, key: OrderKey, facts: Facts, until: float) -> Confirmation:
        if self._confirm is None:
            return Unconfirmed.NOT_ASKED
        patience = max(0.0, until - self._clock.monotonic())
        try:
            async with self._clock.timeout(patience):
                return await _ask_gateway(self._confirm, key, facts.paytype)
        except TimeoutError:
            return Unconfirmed.NO_ANSWER

    def _nameless(self, facts: Facts) -> DecidedMessage:
        reason = facts.problem or "its merchant or order number is none that could be kept"
        verdict = Judgement(Decision.UNREADABLE, reason)
        return DecidedMessage(facts, _nameless_key(facts), verdict, self._clock.now(), foreign=True)


def can_be_asked(gateway: object) -> bool:
    """Whether this is a gateway at all: whatever goes wrong when it is asked is "no answer"."""
    return not isinstance(gateway, type) and callable(getattr(gateway, "send", None))


async def _ask_gateway(gateway: Gateway, key: OrderKey, paytype: str | None) -> Confirmation:
    """What ``orderquery`` says about an order, under the shop's own merchant number (M-18).

    ``paytype`` follows from the notification's page: WECHAT or ALIPAY. "Not found" under it is no
    answer, since it may be the wrong one; nor is anything that a second query would have to back up
    (M-06). An order that has gone into refund is not to be delivered: NOT_PAID. Never raises.
    """
    try:
        query = OrderQuery(
            paytype=PayType(paytype or ""), mch_id=key.mch_id, out_trade_no=key.out_trade_no
        )
        reply = await gateway.send(query)
        answer = read_answer(query, reply)
    except BaseException as error:  # whatever it is, it is no answer
        if must_propagate(error):
            raise
        return Unconfirmed.NO_ANSWER
    if answer.says is not Says.ENDED or not answer.sure:
        return Unconfirmed.NO_ANSWER
    if answer.status is PollStatus.PAID and isinstance(reply.result, OrderQueryResult):
        return paid_order(reply.result, mch_id=key.mch_id, raw=reply.raw, source=PaidSource.CONFIRM)
    return Unconfirmed.NOT_PAID if answer.status in _NOT_PAID else Unconfirmed.NO_ANSWER


def _nameless_key(facts: Facts) -> OrderKey:
    """A key by the merchant's number, if that can be kept: each merchant has bounds of its own."""
    merchant = storable(attrs.evolve(facts, out_trade_no=NO_NAME))
    return merchant or OrderKey(NO_NAME, NO_NAME)


def _key(received: OrderKey, expected: ExpectedOrder | NoAmountCheck | None) -> OrderKey:
    """The order by the shop's own merchant number."""
    if not isinstance(expected, ExpectedOrder) or expected.mch_id == received.mch_id:
        return received
    return OrderKey(expected.mch_id, received.out_trade_no)


def seen_of(record: Record, now: datetime) -> Seen:
    """A record as :func:`judge` takes it: its lease ends at a moment of the handler's clock."""
    entry = record.entry
    return Seen(
        state=record.state,
        payable=None if entry.payable is None else Fen(entry.payable),
        transaction_id=entry.transaction_id,
        out_transaction_id=entry.out_transaction_id,
        lease_until=now + timedelta(seconds=record.lease) if record.lease > 0 else None,
        first_seen=entry.first_seen,
        source=PaidSource(entry.source) if entry.source else None,
        other_numbers=frozenset(entry.other_numbers),
    )
