"""What the gateway's answers say of an order and its refunds, and which query is to be sent next.

Every single answer is read by ``sansio/polling/status``; in here the answers under several wallets,
and those about several refunds, are taken together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from chaoying_async.exceptions import (
    ChaoyingError,
    GatewayError,
    ParameterError,
    ProtocolError,
    TransportError,
)
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.api.follow_up import OrderQuery, OrderQueryResult, RefundQueryResult
from chaoying_async.sansio.currency import fee_type_in
from chaoying_async.sansio.explanation.told import (
    Bearing,
    ForeignAmount,
    Statement,
    Witness,
    amount_of,
    sentence,
    word,
)
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.sansio.paid import PaidOrder, RefundedOrder, paid_order, refunded_order
from chaoying_async.sansio.payments.refunds import full_refund_number
from chaoying_async.sansio.polling.status import (
    REFUND_ENDS,
    UNASKED,
    PollStatus,
    Query,
    Says,
    Standing,
    read_answer,
    taken_together,
)


class Silence(StrEnum):
    """Why the gateway's answers say nothing of the order."""

    NONE = ""
    """They say something, or nobody asked."""
    NO_NEWS = "NO_NEWS"
    """The query was refused, which says nothing of the order (M-11)."""
    UNREACHED = "UNREACHED"
    """No usable answer came."""
    UNBELIEVED = "UNBELIEVED"
    """Bytes came that cannot be read or trusted."""
    REFUSED = "REFUSED"
    """The gateway will not be asked: key, agent, merchant or the request itself is wrong."""


@attrs.frozen(kw_only=True)
class AskedQuery:
    """One query, and the reply or the error that came of it."""

    at: datetime
    """When the answer came (aware)."""
    query: Query
    """The query that was sent."""
    said: Reply[Any] | Exception = attrs.field(repr=False)
    """The verified reply, or why there is none."""
    is_guess: bool = False
    """Whether nobody named the refund: only its list counts then, and not its absence."""


@attrs.frozen(kw_only=True)
class RefundSays:
    """How one refund of the order stands, as the gateway says."""

    number: str
    """The refund's own number, or the platform's where the entry has none."""
    status: PollStatus | None
    """How it ended; None while it has not."""
    applied: int | None = None
    """What was applied for, in fen."""
    fee_type: str | None = None
    """The currency of these amounts; None where nothing names one, which is CNY."""
    returned: int | None = None
    """What came back in cash, in fen, where it ended well."""
    at: datetime | None = None
    """When it came back."""

    @property
    def amount(self) -> int | ForeignAmount | None:
        """What was applied for, as it is told."""
        return amount_of(self.applied, self.fee_type)


@attrs.frozen(kw_only=True)
class GatewaySays:
    """Everything that the gateway said, taken together."""

    bearing: Bearing = Bearing.NONE
    """Whether it is paid, as the gateway says now."""
    status: PollStatus | None = None
    """The same in the words of a poller; None where it has not ended."""
    silence: Silence = Silence.NONE
    """Why it says nothing; NONE where it says something."""
    error: Exception | None = attrs.field(default=None, eq=False)
    """What came in place of a reply."""
    paid: PaidOrder | None = None
    """The paid order, or as much as is known of one in refund."""
    refunds: tuple[RefundSays, ...] = ()
    """Every refund that the gateway lists, and every one that it was asked about in vain."""
    refunds_known: bool = False
    """Whether some answer listed the order's refunds, so that none is missing."""
    foreign: tuple[str, ...] = ()
    """Numbers of refunds that were asked about and are another order's."""
    at: datetime | None = None
    """When the answer came that decides."""

    @property
    def fee_type(self) -> str | None:
        """The currency of the order; None where nothing names one, which is CNY."""
        return None if self.paid is None else self.paid.fee_type

    @property
    def returned(self) -> int | None:
        """What came back of what was applied for, in fen; None where that is not known."""
        ended = [each.applied for each in self.refunds if each.status is PollStatus.REFUNDED]
        if self.refunds_known and None not in ended:
            return sum(each for each in ended if each is not None)
        return self.paid.refunded if isinstance(self.paid, RefundedOrder) else None


#: What a refused query says whose merchant cannot take this wallet, or whose order is another's:
#: the next wallet may be the right one.
_THIS_WALLET = frozenset({"20013"})
#: A query without news is sent once more under its wallet (C 23), and so is one whose final answer
#: does not name its order (M-06).
_TWICE = 2


def next_wallet(
    asked: Sequence[AskedQuery], wallets: Sequence[str], expected: int | None = None
) -> str | None:
    """The wallet to send the next ``orderquery`` under; None: no further query tells more."""
    for wallet in wallets:
        mine = [each for each in asked if each.query.paytype == wallet]
        if not mine:
            return wallet
        after = _after(mine[-1], expected)
        if after is _Then.ENOUGH:
            return None
        if after is _Then.AGAIN and len(mine) < _TWICE:
            return wallet
    return None


class _Then(StrEnum):
    ENOUGH = "enough"
    AGAIN = "again"
    NEXT = "next"


def _after(asked: AskedQuery, expected: int | None) -> _Then:
    if isinstance(asked.said, Exception) and not isinstance(asked.said, GatewayError):
        return _Then.ENOUGH  # the next query would have to go the same way
    if isinstance(asked.said, GatewayError) and asked.said.code in _THIS_WALLET:
        return _Then.NEXT
    answer = read_answer(asked.query, asked.said, expected)
    if answer.says is Says.ABSENT:
        return _Then.NEXT
    if answer.status is PollStatus.REFUSED:
        return _Then.ENOUGH
    decides = answer.sure if answer.says is Says.ENDED else answer.about_order
    return _Then.ENOUGH if decides else _Then.AGAIN


def next_refund(
    asked: Sequence[AskedQuery], says: GatewaySays, numbers: Sequence[str], number: str
) -> tuple[str, bool] | None:
    """The refund to ask about next, and whether its number is a guess; None: nothing tells more.

    One answer lists every refund of the order. Where an order is in refund and nobody named one,
    the number is tried that a suggested refund of this order has.
    """
    if says.silence in (Silence.UNREACHED, Silence.UNBELIEVED, Silence.REFUSED):
        return None
    guesses = (
        [] if numbers or says.bearing is not Bearing.IN_REFUND else [full_refund_number(number)]
    )
    listed = {refund.number for refund in says.refunds if refund.status is not PollStatus.NOT_FOUND}
    for each in (*numbers, *guesses)[:_MOST_REFUNDS]:
        mine = [one for one in asked if getattr(one.query, "out_refund_no", None) == each]
        if not mine and not (says.refunds_known and each in listed):
            return each, each in guesses
        again = mine and _after(mine[-1], None) is _Then.AGAIN
        if again and len(mine) < _TWICE and not isinstance(mine[-1].said, Reply):
            return each, each in guesses
    return None


#: So many refunds are asked about; an answer about one of them lists the others.
_MOST_REFUNDS = 20


_BEARINGS: Mapping[PollStatus, Bearing] = {
    PollStatus.PAID: Bearing.PAID,
    PollStatus.REFUNDED: Bearing.IN_REFUND,
    PollStatus.MISMATCH: Bearing.OTHER_AMOUNT,
    PollStatus.FAILED: Bearing.UNPAID,
    PollStatus.CLOSED: Bearing.UNPAID,
    PollStatus.REVOKED: Bearing.UNPAID,
    PollStatus.NOT_FOUND: Bearing.ABSENT,
}


def bearing_of(status: PollStatus | None) -> Bearing:
    """How the end of a poll bears on whether the order was paid; one that proves nothing: OPEN."""
    return Bearing.OPEN if status is None else _BEARINGS.get(status, Bearing.OPEN)


def gateway_says(
    asked: Sequence[AskedQuery], number: str, mch_id: str, expected: int | None = None
) -> GatewaySays:
    """All answers about one order, taken together.

    An order is decided by the wallet that knows it. Where no wallet does, it is ABSENT only if none
    of them failed to say (M-11).
    """
    orders = [each for each in asked if isinstance(each.query, OrderQuery)]
    refunds = [each for each in asked if not isinstance(each.query, OrderQuery)]
    said = _of_order(orders, number, mch_id, expected)
    items, listed, foreign = _of_refunds(refunds, number)
    items = tuple(attrs.evolve(each, fee_type=each.fee_type or said.fee_type) for each in items)
    return attrs.evolve(said, refunds=items, refunds_known=listed, foreign=foreign)


def _of_order(
    asked: Sequence[AskedQuery], number: str, mch_id: str, expected: int | None
) -> GatewaySays:
    unknown: list[GatewaySays] = []
    for wallet in dict.fromkeys(each.query.paytype for each in asked):
        mine = [each for each in asked if each.query.paytype == wallet]
        found = _under_one_wallet(mine, number, mch_id, expected)
        if found.bearing not in (Bearing.NONE, Bearing.ABSENT):
            return found
        unknown.append(found)
    if not unknown:
        return GatewaySays()
    unsaid = (each for each in unknown if each.bearing is Bearing.NONE)
    return next(unsaid, unknown[-1])


def _under_one_wallet(
    asked: Sequence[AskedQuery], number: str, mch_id: str, expected: int | None
) -> GatewaySays:
    standing: Standing = UNASKED
    for each in asked:
        answer = read_answer(each.query, each.said, expected)
        standing = taken_together(standing, answer)
    last = asked[-1]
    if isinstance(last.said, Exception):
        return _without_reply(last.query, last.said, last.at)
    if not standing.seen and standing.says is not Says.ENDED:
        return GatewaySays(silence=Silence.NO_NEWS, at=last.at)
    status = standing.status if standing.counts else None
    return GatewaySays(
        bearing=bearing_of(status),
        status=status,
        paid=_paid_in(last.said, number, mch_id) if status in _WITH_ORDER else None,
        at=last.at,
    )


_WITH_ORDER = frozenset({PollStatus.PAID, PollStatus.MISMATCH, PollStatus.REFUNDED})


def _paid_in(reply: Reply[Any], number: str, mch_id: str) -> PaidOrder | None:
    if reply.meaning is Meaning.RESULT and isinstance(reply.result, OrderQueryResult):
        return paid_order(reply.result, mch_id=mch_id, raw=reply.raw)
    return refunded_order(reply.raw, mch_id=mch_id, out_trade_no=number)


_SILENCES: tuple[tuple[type[ChaoyingError], Silence], ...] = (
    (ParameterError, Silence.REFUSED),
    (TransportError, Silence.UNREACHED),
    (ProtocolError, Silence.UNBELIEVED),
)


def _without_reply(query: Query, error: Exception, at: datetime) -> GatewaySays:
    """What an error says of the order: that there is none, or nothing at all."""
    for kind, silence in _SILENCES:
        if isinstance(error, kind):
            return GatewaySays(silence=silence, error=error, at=at)
    answer = read_answer(query, error)
    if answer.says is Says.ABSENT:
        return GatewaySays(bearing=Bearing.ABSENT, status=PollStatus.NOT_FOUND, error=error, at=at)
    silence = Silence.REFUSED if answer.status is PollStatus.REFUSED else Silence.NO_NEWS
    return GatewaySays(silence=silence, error=error, at=at)


def _of_refunds(
    asked: Sequence[AskedQuery], number: str
) -> tuple[tuple[RefundSays, ...], bool, tuple[str, ...]]:
    """Every refund by its number, whether a list of all of them came, and whose were not ours."""
    found: dict[str | int, RefundSays] = {}
    foreign: list[str] = []
    listed = False
    for each in asked:
        mine = str(getattr(each.query, "out_refund_no", None) or "")
        result = getattr(each.said, "result", None)
        if not isinstance(result, RefundQueryResult):
            if each.is_guess:
                continue
            absent = read_answer(each.query, each.said).says is Says.ABSENT
            known = found.get(mine)
            if known is None or known.status is None:
                status = PollStatus.NOT_FOUND if absent else None
                found[mine] = RefundSays(number=mine, status=status)
        elif result.out_trade_no not in (None, "", number):
            foreign.append(mine)
        else:
            listed = True
            for place, item in enumerate(result.refund_list):
                # Not by the number as it is shown: strange ones would all be one and the same.
                found[item.out_refund_no or item.refund_id or place] = _refund(item, each.said)
    return tuple(found.values()), listed, tuple(foreign)


def _refund(item: RefundItem, reply: Reply[Any] | Exception) -> RefundSays:
    status = REFUND_ENDS.get(item.refund_status or "")
    came = status is PollStatus.REFUNDED
    return RefundSays(
        number=word(item.out_refund_no or item.refund_id or ""),
        status=status,
        applied=item.base_refund_fee,
        fee_type=fee_type_in(getattr(reply, "raw", {})),
        returned=item.refund_fee if came else None,
        at=item.refund_time if came else None,
    )


def told_by_gateway(
    asked: Sequence[AskedQuery], says: GatewaySays, number: str
) -> Iterator[Statement]:
    """The lines of the timeline: each answer when it came, and what it dates itself."""
    for each in asked:
        yield _told(each)
    paid = says.paid
    if paid is not None and paid.time_end is not None and paid.out_trade_no == number:
        yield Statement(
            witness=Witness.GATEWAY,
            what="gateway-paid-at",
            at=paid.time_end,
            values={
                "amount": amount_of(paid.payable, paid.fee_type),
                "number": word(paid.transaction_id or "?"),
            },
            status=str(says.status or ""),
        )
    for refund in says.refunds:
        if refund.at is not None:
            yield Statement(
                witness=Witness.GATEWAY,
                what="gateway-refunded-at",
                at=refund.at,
                values={"number": refund.number, "amount": refund.amount},
                status=str(refund.status or ""),
            )


def _told(asked: AskedQuery) -> Statement:
    name, under = asked.query.endpoint.name, str(asked.query.paytype)
    if isinstance(asked.said, GatewayError):
        said = " ".join(filter(None, (asked.said.state, asked.said.code)))
        values = {"call": name, "paytype": word(under), "answer": sentence(said)}
        return Statement(
            witness=Witness.GATEWAY, what="gateway-refused", at=asked.at, values=values
        )
    if isinstance(asked.said, Exception):
        values = {"call": name, "error": type(asked.said).__name__}
        return Statement(witness=Witness.GATEWAY, what="gateway-silent", at=asked.at, values=values)
    fields = (asked.said.state, asked.said.trade_state, asked.said.code)
    answer = sentence(" ".join(word(each) for each in fields if each))
    values = {"call": name, "paytype": word(under), "answer": answer}
    what = "gateway-answered" if asked.said.signed else "gateway-answered-unsigned"
    return Statement(witness=Witness.GATEWAY, what=what, at=asked.at, values=values)
