"""Where what is being waited for is kept: :mod:`.memory` for tests, :mod:`.sql` for the rest."""

from __future__ import annotations

from chaoying_async.pollstore.memory import MemoryPollStore

__all__ = ["MemoryPollStore"]
