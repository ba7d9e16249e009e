"""The page of one order: its fields, its history, and what people can do to it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import attrs
from starlette.responses import Response

from chaoying_async.sandbox.bank.entities import BookedRefund, Order, Status
from chaoying_async.sandbox.bank.ledger import Deed
from chaoying_async.sandbox.bank.scenarios import SCENARIOS
from chaoying_async.sandbox.console import cashier, display
from chaoying_async.sandbox.console.amounts import Amounts, fen_of
from chaoying_async.sandbox.console.visit import RefusedError, Visit
from chaoying_async.sandbox.serving.events import EVENTS


@attrs.frozen(kw_only=True)
class Happened:
    """One line of the timeline; ``link`` leads to more, or is empty."""

    at: datetime
    kind: str
    text: str
    link: str = ""


async def show(visit: Visit) -> Response:
    """Show the page."""
    return _page(visit, visit.order(visit.request.query_params))


async def again(visit: Visit, problem: str) -> Response:
    """Show the page with the form as it was sent, and with why nothing was done."""
    form = visit.form
    order, event = visit.order(form), form.get("kind", "")
    return _page(visit, order, problem, form.get("yuan", ""), event)


def _page(
    visit: Visit, order: Order, problem: str = "", typed: str = "", event: str = ""
) -> Response:
    """The page; with a problem, also the amount or the event that somebody chose."""
    gateway = visit.context.runtime.gateway
    now, ledger = gateway.clock.now(), gateway.ledger
    refunds = ledger.refunds_of(order)
    code_url = display.code_url(order)
    return visit.page(
        "order.html",
        problem=problem,
        address=display.order_link(order.key),
        typed=typed,
        event=event,
        amounts=Amounts(visit.words, "refund", gateway.chosen_for_refunds),
        order=order,
        scenario=SCENARIOS[order.scenario],
        waiting=display.is_waiting(order, refunds, now),
        by_itself=_by_itself(visit, order),
        is_open=order.status is Status.OPEN,
        is_over=order.status in (Status.PAID, Status.FAILED),
        events=list(EVENTS),
        notifies=bool(order.asked.get("notify_url")),
        refunds=[(each, each.state_at(now), _ending(visit, each, now)) for each in refunds],
        left=order.payable - sum(each.base for each in refunds if each.state_at(now) != "FAIL"),
        asked=display.asked_fields(
            order.asked, order.kind, visit.words.language, visit.credentials
        ),
        code_url=code_url,
        qr=display.qr(code_url) if code_url else "",
        timeline=sorted(_timeline(visit, order), key=lambda each: each.at),
    )


async def act(visit: Visit) -> Response:
    """Let the customer, or the gateway itself, do something to the order."""
    order = visit.order(visit.form)
    deed = visit.form.get("deed", "")
    if deed not in Deed.__members__:
        raise RefusedError(400)
    if order.status is not Status.OPEN:
        return _page(visit, order, visit.words("said.order"))
    visit.context.runtime.gateway.act(order.key, Deed[deed])
    return visit.to(display.order_link(order.key), "done")


async def call(visit: Visit) -> Response:
    """Call the gateway about the order, as a cashier."""
    order = visit.order(visit.form)
    match visit.form.get("call"):
        case "orderquery" as endpoint:
            fields = cashier.query(order)
        case "cancel" as endpoint:
            fields = cashier.cancel(order)
        case "refund":
            return await _refund(visit, order, visit.form.get("yuan", ""))
        case _:
            raise RefusedError(400)
    await cashier.call(visit.context.runtime, endpoint, fields)
    return _answered(visit, order)


async def _refund(visit: Visit, order: Order, yuan: str) -> Response:
    runtime = visit.context.runtime
    if not (amount := fen_of(yuan)):
        return _page(visit, order, visit.words("said.amount"), yuan)
    fields = cashier.refund(order, amount)
    await cashier.call(runtime, "refund", fields)
    if (order.mch_id, fields["out_refund_no"]) in runtime.gateway.ledger.refunds:
        return _answered(visit, order)  # made, whatever the reply says: no second try by a reload
    return _page(visit, visit.order(visit.form), visit.answered(visit.latest).text, yuan)


def _answered(visit: Visit, order: Order) -> Response:
    where = display.order_link(order.key)
    return visit.to(where, "answered", message=str(visit.latest.number))


def _by_itself(visit: Visit, order: Order) -> str:
    """The sentence about what happens to the order if nobody acts."""
    words = visit.words
    state = words(f"state.{order.ends_as}")
    if order.ends_at is not None:
        return words("order.next.at", state=state, at=display.moment(order.ends_at))
    if order.status is Status.OPEN and order.at_query is not None:
        return words("order.next.query", state=state, number=order.at_query, so_far=order.queries)
    return words("order.next.never") if order.status is Status.OPEN else ""


def _ending(visit: Visit, refund: BookedRefund, now: datetime) -> str:
    """How a refund ended or will end, and when."""
    words, at = visit.words, display.moment(refund.becomes_at).replace(" ", "\u00a0")
    if refund.becomes is None:
        return words("order.refund-stays")
    if refund.state_at(now) is refund.becomes:
        return at
    return words("order.next.at", state=words(f"refund-state.{refund.becomes}"), at=at)


def _timeline(visit: Visit, order: Order) -> Iterator[Happened]:
    runtime, words = visit.context.runtime, visit.words
    for entry in visit.context.journal:
        if entry.order_in(runtime.gateway.ledger) == order.key:
            answer = visit.answer_of(entry)
            yield Happened(
                at=entry.at,
                kind="message",
                text=words("order.request", endpoint=entry.endpoint, answer=answer),
                link=f"/console/message?id={entry.number}",
            )
    for noted in runtime.happened:
        if noted.key == order.key:
            yield Happened(at=noted.at, kind="noted", text=words.noted(noted.what))
    for refund in runtime.gateway.ledger.refunds_of(order):
        if refund.becomes_at is not None and refund.becomes_at <= runtime.clock.now():
            state = words(f"refund-state.{refund.becomes}")
            amount, number = display.yuan(refund.base), refund.out_refund_no
            text = words("order.refund-ending", number=number, amount=amount, state=state)
            yield Happened(at=refund.becomes_at, kind="noted", text=text)
    for each in runtime.notifier.deliveries:
        if each.key == order.key:
            name = "order.delivery" if each.attempt else "order.delivery-by-hand"
            name = "order.forgery" if each.forged else name
            answer = visit.outcome_of(each)
            yield Happened(
                at=each.at,
                kind="notification",
                text=words(name, number=each.attempt, answer=answer),
                link="/console/notifications",
            )
