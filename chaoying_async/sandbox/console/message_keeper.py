"""Messages on their way into the sandbox's file: soon, but not while a client waits.

Masking a message takes longer than answering it, and of a burst only the latest are kept anyway.
Large ones, a stranger's of 64 kB, take up to a third of a second: those are masked in a thread.
"""

from __future__ import annotations

import asyncio
from collections import deque

from chaoying_async.sandbox.console.journal import JournalEntry
from chaoying_async.sandbox.serving.runtime import Runtime
from chaoying_async.sandbox.serving.sandbox_file import Chronicle

#: Seconds of the sandbox's clock until a message is written down.
SOON = 0.2
#: Bytes of a message and its answer that a shop's hardly have.
_LARGE = 4096
#: So many are still written down when it ends; more only wait in a flood.
_AT_THE_END = 50


class MessageKeeper:
    """Writes the last ``kept`` messages down, masked; a crash may lose those of the last moment."""

    def __init__(self, runtime: Runtime, chronicle: Chronicle, kept: int) -> None:
        self._runtime = runtime
        self._chronicle = chronicle
        self._kept = kept
        self._credentials = runtime.gateway.world.credentials
        self._waiting: deque[JournalEntry] = deque(maxlen=kept)

    def load(self) -> list[JournalEntry]:
        """Those of earlier runs, oldest first."""
        return self._chronicle.load(JournalEntry, self._kept)

    def add(self, entry: JournalEntry) -> None:
        """One more."""
        if not self._waiting:
            self._runtime.spawn(self._write_soon())
        self._waiting.append(entry)

    def flush(self) -> None:
        """Write down what is still waiting."""
        for entry in list(self._waiting)[-_AT_THE_END:]:
            self._chronicle.add(entry.masked(self._credentials), self._kept)
        self._waiting.clear()

    async def _write_soon(self) -> None:
        await self._runtime.clock.sleep(SOON)
        while self._waiting:
            entry = self._waiting[0]
            if _size(entry) > _LARGE:
                masked = await asyncio.to_thread(entry.masked, self._credentials)
            else:
                masked = entry.masked(self._credentials)
                await self._runtime.clock.sleep(0)  # others come first
            if self._waiting and self._waiting[0] is entry:  # else it was pushed out meanwhile
                self._waiting.popleft()
                self._chronicle.add(masked, self._kept)


def _size(entry: JournalEntry) -> int:
    request = entry.request
    return len(request.path) + len(request.parameters) + len(entry.response.body)
