"""FakeClock: timers in order, exact sums, and time-outs that end as asyncio's do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoying_async.abc import Clock
from chaoying_async.testing import FakeClock

SECONDS = st.integers(0, 40).map(lambda tenths: tenths / 10)

#: A till's clock, seen through the interface that everything takes.
_: Clock = FakeClock()


# ------------------------------------------------------------------------------------ the order


@given(st.lists(SECONDS, max_size=12))
async def test_sleepers_wake_in_the_order_of_their_moments_then_of_their_beginning(
    delays: list[float],
) -> None:
    """M-26: two sleeps that end in the same instant end in the order in which they began."""
    clock, woken = FakeClock(), []

    async def sleeper(number: int, delay: float) -> None:
        await clock.sleep(delay)
        woken.append((number, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper(*pair)) for pair in enumerate(delays)]
    await clock.advance(5)
    await asyncio.gather(*tasks)
    expected = sorted(enumerate(delays), key=lambda pair: (pair[1], pair[0]))
    assert woken == expected
    assert clock.monotonic() == 5
    assert clock.waiting == 0


@given(st.lists(SECONDS, min_size=1, max_size=20), st.lists(SECONDS, min_size=1, max_size=20))
async def test_time_adds_up_exactly_however_it_is_cut(
    naps: list[float], steps: list[float]
) -> None:
    """A hundred times 0.1 s is 10 s: a sleeper is never early or late by a rounding error."""
    clock = FakeClock()

    async def sleeper() -> float:
        for nap in naps:
            await clock.sleep(nap)
        return clock.monotonic()

    task = asyncio.create_task(sleeper())
    for step in steps:
        await clock.advance(step)
    total = sum(round(step * 10) for step in steps)
    assert clock.monotonic() == total / 10
    assert clock.now() == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=total / 10)
    assert await clock.run(task) == sum(round(nap * 10) for nap in naps) / 10


async def test_advance_lets_chains_of_tasks_come_to_rest_between_two_timers() -> None:
    """What one timer sets in motion is over before the next one rings, however long the chain."""
    clock, log = FakeClock(), []
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def link(depth: int) -> None:
        if depth:
            await asyncio.create_task(link(depth - 1))
        else:
            log.append(f"chain at {clock.monotonic()}")

    async def worker() -> None:
        while True:
            log.append(await queue.get())
            await link(50)

    async def feeder() -> None:
        for name in ("a", "b"):
            await clock.sleep(1)
            await queue.put(name)

    tasks = [asyncio.create_task(worker()), asyncio.create_task(feeder())]
    await clock.advance(2)
    assert log == ["a", "chain at 1.0", "b", "chain at 2.0"]
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_timers_set_on_the_way_ring_on_the_way() -> None:
    """A loop that sleeps again and again makes all its rounds within one advance."""
    clock, rounds = FakeClock(), []

    async def ticker() -> None:
        while True:
            await clock.sleep(5)
            rounds.append(clock.now())

    task = asyncio.create_task(ticker())
    await clock.advance(17)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert rounds == [start + timedelta(seconds=seconds) for seconds in (5, 10, 15)]
    assert clock.next_due == 3
    task.cancel()
    await clock.advance(100)
    assert len(rounds) == 3
    assert clock.waiting == 0


async def test_sleeping_no_time_gives_others_a_turn_and_moves_nothing() -> None:
    """sleep(0) and less end by themselves, as asyncio's do."""
    clock, log = FakeClock(), []

    async def other() -> None:
        log.append("other")

    task = asyncio.create_task(other())
    await clock.sleep(0)
    await clock.sleep(-1)
    assert log == ["other"]
    assert clock.monotonic() == 0
    await task


async def test_a_cancelled_sleep_leaves_nothing_behind() -> None:
    """Cancelling a sleeper frees its timer, and the clock walks past."""
    clock = FakeClock()
    tasks = [asyncio.create_task(clock.sleep(seconds)) for seconds in (1, 2, float("inf"))]
    await clock.advance(0)
    assert clock.waiting == 3
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert clock.waiting == 0
    assert clock.next_due is None


async def test_timeouts_that_were_not_needed_do_not_pile_up() -> None:
    """A million calls with a deadline cost no memory, even if time never moves."""
    clock = FakeClock()
    for _ in range(5000):
        async with clock.timeout(30):
            pass
    assert len(clock._timers) <= 1001
    assert clock.waiting == 0


# --------------------------------------------------------------------------------- the time-outs


async def _nested(
    timeout: Callable[[float | None], Any], sleep: Callable[[float], Any], plan: list[float | None]
) -> list[str]:
    """Enter a time-out for each of ``plan`` but the last, sleep that long; what was seen."""
    *bounds, nap = plan
    seen: list[str] = []

    async def enter(depth: int) -> None:
        if depth == len(bounds):
            await sleep(nap or 0)
            seen.append("slept")
            return
        block = timeout(bounds[depth])
        try:
            async with block:
                await enter(depth + 1)
        except TimeoutError:
            seen.append(f"{depth} raised, expired {block.expired()}")
        else:
            seen.append(f"{depth} passed, expired {block.expired()}")

    await enter(0)
    return seen


@given(st.lists(st.none() | st.integers(1, 6), min_size=2, max_size=5))
async def test_nested_timeouts_end_like_asyncios(plan: list[float | None]) -> None:
    """The block whose time is up first raises, and on a tie the one that was entered first."""
    if plan[-1] is None:
        plan = [*plan[:-1], 7]
    clock = FakeClock()
    seen = await clock.run(_nested(clock.timeout, clock.sleep, plan))
    *bounds, nap = plan
    moments = [(bound, depth) for depth, bound in enumerate(bounds) if bound is not None]
    first = min(moments, default=(float("inf"), 0))
    if nap is not None and nap < first[0]:
        assert seen[0] == "slept"
        assert clock.monotonic() == nap
        assert not any("expired True" in line for line in seen)
    else:
        assert f"{first[1]} raised, expired True" in seen
        assert sum("expired True" in line for line in seen) == 1
        assert clock.monotonic() == first[0]
    assert clock.waiting == 0


@pytest.mark.parametrize("plan", [[0], [-1], [0, 0], [None, 0], [0, None], [None, None]])
async def test_timeouts_of_no_time_behave_as_asyncios_do(plan: list[float | None]) -> None:
    """Zero, negative and absent bounds give what asyncio.timeout gives, event for event."""
    clock = FakeClock()

    async def forever(seconds: float) -> None:
        await asyncio.get_running_loop().create_future()

    async def turns(seconds: float) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    wait = turns if all(bound is None for bound in plan) else forever
    ours = await clock.run(_nested(clock.timeout, wait, [*plan, 1]))
    assert ours == await _nested(asyncio.timeout, wait, [*plan, 1])


async def test_cancellation_from_outside_stays_a_cancellation() -> None:
    """A task cancelled before its time-out ends as cancelled, not as timed out."""
    clock = FakeClock()

    async def bounded() -> None:
        async with clock.timeout(10):
            await clock.sleep(20)

    task = asyncio.create_task(bounded())
    await clock.advance(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.waiting == 0


async def test_a_timeout_can_be_moved() -> None:
    """reschedule() and when() speak of clock.monotonic(), as asyncio's speak of loop.time()."""
    clock = FakeClock()

    async def patient() -> float:
        async with clock.timeout(1) as bound:
            assert bound.when() == 1
            bound.reschedule(clock.monotonic() + 5)
            assert bound.when() == 5
            await clock.sleep(3)
            bound.reschedule(None)
            assert bound.when() is None
            await clock.sleep(30)
        with pytest.raises(RuntimeError):
            bound.reschedule(1)
        return clock.monotonic()

    assert await clock.run(patient()) == 33

    async def overtaken() -> None:
        async with clock.timeout(None) as bound:
            bound.reschedule(clock.monotonic())
            await clock.sleep(1)

    with pytest.raises(TimeoutError):
        await clock.run(overtaken())


# ------------------------------------------------------------------------- run, and what it refuses


async def test_run_gives_the_result_and_moves_no_further_than_needed() -> None:
    """The clock stands at the moment in which the awaited thing ended."""
    clock = FakeClock(start=datetime(2026, 5, 1, tzinfo=UTC))
    assert await clock.run(asyncio.sleep(0, "at once")) == "at once"
    assert clock.now() == datetime(2026, 5, 1, tzinfo=UTC)

    async def nap() -> str:
        await clock.sleep(3600)
        return "rested"

    assert await clock.run(nap()) == "rested"
    assert repr(clock) == "FakeClock(2026-05-01T01:00:00+00:00, 0 waiting)"


async def test_run_says_when_nothing_will_ever_happen() -> None:
    """A wait that no timer ends is an error instead of a test that hangs, and is cancelled."""
    clock = FakeClock()
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with pytest.raises(RuntimeError, match="does not move"):
        await clock.run(never)
    assert never.cancelled()
    with pytest.raises(TimeoutError, match="not done within"):
        await clock.run(clock.sleep(100), within=99)
    assert clock.waiting == 0


async def test_a_spinning_program_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """``while not done: await asyncio.sleep(0)`` would never let the clock move."""
    monkeypatch.setattr("chaoying_async.testing.fake_clock.MAX_TURNS", 100)
    clock = FakeClock()

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    task = asyncio.create_task(spin())
    with pytest.raises(RuntimeError, match="spins"):
        await clock.advance(1)
    task.cancel()
    await clock.advance(1)
    assert clock.monotonic() == 1


async def test_a_clock_is_moved_by_one_task_at_a_time() -> None:
    """Two that advance at once would wait for each other: an error says so."""
    clock = FakeClock()
    first = asyncio.create_task(clock.run(clock.sleep(2)))

    async def second() -> None:
        await clock.sleep(1)
        await clock.advance(1)

    other = asyncio.create_task(second())
    await first
    with pytest.raises(RuntimeError, match="moved already"):
        await other


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
async def test_time_only_moves_forward_by_a_number(seconds: float) -> None:
    """A negative, infinite or undefined step is a ValueError."""
    with pytest.raises(ValueError, match="forward"):
        await FakeClock().advance(seconds)


async def test_undefined_times_are_refused() -> None:
    """NaN, and a start without a time zone, are ValueErrors."""
    with pytest.raises(ValueError, match="NaN"):
        await FakeClock().sleep(float("nan"))
    with pytest.raises(ValueError, match="time zone"):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the mistake


def test_on_a_loop_without_a_queue_to_look_into_it_turns_often_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """uvloop hides what is ready; chains of ordinary length come to rest there too."""
    monkeypatch.setattr("chaoying_async.testing.fake_clock.getattr", lambda *_: None, raising=False)

    async def main() -> list[float]:
        clock, woken = FakeClock(), []

        async def sleeper() -> None:
            for _ in range(3):
                await clock.sleep(1)
                await asyncio.create_task(asyncio.sleep(0))
                woken.append(clock.monotonic())

        task = asyncio.create_task(sleeper())
        await clock.advance(3)
        await task
        return woken

    assert asyncio.run(main()) == [1, 2, 3]
