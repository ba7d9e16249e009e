"""What has been handled already, as ``NotificationHandler`` remembers it.

- ``memory``: an inbox that lives as long as its process.
- ``redis``: an inbox in Redis: at least once.
- ``sql``: an inbox in a SQL database: exactly once.
"""

from __future__ import annotations

from chaoying_async.inbox.memory import MemoryInbox

__all__ = ["MemoryInbox"]
