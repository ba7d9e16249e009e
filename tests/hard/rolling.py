"""What replaces a shop's processes while orders come in, and holds its books against the gateway's.

A generation is what one ``uvicorn --workers 4`` starts, or two commands ``arq``. The sandbox is in
this process, as are the customers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
from sqlalchemy import Executable, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import Fen, GatewaySession, SystemClock, TradeType, WechatPreOrder
from chaoying_async.sandbox import Sandbox
from chaoying_async.workers import fleet_metadata
from tests.examples.shops import environment, told
from tests.hard.rolling_shop import FEE, done, effects, metadata, orders

ROOT = Path(__file__).parents[2]
#: Seconds between two orders, and until anything that is waited for has to have happened.
PACE, PATIENCE = 0.15, 100.0
#: What a log has to say so that something went wrong.
TROUBLE = re.compile(r"ERROR|CRITICAL|Traceback|Exception")
#: What it may not say even while the database is away.
LEFT_ALONE = re.compile(r"never retrieved|never awaited")

_fleet = fleet_metadata().tables
_rows = _fleet["chaoying_fleet"]
_workers = _fleet["chaoying_fleet_workers"]

Customer = Callable[["World", str], Awaitable[None]]


@attrs.frozen(kw_only=True)
class Program:
    """A program that runs the shop in several processes, each of which serves the fleet."""

    #: One command of a generation; ``{fd}`` is the socket that all generations listen on, and
    #: ``{count}`` how many processes it makes.
    command: tuple[str, ...]
    #: How many processes of the fleet a generation has, by how many commands.
    processes: int
    commands: int = 1
    #: How a customer's order gets to it.
    order: Customer
    #: Whether it needs Redis.
    redis: bool = False
    #: More folders of modules.
    folders: Callable[[], tuple[Path, ...]] = tuple


@attrs.define
class Generation:
    """The processes of one deployment."""

    processes: list[asyncio.subprocess.Process]
    log: Path
    #: From here on its log may tell of trouble.
    excused: int | None = None

    async def stop(self) -> list[int]:
        """SIGTERM, and how each ended."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            return [await process.wait() for process in self.processes]

    async def kill(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    def trouble(self) -> list[str]:
        said = self.log.read_text("utf-8")
        return [
            *(line for line in said[: self.excused].splitlines() if TROUBLE.search(line)),
            *(line for line in said.splitlines() if LEFT_ALONE.search(line)),
        ]


@attrs.define(kw_only=True)
class World:
    """A gateway, a database, customers, and the generations of one program."""

    program: Program
    folder: Path
    settings: Mapping[str, str]
    sandbox: Sandbox
    session: GatewaySession
    engine: AsyncEngine
    bound: socket.socket
    customer: httpx.AsyncClient
    redis_url: str
    generations: list[Generation] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    #: Orders of which the shop has said that it has them.
    taken: set[str] = attrs.field(factory=set)
    #: While the database is away a shop may say 5xx.
    excused: bool = False

    async def start(self) -> Generation:
        """Another generation beside those that run; returns when each of its processes serves."""
        before = await self.serving()
        log = self.folder / f"log{len(self.generations)}"
        descriptor = self.bound.fileno()
        generation = Generation([], log)
        self.generations.append(generation)
        command = [
            part.format(fd=descriptor, count=self.program.processes)
            for part in self.program.command
        ]
        for _ in range(self.program.commands):
            with log.open("ab") as said:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, *command),
                    cwd=ROOT,
                    env=self.settings,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    pass_fds=[descriptor],
                    start_new_session=True,
                )
            generation.processes.append(process)
        await self.until_serving(before + self.program.processes)
        return generation

    async def until_serving(self, count: int) -> None:
        await until(lambda: self._serves(count), self.said)

    async def _serves(self, count: int) -> bool:
        return await self.serving() == count

    def said(self) -> str:
        return "\n".join(each.log.read_text("utf-8")[-2000:] for each in self.generations)

    async def serving(self) -> int:
        """How many processes the fleet has."""
        return len(await self.names())

    async def names(self) -> set[str]:
        """Those of the processes that the fleet has; each has its process's number in it."""
        async with self.engine.connect() as connection:
            found = await connection.execute(select(_workers.c.name).where(_workers.c.name != ""))
            return set(found.scalars())

    def excuse(self) -> None:
        """From now on customers may be refused, and the processes that run may complain."""
        self.excused = True
        for generation in self.generations:
            generation.excused = len(generation.log.read_text("utf-8"))

    async def value(self, question: Executable) -> Any:
        async with self.engine.connect() as connection:
            return (await connection.execute(question)).scalar_one()

    async def sell(self, number: str) -> None:
        """An order that the shop takes and its customer pays."""
        order = WechatPreOrder(
            out_trade_no=number,
            body="coffee",
            total_fee=Fen(FEE),
            trade_type=TradeType.NATIVE,
            product_id="1",
            notify_url="https://shop.example/notify",
        )
        await self.session.send(order)
        await self.program.order(self, number)
        self.sandbox.customer_pays(number)

    def judge(self, number: str, answer: httpx.Response) -> None:
        """201: the order is taken; 200: it was taken before."""
        if answer.status_code in {200, 201}:
            self.taken.add(number)
        else:
            self.counts["refused"] += 1
            assert self.excused, (answer.status_code, answer.text)

    @asynccontextmanager
    async def customers(self) -> AsyncGenerator[None]:
        """They come while the block runs; leaving it waits until each has ordered."""
        over = asyncio.Event()

        async def come() -> None:
            async with asyncio.TaskGroup() as group:
                while not over.is_set():
                    self.counts["orders"] += 1
                    group.create_task(self.sell(f"R{self.counts['orders']:05}"))
                    await asyncio.sleep(PACE)

        coming = asyncio.create_task(come())
        try:
            yield
        finally:
            over.set()
            await coming

    async def orders_more(self, count: int) -> None:
        """Wait until so many customers more have come."""
        enough = self.counts["orders"] + count

        async def come() -> bool:
            return self.counts["orders"] >= enough

        await until(come, self.said)

    async def until_all_ended(self) -> None:
        """Nothing is waited for or to be delivered, and no order is on its way to the shop."""

        async def ended() -> bool:
            missing = self.counts["orders"] - await self.value(select(func.count(orders.c.number)))
            # Without patience, what a broker has is no row any more: its task may be still to run.
            untold = self.counts["orders"] - await self.value(select(func.count(done.c.id)))
            waiting = await self.value(select(func.count(_rows.c.seq)))
            return not missing and not waiting and untold <= 0

        await until(ended, self.said)

    async def problems(self) -> dict[str, list[str]]:
        """The shop's books against the gateway's."""
        async with self.engine.connect() as connection:
            known = set((await connection.execute(select(orders.c.number))).scalars())
            found = Counter((await connection.execute(select(effects.c.number))).scalars())
        ledger = self.sandbox.ledger.orders.values()
        paid = {order.out_trade_no for order in ledger if order.paid_at is not None}
        return {
            "paid without effect": sorted(paid - {*found}),
            "effects without payment": sorted({*found} - paid),
            "effects more than once": sorted(n for n, count in found.items() if count > 1),
            "taken and not known": sorted(self.taken - known),
            "trouble": [line for each in self.generations for line in each.trouble()],
        }


async def until(holds: Callable[[], Awaitable[bool]], said: Callable[[], str]) -> None:
    """Wait for it; where it takes too long, the error shows what the processes said."""
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(SQLAlchemyError, OSError):  # a database that is away
                    if await holds():
                        return
                await asyncio.sleep(0.25)
    except TimeoutError:
        raise AssertionError(said()) from None


async def post(world: World, number: str) -> None:
    """To a web service; a connection that was cut is tried again, as a proxy in front would."""
    async with asyncio.timeout(PATIENCE):
        while number not in world.taken:
            try:
                answer = await world.customer.post(f"/orders/{number}")
            except httpx.TransportError:
                world.counts["cut off"] += 1
            else:
                world.judge(number, answer)
            await asyncio.sleep(0 if number in world.taken else 0.5)


@asynccontextmanager
async def world_of(
    program: Program, folder: Path, url: str, redis_url: str
) -> AsyncGenerator[World]:
    """Everything but the processes of the shop; none of them outlives the block."""
    engine = create_async_engine(url, pool_pre_ping=True)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.run_sync(fleet_metadata().create_all)
    # Notifications arrive, and do nothing: this is about what fleets see.
    nobody = httpx.MockTransport(lambda _: httpx.Response(200, text="success"))
    sandbox = Sandbox(clock=SystemClock(), notify_transport=nobody)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as bound:
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        limits = httpx.Limits(max_keepalive_connections=0)
        async with (
            sandbox,
            sandbox.serve() as gateway,
            GatewaySession(
                sandbox.credentials, mch_id=sandbox.mch_id, transport=sandbox.transport
            ) as session,
            httpx.AsyncClient(
                base_url=address, timeout=PATIENCE, trust_env=False, limits=limits
            ) as customer,
        ):
            settings = environment(
                folder, **told(sandbox, gateway), DATABASE_URL=url, BROKER_URL=redis_url
            )
            path = [str(each) for each in program.folders()]
            path.append(settings["PYTHONPATH"])
            settings |= {"PYTHONPATH": os.pathsep.join(path), "REDIS_URL": redis_url}
            world = World(
                program=program,
                folder=folder,
                settings=settings,
                sandbox=sandbox,
                session=session,
                engine=engine,
                bound=bound,
                customer=customer,
                redis_url=redis_url,
            )
            try:
                yield world
            finally:
                for generation in world.generations:
                    await generation.kill()
                await engine.dispose()
