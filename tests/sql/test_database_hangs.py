"""A database that stands still keeps no answer waiting, and loses nothing (M-14, M-16, M-17)."""

from __future__ import annotations

import asyncio
import time

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from chaoying_async.sansio.notifications.decide import NotificationAnswer
from tests.hanging import (
    IN_TIME,
    KINDS,
    NUMBER,
    Hanging,
    effects_at,
    fresh_shop,
    redelivered,
    server_of,
)
from tests.hard.inbox_workers import notification
from tests.servers import Servers
from tests.sizes import cases
from tests.sql_shop import sql_shop
from tests.stopped import standstill


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", ["lock", "on_paid", "save", "commit"])
async def test_an_open_handler_answers_in_time(servers: Servers, kind: str, at: str) -> None:
    """M-17: the answer does not wait for the database; the work goes on when that does."""
    with standstill(server_of(kind, servers)) as still:
        async with sql_shop(kind, servers) as shop:
            hanging = Hanging(shop.engine, still)
            async with hanging.handler() as handler:
                began = time.monotonic()
                answer = await hanging.order(handler, at)
                took = time.monotonic() - began
                still.end()
            assert answer.body == b"fail"
            assert took < IN_TIME
            await redelivered(shop.url)
            assert await shop.effects(NUMBER) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", cases(["lock", "save", "commit"], more=["connect"]))
def test_a_loop_of_its_own_for_each_notification_ends_in_time(
    servers: Servers, kind: str, at: str
) -> None:
    """M-17: asyncio.run waits for the tasks that are cancelled: that does not take long either.

    An on_paid that waits is another matter: it is waited for where nobody owns it.
    """
    url = asyncio.run(fresh_shop(kind, servers))

    async def once() -> NotificationAnswer:
        hanging = Hanging(create_async_engine(url), still)
        if at == "connect":
            still.begin()
            return await hanging.handler().handle(notification(NUMBER))
        return await hanging.order(hanging.handler(), at)

    with standstill(server_of(kind, servers)) as still:
        began = time.monotonic()
        answer = asyncio.run(once())
        took = time.monotonic() - began
    assert answer.body == b"fail"
    assert took < IN_TIME
    asyncio.run(redelivered(url))
    assert asyncio.run(effects_at(url, NUMBER)) == 1
