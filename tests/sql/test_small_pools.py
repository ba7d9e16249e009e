"""Forty notifications at once on a pool of five: nobody waits for ever, all are answered.

``FULL=1``: two hundred, and all pairs of a crowd and a lookup on each database.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import AsyncAdaptedQueuePool, select

from chaoying_async.sansio.notifications.case import ExpectedOrder
from chaoying_async.sansio.notifications.decide import NotificationAnswer
from tests.servers import Servers
from tests.shop import SUCCESS
from tests.sizes import FULL, cases
from tests.sql.shops import delivery, expected, handler_of
from tests.sql_shop import DATABASES, SqlShop, effects, sql_shop

#: Eight times what the pool has; ``FULL=1``: forty times.
AT_ONCE, BUDGET = 200 if FULL else 40, 2.0
#: Seconds beyond the budget that an answer may take where other programs want the processor too.
#: One that waited for a second connection would take the pool's thirty.
SLACK = 20.0
#: What failed is delivered again a few at a time, as a gateway spreads its repeats. On a busy
#: machine all of them at once would be cut off by the budget in every round.
A_FEW = 5
#: Seconds until each has taken effect: 3 on an idle machine, many more on a busy one.
LIMIT = 240
POOL: dict[str, Any] = {
    "poolclass": AsyncAdaptedQueuePool,
    "pool_size": 5,
    "max_overflow": 0,
    "pool_timeout": 30,
}


def _known(number: str) -> bool:
    return not number.startswith("unknown")


def _asking_the_engine(shop: SqlShop) -> Any:
    """A lookup with a connection of its own, out of the same pool."""

    async def lookup(mch_id: str, number: str) -> ExpectedOrder | None:
        async with shop.engine.connect() as connection:
            await connection.execute(select(effects).where(effects.c.number == number))
        return await expected(mch_id, number) if _known(number) else None

    return lookup


def _asking_inside(_shop: SqlShop) -> Any:
    async def lookup(mch_id: str, number: str, connection: Any) -> ExpectedOrder | None:
        await connection.execute(select(effects).where(effects.c.number == number))
        return await expected(mch_id, number) if _known(number) else None

    return lookup


LOOKUPS: dict[str, Callable[[SqlShop], Any]] = {
    "asked before": _asking_the_engine,
    "asked inside": _asking_inside,
}
#: Which orders they are about.
CROWDS: dict[str, Sequence[str]] = {
    "distinct": [f"D{n}" for n in range(AT_ONCE)],
    "one order": ["O1"] * AT_ONCE,
    "half unknown": [f"{('unknown', 'K')[n % 2]}{n}" for n in range(AT_ONCE)],
    "a few each": [f"F{n % (AT_ONCE // 5)}" for n in range(AT_ONCE)],
}
ALL = [
    (kind, level, crowd, lookup)
    for kind in DATABASES
    for level in (None, "SERIALIZABLE")
    for crowd in CROWDS
    for lookup in LOOKUPS
]
SAMPLE: list[tuple[str, str | None, str, str]] = [
    *(
        (kind, None, crowd, lookup)
        for kind in ("sqlite", "asyncpg", "mariadb")
        for crowd, lookup in (
            ("distinct", "asked before"),
            ("one order", "asked before"),
            ("half unknown", "asked inside"),
        )
    ),
    ("asyncpg", "SERIALIZABLE", "distinct", "asked before"),
    ("mariadb", "SERIALIZABLE", "a few each", "asked inside"),
]


@pytest.mark.timeout(LIMIT + 60)
@pytest.mark.parametrize(
    ("kind", "level", "crowd", "lookup"),
    cases(SAMPLE, more=[one for one in ALL if one not in SAMPLE]),
)
async def test_all_are_answered_in_time_and_each_takes_effect_once(
    servers: Servers, kind: str, level: str | None, crowd: str, lookup: str
) -> None:
    """M-16: no delivery holds one connection while it waits for a second one."""
    options: dict[str, Any] = {} if level is None else {"isolation_level": level}
    async with sql_shop(kind, servers, **POOL, **options) as shop:
        handler = handler_of(shop, expected=LOOKUPS[lookup](shop), budget=BUDGET)
        took: list[float] = []

        async def answered(number: str) -> NotificationAnswer:
            began = time.monotonic()
            answer = await handler.handle(delivery(number))
            took.append(time.monotonic() - began)
            return answer

        async def failed(numbers: Sequence[str]) -> list[str]:
            """Deliver all of these at once: which of them are to be delivered again."""
            answers = await asyncio.gather(*map(answered, numbers))
            return [
                number
                for number, answer in zip(numbers, answers, strict=True)
                if answer.body != SUCCESS and _known(number)
            ]

        rounds, until = 1, time.monotonic() + LIMIT
        async with handler:
            todo = await failed(CROWDS[crowd])
            while todo and time.monotonic() < until:
                rounds += 1
                few = [todo[at : at + A_FEW] for at in range(0, len(todo), A_FEW)]
                todo = [number for numbers in few for number in await failed(numbers)]
        tale = f"{rounds} rounds, {len(took)} answers, the slowest after {max(took):.2f} s"
        assert not todo, f"{len(todo)} have taken no effect in {LIMIT} s: {tale}"
        assert max(took) <= BUDGET + SLACK, tale
        pool: Any = shop.engine.pool
        assert pool.checkedout() == 0, tale
        async with shop.engine.connect() as connection:
            numbers = (await connection.execute(select(effects.c.number))).scalars()
        known = {number for number in CROWDS[crowd] if _known(number)}
        assert Counter(numbers) == dict.fromkeys(known, 1), tale
        # At SERIALIZABLE the database may undo an order until its budget is spent: it comes again.
        assert level is not None or handler.stats().failed == 0, tale
