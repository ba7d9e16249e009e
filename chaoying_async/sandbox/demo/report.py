"""The shop's own figures beside the gateway's books: they must agree, to the fen."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs

from chaoying_async.sandbox.demo.receiver import Receiver
from chaoying_async.sandbox.demo.shop import Day
from chaoying_async.sandbox.demo.till import End
from chaoying_async.sansio.values import Fen


@attrs.frozen
class Line:
    """One figure, as both sides have it."""

    what: str
    shop: int
    gateway: int
    money: bool = False

    @property
    def agrees(self) -> bool:
        """Equal, exactly."""
        return self.shop == self.gateway


#: How the gateway calls a till's ends.
_STATUS = {End.PAID: "PAID", End.FAILED: "FAILED", End.CANCELLED: "CLOSED"}


def compare(day: Day, receiver: Receiver, books: dict[str, Any]) -> list[Line]:
    """Every figure that must agree."""
    totals, requests = books["totals"], books["requests"]
    at_till = Counter(order["status"] for order in books["orders"] if order["kind"] == "pay")
    ends = Counter(sale.end for sale in day.sales)
    lines = [Line(f"{end.value} at the till", ends[end], at_till[_STATUS[end]]) for end in _STATUS]
    preorders = [order for order in books["orders"] if order["kind"] != "pay"]
    paid_later = [order for order in preorders if order["was_paid"]]
    lines += [
        Line("of unknown end", ends[End.UNKNOWN], at_till["OPEN"] + at_till["REVOKED"]),
        Line("pay requests", len(day.sales), requests.get("pay", 0)),
        Line(
            "refunds of unknown end", sum(each.status == "PROCESSING" for each in day.returned), 0
        ),
        Line("refund requests", len(day.returned), requests.get("refund", 0)),
        Line("pre-orders paid", len(day.preorders), len(paid_later)),
        Line("pre-orders notified", len(receiver.paid), len(paid_later)),
        Line("deliveries", receiver.counts["deliveries"], len(books["deliveries"])),
        Line("notifications refused", receiver.counts["refused"], 0),
        Line("received", day.received, totals["received"], money=True),
        Line("given back by cancels", 0, totals["reversed"], money=True),
        Line("refunded", day.refunded, totals["refunded"], money=True),
        Line("kept", Fen(day.received - day.refunded), totals["kept"], money=True),
    ]
    return lines


def shown(line: Line, amount: int) -> str:
    """An amount as yuan, anything else as a number."""
    return f"{Fen(amount).yuan:,} ¥" if line.money else f"{amount:,}"
