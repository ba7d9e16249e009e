"""The attempts to deliver notifications, and sending one by hand."""

from __future__ import annotations

from datetime import timedelta

import attrs
from starlette.responses import Response

from chaoying_async.sandbox.bank.entities import Key, Order, Status
from chaoying_async.sandbox.console import display
from chaoying_async.sandbox.console.pages import one_order
from chaoying_async.sandbox.console.paging import Pages
from chaoying_async.sandbox.console.visit import RefusedError, Visit
from chaoying_async.sandbox.serving import masked
from chaoying_async.sandbox.serving.events import EVENTS, Event, body_of
from chaoying_async.sandbox.serving.notifier import SCHEDULE, Delivery

_PAGE = "/console/notifications"


@attrs.frozen(kw_only=True)
class DeliveryRow:
    """One line of the list: an attempt to deliver."""

    delivery: Delivery
    outcome: str
    latency: float
    """Real seconds until the answer."""
    next_try: str
    body: str
    answer: str
    order: Order | None
    """It can be sent again."""
    mark: int
    """Unique on the page, and the same while it lives."""


async def show(visit: Visit) -> Response:
    """Show the list, newest first."""
    return _page(visit)


async def again(visit: Visit, problem: str) -> Response:
    """Show the page that a button was on, with why nothing was done."""
    if visit.form.get("from") == "order":
        return await one_order.again(visit, problem)
    return _page(visit, problem)


def _page(visit: Visit, problem: str = "") -> Response:
    deliveries = visit.context.runtime.notifier.deliveries
    newest: dict[Key, int] = {}
    for number, each in enumerate(deliveries):
        if each.attempt:
            newest[each.key] = number
    total = len(deliveries)
    pages = Pages.of(_PAGE, {}, visit.asked("page"), total)
    shown = ((number, deliveries[number]) for number in range(total)[::-1][pages.part])
    rows = [_row(visit, number, each, newest=newest.get(each.key)) for number, each in shown]
    return visit.page(
        "notifications.html",
        problem=problem,
        address=_PAGE if problem else "",
        rows=rows,
        pages=pages,
        waiting=any(row.order is not None and not row.order.told for row in rows),
    )


def _row(visit: Visit, number: int, delivery: Delivery, *, newest: int | None) -> DeliveryRow:
    runtime = visit.context.runtime
    order = runtime.gateway.ledger.orders.get(delivery.key)
    last = not delivery.attempt or newest == number
    return DeliveryRow(
        delivery=delivery,
        outcome=visit.outcome_of(delivery),
        latency=delivery.took / getattr(runtime.clock, "speed", 1),
        next_try=(
            _next_try(visit, delivery, order) if last else visit.words("notifications.next.later")
        ),
        body=masked.wire(delivery.body, visit.credentials),
        answer=masked.answer_of(delivery.answer, delivery.body, visit.credentials),
        order=order,
        mark=number,
    )


def _next_try(visit: Visit, delivery: Delivery, order: Order | None) -> str:
    if not delivery.attempt:
        return ""
    if order is None or order.told:
        accepted = delivery.accepted
        return visit.words("notifications.next.done" if accepted else "notifications.next.given-up")
    if delivery.attempt >= len(SCHEDULE):
        return visit.words("notifications.next.given-up")
    return display.moment(delivery.at + timedelta(seconds=SCHEDULE[delivery.attempt]))


async def send(visit: Visit) -> Response:
    """Send a notification by hand: the true one again, or one of the events."""
    order, runtime = visit.order(visit.form), visit.context.runtime
    if not order.asked.get("notify_url"):
        raise RefusedError(400)
    kind = visit.form.get("kind", "")
    if kind == "again":
        if order.status is Status.OPEN:
            raise RefusedError(400)
        await runtime.notifier.attempt(order, 0)
    elif event := EVENTS.get(kind):
        body = body_of(event, runtime.gateway, order)
        if event.late:
            runtime.spawn(_later(visit, order, event, body))
            return visit.to(_back(visit, order), "done")
        orders = [order] * event.times
        await runtime.notifier.attempt_together(orders, body, forged=event.forged)
    else:
        raise RefusedError(400)
    return visit.to(_back(visit, order), "delivered")


async def _later(visit: Visit, order: Order, event: Event, body: bytes) -> None:
    runtime = visit.context.runtime
    await runtime.clock.sleep(event.late)
    await runtime.notifier.attempt(order, 0, body, forged=event.forged)


def _back(visit: Visit, order: Order) -> str:
    from_order = visit.form.get("from") == "order"
    return display.order_link(order.key) if from_order else _PAGE
