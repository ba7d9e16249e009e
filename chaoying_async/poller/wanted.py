"""What a caller asks a poller to wait for, before it is believed."""

from __future__ import annotations

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.api.barcode import OrderQuery, RefundQuery
from chaoying_async.sansio.pollstatus import Query


def number_of(query: Query) -> tuple[str, str]:
    """Which of its numbers tells the order from others, ours before the gateway's; its name."""
    if isinstance(query, OrderQuery):
        ours, theirs = (
            ("out_trade_no", query.out_trade_no),
            ("transaction_id", query.transaction_id),
        )
    elif isinstance(query, RefundQuery):
        ours, theirs = ("out_refund_no", query.out_refund_no), ("refund_id", query.refund_id)
    else:
        raise TypeError(f"a poller asks OrderQuery and RefundQuery, not {type(query).__name__}")
    name, number = ours if ours[1] else theirs
    return name, number or ""


def check_amount(expected: object) -> None:
    """:class:`ParameterError` for what no amount in fen can be; None expects nothing."""
    if expected is None:
        return
    if isinstance(expected, bool) or not isinstance(expected, int) or not 0 <= expected < 10**15:
        rule = 'must be a whole number of fen, of at most 15 digits: fen("12.30") makes it of yuan'
        raise ParameterError({"expected": rule})
