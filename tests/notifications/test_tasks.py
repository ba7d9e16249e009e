"""Work that has an owner runs in a task of its own (M-17)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from chaoying_async.notifications.tasks import OwnedTasks, StrayEndError
from chaoying_async.testing.fake_clock import FakeClock

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


@asynccontextmanager
async def opened() -> AsyncGenerator[OwnedTasks]:
    tasks = OwnedTasks(FakeClock())
    tasks.open(asyncio.sleep(3600))
    try:
        yield tasks
    finally:
        await tasks.close(0)


async def test_work_is_never_in_its_callers_name() -> None:
    """What it does to its own task, from the first step on, does not touch the request's."""
    names: list[Any] = []

    async def work() -> None:
        names.append(asyncio.current_task())
        await asyncio.sleep(0)
        names.append(asyncio.current_task())

    async with opened() as tasks:
        await tasks.run(work())
        assert asyncio.current_task() not in names
    assert len(set(names)) == 1


@pytest.mark.parametrize("waits", [False, True])
async def test_what_spans_the_first_wait_works_as_in_any_task(waits: bool) -> None:
    """Time-outs, groups, cancel scopes and context variables belong to the work alone."""

    async def child() -> None:
        await asyncio.sleep(0)

    seen: list[str] = []

    async def work() -> None:
        token = WHO.set("the work")
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            with anyio.CancelScope():
                if waits:
                    group.create_task(child())
                    await asyncio.sleep(0)
        seen.append(WHO.get())
        WHO.reset(token)
        seen.append(WHO.get())

    async with opened() as tasks:
        token = WHO.set("the caller")
        await tasks.run(work())
        assert seen == ["the work", "the caller"]
        assert WHO.get() == "the caller"
        WHO.reset(token)


async def test_a_time_out_inside_the_work_ends_the_work_alone() -> None:
    """It is entered in the first step and runs out long after: the caller goes on."""
    seen: list[str] = []

    async def work() -> None:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            seen.append("too late")

    async with opened() as tasks:
        await tasks.run(work())
    assert seen == ["too late"]


@pytest.mark.parametrize("waits", [False, True])
async def test_work_that_cancels_itself_ends_there_and_spoils_nothing(waits: bool) -> None:
    """Who waited hears that it did not end; the next work finds a task of its own."""
    reached: list[str] = []

    async def odd() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if waits:
            await asyncio.sleep(0)
            reached.append("behind the cancellation")

    async def next_one() -> None:
        await asyncio.sleep(0)
        reached.append("the next one's end")

    async with opened() as tasks:
        with pytest.raises(StrayEndError):
            await tasks.run(odd())
        await tasks.run(next_one())
    assert reached == ["the next one's end"]


async def test_work_that_has_ended_at_the_last_moment_has_ended() -> None:
    """Whoever has no time left to wait still hears of what needed none."""

    async def work() -> str:
        return "done"

    async with opened() as tasks:
        assert await tasks.run(work(), until=0.0) == "done"
        with pytest.raises(TimeoutError):
            await tasks.run(asyncio.sleep(0.1), until=0.0)


async def test_work_inside_work_has_a_task_of_its_own() -> None:
    """on_paid may call the handler again: neither waits for the other's task."""
    async with opened() as tasks:
        seen: list[Any] = []

        async def inner() -> None:
            seen.append(asyncio.current_task())

        async def outer() -> None:
            seen.append(asyncio.current_task())
            await tasks.run(inner())
            seen.append(asyncio.current_task())

        await tasks.run(outer())
        mine, theirs, still_mine = seen
        assert mine is still_mine
        assert mine is not theirs


@pytest.mark.parametrize("wait_first", [False, True])
async def test_what_work_raises_is_the_callers(wait_first: bool) -> None:
    """In its first step as in any other; and what comes next runs all the same."""

    async def work() -> None:
        if wait_first:
            await asyncio.sleep(0)
        raise ValueError("no stock")

    async def fine() -> None:
        return None

    async with opened() as tasks:
        for _ in range(3):
            with pytest.raises(ValueError, match="no stock"):
                await tasks.run(work())
            await tasks.run(fine())


async def test_nothing_is_left_when_it_is_closed() -> None:
    """The ticker ends with everything else."""
    before = asyncio.all_tasks()

    async def fine() -> None:
        return None

    async with opened() as tasks:
        await tasks.run(fine())
    assert asyncio.all_tasks() == before


async def test_a_caller_that_is_cancelled_leaves_the_work_behind() -> None:
    """M-17: who owns work that outlives a request is the handler, however far it had come."""
    ended: list[str] = []
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        ended.append("done")

    async with opened() as tasks:
        caller = asyncio.create_task(tasks.run(work()))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert ended == ["done"]
