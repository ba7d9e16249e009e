"""The life of an order: pay, facepay, pre-orders, orderquery, cancel, and time passing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import attrs

from chaoying_async.sandbox.bank import reply_fields
from chaoying_async.sandbox.bank.entities import (
    Consequence,
    Key,
    Ledger,
    Noted,
    Notify,
    Order,
    OrderKind,
    Status,
    Step,
    Wake,
)
from chaoying_async.sandbox.bank.scenarios import (
    CHOSEN,
    PREORDER_DELAY,
    SCENARIOS,
    Scenario,
    scenario_for,
)
from chaoying_async.sandbox.document.draft_reply import DraftReply, refusal, success
from chaoying_async.sandbox.document.requirements import wallet_of
from chaoying_async.sansio.values import parse_time

#: Orders older than this cannot be cancelled (C 35).
CANCEL_WINDOW = timedelta(minutes=5)
#: How long a pre-order without ``time_expire`` can be paid.
PREORDER_VALIDITY = timedelta(hours=2)
#: How long a customer can hesitate at a till before the gateway closes the order.
TILL_VALIDITY = timedelta(minutes=10)

_NOT_KEPT = frozenset({"auth_code", "face_code", "sign", CHOSEN})


def pay(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``pay``: charge the code that the customer shows."""
    return _charge(ledger, OrderKind.PAY, wallet_of(fields["auth_code"]), fields, now)


def facepay(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``facepay``: charge the face that the terminal saw."""
    return _charge(ledger, OrderKind.FACEPAY, fields["paytype"], fields, now)


def _charge(
    ledger: Ledger, kind: OrderKind, wallet: str, fields: Mapping[str, str], now: datetime
) -> Step:
    mine = ledger.bound.get(fields.get("auth_code", ""), fields["mch_id"]) == fields["mch_id"]
    problem = "" if mine else "auth_code belongs to another merchant (C 41)"
    expires = now + TILL_VALIDITY
    return _made(ledger, (kind, wallet), fields, now, expires=expires, problem=problem)


def wechat_preorder(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``WECHAT_PreOrder``: an order that the customer pays later."""
    return _preorder(ledger, OrderKind.WECHAT_PREORDER, "WECHAT", fields, now)


def alipay_preorder(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``ALIPAY_PreOrder``: an order that the customer pays later."""
    return _preorder(ledger, OrderKind.ALIPAY_PREORDER, "ALIPAY", fields, now)


def _preorder(
    ledger: Ledger, kind: OrderKind, wallet: str, fields: Mapping[str, str], now: datetime
) -> Step:
    expires = parse_time(fields.get("time_expire", "")) or now + PREORDER_VALIDITY
    problem = "" if expires > now else "time_expire is over"
    return _made(ledger, (kind, wallet), fields, now, expires=expires, problem=problem)


#: What the gateway answers when the order was made.
_REPLIES: Mapping[OrderKind, Callable[[Order], DraftReply]] = {
    OrderKind.PAY: lambda order: reply_fields.standing(order, reply_fields.pay_fields(order)),
    OrderKind.FACEPAY: lambda order: reply_fields.standing(
        order, reply_fields.facepay_fields(order)
    ),
    OrderKind.WECHAT_PREORDER: lambda order: success(reply_fields.preorder_fields(order)),
    OrderKind.ALIPAY_PREORDER: lambda order: success(reply_fields.preorder_fields(order)),
}


def _made(
    ledger: Ledger,
    how: tuple[OrderKind, str],
    fields: Mapping[str, str],
    now: datetime,
    *,
    expires: datetime,
    problem: str,
) -> Step:
    kind, wallet = how
    if (fields["mch_id"], fields["out_trade_no"]) in ledger.orders:
        problem = "out_trade_no was used before"
    if problem:
        return Step(ledger, refusal("20004", problem))
    scenario = scenario_for(fields)
    if scenario.refused and not scenario.booked:
        return Step(ledger, refusal(scenario.refused))
    payable, serial = int(fields["total_fee"]), ledger.serial + 1
    day = reply_fields.stamp(now)[:8]
    after = scenario.after
    if after == 0 and kind in reply_fields.PREORDERS:
        after = PREORDER_DELAY  # nobody pays within the call that makes the order
    order = Order(
        serial=serial,
        kind=kind,
        mch_id=fields["mch_id"],
        out_trade_no=fields["out_trade_no"],
        paytype=wallet,
        payable=payable,
        coupon=payable // scenario.coupon_part if scenario.coupon_part else 0,
        transaction_id=f"7551000001{day}{serial:010d}",
        out_transaction_id=f"4200000330{day}{serial:010d}",
        scenario=scenario.number,
        created=now,
        asked={name: value for name, value in fields.items() if name not in _NOT_KEPT},
        ends_at=None if after is None else now + timedelta(seconds=after),
        ends_as=scenario.ends,
        at_query=scenario.at_query,
        expires=expires,
    )
    order, events = settled(order, now)
    numbers = ledger.numbers.put(order.transaction_id, order.key)
    ledger = attrs.evolve(
        ledger.with_order(order),
        numbers=numbers.put(order.out_transaction_id, order.key),
        serial=order.serial,
    )
    events = (Noted(now, order.key, f"{kind} {order.payable} fen"), *events, *wakes(order, now))
    if scenario.refused:  # although the order was made
        return Step(ledger, refusal(scenario.refused), events)
    return Step(ledger, attrs.evolve(_REPLIES[kind](order), lost=scenario.lost), events)


def orderquery(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``orderquery``: how an order stands."""
    order = find(ledger, fields)
    if order is None:
        return Step(ledger, refusal("20007"))
    order, events = settled(attrs.evolve(order, queries=order.queries + 1), now)
    if order.queries == 1 and (code := SCENARIOS[order.scenario].query_refused):
        return Step(ledger.with_order(order), refusal(code), events)
    answer = reply_fields.standing(
        order,
        reply_fields.orderquery_fields(order),
        refunded=bool(ledger.live_refunds(order, now)),
    )
    return Step(ledger.with_order(order), answer, events)


def cancel(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``cancel``: close an unpaid order, give a paid one back; within 5 minutes (20011 after)."""
    order = find(ledger, fields)
    if order is None:
        return Step(ledger, refusal("20007"))
    order, events = settled(attrs.evolve(order, cancels=order.cancels + 1), now)
    ledger = ledger.with_order(order)
    if now - order.created > CANCEL_WINDOW:
        return Step(ledger, refusal("20011", "the order is older than 5 minutes"), events)
    if ledger.live_refunds(order, now):
        return Step(ledger, refusal("20011", "the order has gone into refund"), events)
    scenario = SCENARIOS[order.scenario]
    refused = scenario.cancel_refused if order.cancels == 1 else ""
    if refused and not scenario.cancel_carried_out:
        return Step(ledger, refusal(refused), events)
    order, more = _cancelled(order, scenario, now)
    answer = refusal(refused) if refused else success(reply_fields.cancel_fields(order))
    return Step(ledger.with_order(order), answer, events + more)


def _cancelled(
    order: Order, scenario: Scenario, now: datetime
) -> tuple[Order, tuple[Consequence, ...]]:
    if order.status is Status.PAID:
        order = attrs.evolve(order, status=Status.REVOKED, ended=now)
        return order, (Noted(now, order.key, "cancelled: the payment is given back"),)
    if order.status in (Status.CLOSED, Status.REVOKED):
        return order, ()
    late = scenario.after_cancel
    order = attrs.evolve(
        order,
        status=Status.CLOSED,
        ended=now,
        ends_as=Status.PAID,
        ends_at=None if late is None else now + timedelta(seconds=late),
        at_query=None,
    )
    return order, (Noted(now, order.key, "cancelled: closed unpaid"), *wakes(order, now))


def find(ledger: Ledger, fields: Mapping[str, str]) -> Order | None:
    """The merchant's order under either number, and under its own wallet only (M-22).

    ``out_trade_no`` wins where both numbers are given (C 54).
    """
    if number := fields.get("out_trade_no"):
        key: Key | None = (fields["mch_id"], number)
    else:
        key = ledger.numbers.get(fields.get("transaction_id", ""))
    order = ledger.orders.get(key) if key and key[0] == fields["mch_id"] else None
    return order if order and order.paytype == fields["paytype"] else None


def settled(order: Order, now: datetime) -> tuple[Order, tuple[Consequence, ...]]:
    """The order as it stands now: whatever was due by now has happened."""
    due = order.ends_at if order.ends_at is not None and order.ends_at <= now else None
    if order.status is Status.CLOSED and due and order.ends_as is Status.PAID:
        return ended(order, Status.PAID, due)  # late success: closed, and paid all the same
    if order.status is not Status.OPEN:
        return order, ()
    if due is None and order.at_query is not None and order.queries >= order.at_query:
        due = now
    expired = order.expires if order.expires is not None and order.expires <= now else None
    if expired is not None and (due is None or expired < due):
        return ended(order, Status.CLOSED, expired)
    return ended(order, order.ends_as, due) if due is not None else (order, ())


def ended(order: Order, status: Status, at: datetime) -> tuple[Order, tuple[Consequence, ...]]:
    """The order with its end; an order with a ``notify_url`` is to be notified of the end."""
    order = attrs.evolve(
        order,
        status=status,
        ended=at,
        ends_at=None,
        paid_at=at if status is Status.PAID else order.paid_at,
    )
    events: list[Consequence] = [Noted(at, order.key, status.value)]
    if order.asked.get("notify_url") and status in (Status.PAID, Status.FAILED):
        events.append(Notify(order.key))
    return order, tuple(events)


def wakes(order: Order, now: datetime) -> tuple[Consequence, ...]:
    """When the order must be brought up to date though nobody asks: only to notify somebody."""
    if not order.asked.get("notify_url"):
        return ()
    expires = order.expires if order.status is Status.OPEN else None
    times = [at for at in (order.ends_at, expires) if at is not None and at > now]
    return (Wake(min(times), order.key),) if times else ()
