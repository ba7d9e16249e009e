"""An inbox at an address, for those who have no client of their own: the command line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.redis.inbox import RedisInbox
from chaoying_async.sansio.redact import is_certain

_NO_ADDRESS = (
    "this is no address: write redis://HOST:PORT/NUMBER or redis://USER:PASSWORD@HOST:PORT/NUMBER, "
    "with what is special in the password escaped (@ is %40, : is %3A, / is %2F)"
)

_NO_OPTION = "redis-py does not know one of the options after the address's question mark"


@asynccontextmanager
async def redis_inbox_at(url: str, *, prefix: str = "chaoying:") -> AsyncGenerator[RedisInbox]:
    """Connect to the server at a ``redis://`` URL, and close the connections with the block.

    :class:`~chaoying_async.exceptions.UsageError` for an address that can be read in two ways: a
    part of its password would become the name of a server.
    """
    if not is_certain(url):
        raise UsageError(_NO_ADDRESS)
    scheme, _, rest = url.partition("://")
    client = _client(f"{scheme.lower()}://{rest}")
    if client is None:  # raised here, since an error of redis-py's has the options in its frames
        raise UsageError(_NO_OPTION)
    try:
        yield RedisInbox(client, prefix=prefix)
    finally:
        await client.aclose()


def _client(url: str) -> Redis | None:
    """None where an option of the address is wrong, which a connection's making shows."""
    try:
        client: Redis = Redis.from_url(url)
        pool: Any = client.connection_pool
        pool.make_connection()
    except (TypeError, ValueError):
        return None
    return client
