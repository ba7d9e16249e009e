"""Notifications by name: the true one, and every wrong one that a receiver must withstand.

``chaoying trigger EVENT`` and the console's buttons take them from here. All but the forgeries are
signed with the right key: a signature says who wrote a message, not that it is about your order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta

import attrs

from chaoying_async.sandbox.bank.entities import Key, Order, OrderKind, Status
from chaoying_async.sandbox.bank.reply_fields import notification_fields, stamp
from chaoying_async.sandbox.document.http_messages import written_form
from chaoying_async.sandbox.document.signature import signature
from chaoying_async.sandbox.serving.gateway import SandboxGateway

Fields = dict[str, str]
Make = Callable[[SandboxGateway, Order, Fields], bytes]


@attrs.frozen
class Event:
    """One kind of notification: what it is, and how its body is made."""

    says: str
    make: Make
    times: int = 1
    """How often it is delivered at the same time."""
    late: float = 0.0
    """Seconds until it is delivered."""
    forged: bool = False
    """Not of this gateway: nobody with the key wrote it."""


def _signed(**changes: str) -> Make:
    return lambda gateway, _order, fields: gateway.signed_form(fields | changes)


def _dated(**delta: float) -> Make:
    def make(gateway: SandboxGateway, _order: Order, fields: Fields) -> bytes:
        at = gateway.clock.now() + timedelta(**delta)
        return gateway.signed_form({**fields, "time_end": stamp(at)})

    return make


def _tampered(gateway: SandboxGateway, _order: Order, fields: Fields) -> bytes:
    sign = signature(fields, gateway.world.credentials)
    return written_form({**fields, "total_fee": f"{fields['total_fee']}00", "sign": sign})


def _unreadable(gateway: SandboxGateway, _order: Order, fields: Fields) -> bytes:
    sign = signature(fields, gateway.world.credentials)
    return json.dumps({**fields, "sign": sign}, ensure_ascii=False).encode()


def _other_order(gateway: SandboxGateway, order: Order, fields: Fields) -> bytes:
    number = order.out_trade_no
    tails = (letter * length for letter in "XYZ" for length in range(1, len(number) + 1))
    keys = ((order.mch_id, f"{number[: -len(tail)]}{tail}") for tail in tails)
    _, other = _unknown(gateway, order, keys)
    return gateway.signed_form({**fields, "out_trade_no": other})


def _other_merchant(gateway: SandboxGateway, order: Order, fields: Fields) -> bytes:
    merchants = ("00000002", *sorted(gateway.ledger.merchants), "00000000")
    keys = ((mch_id, order.out_trade_no) for mch_id in merchants)
    other, _ = _unknown(gateway, order, keys)
    return gateway.signed_form({**fields, "mch_id": other})


def _unknown(gateway: SandboxGateway, order: Order, keys: Iterable[Key]) -> Key:
    """The first of these that names neither this order nor another one that was made here."""
    return next(key for key in keys if key != order.key and key not in gateway.ledger.orders)


#: Name to event.
EVENTS: Mapping[str, Event] = {
    "paid": Event("the true notification: paid", _signed()),
    "not-paid": Event("the payment failed (支付失败)", _signed(result_code="FAIL", pay_result="1")),
    "duplicate": Event("the true one, twice at the same time", _signed(), times=2),
    "late": Event("the true one, 60 seconds from now", _signed(), late=60.0),
    "forged": Event(
        "says paid, signed at a guess",
        lambda gateway, order, _: gateway.forgery(order),
        forged=True,
    ),
    "unsigned": Event(
        "says paid, without a signature", lambda _, __, fields: written_form(fields), forged=True
    ),
    "tampered": Event("signed, and the amount changed afterwards", _tampered, forged=True),
    "mismatch": Event(
        "signed; the amount is 1 fen more than the order's",
        lambda gateway, _, fields: gateway.signed_form(
            {**fields, "total_fee": str(int(fields["total_fee"]) + 1)}
        ),
    ),
    "other-order": Event("signed; names an order that you do not know", _other_order),
    "other-merchant": Event("signed; names another merchant", _other_merchant),
    "contradiction": Event(
        "signed; pay_result says paid, result_code says not", _signed(result_code="FAIL")
    ),
    "stale": Event("signed; paid 60 days ago, as in a replay", _dated(days=-60)),
    "future": Event("signed; paid an hour from now", _dated(hours=1)),
    "undated": Event(
        "signed; without time_end",
        lambda gateway, _, fields: gateway.signed_form(
            {name: fields[name] for name in fields if name != "time_end"}
        ),
    ),
    "ambiguous": Event(
        "signed; attach holds another amount, ready to be cut off (M-04)",
        _signed(attach="x&total_fee=1&y=1"),
    ),
    "unreadable": Event("signed, as JSON instead of a form", _unreadable),
}


def body_of(event: Event, gateway: SandboxGateway, order: Order) -> bytes:
    """The body of one event about an order; an open order is notified of as if it were paid now."""
    return event.make(gateway, order, true_fields(gateway, order))


def true_fields(gateway: SandboxGateway, order: Order) -> Fields:
    """The fields of the true notification; those of an open order are as if it were paid now."""
    if order.status is Status.OPEN:
        now = gateway.clock.now()
        order = attrs.evolve(order, status=Status.PAID, ended=now, paid_at=now)
    return notification_fields(order, gateway.nonce(), total_is_paid=gateway.world.total_is_paid)


def imagined(
    gateway: SandboxGateway, mch_id: str, out_trade_no: str, *, kind: str = "WECHAT", total: int = 1
) -> Order:
    """A pre-order that nobody made, paid just now: for notifications about unknown orders."""
    now = gateway.clock.now()
    return Order(
        serial=0,
        kind=OrderKind.ALIPAY_PREORDER if kind == "ALIPAY" else OrderKind.WECHAT_PREORDER,
        mch_id=mch_id,
        out_trade_no=out_trade_no,
        paytype=kind,
        payable=total,
        coupon=0,
        transaction_id="199520439266201804177199552446",
        out_transaction_id="2018041721001004870537670226",
        scenario=0,
        created=now,
        asked={"trade_type": "NATIVE"},
        status=Status.PAID,
        ended=now,
        paid_at=now,
    )
