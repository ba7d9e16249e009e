"""A database that stands still keeps no thread of a WSGI server for longer than the budget."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from werkzeug.test import Client

from chaoying_async import NotificationHandler
from chaoying_async.web.background import BackgroundHandler
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
from tests.stopped import standstill
from tests.web import apps

APPS = {"flask": apps.flask, "django": apps.django_wsgi}


@pytest.mark.parametrize("name", APPS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_out_in_time_and_the_next_delivery_finds_all_well(
    servers: Servers, kind: str, name: str
) -> None:
    """M-14, M-17: `fail` within the budget; the effect is there once when the database goes on."""
    url = asyncio.run(fresh_shop(kind, servers))
    shop: list[Hanging] = []

    @contextlib.asynccontextmanager
    async def opened() -> AsyncGenerator[NotificationHandler]:
        engine = create_async_engine(url)
        shop.append(Hanging(engine, still))
        try:
            async with shop[0].handler() as handler:
                yield handler
        finally:
            await engine.dispose()

    with standstill(server_of(kind, servers)) as still, _serving(opened, name) as client:
        assert _post(client, "WARM") == b"success"
        shop[0].hang("lock")
        began = time.monotonic()
        assert _post(client, NUMBER) == b"fail"
        assert time.monotonic() - began < IN_TIME
        still.end()
    asyncio.run(redelivered(url))
    assert asyncio.run(effects_at(url, NUMBER)) == 1


@contextlib.contextmanager
def _serving(opened: Any, name: str) -> Iterator[Client]:
    with BackgroundHandler(opened) as background:
        yield Client(APPS[name](background))


def _post(client: Client, number: str) -> bytes:
    body = notification(number)
    answer = client.post(
        apps.PATHS[0],
        data=body,
        headers={"Content-Type": "application/x-www-form-urlencoded", "Host": "127.0.0.1"},
    )
    return answer.get_data()
