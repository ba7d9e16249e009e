"""Serves an example's app on a socket that is handed down, and dies where a test wants it to.

    python -m tests.examples.runner APP DESCRIPTOR TRAP

Where the file TRAP exists, the process kills itself (SIGKILL) when ``on_paid`` has done its work
and nothing is committed yet. The examples know nothing of this.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn

from chaoying_async.inbox.sql import SqlInbox


def _die_if_told(trap: Path) -> None:
    if trap.exists():
        trap.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _set(trap: Path) -> None:
    lock = SqlInbox.lock

    @asynccontextmanager
    async def watched(self: SqlInbox, *order: Any) -> AsyncIterator[Any]:
        async with lock(self, *order) as locked:
            yield locked
            _die_if_told(trap)  # before the COMMIT

    inbox: Any = SqlInbox
    inbox.lock = watched


if __name__ == "__main__":
    app, descriptor, trap_file = sys.argv[1:]
    _set(Path(trap_file))
    uvicorn.run(app, factory="create" in app, fd=int(descriptor), log_level="warning")
