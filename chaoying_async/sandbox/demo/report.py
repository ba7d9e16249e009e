"""Compares the shop's own figures with the gateway's books: they must agree to the fen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import attrs

from chaoying_async.sandbox.demo.hostile import Siege
from chaoying_async.sandbox.demo.shop import Day
from chaoying_async.sandbox.demo.warehouse import Warehouse
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.payments.moves import CheckoutStatus
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.sansio.values import Fen


@attrs.frozen
class Figure:
    """One figure, as the shop and as the gateway have it."""

    what: str
    shop: int
    gateway: int
    money: bool = False
    """In fen; else a count."""

    @property
    def agrees(self) -> bool:
        """Whether both sides have exactly the same figure."""
        return self.shop == self.gateway


#: Orders that the gateway closed and orders that a cancel closed look alike in its books.
_UNPAID = (CheckoutStatus.FAILED, CheckoutStatus.CANCELLED)
_OPEN_ENDS = (
    CheckoutStatus.UNKNOWN,
    CheckoutStatus.PAID_AFTER_CANCEL,
    CheckoutStatus.PAID_EARLIER,
)


def compare(day: Day, receiver: Warehouse, siege: Siege, books: dict[str, Any]) -> list[Figure]:
    """Every figure that must agree."""
    totals = books["totals"]
    received, refunded = Fen(day.received), Fen(day.refunded)
    return [
        *_at_the_till(day, books),
        *_notified(day, receiver, siege, books),
        Figure("received, cash", received, totals["received"], money=True),
        Figure("given back by cancels", 0, totals["reversed"], money=True),
        Figure("refunded", refunded, totals["refunded"], money=True),
        Figure("kept", Fen(received - refunded), totals["kept"], money=True),
    ]


def _at_the_till(day: Day, books: dict[str, Any]) -> list[Figure]:
    orders = {order["out_trade_no"]: order for order in books["orders"] if order["kind"] == "pay"}
    ends = Counter(sale.status for sale in day.sales)
    unpaid = sum(order["status"] in ("FAILED", "CLOSED") for order in orders.values())
    paid = sum(order["status"] == "PAID" for order in orders.values())
    wrong = [
        sale
        for sale in day.sales
        if (sale.status is CheckoutStatus.PAID) is not orders[sale.out_trade_no]["was_paid"]
    ]
    requests = books["requests"]
    return [
        Figure("paid at the till", ends[CheckoutStatus.PAID], paid),
        Figure("failed or cancelled", sum(ends[each] for each in _UNPAID), unpaid),
        Figure("of unknown end", sum(ends[each] for each in _OPEN_ENDS), 0),
        Figure("told otherwise than it was", len(wrong), 0),
        Figure("pay requests", len(day.sales), requests.get("pay", 0)),
        Figure("refund requests", len(day.returned), requests.get("refund", 0)),
        Figure(
            "refunds of unknown end",
            sum(each.status is not PollStatus.REFUNDED for each in day.returned),
            sum(refund["state"] != "SUCCESS" for refund in books["refunds"]),
        ),
    ]


def _notified(day: Day, receiver: Warehouse, siege: Siege, books: dict[str, Any]) -> list[Figure]:
    paid_later = [
        order for order in books["orders"] if order["kind"] != "pay" and order["was_paid"]
    ]
    return [
        Figure("QR orders paid", len(day.preorders), len(paid_later)),
        Figure("QR orders shipped", len(receiver.shipped), len(paid_later)),
        Figure("shipments of QR orders", receiver.shipped.total(), len(paid_later)),
        Figure("deliveries", receiver.deliveries, len(books["deliveries"])),
        Figure("shipped for a forgery or a replay", siege.fooled, 0),
    ]


def as_record(day: Day, receiver: Warehouse, siege: Siege, lines: list[Figure]) -> dict[str, Any]:
    """All that the demo shows, for a program: amounts in fen, one entry a line of the tables."""
    stats = receiver.handler.stats()
    agrees = all(line.agrees for line in lines)
    return {
        "ok": agrees,
        "exit": 0 if agrees else 1,
        "sales": [attrs.asdict(row) for row in sales(day)],
        "notifications": {
            "deliveries": receiver.deliveries,
            "duplicates": stats.decisions.get(Decision.DUPLICATE, 0),
            "put_off": len(receiver.put_off),
            "unverified": stats.unverified + stats.malformed,
            "hostile": siege.posted,
            "set_aside": {str(name): count for name, count in receiver.set_aside.items()},
        },
        "books": [attrs.asdict(line) | {"agrees": line.agrees} for line in lines],
    }


@attrs.frozen(kw_only=True)
class Sales:
    """The payments at the till that ended alike; amounts in fen."""

    status: CheckoutStatus
    orders: int
    answers: int
    payable: int
    paid: int


def sales(day: Day) -> Iterator[Sales]:
    """A row for each way in which any payment ended."""
    for status in CheckoutStatus:
        if alike := [sale for sale in day.sales if sale.status is status]:
            yield Sales(
                status=status,
                orders=len(alike),
                answers=sum(sale.answers for sale in alike),
                payable=sum(int(sale.payable) for sale in alike),
                paid=sum(int(sale.paid) for sale in alike),
            )


def shown(line: Figure, amount: int) -> str:
    """An amount as yuan, anything else as a number."""
    return f"{Fen(amount).yuan:,} ¥" if line.money else f"{amount:,}"
