"""NotificationHandler: what comes by another way, and what is taken up later (M-13, M-17)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.case import NO_AMOUNT_CHECK, ExpectedOrder
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import Aside, Entry, Mark, OrderKey
from tests.factories import MCH_ID, ORDER
from tests.shop import FAIL, SUCCESS, Shop, failing, queried, said

D = Decision
ORDER_KEY = OrderKey(MCH_ID, ORDER)


@pytest.fixture
def shop() -> Shop:
    return Shop()


# ----------------------------------------------------------------------- what comes by another way


async def test_what_a_poller_learnt_has_the_same_effect_through_the_same_record(
    shop: Shop,
) -> None:
    """M-13, M-18: whichever comes second is a duplicate."""
    for first, second in ((0, 1), (1, 0)):
        shop.delivered.clear()
        handler = shop.handler()
        got: dict[int, Decision | None] = {}
        for way in (first, second):
            if way:
                got[way] = await handler.settle(queried())
            else:
                got[way] = (await handler.handle(shop.body())).decision
        assert (got[first], got[second]) == (D.APPLY, D.DUPLICATE)
        assert len(shop.delivered) == 1


async def test_different_numbers_across_the_two_ways_are_a_warning(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """M-15: a disjoint pair of a query and a notification is no conflict; two queries are one."""
    handler = shop.handler()
    assert await handler.settle(queried(transaction_id="Q1")) is D.APPLY
    assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
    assert "different transactions" in caplog.text
    assert await handler.settle(queried(transaction_id="Q2")) is D.CONFLICT
    assert len(shop.delivered) == 1


async def test_settle_says_what_is_not_durable(shop: Shop) -> None:
    """Failed work is IN_PROGRESS to a poller, which must not forget the order."""
    shop.before = failing(1)
    handler = shop.handler()
    assert await handler.settle(queried()) is D.IN_PROGRESS
    await shop.clock.advance(31)
    assert await handler.run_due() == 1
    assert await handler.settle(queried()) is D.DUPLICATE
    assert await handler.settle(queried(payable=1, transaction_id="T9")) is D.CONFLICT
    assert await handler.settle(queried(out_trade_no="B")) is D.UNKNOWN_ORDER


async def test_what_is_settled_beside_somebodys_work_is_taken_up_when_that_comes_to_nothing(
    shop: Shop,
) -> None:
    """M-16: its caller may forget it, and who holds the order may die: so it is due in 30 s."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    async with inbox.lock(ORDER_KEY, Entry("", shop.clock.now())) as held:
        assert held is not None
        assert await shop.clock.run(handler.settle(queried())) is D.IN_PROGRESS
    assert await handler.run_due() == 0
    await shop.clock.advance(30)
    assert await handler.run_due() == 1
    assert len(shop.delivered) == 1
    assert not shop.told


async def test_settle_is_never_stale_and_needs_an_amount(shop: Shop) -> None:
    """A query says it now; a payment of unknown amount is not applied on a guess (M-13)."""
    handler = shop.handler()
    assert await handler.settle(queried(payable=None)) is D.UNCONFIRMED
    old = shop.clock.now() - timedelta(days=300)
    assert await handler.settle(queried(time_end=old)) is D.APPLY


async def test_what_the_inbox_raises_comes_out_of_settle(shop: Shop) -> None:
    """A poller keeps the order then."""

    async def broken(_mch_id: str, _number: str) -> Any:
        raise ConnectionError

    handler = shop.handler(expected=broken)
    with pytest.raises(ConnectionError):
        await handler.settle(queried())
    async with handler:
        with pytest.raises(ConnectionError):
            await handler.settle(queried())


# ---------------------------------------------------------------------------------- taken up later


async def test_an_unknown_order_is_applied_when_it_becomes_known(shop: Shop) -> None:
    """Committed after the notification; found by order_known, or by run_due."""
    for by_call in (True, False):
        expected = Shop().orders[ORDER]
        shop.orders.clear()
        shop.delivered.clear()
        inbox = shop.inbox()
        handler = shop.handler(inbox)
        assert said(await handler.handle(shop.body())) == (D.UNKNOWN_ORDER, FAIL)
        shop.orders[ORDER] = expected
        if by_call:
            assert await handler.order_known(MCH_ID, ORDER) == 1
        else:
            await shop.clock.advance(31)
            assert await handler.run_due() == 1
        assert len(shop.delivered) == 1
        assert not await inbox.listing(10)
        assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)


async def test_order_known_finds_the_merchants_other_numbers(shop: Shop) -> None:
    """M-18: a message is set aside under the number that it carries."""
    known = Shop().orders[ORDER]
    shop.orders.clear()
    handler = shop.handler()
    await handler.handle(shop.body(mch_id="f2017"))
    shop.orders[ORDER] = type(known)(known.total_fee, MCH_ID, also=("f2017",))
    assert await handler.order_known(MCH_ID, ORDER) == 1
    assert shop.delivered[0].mch_id == MCH_ID


async def test_age_is_judged_as_of_when_the_message_first_came(shop: Shop) -> None:
    """M-17: an order that becomes known after the window is applied, by any way."""
    for redelivered in (True, False):
        known = Shop().orders[ORDER]
        shop.orders.clear()
        shop.delivered.clear()
        inbox = shop.inbox()
        handler = shop.handler(inbox)
        body = shop.body()
        await handler.handle(body)
        await shop.clock.advance(timedelta(days=2).total_seconds())
        shop.orders[ORDER] = known
        if redelivered:
            assert said(await handler.handle(body)) == (D.APPLY, SUCCESS)
        else:
            await handler.run_due()
        assert len(shop.delivered) == 1


async def test_a_conflict_that_was_resolved_is_applied(shop: Shop) -> None:
    """M-17: the shop corrected its price; run_due notices, in its own time."""
    handler = shop.handler()
    await handler.handle(shop.body(total_fee=150))
    await shop.clock.advance(31)
    await handler.run_due()
    assert not shop.delivered
    shop.orders[ORDER] = type(shop.orders[ORDER])(150, MCH_ID)
    await shop.clock.advance(61)
    await handler.run_due()
    assert [order.payable for order in shop.delivered] == [150]
    assert shop.reasons() == [D.CONFLICT]


@pytest.mark.parametrize("mark", list(Mark))
async def test_a_running_handler_does_what_a_person_marked(shop: Shop, mark: Mark) -> None:
    """APPLY delivers whatever the amounts say, once; RETRY decides again; DISMISS is the end."""
    inbox = shop.inbox()
    async with shop.handler(inbox) as handler:
        body = shop.body(total_fee=1)
        await handler.handle(body)
        (kept,) = await inbox.listing(10)
        assert isinstance(kept, Aside)
        assert await inbox.mark(ORDER_KEY, mark, kept.fingerprint)
        await shop.clock.advance(3600)
        assert len(shop.delivered) == (mark is Mark.APPLY)
        assert len(await inbox.listing(10)) == (mark is Mark.RETRY)
        answer = await handler.handle(body)
        assert (answer.body == SUCCESS) is (mark is Mark.APPLY)
    assert shop.reasons() == [D.CONFLICT]


async def test_what_is_done_is_not_applied_again_by_a_mark(shop: Shop) -> None:
    """A second payment of a delivered order: refund it, do not deliver twice."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    await handler.handle(shop.body())
    await handler.handle(shop.body(transaction_id="T2", out_transaction_id="W2"))
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    await inbox.mark(ORDER_KEY, Mark.APPLY, kept.fingerprint)
    await handler.run_due()
    assert len(shop.delivered) == 1
    assert not await inbox.listing(10)


async def test_a_marked_application_that_fails_is_retried_like_any_other(shop: Shop) -> None:
    """The mark becomes the order's own claim: it is neither lost nor run twice."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    await handler.handle(shop.body(total_fee=1))
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    await inbox.mark(ORDER_KEY, Mark.APPLY, kept.fingerprint)
    shop.before = failing(1)
    await handler.run_due()
    assert not shop.delivered
    await shop.clock.advance(31)
    await handler.run_due()
    assert len(shop.delivered) == 1


async def test_a_retry_of_an_order_that_was_closed_meanwhile_runs_the_other_hook(
    shop: Shop,
) -> None:
    """What to run is looked up again, whatever was decided when it first came."""
    handler = shop.handler(on_paid_after_close=shop.on_paid_after_close)
    shop.before = failing(1)
    await handler.handle(shop.body())
    shop.orders[ORDER] = type(shop.orders[ORDER])(100, MCH_ID, closed=True)
    await shop.clock.advance(31)
    await handler.run_due()
    assert (len(shop.after_close), len(shop.delivered)) == (1, 0)


async def test_run_due_survives_an_inbox_that_is_down(shop: Shop) -> None:
    """M-17: the next round does better."""

    class Inbox(MemoryInbox):
        down = True

        async def unfinished(self, limit: int) -> Any:
            if self.down:
                raise ConnectionError
            return await super().unfinished(limit)

    inbox = Inbox(clock=shop.clock)
    shop.before = failing(1)
    async with shop.handler(inbox) as handler:
        await handler.handle(shop.body())
        await shop.clock.advance(100)
        inbox.down = False
        await shop.clock.advance(30)
    assert len(shop.delivered) == 1


async def test_run_due_takes_up_more_than_a_page(shop: Shop) -> None:
    """All that is due in one call, a few at a time."""
    handler = shop.handler(expected=NO_AMOUNT_CHECK)
    shop.before = failing(250)
    for n in range(250):
        await handler.handle(shop.body(out_trade_no=f"B{n}"))
    await shop.clock.advance(31)
    assert await handler.run_due() == 250
    assert len({order.out_trade_no for order in shop.delivered}) == 250


async def test_a_retry_of_an_order_closed_meanwhile_without_a_hook_is_for_a_person(
    shop: Shop,
) -> None:
    """M-15: as a conflict, once; marked DISMISS it is over, reopened and marked RETRY delivered."""
    for mark in (Mark.DISMISS, Mark.RETRY):
        shop.told.clear()
        shop.delivered.clear()
        open_order = ExpectedOrder(100, MCH_ID)
        inbox = shop.inbox()
        handler = shop.handler(inbox)
        shop.before = failing(1)
        shop.orders[ORDER] = open_order
        await handler.handle(shop.body())
        shop.orders[ORDER] = ExpectedOrder(100, MCH_ID, closed=True)
        for _ in range(3):
            await shop.clock.advance(100)
            await handler.run_due()
        assert shop.reasons() == [D.CONFLICT]
        assert await inbox.mark(ORDER_KEY, mark)
        shop.orders[ORDER] = open_order
        await handler.run_due()
        assert len(shop.delivered) == (mark is Mark.RETRY)
        assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)


@pytest.mark.parametrize("mark", [None, Mark.APPLY])
async def test_a_message_whose_order_is_being_worked_on_is_looked_at_later(
    shop: Shop, mark: Mark | None
) -> None:
    """M-17: neither given up nor run beside the other."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    body = shop.body(total_fee=90, coupon_fee=10)
    await handler.handle(body)
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    if mark is not None:
        await inbox.mark(ORDER_KEY, mark, kept.fingerprint)
    entry = Entry(payload="", first_seen=shop.clock.now(), transaction_id="T9")
    async with inbox.lock(ORDER_KEY, entry) as order:
        assert order is not None
        await shop.clock.advance(31)
        await shop.clock.run(handler.run_due())
        assert not shop.delivered
        assert await inbox.asides(ORDER_KEY)
    await shop.clock.advance(31)
    await handler.run_due()
    assert len(shop.delivered) == (mark is Mark.APPLY)


async def test_a_message_without_a_usable_number_cannot_be_applied(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """The mark is answered in the log, and the message is closed."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    await handler.handle(shop.body(out_trade_no="A" * 200))
    (kept,) = await inbox.listing(10)
    assert isinstance(kept, Aside)
    await inbox.mark(kept.key, Mark.APPLY, kept.fingerprint)
    await handler.run_due()
    assert "cannot be applied" in caplog.text
    assert not await inbox.listing(10)


async def test_one_order_that_cannot_be_looked_up_keeps_no_other_waiting(shop: Shop) -> None:
    """M-17: what fails is left to the next round."""
    shop.before = failing(2)
    broken: list[str] = []

    async def expected(mch_id: str, number: str) -> ExpectedOrder | None:
        if number in broken:
            raise ConnectionError
        return await shop.expected(mch_id, number)

    handler = shop.handler(expected=expected)
    for number in ("A", "B"):
        shop.orders[number] = shop.orders[ORDER]
        await handler.handle(shop.body(out_trade_no=number))
    broken.append("A")
    await shop.clock.advance(31)
    await handler.run_due()
    assert [order.out_trade_no for order in shop.delivered] == ["B"]
    broken.clear()
    await handler.run_due()
    assert len(shop.delivered) == 2


async def test_a_message_that_cannot_be_read_is_told_of_once_and_stops_no_other(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """M-17: a paid order that nobody can take up is a line at ERROR, and not one each round."""
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    shop.before = failing(1)
    await handler.handle(shop.body())
    for number, payload in enumerate(("nonsense", "[1]", "{}")):
        await inbox.set_aside(
            Aside(
                key=OrderKey(MCH_ID, f"B{number}"),
                fingerprint=f"{number:064x}",
                decision="UNKNOWN_ORDER",
                reason="",
                payload=payload,
                first_seen=shop.clock.now(),
            ),
            retry_in=0,
        )
    caplog.clear()
    await shop.clock.advance(31)
    for _ in range(2):
        await handler.run_due()
    assert len(shop.delivered) == 1
    told = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert len(told) == 3
    assert all("cannot be read by this version" in each for each in told)
