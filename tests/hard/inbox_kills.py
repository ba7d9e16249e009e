"""A shop's process that is killed at any moment, and the gateway that comes again (M-16, M-17).

python -m tests.hard.inbox_kills KIND URL FIRST STORY STEP [STORY STEP]...

The moments are found by running into them: each task of the process is counted before and after
each of its steps. Before a step: what was waited for has happened, a statement has been executed.
After it: the next thing was sent off, to a database or to a thread, and nobody is there any more to
hear how it ended. The process is killed at the first moment, then another one at the second, until
one lives to its end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import attrs
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async import Decision, ExpectedOrder, Fen, NotificationHandler, PaidOrder, PaidSource
from chaoying_async.inbox.sql import SqlInbox
from tests.factories import CREDENTIALS, MCH_ID
from tests.hard.inbox_workers import FEE, engine_for, expected, notification
from tests.sql_shop import effects, take_effect

#: What two statements of ``on_paid`` write of an order: both or none.
PARTS = ("", "/2")
_DURABLE = (Decision.APPLY, Decision.DUPLICATE)

Done = Coroutine[Any, Any, bool]


# ------------------------------------------------------------------------------ the moments


class Moments:
    """Counts the moments of this process, and kills it at one of them; 0: at none."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self._count = 0

    def one(self) -> None:
        self._count += 1
        if self._count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def factory(
        self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any
    ) -> asyncio.Task[Any]:
        """A task factory: every task of the loop is counted."""
        return asyncio.Task(self._counted(work), loop=loop, **options)

    async def _counted(self, work: Coroutine[Any, Any, Any]) -> Any:
        return await _InSteps(work, self)  # a real coroutine: anyio asks how far it has come


class _InSteps:
    """Drives a coroutine, and counts before and after every step."""

    def __init__(self, work: Coroutine[Any, Any, Any], moments: Moments) -> None:
        self._work, self._moments = work, moments

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[], Any] = partial(self._work.send, None)
        while True:
            self._moments.one()
            try:
                waiting_for = step()
            except StopIteration as end:
                return end.value
            finally:
                self._moments.one()
            try:
                step = partial(self._work.send, (yield waiting_for))
            except GeneratorExit:
                self._work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to deal with
                step = partial(self._work.throw, error)


# ------------------------------------------------------------------------------ the stories


@asynccontextmanager
async def shop(
    kind: str, url: str, *, failing: bool = False, known: bool = True, asked_inside: bool = False
) -> AsyncGenerator[NotificationHandler]:
    """The handler of a process; ``failing``: its ``on_paid`` raises, after its statements.

    ``asked_inside``: its ``expected`` asks the database, in the transaction of the order.
    """

    async def on_paid(order: PaidOrder, connection: AsyncConnection) -> None:
        for part in PARTS:
            await take_effect(connection, order.out_trade_no + part)
        if failing:
            raise RuntimeError("the shop is out of order")

    def lookup(mch_id: str, number: str) -> ExpectedOrder | None:
        return expected(mch_id, number) if known else None

    async def lookup_inside(
        mch_id: str, number: str, connection: AsyncConnection
    ) -> ExpectedOrder | None:
        await connection.execute(select(effects.c.id).where(effects.c.number == number))
        return lookup(mch_id, number)

    engine = engine_for(kind, url)
    expects: Any = lookup_inside if asked_inside else lookup
    try:
        yield NotificationHandler(CREDENTIALS, SqlInbox(engine), on_paid, expected=expects)
    finally:
        await engine.dispose()


async def delivered(kind: str, url: str, number: str, **options: bool) -> bool:
    """One notification; whether it was acknowledged."""
    async with shop(kind, url, **options) as handler:
        return (await handler.handle(notification(number))).body == b"success"


async def delivered_to_owner(kind: str, url: str, number: str) -> bool:
    """The same inside ``async with``, where the work has an owner."""
    async with shop(kind, url) as handler, handler:
        return (await handler.handle(notification(number))).body == b"success"


async def settled(kind: str, url: str, number: str) -> bool:
    """A poller learns of the payment; whether it may forget the order."""
    paid = PaidOrder(
        mch_id=MCH_ID,
        out_trade_no=number,
        transaction_id=f"T{number}",
        payable=Fen(FEE),
        time_end=datetime.now(UTC),
        source=PaidSource.QUERY,
    )
    async with shop(kind, url) as handler:
        return await handler.settle(paid) in _DURABLE


async def known_now(kind: str, url: str, number: str) -> bool:
    """The shop commits the order, and what came before is taken up."""
    async with shop(kind, url) as handler:
        await handler.order_known(MCH_ID, number)
    return True


@attrs.frozen
class Story:
    """What the process does until it is killed, what went before, what is done about it."""

    killed: Callable[..., Done]
    before: Callable[..., Done] | None = None
    again: Callable[..., Done] = delivered
    succeeds: bool = True
    """Whether a process that lives to its end has done what it was for."""


STORIES: Mapping[str, Story] = {
    "delivery": Story(delivered),
    "delivery to an owner": Story(delivered_to_owner),
    "expected is asked inside": Story(partial(delivered, asked_inside=True)),
    "on_paid fails": Story(partial(delivered, failing=True), succeeds=False),
    "delivery after a failure": Story(delivered, before=partial(delivered, failing=True)),
    "known now": Story(known_now, before=partial(delivered, known=False)),
    "settle": Story(settled, again=settled),
}


# ------------------------------------------------------------------------------- processes


async def until(fatal: int, work: Callable[[], Done]) -> bool:
    """Does the work, unless it is killed at this moment."""
    asyncio.get_running_loop().set_task_factory(Moments(fatal).factory)
    return await asyncio.create_task(work())


async def found(engine: AsyncEngine, number: str) -> list[int]:
    """How often each part of the effect is there."""
    numbers = [number + part for part in PARTS]
    question = select(effects.c.number).where(effects.c.number.in_(numbers))
    async with engine.connect() as connection:
        counts = Counter((await connection.execute(question)).scalars())
    return [counts[one] for one in numbers]


async def afterwards(kind: str, url: str, number: str, story: Story) -> dict[str, Any]:
    """What the dead one left, whether the second try succeeds at once, and what is there then."""
    engine = engine_for(kind, url)
    before = await found(engine, number)
    again = await story.again(kind, url, number)
    after = await found(engine, number)
    await engine.dispose()
    return {"before": before, "again": again, "after": after}


def in_a_process(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What ``work`` returns; None where its process was killed. Forked: all is imported already."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(theirs, json.dumps(asyncio.run(work())).encode())
            os._exit(0)
        finally:
            os._exit(99)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        result = pipe.read()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a process ended with {ended}")
    return json.loads(result) if ended == 0 else None


def kill_everywhere(kind: str, url: str, name: str, first: int, step: int) -> dict[str, Any]:
    """Kill at every ``step``-th moment; what took effect before and after the second try."""
    story, fatal = STORIES[name], first
    half_way, problems = 0, list[str]()
    tag = "".join(word[0] for word in name.split())
    ended = None
    while ended is None:
        number = f"{tag}{fatal}"
        if story.before is not None:
            in_a_process(partial(story.before, kind, url, number))
        ended = in_a_process(partial(until, fatal, partial(story.killed, kind, url, number)))
        if ended not in (None, story.succeeds):
            problems.append(f"not killed, and ended with {ended}")
        seen = in_a_process(partial(afterwards, kind, url, number, story))
        took_effect = seen["before"] == [1, 1]
        half_way += ended is None and took_effect
        if not (took_effect or seen["before"] == [0, 0]):
            problems.append(f"killed at {fatal}: a part of the effect is there: {seen}")
        if not seen["again"] or seen["after"] != [1, 1]:
            problems.append(f"killed at {fatal}: {seen}")
        fatal += step
    return {
        "moments": (fatal - first) // step - 1,
        "done before the kill": half_way,
        "problems": problems,
    }


def main() -> None:
    kind, url, first, *words = sys.argv[1:]
    logging.getLogger("chaoying_async").setLevel(logging.CRITICAL)  # on_paid fails on purpose
    results = {
        name: kill_everywhere(kind, url, name, int(first), int(step))
        for name, step in zip(words[::2], words[1::2], strict=True)
    }
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main()
