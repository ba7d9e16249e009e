"""An inbox at an address, for those who have no client of their own: the command line."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from chaoying_async.inbox.redis.inbox import RedisInbox


@asynccontextmanager
async def redis_inbox_at(url: str, *, prefix: str = "chaoying:") -> AsyncGenerator[RedisInbox]:
    """Connect to the server at a ``redis://`` URL, and close the connections with the block."""
    client = Redis.from_url(url)
    try:
        yield RedisInbox(client, prefix=prefix)
    finally:
        await client.aclose()
