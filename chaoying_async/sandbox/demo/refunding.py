"""Giving money back, in one part or in two, each under a number of its own."""

from __future__ import annotations

import attrs

from chaoying_async.abc import Clock, Gateway
from chaoying_async.exceptions import ChaoyingError, GatewayError, OutcomeUnknownError
from chaoying_async.sandbox.demo.till import Sale
from chaoying_async.sansio.api.barcode import Refund, RefundQuery
from chaoying_async.sansio.enums import PayType, RefundStatus
from chaoying_async.sansio.values import Fen

ASK_EVERY = 5.0
PATIENCE = 24
_NOTHING = Fen(0)
_FINAL = frozenset({RefundStatus.SUCCESS, RefundStatus.FAIL, RefundStatus.CHANGE})


@attrs.frozen(kw_only=True)
class Returned:
    """What became of one refund. ``cash`` is what the customer got back, coupons aside."""

    out_refund_no: str
    status: RefundStatus | str
    cash: Fen = _NOTHING


async def refund_parts(
    gateway: Gateway, sale: Sale, wallet: PayType, parts: list[Fen], clock: Clock
) -> list[Returned]:
    """Refund a sale part by part; each part is followed to its end before the next.

    Every part has a number of its own, made from the order's: the number belongs to the refund that
    is meant, so asking again can never make it a second one.
    """
    refunds = [
        Refund(
            paytype=wallet,
            out_trade_no=sale.out_trade_no,
            out_refund_no=f"{sale.out_trade_no}-{number}",
            total_fee=sale.payable,  # the order amount, not what the customer paid
            refund_fee=part,
        )
        for number, part in enumerate(parts, start=1)
    ]
    return [await _refund(gateway, refund, clock) for refund in refunds]


async def _refund(gateway: Gateway, refund: Refund, clock: Clock) -> Returned:
    """One refund to its end; after an unclear answer its own number is queried."""
    number = refund.out_refund_no
    try:
        await gateway.send(refund)  # accepted, or unclear: either way the query knows
    except OutcomeUnknownError:
        pass
    except GatewayError:
        return Returned(out_refund_no=number, status=RefundStatus.FAIL)
    query = RefundQuery(paytype=refund.paytype, out_refund_no=number)
    for _ in range(PATIENCE):
        await clock.sleep(ASK_EVERY)
        if ended := await _query(gateway, query):
            return ended
    return Returned(out_refund_no=number, status=RefundStatus.PROCESSING)


async def _query(gateway: Gateway, query: RefundQuery) -> Returned | None:
    """How the refund ended; None while that is open, or nobody answers."""
    try:
        reply = await gateway.send(query)
    except ChaoyingError:
        return None
    number = query.out_refund_no
    refunds = reply.result.refund_list if reply.result else ()
    entry = next((each for each in refunds if each.out_refund_no == number), None)
    if number is None or entry is None or entry.refund_fee is None:
        return None
    status = entry.refund_status
    if status is None or status not in _FINAL:
        return None
    cash = _NOTHING if status == RefundStatus.FAIL else entry.refund_fee
    return Returned(out_refund_no=number, status=status, cash=cash)
