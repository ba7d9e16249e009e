"""Processes of a shop with one inbox: handlers that are hammered, and handlers that are killed.

python -m tests.hard.inbox_workers hammer KIND URL ORDERS REPEATS SEED
python -m tests.hard.inbox_workers kill KIND URL FIRST STEP
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import ExpectedOrder, Fen, NotificationHandler, PaidOrder
from chaoying_async.abc import Inbox
from chaoying_async.inbox.redis import RedisInbox
from chaoying_async.inbox.sql import SqlInbox
from chaoying_async.testing import sign_notification
from tests.factories import CREDENTIALS, MCH_ID
from tests.sql_shop import effects, take_effect

FEE = 100
#: One process at a time, on one machine: what did not get through by then is stuck.
PATIENCE = 240.0

Handle = Callable[[str], Awaitable[bytes]]


def notification(number: str) -> bytes:
    return sign_notification(
        CREDENTIALS,
        mch_id=MCH_ID,
        out_trade_no=number,
        transaction_id=f"T{number}",
        total_fee=FEE,
        time_end=datetime.now(UTC),
    )


def expected(mch_id: str, out_trade_no: str) -> ExpectedOrder:
    return ExpectedOrder(total_fee=Fen(FEE), mch_id=MCH_ID)


def engine_for(kind: str, url: str) -> AsyncEngine:
    options: dict[str, Any] = {"connect_args": {"timeout": 30}} if kind == "sqlite" else {}
    return create_async_engine(url, **options)


@asynccontextmanager
async def sql_handler(kind: str, url: str) -> AsyncGenerator[NotificationHandler]:
    async def on_paid(order: PaidOrder, connection: Any) -> None:
        await take_effect(connection, order.out_trade_no)

    engine = engine_for(kind, url)
    try:
        yield handler_on(SqlInbox(engine), on_paid)
    finally:
        await engine.dispose()


@asynccontextmanager
async def redis_handler(url: str) -> AsyncGenerator[NotificationHandler]:
    """Its effects are counted in Redis too, and whether two ever ran at a time."""
    async with Redis.from_url(url) as client:
        counters: Any = client

        async def on_paid(order: PaidOrder) -> None:
            number = order.out_trade_no
            if await counters.incr(f"running:{number}") > 1:
                await counters.incr("two at a time")
            await counters.hincrby("effects", number, 1)
            await asyncio.sleep(0.002)
            await counters.decr(f"running:{number}")

        yield handler_on(RedisInbox(client), on_paid)


def handler_on(inbox: Inbox, on_paid: Any) -> NotificationHandler:
    return NotificationHandler(CREDENTIALS, inbox, on_paid, expected=expected)


# ------------------------------------------------------------------------------- hammering


async def hammer(kind: str, url: str, orders: int, repeats: int, seed: int) -> dict[str, Any]:
    """Post every order's notification ``repeats`` times, shuffled, until each was acknowledged."""
    rng = random.Random(seed)
    todo = [f"H{n}" for n in range(orders)] * repeats
    rng.shuffle(todo)
    posted = refused = 0
    async with redis_handler(url) if kind == "redis" else sql_handler(kind, url) as handler:
        async with handler, asyncio.timeout(PATIENCE):
            while todo:
                round_, todo = todo, []

                async def post(numbers: list[str], again: list[str]) -> None:
                    while numbers:
                        number = numbers.pop()
                        if (await handler.handle(notification(number))).body != b"success":
                            again.append(number)

                posted += len(round_)
                await asyncio.gather(*(post(round_, todo) for _ in range(8)))
                refused += len(todo)
                rng.shuffle(todo)
        stats = handler.stats()
    decisions = {str(name): count for name, count in stats.decisions.items()}
    return {"posted": posted, "refused": refused, "failed": stats.failed, "decisions": decisions}


# --------------------------------------------------------------------------------- killing


class Steps:
    """Counts what happens in this process, and kills it at one of these moments."""

    def __init__(self, fatal: int) -> None:
        self._fatal = fatal
        self.count = 0

    def one(self) -> None:
        self.count += 1
        if self.count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def factory(
        self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(_Counted(coro, self), loop=loop, **options)


class _Counted(Coroutine[Any, Any, Any]):
    """A coroutine that is counted before and after every step: at each await of each task.

    Before a step: what was waited for has happened. After it: the next thing was sent off (to a
    database, to a thread), and nobody is there any more to hear how it ended.
    """

    def __init__(self, inner: Coroutine[Any, Any, Any], steps: Steps) -> None:
        self._inner, self._steps = inner, steps

    def send(self, value: Any) -> Any:
        self._steps.one()
        sent = self._inner.send(value)
        self._steps.one()
        return sent

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


async def handle_once(kind: str, url: str, number: str, fatal: int) -> int:
    """One notification, one process; the exit status says whether it was acknowledged."""
    body = notification(number)
    async with sql_handler(kind, url) as handler:
        asyncio.get_running_loop().set_task_factory(Steps(fatal).factory)
        answer = await asyncio.create_task(handler.handle(body))
        asyncio.get_running_loop().set_task_factory(None)
    return 0 if answer.body == b"success" else 1


async def time_goes_by(kind: str, url: str, number: str) -> None:
    """The dead one's lease ends."""
    engine = engine_for(kind, url)
    statement = text("UPDATE chaoying_orders SET held_until = 0 WHERE out_trade_no = :number")
    async with engine.begin() as connection:
        await connection.execute(statement, {"number": number})
    await engine.dispose()


async def count(kind: str, url: str, number: str) -> int:
    engine = engine_for(kind, url)
    question = select(func.count()).select_from(effects).where(effects.c.number == number)
    async with engine.connect() as connection:
        found = (await connection.execute(question)).scalar_one()
    await engine.dispose()
    return int(found)


def in_a_process(work: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Its exit status; negative: the signal that killed it. Forked: all is imported already."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(asyncio.run(work()))
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_everywhere(kind: str, url: str, first: int, step: int) -> dict[str, Any]:
    """Kill at every ``step``-th moment; what took effect before and after the redelivery."""
    moments, half_way, problems = 0, 0, []
    fatal = first
    while True:
        number = f"K{fatal}"
        ended = in_a_process(lambda: handle_once(kind, url, number, fatal))  # noqa: B023 - at once
        if ended != -signal.SIGKILL:
            if ended != 0 or asyncio.run(count(kind, url, number)) != 1:
                problems.append(f"not killed, and ended with {ended}")
            break
        moments += 1
        asyncio.run(time_goes_by(kind, url, number))
        half_way += asyncio.run(count(kind, url, number))
        again = in_a_process(lambda: handle_once(kind, url, number, 0))  # noqa: B023 - at once
        found = asyncio.run(count(kind, url, number))
        if again != 0 or found != 1:
            problems.append(f"killed at {fatal}: redelivered with {again}, {found} effects")
        fatal += step
    return {"moments": moments, "done before the kill": half_way, "problems": problems}


def main() -> None:
    what, kind, url, *numbers = sys.argv[1:]
    options = [int(number) for number in numbers]
    if what == "hammer":
        result = asyncio.run(hammer(kind, url, *options))
    else:
        result = kill_everywhere(kind, url, *options)
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
