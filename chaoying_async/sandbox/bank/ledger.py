"""The gateway's books, as a pure function: ``(ledger, request, now) -> (ledger, answer, events)``.

No socket, no clock, no dice: what happens to the money depends on the request, the books and the
moment that is handed in, and on nothing else. Signatures and fields are checked before
(``admission.py``); what comes out is signed and written afterwards (``gateway.py``). Each step
gives a new ledger and leaves the old one alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum

import attrs

from chaoying_async.sandbox.bank import merchants, services
from chaoying_async.sandbox.bank import orders as payments
from chaoying_async.sandbox.bank import refunding as refunds
from chaoying_async.sandbox.bank.entities import (
    Answer,
    Event,
    Key,
    Ledger,
    Merchant,
    Noted,
    Notify,
    Refund,
    RefundState,
    Status,
    Step,
    Wake,
)
from chaoying_async.sandbox.bank.table import Table

__all__ = [
    "Books",
    "Deed",
    "Ledger",
    "Step",
    "act",
    "books",
    "handle",
    "opened",
    "passed",
    "told",
    "unfinished",
]

Handler = Callable[[Ledger, Mapping[str, str], datetime], Step]

#: What each endpoint does to the books.
HANDLERS: Mapping[str, Handler] = {
    "pay": payments.pay,
    "facepay": payments.facepay,
    "orderquery": payments.orderquery,
    "cancel": payments.cancel,
    "refund": refunds.refund,
    "refundquery": refunds.refundquery,
    "WECHAT_PreOrder": payments.wechat_preorder,
    "ALIPAY_PreOrder": payments.alipay_preorder,
    "getfaceauth": services.getfaceauth,
    "authcodetoopenid": services.authcodetoopenid,
    "WXA_Code2Session": services.wxa_code2session,
    "Mch_Reg": merchants.mch_reg,
    "GetMchSMSValid": merchants.get_mch_sms_valid,
    "GetMchId": merchants.get_mch_id,
    "GetPartnerId": merchants.get_partner_id,
    "GetMchInfo": merchants.get_mch_info,
    "wx_addsubdevconfig": merchants.wx_addsubdevconfig,
    "PayBoxConfGet": services.payboxconfget,
    "QrConfGet": services.qrconfget,
}

#: One that can trade, one that is disabled, one that has no trading configuration.
MERCHANTS = (
    Merchant(mch_id="00000001", mobile="13800000000"),
    Merchant(mch_id="00000002", short_name="沙箱二店", mobile="13900000000"),
    Merchant(mch_id="00000013", can_trade=False),
    Merchant(mch_id="00000030", state="30"),
)


def opened(known: tuple[Merchant, ...] = MERCHANTS) -> Ledger:
    """Empty books for these merchants."""
    table: Table[str, Merchant] = Table()
    for merchant in known:
        table = table.put(merchant.mch_id, merchant)
    return Ledger(merchants=table)


def handle(ledger: Ledger, endpoint: str, fields: Mapping[str, str], now: datetime) -> Step:
    """One admitted request: the books after it, the answer, and what follows from it."""
    return HANDLERS[endpoint](ledger, fields, now)


def passed(ledger: Ledger, key: Key, now: datetime) -> Step:
    """Time went by for one order, and nobody asked."""
    order, events = payments.settled(ledger.orders[key], now)
    return Step(ledger.with_order(order), Answer(), (*events, *payments.wakes(order, now)))


def told(ledger: Ledger, key: Key) -> Ledger:
    """Nobody needs to be notified of that order's end any more."""
    return ledger.with_order(attrs.evolve(ledger.orders[key], told=True))


def unfinished(ledger: Ledger, now: datetime) -> tuple[Event, ...]:
    """What was still to come when the books were closed: for taking up after a restart."""
    events: list[Event] = []
    for order in ledger.orders.values():
        if order.asked.get("notify_url") and not order.told:
            over = order.status in (Status.PAID, Status.FAILED)
            events.append(Notify(order.key) if over else Wake(now, order.key))
    return tuple(events)


class Deed(Enum):
    """What people can do to an open order, beside the API."""

    CUSTOMER_PAYS = Status.PAID
    """The customer enters the right password."""
    CUSTOMER_DECLINES = Status.FAILED
    """The customer enters a wrong password: the payment fails."""
    GATEWAY_CLOSES = Status.CLOSED
    """The gateway closes the order unpaid."""
    CUSTOMER_LEAVES = None
    """The customer walks away: nothing happens by itself any more until the order expires."""


def act(ledger: Ledger, key: Key, deed: Deed, now: datetime) -> Step:
    """Somebody does something to an order; what is over already stays as it is."""
    order, events = payments.settled(ledger.orders[key], now)
    becomes = deed.value
    if order.status is Status.OPEN and becomes is None:
        order = attrs.evolve(order, ends_at=None, at_query=None)
        events += (Noted(now, order.key, "the customer walked away"),)
    elif order.status is Status.OPEN and becomes is not None:
        order, more = payments.ended(order, becomes, now)
        events += more
    return Step(ledger.with_order(order), Answer(), events)


@attrs.frozen(kw_only=True)
class Books:
    """The totals of a ledger, in fen of cash, for comparing with somebody else's."""

    orders: int
    """How many orders there are."""
    standing: Mapping[str, int]
    """How many orders have each status."""
    received: int
    """Everything that customers ever paid, in fen."""
    reversed: int
    """What of that cancels gave back, in fen."""
    refunded: int
    """What of that was refunded, in fen; failed refunds do not count."""
    kept: int
    """What the merchants keep, in fen: ``received`` less ``reversed`` less ``refunded``."""


def books(ledger: Ledger, now: datetime) -> Books:
    """The totals as of now: orders and refunds whose time has come are counted as ended."""
    orders = []
    for order in ledger.orders.values():
        order, _ = payments.settled(order, now)  # noqa: PLW2901 - as it stands by now
        orders.append(order)
    received = sum(order.paid for order in orders if order.paid_at is not None)
    reversed_ = sum(order.paid for order in orders if order.status is Status.REVOKED)
    refunded = sum(each.cash for each in ledger.refunds.values() if _counts(each, now))
    standing = {status.value: 0 for status in Status}
    for order in orders:
        standing[order.status] += 1
    return Books(
        orders=len(orders),
        standing=standing,
        received=received,
        reversed=reversed_,
        refunded=refunded,
        kept=received - reversed_ - refunded,
    )


def _counts(refund: Refund, now: datetime) -> bool:
    return refund.state_at(now) is not RefundState.FAIL
