"""An inbox in Redis: each paid order takes effect at least once.

- ``hashes``: turns Redis hashes into records and messages and back, and names keys.
- ``inbox``: the inbox itself.
- ``scripts``: the Lua scripts, each of which looks and acts in one step.
"""

from __future__ import annotations

from chaoying_async.inbox.redis.inbox import RedisInbox

__all__ = ["RedisInbox"]
