"""``chaoying watch``: asks about many orders or refunds until it is known how each ended."""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any

import attrs
import click

from chaoying_async.cli import error_lines, gateway_options, interrupts, output, ranges, stores
from chaoying_async.cli.exits import Exit, after_outcome, worst
from chaoying_async.cli.field_option import FieldOption
from chaoying_async.cli.gateway_options import SignerOptions, session, target, target_options
from chaoying_async.cli.language import shown
from chaoying_async.cli.text_words import text
from chaoying_async.cli.watch.progress import (
    LiveProgress,
    PlainProgress,
    ProgressView,
    Tally,
    number_of,
)
from chaoying_async.cli.watch.watch_list import OrderReader, wanted
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import ParameterError, StoreError, StoreTrouble
from chaoying_async.polling import Poller, PollOutcome
from chaoying_async.sansio.api.follow_up import OrderQuery
from chaoying_async.sansio.api.merchant import GetMchIdResult
from chaoying_async.sansio.enums import PayType
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import Query
from chaoying_async.session import GatewaySession

if TYPE_CHECKING:
    from chaoying_async.pollstore.sql import SqlPollStore

#: A session's pool has as many connections by default.
_CONNECTIONS = 100
#: How many pending numbers are named after an interrupt.
_NAMED = 20
#: How many orders are waited for at a time; a pipe is read no further.
_AT_ONCE = 1_000_000

_SCHEDULES: dict[str, Callable[[], PollSchedule]] = {
    "payments": PollSchedule,
    "preorders": PollSchedule.preorder,
    "refunds": PollSchedule.refunds,
}


@click.command(name="watch")
@click.argument("numbers", nargs=-1, metavar="[NUMBER[=AMOUNT]]...")
@click.option("--file", metavar="FILE", help="JSON lines or CSV; - is stdin, read as it comes.")
@click.option("--refunds", is_flag=True, help="The numbers are refunds' (out_refund_no).")
@click.option(
    "--paytype",
    type=click.Choice(tuple(PayType)),
    cls=FieldOption,
    of=OrderQuery,
    help="For all lines that name none.",
)
@click.option(
    "--mch-id",
    envvar="CHAOYING_MCH_ID",
    cls=FieldOption,
    of=GetMchIdResult,
    help="For all lines that name none. Default: CHAOYING_MCH_ID.",
)
@click.option(
    "--schedule",
    type=click.Choice(tuple(_SCHEDULES)),
    help="When to ask; default: payments (5 s, to 3 min), with --refunds refunds (15 days).",
)
@click.option("--every", type=ranges.ABOVE_ZERO, help="Seconds between two queries, instead.")
@click.option(
    "--until", type=ranges.ABOVE_ZERO, help="Seconds after which it is undecided, instead."
)
@click.option("--rate", type=ranges.ABOVE_ZERO, help="At most so many queries a second.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, _CONNECTIONS),
    default=_CONNECTIONS,
    show_default=True,
    help="At most so many queries at once.",
)
@click.option(
    "--store",
    callback=text,
    metavar="FILE|URL",
    help="Keep what is pending in a SQLite file: the next watch on it goes on, and tells the rest."
    " A shop's orders there stay the shop's.",
)
@target_options
@output.json_option
def watch(numbers: tuple[str, ...], **options: Any) -> None:
    """Ask about orders (or refunds) until it is known how each ended. Reads only.

    NUMBER is your own number (商户订单号 or 商户退款单号). With an AMOUNT, in fen or with a decimal
    point in yuan, an order that is paid with another one is told apart. In a FILE a line is a JSON
    object or a CSV row with out_trade_no, and if you like paytype, mch_id, expected. Ctrl-C leaves,
    and says what is still pending.

    Exit code 0: all are paid (or refunded). Else the worst of them: 5 another amount than expected;
    6 not decided yet; 1 over and not paid, not found, refused; 130 interrupted.
    """
    store = options["store"]
    if store is not None and not store.strip():
        raise click.UsageError("which store? --store is empty")
    if not numbers and options["file"] is None and store is None:
        raise click.UsageError("watch what? Give numbers, or a --file")
    asked = WatchRequest(
        reader=OrderReader(
            refunds=options["refunds"], paytype=options["paytype"], mch_id=options["mch_id"]
        ),
        numbers=numbers,
        file=options["file"],
        schedule=_schedule(options),
        store=options["store"],
        concurrency=options["concurrency"],
        rate=options["rate"],
    )
    where = target(options["url"], options["hosts"])
    who = gateway_options.credentials(SignerOptions.taken_from(options))
    gateway = session(
        where,
        who,
        mch_id=options["mch_id"],
        read_retries=0 if options["rate"] else 2,  # repeats do not count against the rate
    )
    output.end(interrupts.run(_watch(gateway, asked)))


@attrs.frozen(kw_only=True)
class WatchRequest:
    """The orders to watch, and how to ask about them."""

    reader: OrderReader
    numbers: Sequence[str]
    file: str | None
    schedule: PollSchedule
    store: str | None
    concurrency: int
    rate: float | None


def _schedule(options: dict[str, Any]) -> PollSchedule:
    name = options["schedule"] or ("refunds" if options["refunds"] else "payments")
    schedule = _SCHEDULES[name]()
    if every := options["every"]:
        longest = max(schedule.longest, every)
        schedule = attrs.evolve(schedule, first=every, every=every, longest=longest)
    if until := options["until"]:
        schedule = attrs.evolve(schedule, until=until)
    return schedule


async def _watch(gateway: GatewaySession, asked: WatchRequest) -> Exit:
    stop = asyncio.Event()
    ends = WatchResults(
        LiveProgress() if sys.stdout.isatty() and not output.as_json() else PlainProgress()
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(gateway)
        stack.enter_context(error_lines.on_stderr())
        store = await stack.enter_async_context(await _store(asked)) if asked.store else None
        poller = await stack.enter_async_context(
            Poller(gateway, asked.schedule, asked.concurrency, asked.rate, store)
        )
        interrupts.stops(stop.set)  # not before: a store may be waited for, which a signal ends
        with ends.shown:
            ended, pending = await _followed(poller, asked, ends, stop)
    stats = poller.stats()  # what leaving it has written is written
    if not output.as_json():
        ends.tally.show()
    if not ended:
        _say_pending(pending, asked.store, stats.unwritten)
        return Exit.INTERRUPTED
    # Nobody asks about an order whose record cannot be read: it may have been paid.
    return worst([*ends.exits.values(), *[Exit.PENDING] * bool(stats.unreadable)])


async def _store(asked: WatchRequest) -> SqlPollStore:
    """Watch's own store: in the tables of a shop it would take outcomes that are the shop's."""
    from chaoying_async.pollstore.sql import SqlPollStore

    file = str(asked.store)
    store = SqlPollStore(file, table_prefix=stores.WATCH_PREFIX)
    if not asked.numbers and asked.file is None:
        try:
            await store.peek("")  # has no rows: whether there is a table is all that is asked
        except StoreError as error:
            if error.kind is StoreTrouble.TABLE_MISSING:  # exit code 0 would say that all is paid
                raise click.UsageError(
                    f"no watch was kept in {stores.shown(file)}: give numbers, or a --file. What a"
                    " shop waits for there is the shop's: `chaoying explain` shows it"
                ) from error
            raise
    return store


@attrs.frozen
class WatchResults:
    """The orders that have ended so far, and the display for them."""

    shown: ProgressView
    tally: Tally = attrs.field(factory=Tally)
    exits: dict[Query, Exit] = attrs.field(factory=dict)
    """An order that a store has ended may be watched again: then the last exit code counts."""
    _last: dict[Query, weakref.ref[PollOutcome[Any]]] = attrs.field(init=False, factory=dict)

    async def follow(self, outcomes: AsyncGenerator[PollOutcome[Any]]) -> None:
        """Note and show outcomes as they come; one that comes from both iterators counts once."""
        async with aclosing(outcomes):
            async for outcome in outcomes:
                last = self._last.get(outcome.query)
                if last is not None and last() is outcome:
                    continue
                self._last[outcome.query] = weakref.ref(outcome)
                self.exits[outcome.query] = after_outcome(outcome).exit
                self.tally.add(outcome)
                self.shown.ended(outcome)


async def _followed(
    poller: Poller, asked: WatchRequest, ends: WatchResults, stop: asyncio.Event
) -> tuple[bool, tuple[Query, ...]]:
    """Wait until all have ended, or for a signal; whether all ended, and the pending queries."""

    async def follow() -> None:
        run, left = (
            poller.run(wanted(asked.reader, asked.numbers, asked.file), at_once=_AT_ONCE),
            poller.drain(),
        )
        tasks = [
            asyncio.create_task(ends.follow(each), name="chaoying watch: follow")
            for each in (run, left)
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            await _cancelled(*tasks)

    async def look() -> None:
        clock = SystemClock()
        while True:
            await clock.sleep(ends.shown.every)
            ends.shown.going(poller.stats(), ends.tally.counts.total())

    following, looking, stopping = (
        asyncio.create_task(each, name="chaoying watch") for each in (follow(), look(), stop.wait())
    )
    try:
        await asyncio.wait((following, looking, stopping), return_when=asyncio.FIRST_COMPLETED)
        ended, pending = following.done(), poller.pending()
    finally:
        raised = await _cancelled(following, looking, stopping)
    for each in raised:
        if isinstance(each, ParameterError):  # of a pipe's line, or of an order in the store
            raise click.UsageError(str(each)) from each
        if isinstance(each, Exception):
            raise each
    return ended, pending


async def _cancelled(*tasks: asyncio.Task[Any]) -> list[Any]:
    """Cancel these tasks and wait for their ends; the results or errors."""
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


def _say_pending(pending: Sequence[Query], store: str | None, unwritten: int) -> None:
    """Print on stderr, for programs too: stdout has the outcomes and nothing else."""
    named = ", ".join(number_of(query) for query in pending[:_NAMED])
    if len(pending) > _NAMED:
        named = f"{named} and {len(pending) - _NAMED:,} more"
    told = f"{len(pending):,} still pending: {named}" if pending else "nothing was pending"
    kept = f"; kept in {stores.shown(store)}" if store and pending else ""
    if unwritten:
        kept += f"; {unwritten:,} could not be written down, and come again"
    click.echo(output.printable(shown(f"interrupted; {told}{kept}")), err=True)
