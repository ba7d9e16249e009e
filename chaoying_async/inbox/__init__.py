"""What has been handled already: :mod:`.memory` for one process, :mod:`.sql`, :mod:`.redis`."""

from __future__ import annotations

from chaoying_async.inbox.memory import MemoryInbox

__all__ = ["MemoryInbox"]
