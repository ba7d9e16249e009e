"""The refund that gives back a payment which came too late; made, never sent."""

from __future__ import annotations

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.api.follow_up import Refund
from chaoying_async.sansio.meaning import PaidOrder
from chaoying_async.sansio.payments.intent import wallet

#: ``out_refund_no`` has at most 32 characters (C 53).
_LONGEST = 32


def suggested_refund(order: PaidOrder, *, op_user_id: str | None = None) -> Refund:
    """All of a paid order, for ``on_paid_after_close`` and whoever else cannot deliver.

    Its ``out_refund_no`` belongs to the payment, so that sending it twice is one refund (M-25). It
    moves money: send it with ``refund_and_track``, or not at all if the order was reopened. An
    order whose amount or wallet is not known is a
    :class:`~chaoying_async.exceptions.ParameterError`.
    """
    problems = {
        name: "is not known of this order"
        for name in ("payable", "paytype")
        if getattr(order, name) is None
    }
    if order.payable is None or order.paytype is None:
        raise ParameterError(problems)
    number = f"R-{order.out_trade_no}"
    return Refund(
        paytype=wallet(order.paytype),
        mch_id=order.mch_id,
        out_trade_no=order.out_trade_no,
        # No out_trade_no has a hyphen, so the two forms never meet (C 49, C 53).
        out_refund_no=number if len(number) <= _LONGEST else order.out_trade_no,
        total_fee=order.payable,
        refund_fee=order.payable,
        op_user_id=op_user_id,
    )
