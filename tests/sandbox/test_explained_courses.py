"""Every course of the sandbox under every fault, explained, and held against its books."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import suppress

import pytest

from chaoying_async import AttemptInProgressError, Pay, PayType, Refund, release_order
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.payments.checkout import checkout
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.sandbox import Fault, Status
from chaoying_async.sandbox.bank.scenarios import REFUND_SCENARIOS, SCENARIOS
from chaoying_async.sansio.explanation import OrderStanding, lines_of, members_of_explanation
from chaoying_async.sansio.polling.schedule import PollSchedule
from tests.sandbox.explained import ExplainedShop, an_explained_shop, check_against_books
from tests.sizes import FULL, thinned

NUMBER = "A1000101"
COURSES = [number for number in SCENARIOS if number]
#: Seconds from one look at the order to the next.
LOOKS = (0.0, 3.0, 9.0, 20.0, 60.0, 120.0, 300.0, 600.0)


async def looked_at(shop: ExplainedShop, where: object, looks: tuple[float, ...] = LOOKS) -> str:
    """Explain the order now and then, with all records and without; how it stood at the end."""
    stands = OrderStanding.NO_ANSWER
    for seconds in looks:
        await shop.sandbox.advance(seconds)
        for with_records in (True, False):
            before = shop.truth(NUMBER)
            found = await shop.explained(NUMBER, with_records=with_records)
            check_against_books(found, before, shop.truth(NUMBER), (*[where], seconds))
            assert [*lines_of(found)]
            assert [*lines_of(found, "zh")]
            assert members_of_explanation(found)["next"]
            stands = found.standing
    return stands


async def at_a_till(course: int, fault: Fault) -> tuple[str, Status | None]:
    """A checkout of that course, while it runs, after it, and when the fault has gone."""
    price = 1000 + course
    async with an_explained_shop(price) as shop:
        shop.sandbox.faults.add(fault)
        request = Pay(
            out_trade_no=NUMBER, body="tea", total_fee=price, auth_code="130000000000001111"
        )
        paying = asyncio.ensure_future(
            checkout(
                shop.session,
                request,
                schedule=PollSchedule(jitter=0),
                paytype=PayType.WECHAT,
                store=shop.store,
                clock=shop.clock,
            )
        )
        await looked_at(shop, (course, fault, "at a till"))
        with_trouble = await asyncio.wait([paying], timeout=0)
        if paying not in with_trouble[0]:
            await shop.clock.run(_ended(paying))
        shop.sandbox.faults.clear()
        stands = await looked_at(shop, (course, fault, "after it"), (0.0, 60.0))
        order = shop.truth(NUMBER)
        return stands, None if order is None else order.status


async def _ended(task: asyncio.Future[CheckoutOutcome]) -> None:
    await asyncio.wait([task])


async def by_a_code(course: int, fault: Fault) -> tuple[str, Status | None]:
    """A pre-order of that course, notified or not; its customer pays by himself."""
    price = 1000 + course
    async with an_explained_shop(price) as shop:
        shop.sandbox.faults.add(fault)
        with suppress(ChaoyingError):  # made or not: the books say
            await shop.clock.run(shop.session.send(shop.preorder(NUMBER, price)))
        await looked_at(shop, (course, fault, "by a code"), (0.0, 5.0, 15.0, 120.0, 900.0))
        shop.sandbox.faults.clear()
        stands = await looked_at(shop, (course, fault, "after it"), (0.0,))
        order = shop.truth(NUMBER)
        return stands, None if order is None else order.status


@pytest.mark.timeout(60)
async def test_an_attempt_that_nobody_answered_is_released_before_another() -> None:
    """M-24: the next attempt is refused for what is named; once done it is named no more."""
    price = 1405
    async with an_explained_shop(price) as shop:

        async def charged(number: str, total: int) -> CheckoutOutcome:
            request = Pay(
                out_trade_no=number, body="b", total_fee=total, auth_code="130000000000001111"
            )
            return await checkout(
                shop.session,
                request,
                paytype=PayType.WECHAT,
                store=shop.store,
                clock=shop.clock,
                order_no="B1",
            )

        shop.sandbox.faults.add(Fault.HTTP_500)
        outcome = await shop.clock.run(charged(NUMBER, price))
        assert outcome.status == "UNKNOWN"
        await outcome.done()
        shop.sandbox.faults.clear()
        found = await shop.explained(NUMBER)
        assert found.standing is OrderStanding.UNPAID
        assert "release" in {step.name for step in found.next}
        with pytest.raises(AttemptInProgressError):
            await shop.clock.run(charged("A1000102", 1000))
        await shop.clock.run(release_order(shop.session, "B1", store=shop.store, clock=shop.clock))
        found = await shop.explained(NUMBER)
        assert "release" not in {step.name for step in found.next}
        outcome = await shop.clock.run(charged("A1000102", 1000))
        assert outcome.status == "PAID"


@pytest.mark.timeout(60)
async def test_an_order_that_was_never_made_ends_as_its_checkout_did() -> None:
    """M-22: FAILED (NOT_FOUND) frees the business order, and the explanation cites it."""
    price = 1414
    async with an_explained_shop(price) as shop:
        request = Pay(
            out_trade_no=NUMBER, body="b", total_fee=price, auth_code="130000000000001111"
        )
        paying = checkout(
            shop.session, request, paytype=PayType.WECHAT, store=shop.store, clock=shop.clock
        )
        outcome = await shop.clock.run(paying)
        assert (outcome.status, outcome.reason) == ("FAILED", "NOT_FOUND")
        found = await shop.explained(NUMBER)
        assert (found.standing, found.next[0].name) == ("NOT_FOUND", "not-found-ended")
        alone = await shop.explained(NUMBER, with_records=False)
        assert alone.next[0].name == "not-found"


#: How an order has to stand at the end, when nothing is in the way any more.
ENDS: dict[Status | None, set[str]] = {
    Status.PAID: {"PAID", "OTHER_AMOUNT", "UNBELIEVED", "CONTRADICTED"},
    Status.OPEN: {"OPEN", "UNBELIEVED"},
    Status.CLOSED: {"UNPAID", "UNBELIEVED", "CONTRADICTED"},
    Status.REVOKED: {"UNPAID", "UNBELIEVED", "CONTRADICTED"},
    Status.FAILED: {"UNPAID", "UNBELIEVED", "CONTRADICTED"},
    None: {"NOT_FOUND"},
}


@pytest.mark.timeout(1800 if FULL else 120)
async def test_every_course_under_every_fault_agrees_with_the_books() -> None:
    """26 courses x 15 faults, at a till and by a code.

    Nothing that is or may be paid is called unpaid, nothing unpaid is called paid, and each next
    step names its rule.
    """
    ends = Counter[str]()
    for course, fault in thinned(itertools.product(COURSES, Fault), every=61, usual=29):
        for way in (at_a_till, by_a_code):
            stands, status = await way(course, fault)
            assert stands in ENDS[status], (course, fault, way.__name__, stands, status)
            ends[stands] += 1
    assert {"PAID", "UNPAID", "OPEN"} <= ends.keys()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("course", REFUND_SCENARIOS)
async def test_every_course_of_a_refund_agrees_with_the_books(course: int) -> None:
    """M-25: no refund is said to have ended that has not, and each step names its rule."""
    price = 4000
    async with an_explained_shop(price) as shop:
        await shop.clock.run(
            shop.session.send(
                Pay(out_trade_no=NUMBER, body="b", total_fee=price, auth_code="130000000000001111")
            )
        )
        for number, amount in (("TK-1", 1000 + course), ("TK-2", 300)):
            refund = Refund(
                paytype=PayType.WECHAT,
                out_trade_no=NUMBER,
                out_refund_no=number,
                total_fee=price,
                refund_fee=amount,
            )
            with suppress(ChaoyingError):  # made or not: the books say
                await shop.clock.run(shop.session.send(refund))
        for seconds in (0.0, 10.0, 4 * 86_400.0):
            await shop.sandbox.advance(seconds)
            found = await shop.explained(NUMBER)
            assert "deliver" not in {step.name for step in found.next}
            books = shop.sandbox.ledger
            for each in found.refunds:
                made = books.refunds.get((shop.sandbox.mch_id, each.number))
                if made is None:
                    assert each.status in (None, "NOT_FOUND")
                    continue
                state = made.state_at(shop.clock.now())
                assert (each.status == "REFUNDED") is (state == "SUCCESS")
                assert (each.status == "REFUND_FAILED") is (state == "FAIL")
            order = shop.truth(NUMBER)
            assert order is not None
            live = books.live_refunds(order, shop.clock.now())
            assert (found.standing is OrderStanding.IN_REFUND) is bool(live)
            back = [e.base for e in live if e.state_at(shop.clock.now()) == "SUCCESS"]
            if found.returned is not None:
                assert found.returned == sum(back)
            steps = {step.name for step in found.next}
            on_its_way = {e.state_at(shop.clock.now()) for e in live} - {"SUCCESS"}
            assert not (on_its_way and steps & {"part-came-back", "some-came-back"})
            assert all(step.rule.startswith("M-") for step in found.next)
