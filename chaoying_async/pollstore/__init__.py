"""Where pollers and checkouts keep what they wait for.

- ``errands``: what a store does in the background, such as forgetting an outcome that is done.
- ``failures``: what is wrong with a store, told from whatever its database raised.
- ``guarded``: a store as the engines use it: whatever it raises becomes a ``StoreError``.
- ``memory``: a store that lives as long as its process, for tests.
- ``sql``: a store in a database.
"""

from __future__ import annotations

from chaoying_async.pollstore.memory import MemoryPollStore

__all__ = ["MemoryPollStore"]
