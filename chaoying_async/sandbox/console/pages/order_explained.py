"""The page that explains one order: what a shop can prove of it, and what it is to do next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.responses import Response

from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sandbox.bank.entities import Order
from chaoying_async.sandbox.console.visit import Visit
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.api.follow_up import OrderQuery, RefundQuery
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.explanation import Inquiry, OrderEvidence, explain_order
from chaoying_async.sansio.explanation.from_audit_log import AuditLog, LoggedExchange, is_known
from chaoying_async.sansio.explanation.from_gateway import AskedQuery, next_refund, next_wallet
from chaoying_async.sansio.explanation.telling import Teller
from chaoying_async.sansio.explanation.told import Bearing, Witness
from chaoying_async.sansio.paid import requested_paytype
from chaoying_async.sansio.polling.status import Query


async def show(visit: Visit) -> Response:
    """Show the page."""
    order = visit.order(visit.request.query_params)
    explanation = explain_order(_evidence(visit, order))
    return visit.page(
        "explained.html",
        order=order,
        explanation=explanation,
        teller=Teller(visit.words.language),
    )


def _evidence(visit: Visit, order: Order) -> OrderEvidence:
    """What the gateway would say now, and the messages that are kept of what was said before."""
    log = AuditLog(exchanges=tuple(_exchanges(visit, order)))
    evidence = OrderEvidence(
        mch_id=order.mch_id,
        out_trade_no=order.out_trade_no,
        now=visit.context.runtime.clock.now(),
        log=log,
    )
    wallet, asked = requested_paytype(order.paytype), list[AskedQuery]()
    numbers = evidence.refund_numbers(order.refunds)
    while next_wallet(asked, (order.paytype,), evidence.expected):
        order_query = OrderQuery(
            paytype=wallet, mch_id=order.mch_id, out_trade_no=order.out_trade_no
        )
        asked.append(_asked(visit, order_query))
        evidence = evidence.with_asked(asked)
    while found := next_refund(asked, evidence.says, numbers, order.out_trade_no):
        number, is_guess = found
        refund_query = RefundQuery(paytype=wallet, mch_id=order.mch_id, out_refund_no=number)
        asked.append(_asked(visit, refund_query, is_guess=is_guess))
        evidence = evidence.with_asked(asked)
    known = evidence.says.bearing is not Bearing.NONE
    return evidence.noted(
        {
            Witness.AUDIT_LOG: Inquiry.FOUND if log.exchanges else Inquiry.NOTHING,
            Witness.GATEWAY: Inquiry.FOUND if known else Inquiry.FAILED,
        }
    )


def _asked(visit: Visit, query: Query, *, is_guess: bool = False) -> AskedQuery:
    """A query signed as a shop's, and the answer that it would get, verified as a shop's."""
    gateway = visit.context.runtime.gateway
    now = gateway.clock.now()
    outgoing: Any = build_request(query, visit.credentials)
    answer = gateway.would_answer(query.endpoint.name, outgoing.fields)
    said: Reply[Any] | ChaoyingError
    try:
        said = read_reply(outgoing, answer.status, answer.body, visit.credentials, now=now)
    except ChaoyingError as error:
        said = error
    return AskedQuery(at=now, query=query, said=said, is_guess=is_guess)


def _exchanges(visit: Visit, order: Order) -> Iterator[LoggedExchange]:
    """What went over the wire about the order, as an audit log would have it."""
    ledger = visit.context.runtime.gateway.ledger
    for entry in visit.context.journal:
        if entry.order_in(ledger) == order.key and is_known(entry.endpoint):
            lost = entry.response.cut is not None
            yield LoggedExchange(
                at=entry.at,
                call=entry.endpoint,
                status=None if lost else entry.response.status,
                request=entry.fields,
                reply={} if lost else entry.answer,
                failed=lost,
            )
