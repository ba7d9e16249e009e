"""What a caller asks a poller to wait for, before it is believed."""

from __future__ import annotations

import asyncio

from chaoying_async.abc import Gateway
from chaoying_async.exceptions import ParameterError, SessionClosedError, WrongEventLoopError
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.polling.status import Query


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


def check_loop(loop: asyncio.AbstractEventLoop) -> None:
    """:class:`WrongEventLoopError` in a thread or a loop that could not wake the poller's."""
    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if here is not loop:
        raise WrongEventLoopError(
            "this poller belongs to another event loop: call it there, or open one for each loop"
        )


def not_open() -> SessionClosedError:
    """The error for a poller that is used before or after its block."""
    return SessionClosedError("the poller is not open: use it inside `async with Poller(...)`")


def connections_of(gateway: Gateway, default: int) -> int:
    """How many queries the gateway's pool can carry at once; more would wait for it and fail."""
    found: int | None = getattr(gateway, "max_connections", None)  # a fake need not have it
    return found or default


def default_mch_id_of(gateway: Gateway) -> str | None:
    """The merchant that a session fills in where a query names none."""
    defaults = getattr(gateway, "defaults", None)  # a session has them; a fake need not
    found: str | None = getattr(defaults, "mch_id", None)
    return found
