"""What every inbox of ours promises people: what waits for them, marks, pruning (M-16 to M-19)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
import pytest_asyncio

from chaoying_async.sansio.notifications.facts import (
    Facts,
    NotificationOutcome,
    facts_from_text,
    to_text,
)
from chaoying_async.sansio.notifications.inbox_values import (
    BY_A_PERSON,
    FIRST,
    MOST_MESSAGES,
    Aside,
    Mark,
    OrderKey,
    Record,
    SeenState,
)
from chaoying_async.sansio.paid import PaidSource
from chaoying_async.sansio.values import Fen
from tests.inbox.benches import KEPT_INBOXES
from tests.inbox.contract import DONE, HELD, NOT_PAID, QUARANTINED, put_aside, state_of
from tests.inbox.inboxes import (
    INBOXES,
    KEY,
    Bench,
    ago,
    an_aside,
    an_entry,
    finished,
    record_of,
    saved,
)
from tests.servers import Servers


@pytest_asyncio.fixture(params=[*INBOXES, *KEPT_INBOXES])
async def bench(request: pytest.FixtureRequest, servers: Servers) -> AsyncGenerator[Bench]:
    """Without an inbox of a user's own, which needs none of this."""
    kind = request.param
    async with INBOXES[kind]() if kind in INBOXES else KEPT_INBOXES[kind](servers) as made:
        yield made


# ------------------------------------------------------------------------- listing and marking


async def test_what_is_held_or_quarantined_is_listed_with_its_reason(bench: Bench) -> None:
    """M-16: oldest first, with the open messages; what ended is not."""
    assert not await bench.people.listing(10)
    keys = [OrderKey(KEY.mch_id, f"A{n}") for n in range(6)]
    await saved(bench, QUARANTINED, keys[0], first_seen=ago(bench, hours=2), reason="no commit")
    await put_aside(bench, an_aside(bench, key=keys[1], first_seen=ago(bench, hours=3)))
    await saved(bench, HELD, keys[2], first_seen=ago(bench, hours=1), retry_in=60.0)
    await saved(bench, NOT_PAID, keys[3])
    await finished(bench, keys[4])
    closed = an_aside(bench, key=keys[5])
    await put_aside(bench, closed)
    await bench.inbox.close(closed)
    items = await bench.people.listing(10)
    assert [item.key for item in items] == [keys[1], keys[0], keys[2]]
    assert isinstance(items[1], Record)
    assert (items[1].state, items[1].reason) == (QUARANTINED, "no commit")
    assert len(await bench.people.listing(1)) == 1


@pytest.mark.parametrize(
    ("mark", "state"), [(Mark.RETRY, HELD), (Mark.APPLY, HELD), (Mark.DISMISS, DONE)]
)
async def test_a_person_decides_about_a_quarantined_order(
    bench: Bench, mark: Mark, state: SeenState
) -> None:
    """M-16: DISMISS: the effect is there; the others: run it again, due at once."""
    assert not await bench.people.mark(KEY, mark)
    await saved(bench, HELD, failures=2, retry_in=60.0)
    assert not await bench.people.mark(KEY, mark)
    await saved(bench, QUARANTINED, failures=2, reason="why")
    before = await record_of(bench)
    assert await bench.people.mark(KEY, mark)
    after = await record_of(bench)
    assert (after.state, after.failures) == (state, 2)
    assert after.token != before.token
    assert (after.entry.decision == BY_A_PERSON) is (mark is Mark.APPLY)
    assert list(await bench.inbox.unfinished(10)) == ([after] if state is HELD else [])
    assert not await bench.people.mark(KEY, mark)


async def test_what_a_person_said_is_replaced_by_what_is_saved_next(bench: Bench) -> None:
    """M-17: the handler says itself whether the order is still applied because a person said so."""
    await saved(bench, QUARANTINED)
    assert await bench.people.mark(KEY, Mark.APPLY)
    async with bench.inbox.lock(KEY, an_entry(bench)) as order:
        assert order is not None
        assert order.before is not None
        assert order.before.entry.decision == BY_A_PERSON
        await order.save(HELD, order.before.entry, failures=1)
    assert (await record_of(bench)).entry.decision == BY_A_PERSON
    await saved(bench, HELD, decision="APPLY")
    assert (await record_of(bench)).entry.decision == "APPLY"


@pytest.mark.parametrize("mark", [Mark.RETRY, Mark.APPLY])
async def test_a_marked_message_is_due_at_once(bench: Bench, mark: Mark) -> None:
    """What ``chaoying inbox`` marks, a running handler finds; APPLY stays, RETRY is one try."""
    aside = an_aside(bench)
    assert not await bench.people.mark(KEY, mark, aside.fingerprint)
    await put_aside(bench, aside)
    assert await bench.people.mark(KEY, mark, aside.fingerprint)
    (due,) = await bench.inbox.unfinished(10)
    assert isinstance(due, Aside)
    assert due.mark is mark
    await bench.inbox.postpone(due, retry_in=None)
    (kept,) = await bench.inbox.asides(KEY)
    assert kept.mark is (None if mark is Mark.RETRY else mark)
    await bench.inbox.close(kept)
    assert not await bench.people.mark(KEY, mark, aside.fingerprint)


async def test_a_dismissed_message_is_closed_and_makes_room(bench: Bench) -> None:
    """M-15: DISMISS needs no handler."""
    asides = [an_aside(bench, fingerprint=f"{n:064x}") for n in range(MOST_MESSAGES + 1)]
    for aside in asides[:-1]:
        await put_aside(bench, aside, retry_in=0)
    assert await bench.people.mark(KEY, Mark.DISMISS, asides[0].fingerprint)
    assert await put_aside(bench, asides[-1], retry_in=0)
    assert len(await bench.inbox.asides(KEY)) == MOST_MESSAGES
    assert asides[0] not in await bench.inbox.unfinished(100)
    assert not await put_aside(bench, asides[0])


# ------------------------------------------------------------------------------------- pruning


async def test_pruning_forgets_what_was_said_and_keeps_that_it_was(bench: Bench) -> None:
    """M-19: by default only bodies, of what ended; what is unfinished keeps everything."""
    old = ago(bench, days=400)
    done_key, unpaid_key = OrderKey(KEY.mch_id, "done"), OrderKey(KEY.mch_id, "unpaid")
    await finished(bench, done_key, first_seen=old)
    await saved(bench, NOT_PAID, unpaid_key, first_seen=old)
    await saved(bench, HELD, first_seen=old)
    closed = an_aside(bench, first_seen=old)
    await put_aside(bench, closed)
    await bench.inbox.close(closed)
    kept = an_aside(bench, fingerprint="cd" * 32, first_seen=old)
    await put_aside(bench, kept)

    # A DONE order's text need not be kept that long.
    forgotten = not (await record_of(bench, done_key)).entry.payload
    assert await bench.people.prune(ago(bench, days=399)) == 3 - forgotten
    for key, state in ((done_key, DONE), (unpaid_key, NOT_PAID)):
        ended = await record_of(bench, key)
        assert (ended.state, ended.entry.payload) == (state, "")
        assert ended.entry.numbers == {"T1", "W1"}
    assert (await record_of(bench)).entry.payload
    assert list(await bench.other.asides(KEY)) == [kept]
    assert await bench.people.prune(ago(bench, days=399)) == 0


async def test_pruning_keeps_what_a_second_payment_is_told_by(bench: Bench) -> None:
    """M-15, M-19: the closed message whose numbers the next one is compared with."""
    text = a_text()
    first = an_aside(bench, fingerprint=FIRST, payload=text, first_seen=ago(bench, days=3))
    await put_aside(bench, first)
    await bench.inbox.close(first)
    assert await bench.people.prune(ago(bench, days=2)) == 0
    kept = await bench.other.aside(KEY, FIRST)
    assert kept is not None
    assert kept.payload == text


async def test_pruning_keeps_which_way_each_number_was_learnt(bench: Bench) -> None:
    """M-13: the other way's numbers too, whatever they hold."""
    others = ("T 2", 'W"2')
    await finished(bench, source="CONFIRM", other_numbers=others)
    await bench.people.prune(bench.now() + timedelta(days=1))
    entry = (await record_of(bench)).entry
    assert (entry.source, entry.other_numbers) == ("CONFIRM", others)
    assert entry.numbers == {"T1", "W1"}


async def test_pruning_keys_never_reaches_into_the_window(bench: Bench) -> None:
    """M-19: what a redelivery may still ask about is kept, whatever is asked for."""
    window = bench.inbox.window
    young, late, held = (OrderKey(KEY.mch_id, name) for name in ("young", "late", "held"))
    await finished(bench, young, first_seen=bench.now() - window - timedelta(minutes=5))
    # Its message had waited for the shop's order, and took effect only now.
    await finished(bench, late, first_seen=ago(bench, days=400))
    await saved(bench, HELD, held, first_seen=ago(bench, days=400))
    await bench.people.prune(bench.now(), keys=True)
    assert await state_of(bench, young) is await state_of(bench, late) is DONE
    assert await state_of(bench, held) is HELD


async def test_pruning_keys_forgets_what_is_old_in_every_way(bench: Bench) -> None:
    """M-19: its message and its effect are both older than the window; what is open stays."""
    old, unpaid, held = (OrderKey(KEY.mch_id, name) for name in ("old", "unpaid", "held"))
    window = bench.inbox.window
    await finished(bench, old, first_seen=ago(bench, days=400))
    await saved(bench, NOT_PAID, unpaid, first_seen=ago(bench, days=400))
    await bench.pass_time(window.total_seconds())
    await saved(bench, HELD, held, first_seen=ago(bench, days=400))
    await bench.people.prune(bench.now(), keys=True)
    assert await state_of(bench, old) is DONE  # AHEAD is added to the window
    await bench.pass_time(660.0)
    await bench.people.prune(bench.now(), keys=True)
    assert await state_of(bench, old) is None
    assert await state_of(bench, unpaid) is None
    assert await state_of(bench, held) is HELD


def a_text(**raw: str) -> str:
    return to_text(
        Facts(
            PaidSource.NOTIFICATION,
            KEY.mch_id,
            KEY.out_trade_no,
            NotificationOutcome.PAID,
            transaction_id="T1",
            total_fee=Fen(100),
            time_end=datetime(2026, 1, 1, tzinfo=UTC),
            raw=raw,
        )
    )


async def test_pruning_takes_the_raw_fields_out_of_what_waits(bench: Bench) -> None:
    """M-15, M-19: numbers, amounts and the fingerprint stay, so it can still be applied."""
    text = a_text(attach="x" * 1000)
    waits = an_aside(bench, payload=text, first_seen=ago(bench, days=3), foreign=True)
    young = an_aside(bench, fingerprint="07" * 32, payload=text)
    await put_aside(bench, waits)
    await put_aside(bench, young)
    assert await bench.people.prune(ago(bench, days=2)) == 1
    assert await bench.people.prune(ago(bench, days=2)) == 0
    by_fingerprint = {each.fingerprint: each for each in await bench.other.asides(KEY)}
    pruned = facts_from_text(by_fingerprint[waits.fingerprint].payload)
    before = facts_from_text(text)
    assert attrs.evolve(pruned, told_as="") == attrs.evolve(before, raw={})
    assert pruned.fingerprint == before.fingerprint
    assert by_fingerprint[waits.fingerprint].foreign
    assert by_fingerprint[young.fingerprint].payload == text


async def test_pruning_keys_forgets_strangers_messages_outside_the_window(bench: Bench) -> None:
    """M-15, M-19: what waits for a known order is kept, and so is what is young."""
    old = bench.now() - bench.inbox.window - timedelta(days=1)
    foreign: dict[str, Any] = {"foreign": True}
    stranger = an_aside(bench, key=OrderKey(KEY.mch_id, "F1"), first_seen=old, **foreign)
    young = an_aside(bench, key=OrderKey(KEY.mch_id, "F2"), **foreign)
    known = an_aside(bench, first_seen=old)
    for aside in (stranger, young, known):
        await put_aside(bench, aside)
    await bench.people.prune(bench.now() + timedelta(days=1), keys=True)
    assert not await bench.other.asides(stranger.key)
    assert list(await bench.other.asides(young.key)) == [young]
    assert list(await bench.other.asides(KEY)) == [known]
