"""What has been handled already, as ``NotificationHandler`` remembers it.

- ``leases``: the lock of the inboxes that have none of their own, as a claim with a lease.
- ``memory``: an inbox that lives as long as its process.
- ``readable``: reads many records, oldest first, of which some cannot be read.
- ``redis``: an inbox in Redis: at least once.
- ``sql``: an inbox in a SQL database: exactly once.
"""

from __future__ import annotations

from chaoying_async.inbox.memory import MemoryInbox

__all__ = ["MemoryInbox"]
