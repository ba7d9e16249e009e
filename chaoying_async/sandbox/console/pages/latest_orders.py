"""The list of orders, newest first; and making a new order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import attrs
from starlette.responses import Response

from chaoying_async.sandbox.bank.entities import BookedRefund, Order, RefundState, Status
from chaoying_async.sandbox.bank.ledger import MCH_ID
from chaoying_async.sandbox.bank.scenarios import SCENARIOS
from chaoying_async.sandbox.console import cashier
from chaoying_async.sandbox.console.amounts import Amounts, fen_of
from chaoying_async.sandbox.console.connecting import lines_for
from chaoying_async.sandbox.console.display import as_of, is_waiting, order_link
from chaoying_async.sandbox.console.paging import Pages, filters_of
from chaoying_async.sandbox.console.visit import RefusedError, Visit, whole
from chaoying_async.sandbox.document.requirements import CODES

_URL = re.compile(r"https?://[^\s?#/\\]+(/[^\s?#\\]*)?").fullmatch
_PAGE = "/console/"
#: How many refunds of an order are named in the list; the order's page has all.
_REFUNDS = 3
#: What stands in the fields of a new order before anybody types.
_UNTYPED = {
    "how": "scan",
    "wallet": "WECHAT",
    "yuan": "14.05",
    "scenario": "",
    "mch_id": MCH_ID,
    "notify_url": "",
}


@attrs.frozen(kw_only=True)
class OrderRow:
    """One line of the list, as of now."""

    order: Order
    refunds: list[tuple[BookedRefund, RefundState]]
    """The latest of its refunds, and how each stands."""
    more: int
    """How many earlier refunds it has."""
    waiting: bool
    """Whether the line will change by itself."""


async def show(visit: Visit) -> Response:
    """Show the list."""
    return _page(visit, _UNTYPED)


def _page(visit: Visit, typed: Mapping[str, str], problem: str = "", wrong: str = "") -> Response:
    """The page; with a problem, also the field that is wrong, if it is one."""
    ledger = visit.context.runtime.gateway.ledger
    filters = filters_of(visit, "q", "state", "wallet")
    found = sorted(_fitting(visit, filters), key=lambda order: order.serial, reverse=True)
    pages = Pages.of(_PAGE, filters, visit.asked("page"), len(found))
    rows = [_row(visit, order) for order in found[pages.part]]
    return visit.page(
        "orders.html",
        problem=problem,
        address=_PAGE if problem else "",
        typed=typed,
        amounts=Amounts(visit.words, "scenario", visit.context.runtime.gateway.chosen),
        wrong=wrong,
        lines=lines_for(visit),
        rows=rows,
        pages=pages,
        all=len(ledger.orders),
        waiting=any(row.waiting for row in rows),
        states=list(Status),
        wallets=CODES["paytype"],
        scenarios=SCENARIOS.values(),
        merchants=sorted(ledger.merchants),
        how=cashier.HOW,
        makable=cashier.WALLETS,
        filters=filters,
    )


def _row(visit: Visit, order: Order) -> OrderRow:
    runtime = visit.context.runtime
    now = runtime.clock.now()
    refunds = runtime.gateway.ledger.refunds_of(order)
    return OrderRow(
        order=order,
        refunds=[(each, each.state_at(now)) for each in refunds[-_REFUNDS:]],
        more=len(refunds[:-_REFUNDS]),
        waiting=is_waiting(order, refunds, now),
    )


def _fitting(visit: Visit, filters: Mapping[str, str]) -> Iterator[Order]:
    runtime = visit.context.runtime
    now = runtime.clock.now()
    q, state, wallet = filters["q"].lower(), filters["state"], filters["wallet"]
    for order in runtime.gateway.ledger.orders.values():
        order = as_of(order, now)  # noqa: PLW2901 - as it stands by now
        named = q in order.out_trade_no.lower()
        if named and state in ("", order.status) and wallet in ("", order.paytype):
            yield order


async def again(visit: Visit, problem: str) -> Response:
    """Show the form as it was sent, with why nothing was done."""
    return _page(visit, _typed(visit), problem)


def _typed(visit: Visit) -> dict[str, str]:
    return {name: visit.form.get(name, "") for name in _UNTYPED}


async def make(visit: Visit) -> Response:
    """Make a new order, as a shop would."""
    runtime, words = visit.context.runtime, visit.words
    typed = _typed(visit)
    if not (fen := fen_of(typed["yuan"])):
        return _page(visit, typed, words("said.amount"), "yuan")
    url = typed["notify_url"].strip()
    if url and not _URL(url):
        return _page(visit, typed, words("said.url"), "notify_url")
    wallet, how = typed["wallet"], typed["how"]
    scenario = whole(typed["scenario"] or "0")
    if wallet not in cashier.WALLETS or how not in cashier.HOW:
        raise RefusedError(400)
    if scenario is None or (scenario and scenario not in SCENARIOS):
        raise RefusedError(400)
    endpoint, fields = cashier.new_order(
        runtime,
        mch_id=typed["mch_id"],
        how=how,
        wallet=wallet,
        total_fee=fen,
        scenario=scenario,
        url=url,
    )
    await cashier.call(runtime, endpoint, fields)
    made = runtime.gateway.ledger.orders.get((fields["mch_id"], fields["out_trade_no"]))
    if made is None:
        return _page(visit, typed, visit.answered(visit.latest).text)
    return visit.to(order_link(made.key), "answered", message=str(visit.latest.number))
