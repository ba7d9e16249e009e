"""After a failover the old server lives on as a replica, and so do the connections to it."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import StoreError
from chaoying_async.exceptions import StoreTrouble
from chaoying_async.pollstore.sql import SqlPollStore
from tests.servers import Servers
from tests.sql_shop import DATABASES

#: How a session is made read-only: to a client it is as if its server had become a replica.
DEMOTED = {
    "psycopg": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "asyncpg": "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


async def demote(engine: AsyncEngine, how: str) -> int:
    """Make every connection read-only that the pool has; return how many there are."""
    async with AsyncExitStack() as stack:
        pool = engine.pool
        count: int = pool.checkedin()  # type: ignore[attr-defined]
        for _ in range(count):
            connection = await stack.enter_async_context(engine.connect())
            await connection.execute(text(how))
            await connection.commit()
        return count


@pytest.mark.parametrize("kind", DEMOTED)
async def test_a_connection_to_a_server_that_may_only_be_read_is_not_kept(
    servers: Servers, kind: str
) -> None:
    """The next one goes where the address leads by now; kept, it would fail until a restart."""
    url = DATABASES[kind](servers, ExitStack())
    engine = create_async_engine(url)
    async with SqlPollStore(engine, lease=60) as store:
        await store.put("kind", {"key": "before"})
        for _ in range(await demote(engine, DEMOTED[kind])):
            with pytest.raises(StoreError) as failed:
                await store.put("kind", {"key": "meanwhile"})
            assert failed.value.kind is StoreTrouble.READ_ONLY
        await store.put("kind", {"key": "after"})
        assert await store.get("kind", "key") == "after"
    await engine.dispose()
