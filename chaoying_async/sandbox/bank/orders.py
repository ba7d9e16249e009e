"""The life of an order: pay, facepay, pre-order, orderquery, cancel, and time passing. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import attrs

from chaoying_async.sandbox.bank import reply_fields as replies
from chaoying_async.sandbox.bank.entities import (
    Answer,
    Event,
    Kind,
    Ledger,
    Noted,
    Notify,
    Order,
    RefundState,
    Status,
    Step,
    Wake,
    refusal,
)
from chaoying_async.sandbox.bank.scenarios import (
    CHOSEN,
    PREORDER_DELAY,
    SCENARIOS,
    Scenario,
    scenario_for,
)
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
    return _charge(ledger, Kind.PAY, wallet_of(fields["auth_code"]), fields, now)


def facepay(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``facepay``: charge the face that the terminal saw."""
    return _charge(ledger, Kind.FACEPAY, fields["paytype"], fields, now)


_PAID_FIELDS: Mapping[Kind, Callable[[Order], dict[str, str | int]]] = {
    Kind.PAY: replies.pay_fields,
    Kind.FACEPAY: replies.facepay_fields,
}


def _charge(
    ledger: Ledger, kind: Kind, wallet: str, fields: Mapping[str, str], now: datetime
) -> Step:
    if (fields["mch_id"], fields["out_trade_no"]) in ledger.orders:
        return Step(ledger, refusal("20004", "out_trade_no was used before"))
    if ledger.bound.get(fields.get("auth_code", ""), fields["mch_id"]) != fields["mch_id"]:
        return Step(ledger, refusal("20004", "auth_code belongs to another merchant (C 41)"))
    scenario = scenario_for(fields)
    if scenario.refused and not scenario.booked:
        return Step(ledger, refusal(scenario.refused))
    order = _new(ledger.serial + 1, (kind, wallet), fields, scenario, now)
    order, events = settled(order, now)
    ledger = _opened(ledger, order)
    events = (Noted(now, order.key, f"{kind} {order.payable} fen"), *events, *wakes(order, now))
    return Step(ledger, _said(scenario, replies.standing(order, _PAID_FIELDS[kind](order))), events)


def wechat_preorder(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``WECHAT_PreOrder``: an order that the customer pays later."""
    return _preorder(ledger, Kind.WECHAT_PREORDER, "WECHAT", fields, now)


def alipay_preorder(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``ALIPAY_PreOrder``: an order that the customer pays later."""
    return _preorder(ledger, Kind.ALIPAY_PREORDER, "ALIPAY", fields, now)


def _preorder(
    ledger: Ledger, kind: Kind, wallet: str, fields: Mapping[str, str], now: datetime
) -> Step:
    if (fields["mch_id"], fields["out_trade_no"]) in ledger.orders:
        return Step(ledger, refusal("20004", "out_trade_no was used before"))
    expires = parse_time(fields.get("time_expire", "")) or now + PREORDER_VALIDITY
    if expires <= now:
        return Step(ledger, refusal("20004", "time_expire is over"))
    scenario = scenario_for(fields)
    if scenario.refused and not scenario.booked:
        return Step(ledger, refusal(scenario.refused))
    order = attrs.evolve(
        _new(ledger.serial + 1, (kind, wallet), fields, scenario, now), expires=expires
    )
    if order.ends_at == now:  # nobody pays within the call that makes the order
        order = attrs.evolve(order, ends_at=now + timedelta(seconds=PREORDER_DELAY))
    ledger = _opened(ledger, order)
    events = (Noted(now, order.key, f"{kind} {order.payable} fen"), *wakes(order, now))
    return Step(ledger, _said(scenario, replies.success(replies.preorder_fields(order))), events)


def _said(scenario: Scenario, answer: Answer) -> Answer:
    """What the gateway says of an order that it has made: the truth, an error, or nothing."""
    if scenario.refused:
        return refusal(scenario.refused)
    return attrs.evolve(answer, lost=True) if scenario.lost else answer


def _new(
    serial: int,
    how: tuple[Kind, str],
    fields: Mapping[str, str],
    scenario: Scenario,
    now: datetime,
) -> Order:
    kind, wallet = how
    payable = int(fields["total_fee"])
    day = replies.stamp(now)[:8]
    return Order(
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
        ends_at=None if scenario.after is None else now + timedelta(seconds=scenario.after),
        ends_as=scenario.ends,
        at_query=scenario.at_query,
        expires=now + TILL_VALIDITY,
    )


def _opened(ledger: Ledger, order: Order) -> Ledger:
    numbers = ledger.numbers.put(order.transaction_id, order.key)
    return attrs.evolve(
        ledger,
        orders=ledger.orders.put(order.key, order),
        numbers=numbers.put(order.out_transaction_id, order.key),
        serial=order.serial,
    )


def orderquery(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``orderquery``: how an order stands, found under its own wallet only (M-22)."""
    order = find(ledger, fields)
    if order is None or order.paytype != fields["paytype"]:
        return Step(ledger, refusal("20007"))
    order, events = settled(attrs.evolve(order, queries=order.queries + 1), now)
    if order.queries == 1 and (code := SCENARIOS[order.scenario].query_refused):
        return Step(ledger.with_order(order), refusal(code), events)
    refunded = any(
        refund.state_at(now) is not RefundState.FAIL for refund in ledger.refunds_of(order)
    )
    answer = replies.standing(order, replies.orderquery_fields(order), refunded=refunded)
    return Step(ledger.with_order(order), answer, events)


def cancel(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``cancel``: close an unpaid order, give a paid one back; within 5 minutes (20011 after)."""
    order = find(ledger, fields)
    if order is None or order.paytype != fields["paytype"]:
        return Step(ledger, refusal("20007"))
    order, events = settled(attrs.evolve(order, cancels=order.cancels + 1), now)
    ledger = ledger.with_order(order)
    if now - order.created > CANCEL_WINDOW:
        return Step(ledger, refusal("20011", "the order is older than 5 minutes"), events)
    if any(r.state_at(now) is not RefundState.FAIL for r in ledger.refunds_of(order)):
        return Step(ledger, refusal("20011", "the order has gone into refund"), events)
    scenario = SCENARIOS[order.scenario]
    refused = scenario.cancel_refused if order.cancels == 1 else ""
    if refused and not scenario.cancel_carried_out:
        return Step(ledger, refusal(refused), events)
    order, more = _cancelled(order, scenario, now)
    answer = refusal(refused) if refused else replies.success(replies.cancel_fields(order))
    return Step(ledger.with_order(order), answer, events + more)


def _cancelled(order: Order, scenario: Scenario, now: datetime) -> tuple[Order, tuple[Event, ...]]:
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
    """The merchant's order under either number; ``out_trade_no`` wins (C 54)."""
    if number := fields.get("out_trade_no"):
        return ledger.orders.get((fields["mch_id"], number))
    key = ledger.numbers.get(fields.get("transaction_id", ""))
    return ledger.orders.get(key) if key and key[0] == fields["mch_id"] else None


def settled(order: Order, now: datetime) -> tuple[Order, tuple[Event, ...]]:
    """The order as it stands now: what was due since it was last looked at has happened."""
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


def ended(order: Order, status: Status, at: datetime) -> tuple[Order, tuple[Event, ...]]:
    """The order with its end; pre-orders with a ``notify_url`` are to be notified of it."""
    order = attrs.evolve(
        order,
        status=status,
        ended=at,
        ends_at=None,
        paid_at=at if status is Status.PAID else order.paid_at,
    )
    events: list[Event] = [Noted(at, order.key, status.value)]
    if order.asked.get("notify_url") and status in (Status.PAID, Status.FAILED):
        events.append(Notify(order.key))
    return order, tuple(events)


def wakes(order: Order, now: datetime) -> tuple[Event, ...]:
    """When the order must be looked at though nobody asks: only where somebody would be told."""
    if not order.asked.get("notify_url"):
        return ()
    expires = order.expires if order.status is Status.OPEN else None
    times = [at for at in (order.ends_at, expires) if at is not None and at > now]
    return (Wake(min(times), order.key),) if times else ()
