"""Where orders sleep and lie: by the second, by kind, and without a key of their own."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chaoying_async import OrderQuery, PayType, PollSchedule
from chaoying_async.polling.queue import Kind, PendingOrders, QueuedOrder, SleepQueue
from tests.factories import MCH_ID

KIND: Kind = ("orderquery", MCH_ID, "WECHAT", "out_trade_no")
SCHEDULE = PollSchedule()
MOMENTS = st.floats(min_value=-5, max_value=5)


def an_order(number: int, due: float = 0.0) -> QueuedOrder:
    query = OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_trade_no=f"A{number}")
    order = QueuedOrder(query, KIND, SCHEDULE, None, 0.0)
    order.due = due
    return order


@given(st.lists(MOMENTS), st.lists(MOMENTS), st.lists(MOMENTS, min_size=1))
def test_orders_wake_when_they_are_due_the_first_first(
    before: list[float], later: list[float], looks: list[float]
) -> None:
    """Whatever lies in seconds that have begun already; of two at one moment the older goes first.

    Nobody oversleeps who looks again when ``next_due`` says so.
    """
    queue = SleepQueue()
    waiting: list[QueuedOrder] = []

    def push(dues: list[float]) -> None:
        for due in dues:
            waiting.append(an_order(len(waiting), due))
            queue.push(waiting[-1])

    push(before)
    woken = []
    for index, now in enumerate(sorted(looks)):
        expected = sorted((o for o in waiting if o.due <= now), key=lambda order: order.due)
        waiting = [order for order in waiting if order.due > now]
        next_due = queue.next_due()
        assert next_due is None or not expected or next_due <= expected[0].due
        found = list(queue.due(now))
        assert found == expected
        woken += found
        if index == 0:
            push(later)
    assert len(woken) + len(waiting) == len(before) + len(later)
    assert all(queue.next_due() is not None for _ in waiting)


def test_an_order_that_sleeps_twice_wakes_once_at_its_last_moment() -> None:
    """It was asked out of turn meanwhile: the earlier place in the queue means nothing."""
    queue, order = SleepQueue(), an_order(1, due=3.5)
    queue.push(order)
    order.due = 7.25
    queue.push(order)
    assert list(queue.due(4.0)) == []
    assert list(queue.due(7.2)) == []
    assert list(queue.due(7.25)) == [order]
    assert queue.next_due() is None


def test_orders_that_ended_are_dropped_where_they_lie() -> None:
    """Settled by notifications, their places are free long before they would have woken."""
    queue = SleepQueue()
    orders = [an_order(number, due=number / 10) for number in range(1200)]
    for order in orders:
        queue.push(order)
    assert list(queue.due(0.0)) == orders[:1]  # so some lie in a second that has begun
    for order in orders[2:]:
        order.ended = True
    queue.tidy(alive=1)
    assert len(queue._sorted) == 1
    assert sum(map(len, queue._by_second.values())) == 0
    assert list(queue.due(1000.0)) == orders[1:2]


def test_an_order_is_found_by_its_key_and_counted_once() -> None:
    """Of each kind apart; what was dropped leaves nothing behind."""
    orders, one, two = PendingOrders(), an_order(1), an_order(2)
    for order in (one, two):
        orders.add(order.key, order)
    assert list(orders) == [one, two]
    assert orders.get(one.key) is one
    assert orders.get((("refundquery", MCH_ID, "WECHAT", "out_refund_no"), "A1")) is None
    for _ in range(2):
        orders.drop(one)
    assert (len(orders), orders.get(one.key)) == (1, None)
    orders.drop(two)
    assert orders._kinds == {}


def test_what_is_alike_in_a_million_queries_is_there_once() -> None:
    """The empty ``extra`` of a query would weigh more than everything else in it."""
    extras = [an_order(number).query.extra for number in range(3)]
    assert all(one is other for one, other in pairwise(extras))
    assert extras[0] == {}
