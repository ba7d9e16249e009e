"""What every inbox promises a handler; one suite over all of them (M-16 to M-19)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from chaoying_async.sansio.notifications.inbox_values import (
    BY_A_PERSON,
    Claim,
    ClaimLostError,
    Mark,
    OrderKey,
    Record,
    SeenState,
)
from tests.inbox.contract import DONE, HELD, put_aside, state_of
from tests.inbox.inboxes import INBOXES, KEY, Bench, ago, an_aside, an_entry, claimed, finished

NOT_PAID, QUARANTINED = SeenState.NOT_PAID, SeenState.QUARANTINED


# -------------------------------------------------------------------------------------- claims


async def test_nothing_is_known_of_an_order_never_heard_of(bench: Bench) -> None:
    """No record, nothing due, nothing to look at."""
    assert await bench.inbox.look(KEY) is None
    assert not await bench.inbox.unfinished(10)
    assert not await bench.inbox.listing(10)
    assert not await bench.inbox.asides(KEY)


async def test_a_claim_is_seen_by_others_and_keeps_them_out(bench: Bench) -> None:
    """M-16: the claim is durable before the work begins; whoever else comes gets the record."""
    first_seen = bench.now()
    await claimed(bench, first_seen=first_seen)
    second = await bench.other.claim(KEY, an_entry(bench, payload='{"b":"2"}'), lease=30.0)
    assert isinstance(second, Record)
    assert second.state is HELD
    assert 0 < second.lease <= 30
    assert second.entry == an_entry(bench, first_seen=first_seen)


async def test_leaving_the_work_makes_the_order_done_for_good(bench: Bench) -> None:
    """M-16: complete; a DONE order is never claimed again, and keeps what it was."""
    await finished(bench)
    record = await bench.other.claim(KEY, an_entry(bench, transaction_id="T2"), lease=30.0)
    assert isinstance(record, Record)
    assert (record.state, record.lease) == (DONE, 0.0)
    assert record.entry.transaction_id == "T1"
    await bench.pass_time(80_000)
    assert await state_of(bench) is DONE
    assert not await bench.inbox.unfinished(10)


async def test_of_many_claims_at_once_one_succeeds(bench: Bench) -> None:
    """M-16: one step, whoever else tries at the same moment."""
    tries = [
        inbox.claim(KEY, an_entry(bench), lease=30.0)
        for inbox in (bench.inbox, bench.other)
        for _ in range(5)
    ]
    got = await asyncio.gather(*tries)
    assert sum(isinstance(one, Claim) for one in got) == 1


async def test_work_that_raises_leaves_the_claim_as_it_was(bench: Bench) -> None:
    """M-16: rolled back; the claim is released by the handler, not by the failure."""
    claim = await claimed(bench)
    with pytest.raises(ZeroDivisionError):
        async with bench.inbox.work(claim):
            raise ZeroDivisionError
    assert await state_of(bench) is HELD
    assert await bench.inbox.renew(claim, lease=30.0)


async def test_a_lease_that_ended_lets_the_next_one_in(bench: Bench) -> None:
    """M-16: a dead holder's order is free when its lease is over, and is found as unfinished."""
    first = await claimed(bench)
    assert not await bench.inbox.unfinished(10)
    await bench.pass_time(31)
    due = await bench.other.unfinished(10)
    assert [item.key for item in due] == [KEY]
    second = await bench.other.claim(KEY, an_entry(bench, transaction_id="T2"), lease=30.0)
    assert isinstance(second, Claim)
    assert second.token != first.token
    assert second.before is not None
    assert second.before.entry.transaction_id == "T1"
    found = await bench.inbox.look(KEY)
    assert found is not None
    assert found.entry.transaction_id == "T2"


async def test_an_old_holder_can_do_nothing_any_more(bench: Bench) -> None:
    """M-16: fencing; its work rolls back, its renewal fails, it releases nobody else's claim."""
    old = await claimed(bench)
    await bench.pass_time(31)
    new = await claimed(bench)
    assert not await bench.inbox.renew(old, lease=30.0)
    assert not await bench.inbox.release(old, retry_in=0, failed=True)
    assert not await bench.inbox.quarantine(old, "no")
    with pytest.raises(ClaimLostError):
        async with bench.inbox.work(old):
            pass
    assert await bench.inbox.renew(new, lease=30.0)
    assert await state_of(bench) is HELD


async def test_a_renewed_lease_lasts(bench: Bench) -> None:
    """M-16: from the renewal on, the whole lease again."""
    claim = await claimed(bench)
    for _ in range(4):
        await bench.pass_time(20)
        assert await bench.inbox.renew(claim, lease=30.0)
    assert isinstance(await bench.other.claim(KEY, an_entry(bench), lease=30.0), Record)


async def test_a_released_order_is_free_at_once_and_due_later(bench: Bench) -> None:
    """M-16: a redelivery may try again at once; run_due waits. The first failure is news, once."""
    claim = await claimed(bench)
    assert await bench.inbox.release(claim, retry_in=30.0, failed=True)
    assert not await bench.other.unfinished(10)
    await bench.pass_time(29)
    assert not await bench.other.unfinished(10)
    await bench.pass_time(2)
    assert len(await bench.other.unfinished(10)) == 1
    again = await claimed(bench)
    assert again.failures == 1
    assert not await bench.inbox.release(again, retry_in=30.0, failed=True)
    third = await claimed(bench)
    assert third.failures == 2
    assert not await bench.inbox.renew(again, lease=30.0)


async def test_a_release_without_a_failure_counts_none(bench: Bench) -> None:
    """M-17: a handler that is closed gives its claims back; nobody failed."""
    assert not await bench.inbox.release(await claimed(bench), retry_in=0, failed=False)
    assert len(await bench.other.unfinished(10)) == 1
    assert (await claimed(bench)).failures == 0


async def test_a_release_after_the_commit_changes_nothing(bench: Bench) -> None:
    """M-16: where a commit's answer was lost, DONE stays DONE."""
    claim = await claimed(bench)
    async with bench.inbox.work(claim):
        pass
    assert not await bench.inbox.release(claim, retry_in=0, failed=True)
    assert not await bench.inbox.quarantine(claim, "no")
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


# ------------------------------------------------------------------------- failures, quarantine


async def test_a_failure_never_blocks_and_never_undoes(bench: Bench) -> None:
    """M-15: NOT_PAID is noted once, is claimed like a new order, and is never put over a paid."""
    assert await bench.inbox.not_paid(KEY, an_entry(bench, payable=None))
    assert not await bench.other.not_paid(KEY, an_entry(bench))
    assert await state_of(bench) is NOT_PAID
    claim = await claimed(bench)
    assert claim.before is not None
    assert claim.before.state is NOT_PAID
    assert not await bench.inbox.not_paid(KEY, an_entry(bench))
    async with bench.inbox.work(claim):
        pass
    assert not await bench.inbox.not_paid(KEY, an_entry(bench))
    assert await state_of(bench) is DONE


async def test_a_quarantined_order_waits_for_a_person(bench: Bench) -> None:
    """M-16: not run again by itself, whatever time goes by; listed with its reason."""
    claim = await claimed(bench)
    assert await bench.inbox.quarantine(claim, "on_paid ended its transaction")
    await bench.pass_time(100_000)
    assert isinstance(await bench.other.claim(KEY, an_entry(bench), lease=30.0), Record)
    assert not await bench.inbox.not_paid(KEY, an_entry(bench))
    assert not await bench.inbox.unfinished(10)
    (listed,) = await bench.other.listing(10)
    assert isinstance(listed, Record)
    assert (listed.state, listed.reason) == (QUARANTINED, "on_paid ended its transaction")


@pytest.mark.parametrize(
    ("mark", "state"), [(Mark.RETRY, HELD), (Mark.APPLY, HELD), (Mark.DISMISS, DONE)]
)
async def test_a_person_decides_about_a_quarantined_order(
    bench: Bench, mark: Mark, state: SeenState
) -> None:
    """DISMISS: the effect is there; the others: run it again, due at once."""
    assert not await bench.inbox.mark(KEY, mark)
    claim = await claimed(bench)
    assert not await bench.inbox.mark(KEY, mark)
    await bench.inbox.quarantine(claim, "why")
    assert await bench.other.mark(KEY, mark)
    assert await state_of(bench) is state
    due = await bench.inbox.unfinished(10)
    assert len(due) == (state is HELD)
    for order in due:
        assert isinstance(order, Record)
        assert (order.entry.decision == BY_A_PERSON) is (mark is Mark.APPLY)
    assert not await bench.inbox.renew(claim, lease=30.0)


async def test_a_record_keeps_which_way_each_number_was_learnt(bench: Bench) -> None:
    """M-13: the other way's numbers too, after the effect and after pruning, whatever they hold."""
    others = ("T 2", 'W"2')
    entry = an_entry(bench, source="CONFIRM", other_numbers=others)
    claim = await bench.inbox.claim(KEY, entry, lease=30.0)
    assert isinstance(claim, Claim)
    async with bench.inbox.work(claim):
        pass
    await bench.inbox.prune(bench.now() + timedelta(days=1))
    record = await bench.other.look(KEY)
    assert record is not None
    assert (record.entry.source, record.entry.other_numbers) == ("CONFIRM", others)
    assert record.entry.numbers == {"T1", "W1"}


async def test_an_order_that_was_given_up_is_free_and_never_due(bench: Bench) -> None:
    """M-17: its message waits in its place; an old holder can do nothing with it any more."""
    claim = await claimed(bench)
    assert await bench.inbox.give_up(claim)
    assert not await bench.inbox.give_up(claim)
    await bench.pass_time(1000)
    assert not await bench.other.unfinished(10)
    assert not await bench.other.listing(10)
    assert await state_of(bench) is NOT_PAID
    with pytest.raises(ClaimLostError):
        async with bench.inbox.work(claim):
            pass
    assert (await claimed(bench)).token != claim.token


@pytest.mark.parametrize("ends", ["give_up", "quarantine", "release"])
@pytest.mark.parametrize("taken", [False, True])
async def test_an_order_is_ended_as_it_was_read_or_not_at_all(
    bench: Bench, ends: str, *, taken: bool
) -> None:
    """M-16: whoever claimed it since, and failed as well, has brought another payment."""
    claim = await claimed(bench)
    await bench.inbox.release(claim, retry_in=0.0, failed=True)
    read = await bench.other.look(KEY)
    assert read is not None
    if taken:
        second = await claimed(bench, transaction_id="T2")
        await bench.inbox.release(second, retry_in=0.0, failed=True)
    ending: dict[str, Any] = {
        "give_up": lambda: bench.other.give_up(read.as_claim()),
        "quarantine": lambda: bench.other.quarantine(read.as_claim(), "why"),
        "release": lambda: bench.other.release(read.as_claim(), retry_in=60.0, failed=False),
    }
    await ending[ends]()
    assert bool(await bench.other.unfinished(10)) is taken
    found = await bench.other.look(KEY)
    assert found is not None
    assert found.entry.transaction_id == ("T2" if taken else "T1")


async def test_a_failure_is_news_of_an_order_that_was_given_up(bench: Bench) -> None:
    """M-15: none was heard of it before; a claim from before it still has nothing to say."""
    claim = await claimed(bench)
    await bench.inbox.give_up(claim)
    failure = an_entry(bench, decision="NOT_PAID", transaction_id="T7")
    assert await bench.other.not_paid(KEY, failure)
    assert not await bench.inbox.not_paid(KEY, failure)
    found = await bench.other.look(KEY)
    assert found is not None
    assert (found.state, found.entry) == (NOT_PAID, failure)
    assert not await bench.inbox.release(claim, retry_in=0.0, failed=True)
    assert (await claimed(bench)).token > claim.token


# ---------------------------------------------------------------------------------- set aside


# ------------------------------------------------------------------------------------- pruning


async def test_pruning_forgets_what_was_said_and_keeps_that_it_was(bench: Bench) -> None:
    """M-19: by default only bodies, of what ended; what is unfinished keeps everything."""
    old = ago(bench, days=400)
    open_key, done_key = KEY, OrderKey(KEY.mch_id, "done")
    await finished(bench, done_key, first_seen=old)
    await claimed(bench, open_key, first_seen=old)
    closed = an_aside(bench, first_seen=old)
    await put_aside(bench, closed)
    await bench.inbox.close(closed)
    kept = an_aside(bench, fingerprint="cd" * 32, first_seen=old)
    await put_aside(bench, kept)

    done = await bench.other.look(done_key)
    assert done is not None
    forgotten = not done.entry.payload  # a DONE order's text need not be kept that long
    assert await bench.inbox.prune(ago(bench, days=399)) == 2 - forgotten
    done = await bench.other.look(done_key)
    assert done is not None
    assert (done.state, done.entry.payload, done.entry.transaction_id) == (DONE, "", "T1")
    held = await bench.other.look(open_key)
    assert held is not None
    assert held.entry.payload
    assert list(await bench.other.asides(KEY)) == [kept]
    assert await bench.inbox.prune(ago(bench, days=399)) == 0


async def test_pruning_keys_never_reaches_into_the_window(bench: Bench) -> None:
    """M-19: what a redelivery may still ask about is kept, whatever is asked for."""
    window = bench.inbox.window
    young, late, held = (OrderKey(KEY.mch_id, name) for name in ("young", "late", "held"))
    await finished(bench, young, first_seen=bench.now() - window - timedelta(minutes=5))
    # Its message had waited for the shop's order, and took effect only now.
    await finished(bench, late, first_seen=ago(bench, days=400))
    await claimed(bench, held, first_seen=ago(bench, days=400))
    await bench.inbox.prune(bench.now(), keys=True)
    assert await state_of(bench, young) is await state_of(bench, late) is DONE
    assert await state_of(bench, held) is HELD


async def test_pruning_keys_forgets_what_is_old_in_every_way(bench: Bench) -> None:
    """M-19: its message and its effect are both older than the window; what is open stays."""
    old, unpaid, held = (OrderKey(KEY.mch_id, name) for name in ("old", "unpaid", "held"))
    window = bench.inbox.window
    await finished(bench, old, first_seen=ago(bench, days=400))
    assert await bench.inbox.not_paid(unpaid, an_entry(bench, first_seen=ago(bench, days=400)))
    await bench.pass_time(window.total_seconds())
    await claimed(bench, held, first_seen=ago(bench, days=400))
    await bench.inbox.prune(bench.now(), keys=True)
    assert await state_of(bench, old) is DONE  # AHEAD is added to the window
    await bench.pass_time(660.0)
    await bench.inbox.prune(bench.now(), keys=True)
    assert await state_of(bench, old) is None
    assert await state_of(bench, unpaid) is None
    assert await state_of(bench, held) is HELD


async def test_texts_of_any_kind_survive(bench: Bench) -> None:
    """Payloads and reasons come back as they were put, long ones too."""
    values: dict[str, Any] = {"payload": '{"x":"\\u0000' + "y" * 60_000 + '"}', "reason": "超赢 💰"}
    aside = an_aside(bench, **values)
    await put_aside(bench, aside)
    assert list(await bench.other.asides(KEY)) == [aside]
    await claimed(bench, payload=values["payload"], payable=None, out_transaction_id=None)
    record = await bench.other.look(KEY)
    assert record is not None
    assert record.entry.payload == values["payload"]
    assert (record.entry.payable, record.entry.out_transaction_id) == (None, None)


async def test_a_memory_inbox_forgets_the_text_of_what_is_done_at_once() -> None:
    """M-19: nobody runs it again; what failed or waits for a person keeps it."""
    async with INBOXES["memory"]() as bench:
        await finished(bench)
        record = await bench.inbox.look(KEY)
        assert record is not None
        assert record.entry == an_entry(bench, payload="", first_seen=record.entry.first_seen)
        open_key = OrderKey(KEY.mch_id, "open")
        claim = await claimed(bench, open_key)
        await bench.inbox.quarantine(claim, "why")
        assert await bench.inbox.mark(open_key, Mark.RETRY)
        (due,) = await bench.inbox.unfinished(10)
        assert isinstance(due, Record)
        assert due.entry.payload
