"""One customer at the till: charge the code, ask until it is clear, cancel what stays open.

The rule that everything here follows: money is asked to move once. After any unclear end the next
thing is a query, never the same call again.
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from chaoying_async.abc import Clock, Gateway
from chaoying_async.exceptions import (
    ChaoyingError,
    GatewayError,
    OrderNotFoundError,
    OutcomeUnknownError,
    RequestNotSentError,
)
from chaoying_async.sansio.api.barcode import Cancel, OrderQuery, OrderQueryResult, Pay, PayResult
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.outcome import Meaning
from chaoying_async.sansio.request import Reply
from chaoying_async.sansio.values import Fen

#: The document's figures: ask every 5 s; do not cancel within 15 s of the payment.
ASK_EVERY = 5.0
#: Queries before the cashier gives up; the document allows 60 to 180 s.
PATIENCE = 6


_NOTHING = Fen(0)


class End(StrEnum):
    """How a customer left the till."""

    PAID = "paid"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: Nobody could tell: a person has to look at the books.
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class Sale:
    """What became of one payment. ``payable`` is the order amount, ``paid`` the customer's cash."""

    out_trade_no: str
    end: End
    queries: int = 0
    payable: Fen = _NOTHING
    paid: Fen = _NOTHING


async def take_payment(gateway: Gateway, pay: Pay, clock: Clock) -> Sale:
    """Charge one code and follow it to its end."""
    try:
        reply = await gateway.send(pay)
    except RequestNotSentError:
        return Sale(out_trade_no=pay.out_trade_no, end=End.FAILED)  # it never left
    except OutcomeUnknownError:
        pass  # it may have been paid: ask
    except GatewayError:
        return Sale(out_trade_no=pay.out_trade_no, end=End.FAILED)  # refused: nothing moved
    else:
        if sale := _decided(pay, reply, 0):
            return sale
    return await _ask(gateway, pay, clock)


async def _ask(gateway: Gateway, pay: Pay, clock: Clock) -> Sale:
    for asked in range(1, PATIENCE + 1):
        await clock.sleep(ASK_EVERY)
        if sale := await _query(gateway, pay, asked):
            return sale
    return await _give_up(gateway, pay, clock)


async def _give_up(gateway: Gateway, pay: Pay, clock: Clock) -> Sale:
    """Cancel, and then ask what the order became: a cancel can meet a payment half-way."""
    wallet = PayType.from_auth_code(pay.auth_code)
    if wallet is None:
        return Sale(out_trade_no=pay.out_trade_no, end=End.UNKNOWN, queries=PATIENCE)
    cancelled = True
    try:
        (await gateway.send(Cancel(paytype=wallet, out_trade_no=pay.out_trade_no))).unwrap()
    except ChaoyingError:
        cancelled = False  # unclear or refused: what the query says counts
    await clock.sleep(ASK_EVERY)
    sale = await _query(gateway, pay, PATIENCE + 1)
    if sale is None:
        return Sale(out_trade_no=pay.out_trade_no, end=End.UNKNOWN, queries=PATIENCE + 1)
    over = cancelled and sale.end is End.FAILED
    return attrs.evolve(sale, end=End.CANCELLED) if over else sale


async def _query(gateway: Gateway, pay: Pay, asked: int) -> Sale | None:
    """How the order stands; None while that is not decided, or nobody answers."""
    wallet = PayType.from_auth_code(pay.auth_code) or PayType.WECHAT
    try:
        reply = await gateway.send(OrderQuery(paytype=wallet, out_trade_no=pay.out_trade_no))
    except OrderNotFoundError:
        return None  # right after a lost answer that may mean "not there yet"
    except ChaoyingError:
        return None  # a query may be repeated: the next round does
    return _decided(pay, reply, asked)


def _decided(
    pay: Pay, reply: Reply[PayResult] | Reply[OrderQueryResult], asked: int
) -> Sale | None:
    """The sale, once the reply decides it; whatever is not plainly paid or over is neither."""
    result = reply.result
    if result is not None and result.base_fee != pay.total_fee:
        # Paid, and not as asked: never cancelled, a person has to look.
        return Sale(out_trade_no=pay.out_trade_no, end=End.UNKNOWN, queries=asked)
    if result is not None:
        return Sale(
            out_trade_no=pay.out_trade_no,
            end=End.PAID,
            queries=asked,
            payable=result.base_fee,
            paid=result.total_fee,
        )
    if reply.meaning is Meaning.FAILED:
        return Sale(out_trade_no=pay.out_trade_no, end=End.FAILED, queries=asked)
    return None
