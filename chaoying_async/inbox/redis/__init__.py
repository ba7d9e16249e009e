"""An inbox in Redis: shared by many processes, fast, and without a transaction for ``on_paid``."""

from __future__ import annotations

from chaoying_async.inbox.redis.inbox import RedisInbox

__all__ = ["RedisInbox"]
