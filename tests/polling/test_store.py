"""A poller on a store: nothing is forgotten, nothing given out that is not durable (M-23)."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta
from typing import Any

import pytest

from chaoying_async import (
    OrderNotFoundError,
    OrderQuery,
    ParameterError,
    PayType,
    Poller,
    PollSchedule,
    PollStatus,
    RefundQuery,
    ReplyMismatchError,
    SessionClosedError,
    TradeFailedError,
    TransportError,
    Undocumented,
    UsageError,
)
from chaoying_async.polling.records import LAZY
from chaoying_async.testing import FakeClock
from tests.factories import AUTH_CODE, MCH_ID, OPENID, REFUND
from tests.pollers import (
    ABSENT,
    CLOSED,
    PAID,
    PENDING,
    UNNAMED,
    after,
    always,
    collected,
    number_of,
    order,
    orders,
)
from tests.polling.store_world import World
from tests.polling.test_poller import paid_order


async def test_an_order_is_picked_up_with_its_deadline_and_attempts() -> None:
    """M-23, M-26: by wall time, so the next process asks to 180 s after it was first tracked."""
    world = World(always(PENDING))
    await world.killed_after(64.5, order())
    assert world.gateway.times("A100011")[-1] == 60
    world.later(0.5)
    world.gateway.asked.clear()
    async with world.store, world.poller() as poller:
        assert [number_of(query) for query in poller.pending()] == ["A100011"]
        (outcome,) = await world.clock.run(collected(poller.drain()))
    assert (outcome.status, outcome.attempts, outcome.elapsed) == (PollStatus.EXPIRED, 36, 180)
    # The process began at 65 s of the order: what was due then, and the last query at 180 s.
    assert [world.gateway.times("A100011")[n] for n in (0, 1, -1)] == [0, 5, 115]
    assert world.texts() == []


async def test_a_deadline_that_passed_meanwhile_is_one_query_and_then_expired() -> None:
    """M-23: nothing ends unasked, and not by the clock alone."""
    world = World(always(PENDING))
    await world.killed_after(20, order())
    world.later(86_400)
    world.gateway.asked.clear()
    async with world.store, world.poller() as poller:
        (outcome,) = await world.clock.run(collected(poller.drain()))
    assert outcome.status is PollStatus.EXPIRED
    assert world.gateway.asked == [(0, "A100011")]


async def test_an_answer_that_was_under_way_at_the_deadline_does_not_count() -> None:
    """M-23: a process killed during the last query makes it again, and it may say paid."""
    world = World(after(35, PENDING, PAID))

    async def slowly(number: str) -> None:
        if len(world.gateway.times(number)) == 36:
            await world.clock.sleep(20)

    world.gateway.before = slowly
    await world.killed_after(190, order())
    assert len(world.gateway.asked) == 36
    world.gateway.before = None
    world.later(5)
    async with world.store, world.poller() as poller:
        (outcome,) = await world.clock.run(collected(poller.drain()))
    assert outcome.status is PollStatus.PAID


async def test_what_was_heard_is_remembered() -> None:
    """M-06: an end that only a second query makes count, and the second one comes after a crash."""
    world = World(always(UNNAMED))
    await world.killed_after(5 + LAZY, order())
    (kept,) = world.texts()
    assert kept["standing"]["status"] == "CLOSED"
    world.later(1)
    world.gateway.asked.clear()
    async with world.store, world.poller() as poller:
        (outcome,) = await world.clock.run(collected(poller.drain()))
    assert (outcome.status, outcome.attempts) == (PollStatus.CLOSED, 2)
    assert len(world.gateway.asked) == 1


async def test_an_answer_that_was_not_written_yet_is_asked_for_again() -> None:
    """M-06: killed before what it heard was written, it hears both answers anew."""
    world = World(always(UNNAMED))
    await world.killed_after(5 + LAZY - 0.5, order())
    (kept,) = world.texts()
    assert "standing" not in kept
    world.later(1)
    world.gateway.asked.clear()
    async with world.store, world.poller() as poller:
        (outcome,) = await world.clock.run(collected(poller.drain()))
    assert (outcome.status, outcome.attempts) == (PollStatus.CLOSED, 2)
    assert len(world.gateway.asked) == 2


async def test_a_refund_keeps_its_rare_questions() -> None:
    """M-22: after days, a restart does not ask about everything at once."""
    world = World(after(12, {"code": "10001"}, {}))
    query = RefundQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_refund_no=REFUND)
    async with world.store:
        poller = await world.poller().__aenter__()
        poller.track(query, schedule=PollSchedule.refunds())
        await world.clock.advance(3600)
        asked = len(world.gateway.asked)
        await poller.__aexit__(None, None, None)
    world.later(60)
    async with world.store, world.poller() as poller:
        await world.clock.advance(60)
        assert len(world.gateway.asked) == asked


async def test_an_outcome_is_kept_until_the_next_is_taken() -> None:
    """M-23: stored, given out, asked for the next one, forgotten; in this order."""
    world = World(always(PAID))
    async with world.store, world.poller() as poller:
        for query in orders(3):
            poller.track(query, 100)
        await world.clock.advance(5)
        outcomes = poller.outcomes()
        first = await anext(outcomes)
        await poller.kept()
        assert [kept["status"] for kept in world.texts()] == ["PAID"] * 3
        await anext(outcomes)
        await poller.kept()
        assert number_of(first.query) not in str(world.texts())
        assert len(world.texts()) == 2
        await outcomes.aclose()


async def test_done_says_that_it_took_effect() -> None:
    """Twice does no harm; what was not done comes again, and first."""
    world = World(always(PAID))
    async with world.store, world.poller() as poller:
        for query in orders(2):
            poller.track(query, 100)
        await world.clock.advance(6)
        outcomes = poller.outcomes()
        (await anext(outcomes)).done()
        await anext(outcomes)  # which says that the first was done, once more
        await outcomes.aclose()
    world.later()
    async with world.store, world.poller() as poller:
        poller.track(order("B000001"), 100)
        found = await world.clock.run(collected(poller.drain()))
    assert [number_of(outcome.query) for outcome in found] == ["A000001", "B000001"]
    assert world.texts() == []
    found[0].done()  # too late, and harmless


async def test_an_undelivered_outcome_says_all_it_said() -> None:
    """After a restart `unwrap` is as it was: paid and how much, or the error and its code."""
    world = World(lambda number, _: {"A000000": PAID, "A000001": CLOSED}.get(number, ABSENT))
    await world.killed_after(200, *orders(3), order("M1", transaction_id="T1"))
    asked = len(world.gateway.asked)
    world.later(10)
    async with world.store, world.poller() as poller:
        paid, closed, missing, _ = await collected(poller.drain())
    assert len(world.gateway.asked) == asked
    assert paid.unwrap().payable == 100
    assert (paid.unwrap().out_trade_no, paid.unwrap().mch_id) == ("A000000", MCH_ID)
    assert paid.reply is not None
    assert (paid.reply.unwrap().base_fee, paid.attempts) == (100, 1)
    with pytest.raises(TradeFailedError, match="CLOSED"):
        closed.unwrap()
    assert missing.status is PollStatus.NOT_FOUND
    assert isinstance(missing.error, OrderNotFoundError)
    assert missing.error.code == "20007"


async def test_a_refund_that_nobody_took_still_names_its_entry() -> None:
    """M-25: the entry of this refund, and of no other."""
    listed = [
        {
            "out_refund_no": number,
            "refund_status": "SUCCESS",
            "base_refund_fee": "40",
            "refund_time": "20260101120000",
        }
        for number in (REFUND, "R-OTHER")
    ]
    world = World(always({"refund_list": json.dumps(listed)}))
    query = RefundQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_refund_no=REFUND)
    async with world.store, world.poller() as poller:
        poller.track(query, 40)
        await world.clock.advance(6)
    assert "R-OTHER" not in str(world.texts())
    world.later(10)
    async with world.store, world.poller() as poller:
        (outcome,) = await collected(poller.drain())
    assert outcome.status is PollStatus.REFUNDED
    assert (outcome.unwrap().out_refund_no, outcome.unwrap().base_refund_fee) == (REFUND, 40)
    assert outcome.unwrap().refund_time.hour == 12


async def test_a_mismatch_and_a_strangers_error_come_back_too() -> None:
    """M-13; of an error that is not ours only its kind is kept, since its text may say anything."""
    world = World(lambda number, _: PAID if number == "A000000" else RuntimeError(OPENID))
    async with world.store, world.poller() as poller:
        for query in orders(2):
            poller.track(query, 99)
        await world.clock.advance(200)
    world.later()
    async with world.store, world.poller() as poller:
        mismatch, expired = await collected(poller.drain())
    with pytest.raises(ReplyMismatchError, match="100 fen"):
        mismatch.unwrap()
    assert expired.status is PollStatus.EXPIRED
    assert isinstance(expired.error, TransportError)
    assert "RuntimeError" in str(expired.error)


async def test_nothing_personal_is_stored() -> None:
    """M-23, M-27: what the gateway says of the buyer stays out, and what it says in words."""
    answer = {"openid": OPENID, "attach": "the buyer's", "msg": "dear buyer", "new": AUTH_CODE}
    world = World(always(answer))
    async with world.store, world.poller() as poller:
        poller.track(order(), 100)
        await world.clock.advance(6)
        texts = json.dumps(world.texts())
    assert '"status": "PAID"' in texts
    for word in (OPENID, AUTH_CODE, "buyer", "attach", "msg"):
        assert word not in texts


async def test_a_query_with_extra_is_not_kept() -> None:
    """It may hold anything: said at once, and `wait` takes it."""
    world = World(always(PAID))
    async with world.store, world.poller() as poller:
        query = order(extra={"note": "anything"})
        with pytest.raises(ParameterError, match="extra"):
            poller.track(query)
        assert poller.pending() == ()
        assert (await world.clock.run(poller.wait(query))).status is PollStatus.PAID
        with pytest.raises(ParameterError, match="too long"):
            poller.track(order("x" * 600))
    assert world.texts() == []


async def test_the_merchant_is_resolved_when_tracked() -> None:
    """M-18: the session's default of then, whatever the next session's is."""
    world = World(always(PENDING))
    world.gateway.defaults = type("Defaults", (), {"mch_id": MCH_ID})  # type: ignore[attr-defined]
    query = OrderQuery(paytype=Undocumented("ECNY"), out_trade_no="A100011")
    async with world.store, world.poller() as poller:
        poller.track(query)
    del world.gateway.defaults  # type: ignore[attr-defined]
    world.later()
    async with world.store, world.poller() as poller:
        (kept,) = poller.pending()
    assert (kept.mch_id, kept.paytype, type(kept.paytype)) == (MCH_ID, "ECNY", Undocumented)


async def test_only_what_was_tracked_is_kept() -> None:
    """`wait` keeps nothing; an order that is kept already is joined, with its amount."""
    world = World(after(1, PENDING, PAID))
    async with world.store, world.poller() as poller:
        waits = [asyncio.create_task(poller.wait(order("W1")))]
        await world.clock.advance(1)
        assert world.texts() == []
        poller.track(order("T1"))
        await poller.kept()
        waits.append(asyncio.create_task(poller.wait(order("T1"), 100)))
        await world.clock.advance(1)
        assert [kept["expected"] for kept in world.texts()] == [100]
        poller.track(order("W1"), 100)
        await poller.kept()
        assert len(world.texts()) == 2
        found = await world.clock.run(collected(poller.drain()))
        assert {number_of(outcome.query) for outcome in found} == {"W1", "T1"}
        assert [(await task).status for task in waits] == [PollStatus.PAID] * 2
    assert world.texts() == []


async def test_what_run_pulled_is_kept_too() -> None:
    """A consumer that stopped early finds the rest in `outcomes` after a restart."""
    world = World(lambda number, _: PAID if number < "A000002" else PENDING)
    async with world.store, world.poller() as poller:
        running = poller.run(orders(4), expected=100)
        await world.clock.run(anext(running))
        await running.aclose()
        assert poller.pending() == ()
    world.later()
    world.gateway.script = always(PAID)
    async with world.store, world.poller() as poller:
        found = await world.clock.run(collected(poller.drain()))
        assert [number_of(outcome.query) for outcome in found] == [f"A{n:06d}" for n in range(4)]
        assert len(await world.clock.run(collected(poller.run(orders(4))))) == 4
    assert world.texts() == []


async def test_tracking_again_what_run_left_is_one_record() -> None:
    """And one outcome after a restart."""
    world = World(always(PENDING))
    async with world.store, world.poller() as poller:
        running = poller.run(orders(1))
        task = asyncio.create_task(anext(running))
        await world.clock.advance(1)
        task.cancel()
        await asyncio.wait([task])
        poller.track(orders(1)[0], 100)
        await poller.kept()
        assert [kept["expected"] for kept in world.texts()] == [100]


async def test_an_expired_order_can_be_tracked_again_before_its_outcome_is_done() -> None:
    """Two waits for one order are two records: the second is not dropped with the first."""
    world = World(always(PENDING))
    async with world.store, world.poller() as poller:
        poller.track(order())
        await world.clock.advance(180)
        outcomes = poller.outcomes()
        expired = await anext(outcomes)
        poller.track(expired.query)
        expired.done()
        await poller.kept()
        (kept,) = world.texts()
        assert "deadline" in kept
        await outcomes.aclose()


async def test_a_settled_order_is_kept_like_any_other() -> None:
    """By a notification, and not asked about after a restart."""
    world = World(always(PENDING))
    async with world.store, world.poller() as poller:
        poller.track(order(), 100)
        assert poller.settle(paid_order(100))
    world.later(1000)
    async with world.store, world.poller() as poller:
        (outcome,) = await collected(poller.drain())
    assert (outcome.status, outcome.unwrap().payable) == (PollStatus.PAID, 100)
    assert world.gateway.asked == []


@pytest.mark.parametrize("text", ["{}", "no JSON", '{"version":2}', "[1]", "null", "1"])
async def test_a_record_that_cannot_be_read_stays(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported by its key, never by what it says, and stops nobody else."""
    world = World(always(PAID))
    async with world.store:
        await world.store.put("poll", {'["its","key",7]': text, "not even a key": text})
        async with world.poller() as poller:
            poller.track(order(), 100)
            await world.clock.run(collected(poller.drain()))
            assert poller.stats().unreadable == 2
    assert len(world.store._texts["poll"]) == 2
    assert '["its","key",7]' in caplog.text


GONE: dict[str, Any] = {
    "a query of another kind": ("query", {"of": "pay"}),
    "a query that breaks a rule": ("query", {"of": "orderquery", "paytype": "WECHAT"}),
    "no merchant": (
        "query",
        {"of": "orderquery", "paytype": "WECHAT", "out_trade_no": "A100011"},
    ),
    "attempts": ("attempts", -1),
    "a deadline": ("deadline", "tomorrow"),
    "a schedule": ("schedule", {"first": -1}),
    "a standing": ("standing", {"says": "MAYBE"}),
    "an amount": ("expected", 1.5),
    "a status": ("status", "RICH"),
}


@pytest.mark.parametrize("case", GONE)
async def test_a_record_that_somebody_changed_is_not_guessed_at(case: str) -> None:
    """Left alone, whichever part of it makes no sense."""
    world = World(always(PENDING))
    await world.killed_after(7, order())
    name, value = GONE[case]
    texts = world.store._texts["poll"]
    ((key, text),) = texts.items()
    texts[key] = json.dumps(json.loads(text) | {name: value})
    async with world.store, world.poller() as poller:
        assert poller.pending() == ()
        assert poller.stats().unreadable == 1
    assert len(texts) == 1


async def test_two_records_of_one_order_are_asked_about_once() -> None:
    """The second one shares the end of the first, and both leave the store with it."""
    world = World(always(PENDING))
    await world.killed_after(7, order())
    texts = world.store._texts["poll"]
    (text,) = texts.values()
    texts["another"] = text
    async with world.store, world.poller() as poller:
        assert len(poller.pending()) == 1
        world.gateway.script = always(PAID)
        draining = asyncio.create_task(collected(poller.drain()))
        await world.clock.advance(30)
        assert len(await draining) == 1
    assert texts == {}


# ----------------------------------------------------------------------- a store in trouble


async def test_a_store_has_to_be_one_and_open() -> None:
    """Said before anything is asked."""
    world = World(always(PENDING))
    with pytest.raises(SessionClosedError, match="store"):
        await world.poller().__aenter__()
    with pytest.raises(UsageError, match="store"):
        Poller(world.gateway, store="polls.db")  # type: ignore[arg-type]
    async with Poller(world.gateway, clock=world.clock) as poller:
        await poller.kept()
        assert poller.stats().unwritten == 0


async def test_the_log_of_a_whole_life_names_no_order(caplog: pytest.LogCaptureFixture) -> None:
    """M-27: nothing of what is kept is logged."""
    caplog.set_level(logging.DEBUG, "chaoying_async")
    world = World(always(PAID))
    async with world.store, world.poller() as poller:
        poller.track(order(), 100)
        await world.clock.run(collected(poller.drain()))
    assert caplog.text == ""


async def test_a_clock_that_was_set_back_asks_soon_rather_than_never() -> None:
    """The order is asked about from now on, for as long as its schedule says."""
    world = World(always(PENDING))
    await world.killed_after(20, order())
    world.clock = FakeClock(world.clock.now() - timedelta(days=1))
    world.gateway.clock = world.clock
    world.gateway.asked.clear()
    async with world.store, world.poller() as poller:
        (outcome,) = await world.clock.run(collected(poller.drain()))
    assert outcome.status is PollStatus.EXPIRED
    assert 0 < world.gateway.asked[0][0] <= 30
    assert world.gateway.asked[-1][0] == 180
