"""NotificationHandler and time: slow and failing work, and its block (M-16, M-17)."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from chaoying_async import PaidOrder
from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.leases import Claim
from chaoying_async.inbox.memory import MemoryInbox
from chaoying_async.sansio.notifications.case import NO_AMOUNT_CHECK
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.notifications.inbox_values import Entry, OrderKey, SeenState
from tests.factories import MCH_ID, ORDER
from tests.shop import FAIL, SUCCESS, Shop, cancelled, failing, queried, said, slow

D = Decision
ORDER_KEY = OrderKey(MCH_ID, ORDER)


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.mark.parametrize("shows", [False, True, None])
async def test_a_message_is_written_down_for_a_lock_that_shows_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, shows: bool | None
) -> None:
    """M-17: for whoever takes it up when its holder has died; else it would be wasted work.

    An inbox of a user's own need not say so: what lends no connection gets the message.
    """
    told: list[str] = []
    if shows is None:
        monkeypatch.delattr(MemoryInbox, "shows_claims")
    else:
        monkeypatch.setattr(MemoryInbox, "shows_claims", shows)

    class Watched(MemoryInbox):
        async def _claim(self, key: OrderKey, entry: Entry) -> Claim | None:
            told.append(entry.payload)
            return await super()._claim(key, entry)

    async with shop.handler(Watched(clock=shop.clock)) as handler:
        assert said(await handler.handle(shop.body())) == (D.APPLY, SUCCESS)
    assert [bool(payload) for payload in told] == [shows is not False]


# --------------------------------------------------------------------------------------- slow work


async def test_a_slow_on_paid_is_answered_in_time_and_goes_on(shop: Shop) -> None:
    """M-17: fail after 2 s, the effect after 10, and the redelivery at 15 finds it done."""
    shop.before = slow(shop, 10)
    async with shop.handler() as handler:
        first = asyncio.create_task(handler.handle(shop.body()))
        await shop.clock.advance(2)
        assert first.done()
        assert said(first.result()) == (D.IN_PROGRESS, FAIL)
        await shop.clock.advance(8)
        assert len(shop.delivered) == 1
        await shop.clock.advance(5)
        assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
        assert handler.stats().late == 1
    assert len(shop.delivered) == 1


async def test_a_delivery_during_the_work_waits_and_then_says_not_yet(shop: Shop) -> None:
    """M-15: IN_PROGRESS, inside the budget; in the same process or in another one."""
    inbox = shop.inbox()
    shop.before = slow(shop, 20)
    async with shop.handler(inbox) as handler, shop.handler(inbox) as other:
        tasks = [asyncio.create_task(h.handle(shop.body())) for h in (handler, handler, other)]
        await shop.clock.advance(1.9)
        assert not any(task.done() for task in tasks)
        await shop.clock.advance(0.2)
        assert [said(task.result()) for task in tasks] == [(D.IN_PROGRESS, FAIL)] * 3
        await shop.clock.advance(20)
    assert len(shop.delivered) == 1


async def test_without_its_block_handle_returns_when_on_paid_ends(shop: Shop) -> None:
    """M-17: nobody would own the work, so the truth comes late."""
    shop.before = slow(shop, 10)
    task = asyncio.create_task(shop.handler().handle(shop.body()))
    await shop.clock.advance(9)
    assert not task.done()
    await shop.clock.advance(2)
    assert said(task.result()) == (D.APPLY, SUCCESS)


@pytest.mark.parametrize("opened", [True, False])
async def test_a_lookup_that_hangs_is_answered_in_time(shop: Shop, opened: bool) -> None:
    """The budget covers everything before the effect, and nothing is left hanging for ever."""

    async def hang(_mch_id: str, _number: str) -> Any:
        await shop.clock.sleep(1_000_000)

    handler = shop.handler(expected=hang)
    async with opening(handler, opened):
        task = asyncio.create_task(handler.handle(shop.body()))
        await shop.clock.advance(2)
        assert task.done()
        assert task.result().body == FAIL
        await shop.clock.advance(60)
        assert shop.clock.waiting <= 1  # the ticker of run_due


@asynccontextmanager
async def opening(handler: Any, opened: bool) -> AsyncGenerator[None]:
    if not opened:
        yield
        return
    async with handler:
        yield


async def test_a_caller_that_goes_away_does_not_take_the_work_along(shop: Shop) -> None:
    """M-17: the gateway closed its connection; on_paid runs to its end all the same."""
    shop.before = slow(shop, 10)
    async with shop.handler() as handler:
        task = asyncio.create_task(handler.handle(shop.body()))
        await shop.clock.advance(1)
        await cancelled(task)
        await shop.clock.advance(10)
        assert len(shop.delivered) == 1


# --------------------------------------------------------------------------------------- its block


async def test_leaving_the_block_waits_for_work(shop: Shop) -> None:
    """M-17: up to ``grace`` seconds."""
    shop.before = slow(shop, 10)
    handler = shop.handler(grace=10.0)

    async def serve() -> None:
        async with handler:
            await handler.handle(shop.body())

    await shop.clock.run(serve())
    assert len(shop.delivered) == 1
    assert handler.stats().working == 0


async def test_after_its_grace_the_block_gives_its_locks_back(shop: Shop) -> None:
    """M-17: the next process may have the order at once; nobody counts a failure."""
    inbox = shop.inbox()
    shop.before = slow(shop, 60)

    async def serve() -> None:
        async with shop.handler(inbox, grace=5.0) as handler:
            await handler.handle(shop.body())

    await shop.clock.run(serve())
    assert not shop.delivered
    assert await inbox.look(ORDER_KEY) is None
    shop.before = None
    assert said(await shop.handler(inbox).handle(shop.body())) == (D.APPLY, SUCCESS)
    assert len(shop.delivered) == 1


async def test_a_closing_handler_answers_fail_at_once(shop: Shop) -> None:
    """M-14: what can no longer be done is not promised."""
    shop.before = slow(shop, 5)
    handler = shop.handler()
    opened = await handler.__aenter__()
    first = asyncio.create_task(opened.handle(shop.body()))
    await shop.clock.advance(1)
    closing = asyncio.create_task(handler.__aexit__(None, None, None))
    await shop.clock.advance(1)
    assert (await handler.handle(shop.body(out_trade_no="other"))).body == FAIL
    await shop.clock.advance(4)
    await closing
    assert said(first.result()) == (D.IN_PROGRESS, FAIL)
    assert len(shop.delivered) == 1


async def test_a_handler_is_opened_once_at_a_time_and_may_be_opened_again(shop: Shop) -> None:
    """One owner; a clear error says so."""
    handler = shop.handler()
    async with handler:
        with pytest.raises(UsageError):
            await handler.__aenter__()
    async with handler:
        assert (await handler.handle(shop.body())).body == SUCCESS


# ------------------------------------------------------------------------------------ failing work


async def test_a_failing_on_paid_is_not_acknowledged_and_tried_again(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """M-16: fails k times, then succeeds: one effect; reported once per order."""
    shop.before = failing(3)
    handler = shop.handler()
    answers = [await handler.handle(shop.body()) for _ in range(5)]
    assert [said(answer) for answer in answers] == [
        *[(D.APPLY, FAIL)] * 3,
        (D.APPLY, SUCCESS),
        (D.DUPLICATE, SUCCESS),
    ]
    assert len(shop.delivered) == 1
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert handler.stats().failed == 3


async def test_run_due_retries_after_30_s_doubling_to_an_hour(shop: Shop) -> None:
    """M-16, M-17: without any redelivery."""
    moments: list[float] = []

    async def note(_order: PaidOrder) -> None:
        moments.append(shop.clock.monotonic())
        raise RuntimeError

    shop.before = note
    async with shop.handler() as handler:
        await handler.handle(shop.body())
        await shop.clock.advance(5 * 3600)
    waits = [round(b - a) for a, b in itertools.pairwise(moments)]
    assert waits[:7] == [30, 60, 120, 240, 480, 960, 1920]
    assert set(waits[7:]) == {3600}


async def _raises(_order: PaidOrder | None = None) -> None:
    raise asyncio.CancelledError


async def _has_a_watchdog(_order: PaidOrder | None = None) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(task.cancel)
    await asyncio.Event().wait()


async def _has_two(_order: PaidOrder | None = None) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    await _has_a_watchdog()


CANCELS = pytest.mark.parametrize("cancels", [_raises, _has_a_watchdog, _has_two])


@CANCELS
@pytest.mark.parametrize("opened", [True, False])
async def test_work_cancelled_by_its_own_code_is_a_failure_like_any_other(
    shop: Shop, cancels: Any, caplog: pytest.LogCaptureFixture, *, opened: bool
) -> None:
    """M-17: a cancellation that nobody asked for is on_paid's own: counted, logged and retried."""
    shop.before = cancels
    inbox = shop.inbox()
    handler = shop.handler(inbox)
    async with opening(handler, opened):
        assert said(await handler.handle(shop.body())) == (D.APPLY, FAIL)
        assert await handler.settle(queried()) is D.IN_PROGRESS
    record = await inbox.look(ORDER_KEY)
    assert record is not None
    assert (record.state, record.failures) == (SeenState.HELD, 2)
    assert handler.stats().failed == 2
    assert [one.levelno for one in caplog.records if one.levelno >= logging.WARNING] == [
        logging.ERROR
    ]
    shop.before = None
    await shop.clock.advance(61)
    assert await handler.run_due() == 1
    assert len(shop.delivered) == 1


@CANCELS
async def test_a_lookup_cancelled_by_its_own_code_is_one_that_failed(
    shop: Shop, cancels: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """M-14: `fail`, and the log says that something is wrong, as with any other error of its."""

    async def expected(_mch_id: str, _out_trade_no: str) -> None:
        await cancels()

    async with shop.handler(expected=expected) as handler:
        assert said(await handler.handle(shop.body())) == (None, FAIL)
        assert handler.stats().troubled == 1
    assert [one.levelno for one in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("where", ["look", "lock", "set_aside", "aside"])
async def test_an_inbox_that_is_down_is_answered_fail(shop: Shop, where: str) -> None:
    """Never an exception; when it is up again the redelivery takes effect, once."""
    broken = [True]

    class Inbox(MemoryInbox):
        def __getattribute__(self, name: str) -> Any:
            if name == where and broken[0]:
                raise ConnectionError("the database is down")
            return super().__getattribute__(name)

    handler = shop.handler(Inbox(clock=shop.clock))
    told: dict[str, dict[str, Any]] = {
        "look": {"total_fee": 1},
        "set_aside": {"total_fee": 1},
        "aside": {"time_end": "20200101000000"},
    }
    fields = told.get(where, {})
    assert (await handler.handle(shop.body(**fields))).body == FAIL
    broken[0] = False
    await shop.clock.advance(31)
    assert said(await handler.handle(shop.body())) == (D.APPLY, SUCCESS)
    assert len(shop.delivered) == 1


@pytest.mark.parametrize("hook", ["expected", "on_conflict"])
async def test_a_failing_function_of_the_users_is_answered_fail(
    shop: Shop, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And is in the log; a hook that fails is replaced by the log."""

    async def broken(*_args: Any) -> Any:
        raise RuntimeError("bug")

    hooks: dict[str, Any] = {hook: broken}
    handler = shop.handler(**hooks)
    assert (await handler.handle(shop.body(total_fee=1))).body == FAIL
    assert "bug" in caplog.text
    assert ("another amount" in caplog.text) is (hook == "on_conflict")


async def test_a_lookup_that_returns_nonsense_is_answered_fail(shop: Shop) -> None:
    """A price as a bare number is no ExpectedOrder, and nothing is applied by it."""
    handler = shop.handler(expected=lambda _mch_id, _number: 100)
    assert (await handler.handle(shop.body())).body == FAIL
    assert handler.stats().troubled == 1
    assert not shop.delivered


async def test_a_full_inbox_takes_nothing_new_and_forgets_nothing(shop: Shop) -> None:
    """M-19: fail for the new one, still a duplicate for the old one, until the window is over."""
    inbox = shop.inbox(max_items=1)
    handler = shop.handler(inbox, expected=NO_AMOUNT_CHECK)
    assert (await handler.handle(shop.body())).body == SUCCESS
    assert (await handler.handle(shop.body(out_trade_no="B"))).body == FAIL
    assert said(await handler.handle(shop.body())) == (D.DUPLICATE, SUCCESS)
    await shop.clock.advance(timedelta(days=1, minutes=11).total_seconds())
    assert (await handler.handle(shop.body(out_trade_no="B"))).body == SUCCESS
