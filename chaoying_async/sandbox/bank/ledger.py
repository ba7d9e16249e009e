"""The gateway's books as a pure function: ``(ledger, request, now) -> Step``.

What happens to the money depends on the request, the books and the moment that is handed in, and on
nothing else. Signatures and fields are checked before (``admission``); the answer is signed and
written afterwards (``serving.gateway``). A step holds a new ledger and leaves the old one alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum

import attrs

from chaoying_async.sandbox.bank import merchants, order_life, refund_life, services
from chaoying_async.sandbox.bank.entities import (
    Consequence,
    Key,
    Ledger,
    Merchant,
    Noted,
    Notify,
    Status,
    Step,
    Wake,
)
from chaoying_async.sandbox.bank.table import Table

#: What each endpoint does to the books.
HANDLERS: Mapping[str, Callable[[Ledger, Mapping[str, str], datetime], Step]] = {
    "pay": order_life.pay,
    "facepay": order_life.facepay,
    "orderquery": order_life.orderquery,
    "cancel": order_life.cancel,
    "refund": refund_life.refund,
    "refundquery": refund_life.refundquery,
    "WECHAT_PreOrder": order_life.wechat_preorder,
    "ALIPAY_PreOrder": order_life.alipay_preorder,
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

#: Two merchants that can trade, one without a trading configuration, one that is disabled.
MERCHANTS = (
    Merchant(mch_id="00000001", mobile="13800000000"),
    Merchant(mch_id="00000002", short_name="沙箱二店", mobile="13900000000"),
    Merchant(mch_id="00000013", can_trade=False),
    Merchant(mch_id="00000030", state="30"),
)
#: The sandbox's own merchant: whom it means where nobody names one.
MCH_ID = MERCHANTS[0].mch_id


def opened(known: tuple[Merchant, ...] = MERCHANTS) -> Ledger:
    """Empty books for these merchants."""
    table: Table[str, Merchant] = Table()
    for merchant in known:
        table = table.put(merchant.mch_id, merchant)
    return Ledger(merchants=table)


def handle(ledger: Ledger, endpoint: str, fields: Mapping[str, str], now: datetime) -> Step:
    """Carry out one admitted request: the books after it, the answer, and what follows from it."""
    return HANDLERS[endpoint](ledger, fields, now)


def passed(ledger: Ledger, key: Key, now: datetime) -> Step:
    """Bring one order up to date though nobody asked about it."""
    order, events = order_life.settled(ledger.orders[key], now)
    return Step(ledger.with_order(order), events=(*events, *order_life.wakes(order, now)))


def told(ledger: Ledger, key: Key) -> Step:
    """Note that nobody needs to be notified of that order's end any more."""
    return Step(ledger.with_order(attrs.evolve(ledger.orders[key], told=True)))


def unfinished(ledger: Ledger, now: datetime) -> tuple[Consequence, ...]:
    """The notifications and waits that a restart has to take up."""
    over = (Status.PAID, Status.FAILED)
    return tuple(
        Notify(order.key) if order.status in over else Wake(now, order.key)
        for order in sorted(ledger.orders.values(), key=lambda order: order.serial)
        if order.asked.get("notify_url") and not order.told
    )


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
    """Let somebody do something to an order; an order that is over stays as it is."""
    order, events = order_life.settled(ledger.orders[key], now)
    becomes = deed.value
    if order.status is Status.OPEN and becomes is None:
        order = attrs.evolve(order, ends_at=None, at_query=None)
        events += (Noted(now, order.key, "the customer walked away"),)
    elif order.status is Status.OPEN and becomes is not None:
        order, more = order_life.ended(order, becomes, now)
        events += more
    return Step(ledger.with_order(order), events=events)


@attrs.frozen(kw_only=True)
class Books:
    """The totals of a ledger, in fen of cash, for comparing with somebody else's books."""

    orders: int
    """How many orders there are."""
    standing: Mapping[str, int]
    """How many orders have each status."""
    received: int
    """Everything that customers ever paid, in fen."""
    reversed: int
    """The part of ``received`` that cancels gave back, in fen."""
    refunded: int
    """The part of ``received`` that was refunded, in fen, without failed refunds."""
    kept: int
    """What the merchants keep, in fen: ``received`` less ``reversed`` less ``refunded``."""


def books(ledger: Ledger, now: datetime) -> Books:
    """The totals as of now: orders and refunds whose time has come are counted as ended."""
    known = [order_life.settled(order, now)[0] for order in ledger.orders.values()]
    received = sum(order.paid for order in known if order.paid_at is not None)
    reversed_ = sum(order.paid for order in known if order.status is Status.REVOKED)
    refunded = sum(each.cash for order in known for each in ledger.live_refunds(order, now))
    counts = Counter(order.status for order in known)
    return Books(
        orders=len(known),
        standing={status.value: counts[status] for status in Status},
        received=received,
        reversed=reversed_,
        refunded=refunded,
        kept=received - reversed_ - refunded,
    )
