"""A sandbox in a process of its own, spoken to over real HTTP."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import httpx

from chaoying_async.sansio.credentials import Credentials


@attrs.frozen(kw_only=True)
class RemoteSandbox:
    """Where it listens, and who may speak to it."""

    url: str
    credentials: Credentials
    mch_id: str
    _client: httpx.AsyncClient = attrs.field(alias="client", repr=False)

    async def wish(self, what: str, **wish: Any) -> dict[str, Any]:
        """Ask for something to happen; what, and how it is worded: ``control_api``."""
        reply = await self._client.post(
            f"{self.url}/_sandbox/{what}", json=wish, headers={"X-Sandbox": "1"}
        )
        reply.raise_for_status()
        found: dict[str, Any] = reply.json()
        return found

    async def books(self) -> dict[str, Any]:
        """Its own books as they stand now: totals, orders, refunds, counts."""
        reply = await self._client.get(f"{self.url}/_sandbox/books")
        reply.raise_for_status()
        found: dict[str, Any] = reply.json()
        return found


@asynccontextmanager
async def separate_sandbox(*, speed: float = 1.0) -> AsyncGenerator[RemoteSandbox]:
    """Start one, wait until it is ready, and end it with the block."""
    process = await asyncio.create_subprocess_exec(
        *_this_program(),
        *("sandbox", "--json", "--speed", str(speed)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        told = json.loads(await _first_line(process))
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            yield RemoteSandbox(
                url=told["url"],
                credentials=Credentials(
                    agent_id=told["agent_id"], key=told["key"], pid=told["pid"]
                ),
                mch_id=told["mch_id"],
                client=client,
            )
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _this_program() -> list[str]:
    """The command line, as a process of its own: it may be frozen, or lie in a zip archive."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    # Not `-m`, which looks on Python's own path alone.
    start = f"import sys; sys.path[:] = {sys.path}; from chaoying_async.cli import main"
    return [sys.executable, "-c", f"{start}; sys.exit(main())"]


async def _first_line(process: asyncio.subprocess.Process) -> bytes:
    if process.stdout is None:
        raise RuntimeError("the sandbox was started without a pipe")
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError(f"the sandbox ended at once, with status {await process.wait()}")
    return line
