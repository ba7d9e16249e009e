"""What every inbox promises a handler about orders; one suite over all of them (M-16 to M-19)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from chaoying_async.abc import LockedOrder
from chaoying_async.sansio.notifications.inbox_values import (
    ClaimLostError,
    LookAgainError,
    OrderKey,
    SeenState,
)
from tests.inbox.contract import DONE, HELD, NOT_PAID, QUARANTINED, put_aside, state_of
from tests.inbox.inboxes import (
    KEY,
    Bench,
    ago,
    an_aside,
    an_entry,
    finished,
    record_of,
    saved,
)
from tests.sizes import cases

# --------------------------------------------------------------------------------------- locks


async def test_nothing_is_known_of_an_order_never_heard_of(bench: Bench) -> None:
    """No record, nothing due, nothing to look at."""
    assert await bench.inbox.look(KEY) is None
    assert not await bench.inbox.unfinished(10)
    assert not await bench.inbox.asides(KEY)
    async with bench.inbox.lock(KEY, an_entry(bench)) as order:
        assert order is not None
        assert order.before is None


async def test_a_lock_keeps_others_out_until_it_is_left(bench: Bench) -> None:
    """M-16: others are told at once that the order is not free; nobody waits for its holder."""
    entry = an_entry(bench)
    async with bench.inbox.lock(KEY, entry) as order:
        assert order is not None
        for inbox in (bench.inbox, bench.other):
            async with inbox.lock(KEY, an_entry(bench, transaction_id="T2")) as second:
                assert second is None
        assert not await bench.inbox.unfinished(10)
        await order.save(HELD, entry, failures=1)
    async with bench.other.lock(KEY, an_entry(bench)) as order:
        assert order is not None
        assert order.before is not None
        assert (order.before.entry, order.before.failures) == (entry, 1)


async def test_an_order_that_is_done_stays_done_and_needs_no_lock(bench: Bench) -> None:
    """M-16: two may have it at a time, since neither changes it; it keeps what it was."""
    await finished(bench)
    async with (
        bench.inbox.lock(KEY, an_entry(bench, transaction_id="T2")) as one,
        bench.other.lock(KEY, an_entry(bench, transaction_id="T3")) as two,
    ):
        for order in (one, two):
            assert order is not None
            assert order.before is not None
            assert (order.before.state, order.before.lease) == (DONE, 0.0)
    await bench.pass_time(80_000)
    assert await state_of(bench) is DONE
    assert (await record_of(bench)).entry.transaction_id == "T1"
    assert not await bench.inbox.unfinished(10)


async def test_of_many_that_lock_a_new_order_at_once_one_has_it(bench: Bench) -> None:
    """M-16: one step, whoever else tries at the same moment; the others find it taken, or done."""
    entry = an_entry(bench)

    async def pay(inbox: Any) -> bool:
        async with inbox.lock(KEY, entry) as order:
            if order is None or order.before is not None:
                return False
            await asyncio.sleep(0)
            await order.save(DONE, entry)
            return True

    tries = [pay(inbox) for inbox in (bench.inbox, bench.other) for _ in range(5)]
    got = await asyncio.gather(*tries, return_exceptions=True)
    assert {type(one) for one in got if isinstance(one, BaseException)} <= {LookAgainError}
    assert sum(one is True for one in got) == 1
    assert await state_of(bench) is DONE


async def test_each_order_is_worked_on_by_one_at_a_time_and_done_once(bench: Bench) -> None:
    """M-16: many tasks of two processes, orders that fail first, and everybody comes again."""
    keys = [OrderKey(KEY.mch_id, str(n)) for n in range(4)]
    working, done = set[OrderKey](), list[OrderKey]()
    entry = an_entry(bench)

    async def work(order: LockedOrder, key: OrderKey, failures: int) -> bool:
        """Whether the order is at its end."""
        if order.before is not None and order.before.state is DONE:
            return True
        assert key not in working
        working.add(key)
        await asyncio.sleep(0)
        working.discard(key)
        if failures:
            await order.save(HELD, entry, failures=failures)
            return False
        await order.save(DONE, entry)
        done.append(key)
        return True

    async def pay(inbox: Any, key: OrderKey, failures: int) -> None:
        ended = False
        while not ended:
            try:
                async with inbox.lock(key, entry) as order:
                    if order is not None:
                        ended = await work(order, key, failures)
                        failures = max(0, failures - 1)
            except LookAgainError:
                done.pop()
            await asyncio.sleep(0)

    async with asyncio.timeout(60):
        await asyncio.gather(
            *(
                pay(inbox, key, turn)
                for key in keys
                for turn in range(3)
                for inbox in (bench.inbox, bench.other)
            )
        )
    assert sorted(done) == keys


# ------------------------------------------------------------------------ what is left unsaved


async def _raises(_order: LockedOrder) -> None:
    raise ZeroDivisionError


async def _is_cancelled(_order: LockedOrder) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.Event().wait()


async def _saves_nothing(_order: LockedOrder) -> None:
    return


def _after_saving(end: Callable[[LockedOrder], Awaitable[None]]) -> Any:
    async def save_first(order: LockedOrder) -> None:
        before = order.before
        assert before is not None
        await order.save(DONE, before.entry)
        await end(order)

    return save_first


_ENDS = {
    "raises": _raises,
    "cancelled": _is_cancelled,
    "nothing saved": _saves_nothing,
    "raises after saving": _after_saving(_raises),
    "cancelled after saving": _after_saving(_is_cancelled),
}


@pytest.mark.parametrize(
    ("state", "end"),
    cases(
        [
            *((HELD, end) for end in _ENDS),
            (NOT_PAID, "raises after saving"),
            (QUARANTINED, "cancelled after saving"),
        ],
        more=itertools.product([NOT_PAID, QUARANTINED], _ENDS),
    ),
)
async def test_a_block_that_fails_changes_nothing(bench: Bench, state: SeenState, end: str) -> None:
    """M-16: neither the record, nor when it is due, nor its token; the next one has it at once."""
    await saved(bench, state, failures=2, reason="why", retry_in=30.0)
    before = await record_of(bench)

    async def work() -> None:
        async with bench.inbox.lock(KEY, an_entry(bench, transaction_id="T2")) as order:
            assert order is not None
            await _ENDS[end](order)

    (ended,) = await asyncio.gather(asyncio.create_task(work()), return_exceptions=True)
    assert ended is None or isinstance(ended, ZeroDivisionError | asyncio.CancelledError)
    assert await record_of(bench) == before
    assert not await bench.other.unfinished(10)
    async with bench.other.lock(KEY, an_entry(bench)) as order:
        assert order is not None
        assert order.before == before
    await bench.pass_time(31)
    assert len(await bench.other.unfinished(10)) == (state is HELD)


@pytest.mark.parametrize("end", [_raises, _is_cancelled, _saves_nothing])
async def test_a_block_that_fails_leaves_nothing_of_a_new_order(bench: Bench, end: Any) -> None:
    """M-16, M-17: it was never heard of; the gateway comes again."""

    async def work() -> None:
        async with bench.inbox.lock(KEY, an_entry(bench)) as order:
            assert order is not None
            await end(order)

    await asyncio.gather(asyncio.create_task(work()), return_exceptions=True)
    assert await bench.other.look(KEY) is None
    await bench.pass_time(100)
    assert not await bench.other.unfinished(10)
    await finished(bench, transaction_id="T3")


async def test_an_error_of_the_block_comes_out_as_it_is(bench: Bench) -> None:
    """No inbox wraps what its user raises, or takes it for its own."""

    async def work(error: Exception) -> None:
        async with bench.inbox.lock(KEY, an_entry(bench)):
            raise error

    for error in (ValueError("no"), TimeoutError(), ClaimLostError("of another order")):
        with pytest.raises(type(error)) as caught:
            await work(error)
        assert caught.value is error


@pytest.mark.parametrize("heard", [False, True])
async def test_others_see_a_locked_order_with_its_message_or_as_it_was(
    bench: Bench, heard: bool
) -> None:
    """M-16, M-17: as a handler takes it, which writes the message down only where it is read.

    An order of which only a failure was heard is no other than a new one.
    """
    if heard:
        await saved(bench, NOT_PAID, payload='{"failed":1}', reason="why")
    before, entry = await bench.other.look(KEY), an_entry(bench)
    shows = getattr(bench.inbox, "shows_claims", not bench.inbox.lends_connection)
    async with bench.inbox.lock(KEY, entry) as order:
        assert order is not None
        seen = await bench.other.look(KEY)
        if shows:
            assert seen is not None
            assert (seen.state, seen.entry.payload) == (HELD, entry.payload)
        else:
            assert (seen and attrs.evolve(seen, lease=0.0)) == before
    assert await bench.other.look(KEY) == before


async def test_what_a_function_is_lent_is_a_connection_or_nothing(bench: Bench) -> None:
    """M-16: as ``lends_connection`` says; its errors come out of both blocks."""
    entry = an_entry(bench)
    async with bench.inbox.lock(KEY, entry) as order:
        assert order is not None
        async with order.lend() as lent:
            assert (lent is not None) is bench.inbox.lends_connection
        await order.save(DONE, entry)
    assert await state_of(bench) is DONE

    async def fails() -> None:
        async with bench.inbox.lock(OrderKey(KEY.mch_id, "fails"), entry) as order:
            assert order is not None
            async with order.lend():
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails()


# ------------------------------------------------------------------------------------- records


@pytest.mark.parametrize("state", SeenState)
async def test_a_record_is_what_was_saved_last(bench: Bench, state: SeenState) -> None:
    """M-13, M-16: in place of all that was there before, which way each number was learnt too."""
    await saved(bench, HELD, failures=3, reason="before", other_numbers=("T 0",))
    others = ("T 2", 'W"2')
    told: dict[str, Any] = {
        "source": "CONFIRM",
        "other_numbers": others,
        "payable": None,
        "out_transaction_id": None,
        "transaction_id": "T5",
        "decision": "PAID_AFTER_CLOSE",
    }
    await saved(bench, state, **told, failures=1, reason="why")
    record = await record_of(bench)
    assert (record.key, record.state, record.lease) == (KEY, state, 0.0)
    assert (record.failures, record.reason) == (1, "why")
    assert {name: getattr(record.entry, name) for name in told} == told
    assert record.entry.numbers == {"T5"}


async def test_a_token_is_another_one_after_every_change(bench: Bench) -> None:
    """M-16: whoever read the record before sees that somebody has tried since."""
    tokens = []
    for state in (NOT_PAID, HELD, HELD, QUARANTINED, HELD, DONE):
        await saved(bench, state)
        tokens.append((await record_of(bench)).token)
    assert len(set(tokens)) == len(tokens)


async def test_an_order_that_failed_is_free_at_once_and_due_later(bench: Bench) -> None:
    """M-16: a redelivery may try again at once; run_due waits."""
    await saved(bench, HELD, failures=1, retry_in=30.0)
    assert not await bench.other.unfinished(10)
    async with bench.other.lock(KEY, an_entry(bench)) as order:
        assert order is not None
        assert order.before is not None
        assert order.before.failures == 1
    await bench.pass_time(29)
    assert not await bench.other.unfinished(10)
    await bench.pass_time(2)
    (due,) = await bench.other.unfinished(10)
    assert due == await record_of(bench)
    await saved(bench, HELD, failures=2, retry_in=60.0)
    assert not await bench.other.unfinished(10)
    await saved(bench, HELD, failures=2)
    assert len(await bench.other.unfinished(10)) == 1


async def test_an_order_in_somebodys_hands_is_not_due(bench: Bench) -> None:
    """M-17: run_due leaves alone what somebody works on; it is due again if that comes to nothing.

    A new one neither: what is seen of it goes again.
    """
    await saved(bench, HELD)
    assert len(await bench.other.unfinished(10)) == 1
    async with bench.inbox.lock(KEY, an_entry(bench)) as order:
        assert order is not None
        due = await bench.other.unfinished(10)
        assert not due or bench.other.lends_connection
    assert len(await bench.other.unfinished(10)) == 1


@pytest.mark.parametrize("state", [NOT_PAID, QUARANTINED])
async def test_an_order_that_is_not_held_is_free_and_never_due(
    bench: Bench, state: SeenState
) -> None:
    """M-15, M-16: a payment that comes later finds the failure or the quarantine, and decides."""
    await saved(bench, state, payable=None, reason="why")
    await bench.pass_time(80_000)
    assert not await bench.other.unfinished(10)
    entry = an_entry(bench, transaction_id="T2")
    async with bench.other.lock(KEY, entry) as order:
        assert order is not None
        assert order.before is not None
        assert (order.before.state, order.before.reason) == (state, "why")
        await order.save(DONE, entry)
    assert await state_of(bench) is DONE


@pytest.mark.parametrize(
    "other",
    [
        OrderKey(KEY.mch_id, KEY.out_trade_no.lower()),
        OrderKey(KEY.mch_id, f"{KEY.out_trade_no} "),
        OrderKey(KEY.mch_id, f" {KEY.out_trade_no}"),
        OrderKey(KEY.mch_id, KEY.out_trade_no.replace("A", "Ａ")),
        OrderKey(KEY.mch_id, KEY.out_trade_no.replace("A", "Á")),
        OrderKey(f"{KEY.mch_id} ", KEY.out_trade_no),
        OrderKey("1", KEY.out_trade_no),
        OrderKey("0000000", f"1{KEY.out_trade_no}"),
        OrderKey(KEY.mch_id, f"{KEY.out_trade_no}\U0001f4b0"),
        OrderKey("m" * 64, "超" * 128),
    ],
)
async def test_keys_that_look_alike_are_distinct(bench: Bench, other: OrderKey) -> None:
    """M-18: case, blanks, full-width letters and accents make another order, on every database."""
    await finished(bench)
    await finished(bench, other)
    record = await bench.other.look(other)
    assert record is not None
    assert record.key == other


async def test_lists_begin_with_the_oldest_and_are_bounded(bench: Bench) -> None:
    """M-17: orders and messages together, by when they first came."""
    keys = [OrderKey(KEY.mch_id, f"A{n}") for n in range(4)]
    await saved(bench, HELD, keys[0], first_seen=ago(bench, hours=2))
    await put_aside(bench, an_aside(bench, key=keys[1], first_seen=ago(bench, hours=3)), 0)
    await saved(bench, HELD, keys[2], first_seen=ago(bench, hours=1))
    items = await bench.inbox.unfinished(10)
    assert [item.key for item in items] == [keys[1], keys[0], keys[2]]
    assert [item.key for item in await bench.inbox.unfinished(2)] == [keys[1], keys[0]]


async def test_texts_of_any_kind_survive(bench: Bench) -> None:
    """Payloads and reasons come back as they were put, long ones too."""
    values: dict[str, Any] = {"payload": '{"x":"\\u0000' + "y" * 60_000 + '"}', "reason": "超赢 💰"}
    aside = an_aside(bench, **values)
    await put_aside(bench, aside)
    assert list(await bench.other.asides(KEY)) == [aside]
    await saved(bench, QUARANTINED, **values)
    record = await record_of(bench)
    assert (record.entry.payload, record.reason) == (values["payload"], values["reason"])
