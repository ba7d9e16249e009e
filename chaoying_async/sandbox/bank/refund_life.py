"""The life of a refund: refund and refundquery."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from chaoying_async.sandbox.bank import reply_fields
from chaoying_async.sandbox.bank.entities import (
    BookedRefund,
    Ledger,
    Noted,
    Order,
    RefundState,
    Status,
    Step,
)
from chaoying_async.sandbox.bank.order_life import find, settled
from chaoying_async.sandbox.bank.scenarios import (
    REFUND_DELAY,
    REFUND_SCENARIOS,
    RefundScenario,
    refund_scenario_for,
)
from chaoying_async.sandbox.document.draft_reply import refusal, success


def refund(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``refund``: give back a part of a paid order, or all of it.

    The same number with the same values is the same refund, made once; with other values it is
    refused (20008). ``total_fee`` must be the order amount, what was paid (C 42).
    """
    order = find(ledger, fields)
    if order is None:
        return Step(ledger, refusal("20007"))
    order, events = settled(order, now)
    ledger = ledger.with_order(order)
    known = ledger.refunds.get((fields["mch_id"], fields["out_refund_no"]))
    step = (
        _first(ledger, order, fields, now)
        if known is None
        else _again(ledger, order, known, fields, now)
    )
    return step._replace(events=events + step.events)


def _first(ledger: Ledger, order: Order, fields: Mapping[str, str], now: datetime) -> Step:
    base = int(fields["refund_fee"])
    if why := _too_much(ledger, order, int(fields["total_fee"]), base, now):
        return Step(ledger, refusal("20008", why))
    scenario = refund_scenario_for(fields)
    if scenario.refused and not scenario.booked:
        return Step(ledger, refusal(scenario.refused, "not enough money in the account"))
    made = _new(ledger, order, fields, scenario, now)
    order = attrs.evolve(order, refunds=(*order.refunds, made.out_refund_no))
    ledger = attrs.evolve(
        ledger.with_order(order).with_refund(made),
        numbers=ledger.numbers.put(made.refund_id, made.key),
        serial=made.serial,
    )
    events = (Noted(now, order.key, f"refund of {base} fen"),)
    if scenario.refused:
        return Step(ledger, refusal(scenario.refused), events)
    return Step(ledger, success(reply_fields.refund_fields(order, made)), events)


def _too_much(ledger: Ledger, order: Order, total: int, base: int, now: datetime) -> str:
    if order.status is not Status.PAID:
        return "the order is not paid"
    if total != order.payable:
        return "total_fee is not the order's amount"
    already = sum(each.base for each in ledger.live_refunds(order, now))
    if already + base > order.payable:
        return "more than is left to refund"
    return ""


def _again(
    ledger: Ledger, order: Order, known: BookedRefund, fields: Mapping[str, str], now: datetime
) -> Step:
    """A refund number that was sent before (M-25)."""
    asked = (order.out_trade_no, int(fields["refund_fee"]), int(fields["total_fee"]))
    state = known.state_at(now)
    if asked != (known.out_trade_no, known.base, order.payable):
        return Step(ledger, refusal("20008", "out_refund_no was used with other values"))
    if state is RefundState.FAIL:
        return Step(ledger, refusal("20008", "that refund failed: use another out_refund_no"))
    if state is RefundState.NOTSURE:  # sent again with its own number, as the document asks
        known = attrs.evolve(
            known,
            state=RefundState.PROCESSING,
            becomes=RefundState.SUCCESS,
            becomes_at=now + timedelta(seconds=REFUND_DELAY),
        )
        ledger = ledger.with_refund(known)
    return Step(ledger, success(reply_fields.refund_fields(order, known)))


def _new(
    ledger: Ledger,
    order: Order,
    fields: Mapping[str, str],
    scenario: RefundScenario,
    now: datetime,
) -> BookedRefund:
    serial = ledger.serial + 1
    base = int(fields["refund_fee"])
    cash = _cash(order, ledger.live_refunds(order, now), base)
    day = reply_fields.stamp(now)[:8]
    timed = scenario.becomes is not None
    return BookedRefund(
        serial=serial,
        mch_id=order.mch_id,
        out_refund_no=fields["out_refund_no"],
        out_trade_no=order.out_trade_no,
        refund_id=f"5000030041{day}{serial:010d}",
        out_refund_id=f"5030000410{day}{serial:010d}",
        base=base,
        cash=cash,
        coupon=base - cash,
        scenario=scenario.number,
        created=now,
        becomes=scenario.becomes,
        becomes_at=now + timedelta(seconds=scenario.after) if timed else None,
    )


def _cash(order: Order, made: list[BookedRefund], base: int) -> int:
    """The cash in a refund: a fair share, and all shares together are exactly what was paid."""
    cash_left = order.paid - sum(each.cash for each in made)
    coupon_left = order.coupon - sum(each.coupon for each in made)
    so_far = sum(each.base for each in made) + base
    fair = so_far * order.paid // order.payable - (order.paid - cash_left)
    return max(base - coupon_left, min(fair, cash_left, base), 0)


def refundquery(ledger: Ledger, fields: Mapping[str, str], now: datetime) -> Step:
    """``refundquery``: every refund of the order that the number belongs to."""
    if number := fields.get("out_refund_no"):
        key = (fields["mch_id"], number)
    else:
        key = ledger.numbers.get(fields["refund_id"], ("", ""))
    made = ledger.refunds.get(key) if key[0] == fields["mch_id"] else None
    if made is None:
        return Step(ledger, refusal("20007", "no refund has that number"))
    order = ledger.orders[made.mch_id, made.out_trade_no]
    if order.paytype != fields["paytype"]:
        return Step(ledger, refusal("20007", "no refund has that number"))
    if not made.queried:
        ledger = ledger.with_refund(attrs.evolve(made, queried=True))
        if code := REFUND_SCENARIOS[made.scenario].query_refused:
            return Step(ledger, refusal(code))
    answer = reply_fields.refundquery_fields(order, ledger.refunds_of(order), now)
    return Step(ledger, success(answer))
