"""Fixtures of the inboxes' tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.inbox.benches import KEPT_INBOXES, OWN_INBOXES
from tests.inbox.inboxes import INBOXES, Bench
from tests.servers import Servers
from tests.sql_shop import DATABASES, SqlShop, sql_shop

_KEPT = {**KEPT_INBOXES, **OWN_INBOXES}


@pytest_asyncio.fixture(params=[*INBOXES, *_KEPT])
async def bench(request: pytest.FixtureRequest, servers: Servers) -> AsyncGenerator[Bench]:
    kind = request.param
    async with INBOXES[kind]() if kind in INBOXES else _KEPT[kind](servers) as made:
        yield made


@pytest_asyncio.fixture(params=DATABASES)
async def shop(request: pytest.FixtureRequest, servers: Servers) -> AsyncGenerator[SqlShop]:
    async with sql_shop(request.param, servers) as made:
        yield made
