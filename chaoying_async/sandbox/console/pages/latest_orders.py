"""The list of orders, newest first; and making a new order."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator

from starlette.responses import Response

from chaoying_async.sandbox.bank.entities import Order, Status
from chaoying_async.sandbox.bank.scenarios import SCENARIOS
from chaoying_async.sandbox.console import cashier
from chaoying_async.sandbox.console.display import as_of, is_waiting, order_link
from chaoying_async.sandbox.console.visit import RefusedError, Visit, whole
from chaoying_async.sandbox.document.requirements import CODES

#: At most this many orders are listed; the filter finds the others.
LISTED = 100

_YUAN = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,2}))?", re.ASCII).fullmatch
_URL = re.compile(r"https?://[^\s?#/\\]+(/[^\s?#\\]*)?").fullmatch


async def show(visit: Visit) -> Response:
    """Show the list."""
    ledger = visit.context.runtime.gateway.ledger
    found = heapq.nlargest(LISTED, _fitting(visit), key=lambda order: order.serial)
    return visit.page(
        "orders.html",
        orders=found,
        all=len(ledger.orders),
        waiting=any(map(is_waiting, found)),
        states=list(Status),
        wallets=CODES["paytype"],
        scenarios=SCENARIOS.values(),
        merchants=sorted(ledger.merchants),
        how=cashier.HOW,
        makable=cashier.WALLETS,
        q=visit.asked("q"),
        state=visit.asked("state"),
        wallet=visit.asked("wallet"),
    )


def _fitting(visit: Visit) -> Iterator[Order]:
    runtime = visit.context.runtime
    now = runtime.clock.now()
    q, state, wallet = visit.asked("q").lower(), visit.asked("state"), visit.asked("wallet")
    for order in runtime.gateway.ledger.orders.values():
        order = as_of(order, now)  # noqa: PLW2901 - as it stands by now
        named = q in order.out_trade_no.lower()
        if named and state in ("", order.status) and wallet in ("", order.paytype):
            yield order


async def make(visit: Visit) -> Response:
    """Make a new order, as a shop would."""
    form, runtime = visit.form, visit.context.runtime
    if not (fen := fen_of(form.get("yuan", ""))):
        return visit.to("/console/", "amount")
    url = form.get("notify_url", "").strip()
    if url and not _URL(url):
        return visit.to("/console/", "url")
    wallet, how = form.get("wallet"), form.get("how")
    scenario = whole(form.get("scenario") or "0")
    if wallet not in cashier.WALLETS or how not in cashier.HOW:
        raise RefusedError(400)
    if scenario is None or (scenario and scenario not in SCENARIOS):
        raise RefusedError(400)
    endpoint, fields = cashier.new_order(
        runtime,
        mch_id=form.get("mch_id", ""),
        how=how,
        wallet=wallet,
        total_fee=fen,
        scenario=scenario,
        url=url,
    )
    await cashier.call(runtime, endpoint, fields)
    entry = next(visit.context.journal.newest_first())
    made = runtime.gateway.ledger.orders.get((fields["mch_id"], fields["out_trade_no"]))
    where = order_link(made.key) if made else "/console/"
    return visit.to(where, "answered", message=str(entry.number))


def fen_of(yuan: str) -> int:
    """An amount that a person typed, in fen; 0 if it is none."""
    match = _YUAN(yuan.strip())
    return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0")) if match else 0
