"""The examples as a customer, the gateway and the power company see them: from outside."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE = 40.0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await asyncio.sleep(0.05)


def environment(folder: Path, **more: str) -> dict[str, str]:
    """What an example runs in: nothing of this machine's settings, and modules from the tree."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHAOYING_")}
    path = os.pathsep.join([str(ROOT), str(EXAMPLES), kept.get("PYTHONPATH", "")])
    return {**kept, "PYTHONPATH": path, "PYTHONUTF8": "1", "TMPDIR": str(folder), **more}


def told(sandbox: Sandbox, url: str = "") -> dict[str, str]:
    """What ``chaoying sandbox`` says should be exported."""
    credentials = sandbox.credentials
    return {
        "CHAOYING_URL": url,
        "CHAOYING_AGENT_ID": credentials.agent_id,
        "CHAOYING_KEY": credentials.key,
        "CHAOYING_PID": credentials.pid,
        "CHAOYING_MCH_ID": sandbox.mch_id,
    }


@asynccontextmanager
async def running(
    *command: str, folder: Path, settings: Mapping[str, str], **options: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process in ``folder``; killed when the block is left and it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", *command), cwd=folder, env=settings, **options
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@attrs.frozen(kw_only=True)
class Kind:
    """One of the web examples."""

    app: str
    #: How its customers order.
    wish: Mapping[str, Any]
    #: How often an order was shipped.
    shipped: str
    #: What has to be run before it is served the first time.
    migrate: tuple[str, ...] = ()


KINDS = {
    "fastapi": Kind(
        app="fastapi_shop.app:create_app",
        wish={"json": {"item": "coffee"}},
        shipped="SELECT count(*) FROM shipments WHERE out_trade_no = :number",
    ),
    "django": Kind(
        app="django_shop.asgi:application",
        wish={"data": {"item": "coffee"}},
        shipped="SELECT shipments FROM shop_order WHERE out_trade_no = :number",
        migrate=("-m", "django", "migrate", "--verbosity", "0"),
    ),
}


@attrs.frozen(kw_only=True)
class ExampleShop:
    """An example that is served in processes of its own, one after the other on one port."""

    kind: Kind
    folder: Path
    sandbox: Sandbox
    customer: httpx.AsyncClient
    engine: AsyncEngine
    bound: socket.socket
    settings: Mapping[str, str]

    @property
    def trap(self) -> Path:
        return self.folder / "trap"

    @asynccontextmanager
    async def served(self) -> AsyncIterator[asyncio.subprocess.Process]:
        descriptor = self.bound.fileno()
        command = ("-m", "tests.examples.runner", self.kind.app, str(descriptor), str(self.trap))
        async with running(
            *command, folder=self.folder, settings=self.settings, pass_fds=[descriptor]
        ) as process:
            yield process

    async def order(self) -> str:
        made = await self.customer.post("/orders", **self.kind.wish)
        assert made.status_code == 201, made.text
        assert made.json()["code_url"]
        return str(made.json()["out_trade_no"])

    async def status(self, number: str) -> str:
        return str((await self.customer.get(f"/orders/{number}")).json()["status"])

    async def post(self, body: bytes) -> str:
        return (await self.customer.post("/notify", content=body)).text

    async def shipped(self, number: str) -> int:
        return int(await self.sql(self.kind.shipped, number=number))

    async def sql(self, statement: str, **values: Any) -> Any:
        """The first value of the first row, where there is one."""
        async with self.engine.begin() as connection:
            result = await connection.execute(text(statement), values)
            return result.scalar_one_or_none() if result.returns_rows else None

    async def notified(self, number: str) -> bytes:
        """What the gateway has posted about this order, answered or not."""

        async def came() -> bool:
            return any(each.out_trade_no == number for each in self.sandbox.deliveries)

        await until(came)
        return next(e.body for e in self.sandbox.deliveries if e.out_trade_no == number)


@asynccontextmanager
async def open_example(
    name: str, folder: Path, database_url: str, sandbox: Sandbox
) -> AsyncIterator[ExampleShop]:
    """A gateway over real HTTP, a database, and a port for the shop; not served yet."""
    kind = KINDS[name]
    engine = create_async_engine(database_url)
    with socket.create_server(("127.0.0.1", 0)) as bound:
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        async with (
            sandbox,
            sandbox.serve() as gateway_url,
            httpx.AsyncClient(base_url=address, timeout=PATIENCE, trust_env=False) as customer,
        ):
            settings = environment(
                folder,
                **told(sandbox, gateway_url),
                DATABASE_URL=database_url,
                DJANGO_SETTINGS_MODULE="django_shop.settings",
                SHOP_URL=address,
            )
            if kind.migrate:
                async with running(*kind.migrate, folder=folder, settings=settings) as migrating:
                    assert await migrating.wait() == 0
            yield ExampleShop(
                kind=kind,
                folder=folder,
                sandbox=sandbox,
                customer=customer,
                engine=engine,
                bound=bound,
                settings=settings,
            )
    await engine.dispose()
