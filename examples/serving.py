"""For the demos: a web service on a free port of this machine, in the demo's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

PATIENCE = 30.0


def free_port(wanted: int = 0) -> tuple[socket.socket, str]:
    """A port, taken already, and its address: a shop has to know it before it is served."""
    bound = socket.create_server(("127.0.0.1", wanted))
    return bound, f"http://127.0.0.1:{bound.getsockname()[1]}"


@asynccontextmanager
async def served(app: Any, bound: socket.socket) -> AsyncIterator[None]:
    """Serve an ASGI app with its lifespan while the block runs."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    serving = asyncio.create_task(server.serve([bound]))
    try:
        await until(lambda: server.started or serving.done())
        if serving.done():
            raise RuntimeError("the shop did not start")
        yield
    finally:
        server.should_exit = True
        await serving
        bound.close()


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until it holds; TimeoutError after half a minute."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)
