"""``chaoying demo`` from start to end: processes, progress, the table, the exit code."""

from __future__ import annotations

import logging
import random
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from chaoying_async.sandbox.demo import shop
from chaoying_async.sandbox.demo.receiver import Receiver
from chaoying_async.sandbox.demo.report import Line, compare, shown
from chaoying_async.sandbox.demo.shop import Day, Shop
from chaoying_async.sandbox.demo.till import End
from chaoying_async.sandbox.process import separate_sandbox
from chaoying_async.sandbox.server import listening
from chaoying_async.sandbox.speed import FastClock
from chaoying_async.sansio.hosts import Hosts
from chaoying_async.sansio.values import Fen
from chaoying_async.session import GatewaySession

#: Both the sandbox and the shop run so many times as fast as the document says.
SPEED = 20.0
OPERATOR = "cashier01"


async def run(payments: int = 200, *, speed: float = SPEED, console: Console | None = None) -> int:
    """Take so many payments against a sandbox of its own; 0 when all figures agree."""
    console = console or Console()
    # Unclear answers are warnings in the log; here they are part of the show, and settled.
    logging.getLogger("chaoying_async").addHandler(logging.NullHandler())
    clock = FastClock(speed)
    preorders = max(payments // 5, 4)
    expected: dict[str, Fen] = {}
    async with separate_sandbox(speed=speed) as sandbox:
        console.print(f"sandbox at {sandbox.url}, in a process of its own")
        receiver = Receiver(sandbox.credentials, expected)
        session = GatewaySession(
            sandbox.credentials,
            mch_id=sandbox.mch_id,
            op_user_id=OPERATOR,
            hosts=Hosts.single(sandbox.url),
        )
        async with listening(receiver) as notify_url, session as gateway:
            with _progress(console, payments, preorders) as progress:
                day = await Shop(
                    gateway=gateway,
                    clock=clock,
                    rng=random.Random(payments),
                    receiver=receiver,
                    expected=expected,
                    notify_url=f"{notify_url}/notify",
                    progress=progress,
                ).open(payments, preorders)
            await clock.sleep(_LAST_DUPLICATES)
        lines = compare(day, receiver, await sandbox.books())
    _print(console, day, receiver, lines)
    return 0 if all(line.agrees for line in lines) else 1


#: The gateway still has to come once more for those that it notifies twice. Seconds of the clock.
_LAST_DUPLICATES = 40.0


@contextmanager
def _progress(console: Console, payments: int, preorders: int) -> Generator[shop.Progress]:
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks = {
            "payments": bars.add_task("payments", total=payments),
            "refunds": bars.add_task("refunds", total=None),
            "pre-orders": bars.add_task("pre-orders", total=preorders),
        }
        yield lambda what: bars.advance(tasks[what])
        for task in bars.tasks:  # how many refunds there would be was not known before
            bars.update(task.id, total=task.completed)


def _print(console: Console, day: Day, receiver: Receiver, lines: list[Line]) -> None:
    console.print(_sales(day))
    counts = receiver.counts
    console.print(
        f"notifications: {counts['deliveries']} deliveries verified, "
        f"{counts['duplicates']} duplicates without effect, {counts['put off']} put off once"
    )
    table = Table("", "shop", "gateway", "", title="Do the books agree?")
    for line in lines:
        verdict = "[green]yes[/]" if line.agrees else "[bold red]NO[/]"
        table.add_row(line.what, shown(line, line.shop), shown(line, line.gateway), verdict)
    for column in table.columns[1:3]:
        column.justify = "right"
    console.print(table)
    agrees = all(line.agrees for line in lines)
    console.print("Everything adds up, to the fen." if agrees else "The books DISAGREE.")


def _sales(day: Day) -> Table:
    table = Table("end", "orders", "queries", "payable", "paid", title="At the till")
    for column in table.columns[1:]:
        column.justify = "right"
    for end in End:
        sales = [sale for sale in day.sales if sale.end is end]
        if sales:
            payable, paid = (
                Fen(sum(getattr(sale, name) for sale in sales)) for name in ("payable", "paid")
            )
            asked = sum(sale.queries for sale in sales)
            table.add_row(
                end.value, str(len(sales)), str(asked), f"{payable.yuan:,}", f"{paid.yuan:,}"
            )
    return table
