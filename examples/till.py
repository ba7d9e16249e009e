"""A till: it charges nobody twice, and after a crash it finds out how the last sale ended.

收银台示例: 先记账再收款；每次尝试用新的订单号；程序崩溃后重启，先查清上一笔的结果 (resume)。

    pip install 'chaoying-async[sandbox,sql]'
    python examples/till.py --demo      # customers and a power cut; exit status 0 if all adds up

With what ``chaoying sandbox`` prints in the environment (``export CHAOYING_URL=...`` and so on):

    python examples/till.py             # type amounts, scan codes; an empty amount ends it

Every sale is a row in ``till.db`` before the gateway hears of it. Every attempt to charge it has a
number of its own from ``OrderNumbers``; ``checkout`` writes what it is about to do into
``polls.db`` first, so that ``resume`` knows what a dead till was doing. A customer may be asked for
another code only when the sale is ``FAILED`` or ``CANCELLED``: everything else may have been paid.

Keep both files on the till's own disk, and start one program for them: a second one is refused.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
from sqlalchemy import Column, Integer, MetaData, Row, String, Table, Text, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from chaoying_async import (
    ChaoyingError,
    CheckoutOutcome,
    CheckoutStatus,
    Clock,
    Fen,
    GatewaySession,
    Hosts,
    OrderNumbers,
    Pay,
    SystemClock,
    attempts_so_far,
    checkout,
    credentials_from_env,
    fen,
    resume,
)
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sandbox import Sandbox
from chaoying_async.sandbox.speed import FastClock

metadata = MetaData()
sales = Table(
    "sales",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("total_fee", Integer, nullable=False),  # fen
    Column("status", String(32), nullable=False),
    Column("out_trade_no", String(32)),  # of the attempt that decided
    Column("paid", Integer),  # fen, what the customer paid
    Column("advice", Text),
)
#: The customer may try again: it is certain that nothing was paid.
UNPAID = frozenset({CheckoutStatus.FAILED, CheckoutStatus.CANCELLED})


def order_no(sale: int) -> str:
    """The sale's number at the gateway, without the attempt."""
    return f"T1X{sale:07}"


@attrs.frozen
class Till:
    """One till with its two files, open."""

    gateway: GatewaySession
    store: SqlPollStore
    engine: AsyncEngine
    clock: Clock

    async def catch_up(self) -> int:
        """Book what a dead till left behind, before anything is sold; how many sales that were."""
        found = 0
        async for outcome in resume(self.gateway, self.store, clock=self.clock):
            await self.book(outcome)
            print(f"left over: sale {outcome.order_no} {outcome.status}: {outcome.advice}")
            found += 1
        return found

    async def begin(self, total_fee: Fen) -> int:
        """A new sale, on the disk."""
        async with self.engine.begin() as connection:
            row = insert(sales).values(total_fee=total_fee, status="OPEN").returning(sales.c.id)
            sale: int = (await connection.execute(row)).scalar_one()
        return sale

    async def charge(self, sale: int, total_fee: Fen, auth_code: str) -> CheckoutOutcome:
        """One attempt, to its honest end; it may take five minutes."""
        mch_id = self.gateway.defaults.mch_id or ""
        last = await attempts_so_far(self.store, order_no(sale), mch_id=mch_id)
        pay = Pay(
            out_trade_no=OrderNumbers(order_no(sale), last=last).next(),
            body="goods",
            total_fee=total_fee,
            auth_code=auth_code,
        )
        outcome = await checkout(self.gateway, pay, store=self.store, clock=self.clock)
        await self.book(outcome)
        outcome.done()  # only now may the store forget it
        return outcome

    async def book(self, outcome: CheckoutOutcome) -> None:
        """Write down how it ended. The same outcome may come twice: the second changes nothing."""
        paid, earlier = outcome.paid, outcome.status is CheckoutStatus.PAID_EARLIER
        values = {
            "status": outcome.status,
            "out_trade_no": outcome.out_trade_no,
            # PAID_EARLIER is another sale's money: two tills count alike, or a file was lost.
            "paid": None if paid is None or earlier else paid.paid,
            "advice": outcome.advice,
        }
        this = sales.c.id == int(outcome.order_no.rpartition("X")[2])
        async with self.engine.begin() as connection:
            await connection.execute(update(sales).where(this).values(values))

    async def books(self) -> list[Row[tuple[object, ...]]]:
        """Every sale so far."""
        async with self.engine.connect() as connection:
            return list(await connection.execute(select(sales).order_by(sales.c.id)))


@asynccontextmanager
async def opened(
    folder: Path, gateway: GatewaySession, clock: Clock, lease: float = 15.0
) -> AsyncIterator[Till]:
    """After a crash this waits until the dead program's ``lease`` on the store has run out."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'till.db'}")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    async with SqlPollStore(folder / "polls.db", lease=lease, clock=clock) as store:
        till = Till(gateway, store, engine, clock)
        await till.catch_up()
        yield till
    await engine.dispose()


async def serve() -> None:
    """Sell until somebody types nothing."""
    url = os.environ.get("CHAOYING_URL")
    session = GatewaySession(
        credentials_from_env(),
        mch_id=os.environ["CHAOYING_MCH_ID"],
        op_user_id=os.environ.get("TILL", "till1"),
        hosts=Hosts.single(url) if url else Hosts.document(),
    )
    folder = Path(os.environ.get("TILL_FOLDER", "."))
    lease = float(os.environ.get("TILL_LEASE", "15"))
    async with session as gateway, opened(folder, gateway, SystemClock(), lease) as till:
        while amount := await _asked("amount in yuan: "):
            try:
                await _sell(till, fen(amount))
            except (ChaoyingError, ValueError) as error:
                print(f"not sold: {error}")


async def _sell(till: Till, total_fee: Fen) -> None:
    """One sale; the customer may show another code as long as nothing can have been paid."""
    sale = await till.begin(total_fee)
    while code := await _asked("scan the customer's code: "):
        outcome = await till.charge(sale, total_fee, code)
        print(f"sale {sale} {outcome.status}: {outcome.advice}")
        if outcome.status not in UNPAID:
            return


async def _asked(question: str) -> str:
    print(question, end="", flush=True)
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


# -------------------------------------------------------------- from here on: the demo, no till


async def demo(folder: Path) -> bool:
    """The last three digits of an amount say what happens in the sandbox."""
    clock = FastClock(40, timeouts_too=True)  # the five minutes of a cancelled sale in seconds
    async with (
        Sandbox(clock=clock) as sandbox,
        GatewaySession(
            sandbox.credentials,
            mch_id=sandbox.mch_id,
            transport=sandbox.transport,
            clock=clock,
        ) as gateway,
    ):
        async with opened(folder, gateway, clock) as till:
            for yuan in ("12.30", "4.03", "4.05", "4.06", "4.22"):
                await _demo_sale(till, fen(yuan))
            # The power fails while a customer types the password.
            sale = await till.begin(fen("4.02"))
            code = "130000000000000001"
            with_customer = asyncio.create_task(till.charge(sale, fen("4.02"), code))
            await clock.sleep(10)
            with_customer.cancel()
            await asyncio.wait([with_customer])
        await clock.sleep(60)
        async with opened(folder, gateway, clock) as till:
            rows = await till.books()
        booked = sum(row.paid or 0 for row in rows)
        taken = sandbox.books.kept
        print(f"the till's books: {booked} fen; the gateway's: {taken} fen")
        ends = [str(row.status) for row in rows]
        right = ["PAID", "PAID", "CANCELLED", "PAID", "PAID", "PAID"]
        return booked == taken and ends == right


async def _demo_sale(till: Till, total_fee: Fen) -> None:
    sale = await till.begin(total_fee)
    outcome = await till.charge(sale, total_fee, "130000000000000001")
    print(f"sale {sale}, {total_fee.yuan} yuan: {outcome.status} as {outcome.out_trade_no}")
    if outcome.status is CheckoutStatus.FAILED:  # here: no money on that card; another code
        outcome = await till.charge(sale, total_fee, "130000000000000401")
        print(f"sale {sale}, another code: {outcome.status} as {outcome.out_trade_no}")


def main() -> int:
    """0: everything adds up, or the shop is closed."""
    if sys.argv[1:] != ["--demo"]:
        asyncio.run(serve())
        return 0
    with TemporaryDirectory() as folder:
        right = asyncio.run(demo(Path(folder)))
    print("Everything adds up." if right else "Something is WRONG.")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
