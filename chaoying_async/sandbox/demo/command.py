"""``chaoying demo`` from start to end: processes, progress, the table, the exit code."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from chaoying_async.polling import Poller
from chaoying_async.sandbox.demo import shop
from chaoying_async.sandbox.demo.hostile import lay_siege
from chaoying_async.sandbox.demo.remote_sandbox import separate_sandbox
from chaoying_async.sandbox.demo.report import Figure, as_record, compare, sales, shown
from chaoying_async.sandbox.demo.shop import Day, Shop
from chaoying_async.sandbox.demo.warehouse import Warehouse
from chaoying_async.sandbox.serving.server import listening
from chaoying_async.sandbox.speed import FastClock
from chaoying_async.sansio.hosts import Hosts
from chaoying_async.sansio.notifications.decide import Decision
from chaoying_async.sansio.values import Fen
from chaoying_async.session import GatewaySession

#: Both the sandbox and the shop run so many times as fast as the document says.
SPEED = 20.0
OPERATOR = "cashier01"


async def run(
    payments: int = 200,
    *,
    speed: float = SPEED,
    console: Console | None = None,
    tell: Callable[[dict[str, Any]], None] | None = None,
    said: Callable[[str], str] = str,
) -> int:
    """Take so many payments against a sandbox of its own; 0 when all figures agree.

    ``tell`` is given the figures as one record: see :func:`report.as_record`. ``said`` puts a
    sentence into the user's language.
    """
    console = console or Console()
    # Unclear answers are warnings in the log; here they are part of the show, and settled.
    logging.getLogger("chaoying_async").addHandler(logging.NullHandler())
    clock = FastClock(speed, timeouts_too=True)
    preorders = max(payments // 5, 4)
    async with separate_sandbox(speed=speed) as sandbox:
        console.print(said(f"sandbox at {sandbox.url}, in a process of its own"))
        receiver = Warehouse(sandbox.credentials, sandbox.mch_id, clock, _ANSWER_WITHIN * speed)
        session = GatewaySession(
            sandbox.credentials,
            mch_id=sandbox.mch_id,
            op_user_id=OPERATOR,
            hosts=Hosts.single(sandbox.url),
        )
        async with (
            receiver.handler,
            listening(receiver) as notify_url,
            session as gateway,
            Poller(gateway, clock=clock) as poller,
        ):
            receiver.poller = poller
            with _progress(console, payments, preorders, poller, said) as progress:
                open_shop = Shop(
                    gateway=gateway,
                    clock=clock,
                    rng=random.Random(payments),
                    receiver=receiver,
                    poller=poller,
                    notify_url=f"{notify_url}/notify",
                    progress=progress,
                )
                day = await open_shop.open(payments, preorders)
            await clock.sleep(_LAST_DUPLICATES)
            siege = await lay_siege(open_shop, sandbox, day)
            await clock.sleep(_LAST_DUPLICATES)
        lines = compare(day, receiver, siege, await sandbox.books())
    _print(console, day, receiver, siege.posted, lines, said=said)
    if tell is not None:
        tell(as_record(day, receiver, siege, lines))
    return 0 if all(line.agrees for line in lines) else 1


#: Real seconds for an answer to the gateway, which waits 3.
_ANSWER_WITHIN = 2.0
#: The gateway still has to come once more for those that it notifies twice. Seconds of the clock.
_LAST_DUPLICATES = 40.0


@contextmanager
def _progress(
    console: Console, payments: int, preorders: int, poller: Poller, said: Callable[[str], str]
) -> Generator[shop.Progress]:
    columns = (
        TextColumn("{task.description:>10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks = {
            "payments": bars.add_task(said("payments"), total=payments),
            "refunds": bars.add_task(said("refunds"), total=None),
            "pre-orders": bars.add_task(said("pre-orders"), total=preorders),
        }
        waiting = bars.add_task(said("pending"), total=None)

        def progress(what: str) -> None:
            bars.advance(tasks[what])
            bars.update(waiting, completed=poller.stats().pending)

        yield progress
        bars.remove_task(waiting)
        for task in bars.tasks:  # how many refunds there would be was not known before
            bars.update(task.id, total=task.completed)


def _print(
    console: Console,
    day: Day,
    receiver: Warehouse,
    posted: int,
    lines: list[Figure],
    *,
    said: Callable[[str], str],
) -> None:
    console.print(_sales(day, said))
    stats = receiver.handler.stats()
    aside = ", ".join(f"{count} {name}" for name, count in sorted(receiver.set_aside.items()))
    came = (
        f"notifications: {receiver.deliveries} deliveries, "
        f"{stats.decisions.get(Decision.DUPLICATE, 0)} duplicates without effect, "
        f"{len(receiver.put_off)} put off once, "
        f"{stats.unverified + stats.malformed} forged or unreadable"
    )
    hostile = (
        f"of the {posted} hostile messages posted at the end, set aside for a person: "
        f"{aside or 'none'}"
    )
    console.print(f"{said(came)}\n{said(hostile)}")
    titles = ("", "shop", "gateway", "")
    table = Table(*map(said, titles), title=said("Do the books agree?"))
    for line in lines:
        verdict = said("[green]yes[/]" if line.agrees else "[bold red]NO[/]")
        table.add_row(said(line.what), shown(line, line.shop), shown(line, line.gateway), verdict)
    for column in table.columns[1:3]:
        column.justify = "right"
    console.print(table)
    agrees = all(line.agrees for line in lines)
    console.print(said("Everything adds up, to the fen." if agrees else "The books DISAGREE."))


def _sales(day: Day, said: Callable[[str], str]) -> Table:
    titles = ("end", "orders", "answers", "price", "cash paid")
    table = Table(*map(said, titles), title=said("At the till"))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in sales(day):
        amounts = (f"{Fen(amount).yuan:,}" for amount in (row.payable, row.paid))
        table.add_row(row.status.lower(), str(row.orders), str(row.answers), *amounts)
    return table
