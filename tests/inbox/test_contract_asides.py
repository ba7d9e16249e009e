"""What every inbox promises about messages that are set aside (M-15, M-17)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import attrs

from chaoying_async.sansio.notifications.inbox_values import (
    Aside,
    OrderKey,
)
from tests.inbox.contract import DONE, put_aside, state_of
from tests.inbox.inboxes import KEY, Bench, an_aside, finished


async def test_what_is_set_aside_is_news_once(bench: Bench) -> None:
    """M-15: reported once; again only when the decision is another one."""
    aside = an_aside(bench)
    assert await put_aside(bench, aside)
    assert not await bench.other.set_aside(aside, retry_in=None)
    changed = attrs.evolve(aside, decision="CONFLICT", reason="another amount")
    assert await put_aside(bench, changed)
    assert not await put_aside(bench, changed)
    (kept,) = await bench.other.asides(KEY)
    assert (kept.decision, kept.reason) == ("CONFLICT", "another amount")


async def test_of_many_that_set_the_same_aside_one_reports(bench: Bench) -> None:
    """M-15: once, whichever process got it."""
    aside = an_aside(bench)
    tries = [
        inbox.set_aside(aside, retry_in=30.0)
        for inbox in (bench.inbox, bench.other)
        for _ in range(5)
    ]
    assert sum(await asyncio.gather(*tries)) == 1


async def test_first_seen_stays_that_of_the_first_time(bench: Bench) -> None:
    """M-17: age is judged as of when the message first came; the rest of an aside is kept too."""
    first = an_aside(bench)
    await put_aside(bench, first)
    await bench.pass_time(60)
    await put_aside(bench, attrs.evolve(first, first_seen=bench.now()))
    kept = await bench.other.aside(KEY, first.fingerprint)
    assert kept == first


async def test_messages_of_one_order_are_kept_side_by_side(bench: Bench) -> None:
    """A conflicting message beside a DONE order, two of them if there are two."""
    await finished(bench)
    one = an_aside(bench, fingerprint="01" * 32)
    two = an_aside(bench, fingerprint="02" * 32, first_seen=bench.now() + timedelta(seconds=1))
    await put_aside(bench, two)
    await put_aside(bench, one)
    assert list(await bench.inbox.asides(KEY)) == [one, two]
    assert not await bench.inbox.asides(OrderKey("2", KEY.out_trade_no))
    assert await state_of(bench) is DONE


async def test_a_retry_is_due_on_time_and_postponed(bench: Bench) -> None:
    """M-17: run_due finds what is due, and what it looked at is due later, or not by itself."""
    aside = an_aside(bench)
    await put_aside(bench, aside, retry_in=30.0)
    assert not await bench.inbox.unfinished(10)
    await bench.pass_time(31)
    (due,) = await bench.other.unfinished(10)
    assert due == aside
    await bench.inbox.postpone(aside, retry_in=60.0)
    assert not await bench.inbox.unfinished(10)
    await bench.pass_time(61)
    (again,) = await bench.inbox.unfinished(10)
    assert isinstance(again, Aside)
    assert again.tries == 1
    await bench.inbox.postpone(again, retry_in=None)
    await bench.pass_time(100_000)
    assert not await bench.inbox.unfinished(10)
    assert len(await bench.inbox.asides(KEY)) == 1


async def test_a_closed_message_stays_closed(bench: Bench) -> None:
    """Its redelivery is no news, and nobody is asked about it any more."""
    aside = an_aside(bench)
    await put_aside(bench, aside, retry_in=0)
    await bench.inbox.close(aside)
    assert not await bench.inbox.unfinished(10)
    assert not await bench.inbox.asides(KEY)
    assert not await put_aside(bench, attrs.evolve(aside, decision="CONFLICT"), retry_in=0)
    assert not await bench.inbox.unfinished(10)
    assert await bench.inbox.aside(KEY, aside.fingerprint) is not None
    assert await bench.inbox.aside(KEY, "00" * 32) is None
