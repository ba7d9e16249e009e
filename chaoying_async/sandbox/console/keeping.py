"""Messages on their way into the sandbox's file: soon, but not while a client waits.

Masking a message takes longer than answering it, and of a burst only the latest are kept anyway.
"""

from __future__ import annotations

from collections import deque

from chaoying_async.sandbox.chronicle import Chronicle
from chaoying_async.sandbox.console.journal import Entry
from chaoying_async.sandbox.runtime import Runtime

#: Seconds of the sandbox's clock until a message is written down.
SOON = 0.2


class Keeper:
    """Writes the last ``kept`` messages down, masked; a crash may lose those of the last moment."""

    def __init__(self, runtime: Runtime, chronicle: Chronicle, kept: int) -> None:
        self._runtime = runtime
        self._chronicle = chronicle
        self._kept = kept
        self._waiting: deque[Entry] = deque(maxlen=kept)

    def load(self) -> list[Entry]:
        """Those of earlier runs, oldest first."""
        return self._chronicle.load(Entry, self._kept)

    def add(self, entry: Entry) -> None:
        """One more."""
        if not self._waiting:
            self._runtime.spawn(self._write_soon())
        self._waiting.append(entry)

    def flush(self) -> None:
        """Write down what is still waiting."""
        credentials = self._runtime.gateway.world.credentials
        while self._waiting:
            self._chronicle.add(self._waiting.popleft().masked(credentials), self._kept)

    async def _write_soon(self) -> None:
        await self._runtime.clock.sleep(SOON)
        self.flush()
