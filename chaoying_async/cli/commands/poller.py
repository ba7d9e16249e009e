"""``chaoying poller``: serves a fleet's shards; ``status``, ``reshard``, ``release`` beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click
import httpx
from click.core import ParameterSource

from chaoying_async.cli import gateway_options, interrupts, output, ranges, stores
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.field_option import FieldOption
from chaoying_async.cli.gateway_options import SignerOptions, session, target, target_options
from chaoying_async.cli.language import help_pages
from chaoying_async.cli.text_words import text
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import (
    AttemptInProgressError,
    StoreError,
    StoreTrouble,
    UsageError,
)
from chaoying_async.sansio.api.merchant import GetMchIdResult

if TYPE_CHECKING:
    from chaoying_async.pollstore.sql import SqlPollStore
    from chaoying_async.workers import Fleet
    from chaoying_async.workers.queues.protocol import OutcomeQueue
    from chaoying_async.workers.tables import FleetTables

T = TypeVar("T")

#: Seconds from the first signal to the end of the process, at the latest.
GRACE = 20.0
_SHARDS = 16
#: Days; written here too, since the fleet is loaded when it is needed.
_KEPT, _KEPT_AT_LEAST = 400, 366
_STORE = click.option(
    "--store",
    callback=text,
    envvar="CHAOYING_STORE",
    show_envvar=True,
    required=True,
    metavar="FILE|URL",
    help="A SQLite file or a SQLAlchemy URL.",
)
_PREFIX = click.option(
    "--prefix", callback=text, default=stores.SHOP_PREFIX, show_default=True, help="Of the tables."
)


class _PollerGroup(help_pages.Group):
    """A group whose options are those of serving; before a command's name they are its options."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Put what was typed before the name behind it: the command refuses what it lacks.

        click's own way, `default_map`, counts less than a variable of the environment.
        """
        name, command, rest = super().resolve_command(ctx, args)
        typed = [
            option.opts[0] if option.is_flag else f"{option.opts[0]}={ctx.params[option.name]}"
            for option in self.params
            if isinstance(option, click.Option)
            and option.name in ctx.params
            and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
        ]
        return name, command, [*typed, *rest]


@click.group(name="poller", cls=_PollerGroup, invoke_without_command=True)
@click.option(
    "--store",
    callback=text,
    envvar="CHAOYING_STORE",
    metavar="FILE|URL",
    help="A SQLite file or a SQLAlchemy URL; default: CHAOYING_STORE.",
)
@_PREFIX
@click.option(
    "--then",
    metavar="MODULE:FUNCTION",
    help="The task of the orders that name none; called with outcome=.",
)
@click.option(
    "--queue",
    metavar="celery:MODULE:APP|pgqueuer",
    help="What runs the tasks; then --then is the name of one. APP: a Celery app, or a CeleryQueue"
    " of your own. Default: this process.",
)
@click.option(
    "--app-dir",
    default=".",
    show_default=True,
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Where modules are found first.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, 4096),
    default=_SHARDS,
    show_default=True,
    help="Into how many the orders are cut; the same for every process.",
)
@click.option("--by-merchant", is_flag=True, help="All orders of a merchant in one shard.")
@click.option(
    "--lease",
    type=ranges.FiniteRange(0, 86_400, min_open=True),
    default=15.0,
    show_default=True,
    help="Seconds after which the shards of a dead process are taken over.",
)
@click.option("--rate", type=ranges.ABOVE_ZERO, help="Queries a second, of the whole fleet.")
@click.option("--merchant-rate", type=ranges.ABOVE_ZERO, help="The same for one merchant.")
@click.option(
    "--keep-orders",
    type=click.IntRange(_KEPT_AT_LEAST, 1_000_000),
    default=_KEPT,
    show_default=True,
    metavar="DAYS",
    help="How long a business order that has ended is kept, so that it is not charged again.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=200,
    show_default=True,
    help="At most so many queries at once, in this process.",
)
@click.option(
    "--mch-id",
    envvar="CHAOYING_MCH_ID",
    cls=FieldOption,
    of=GetMchIdResult,
    help="For orders that name none. Default: CHAOYING_MCH_ID.",
)
@click.option(
    "--name", callback=text, help="Of this process, in `status`; no other process may have it."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Answer GET /health and GET /ready there, with the extra [prometheus] GET /metrics too;"
    " needs the extra [sandbox].",
)
@click.option(
    "--whole-fleet",
    type=ranges.ABOVE_ZERO,
    metavar="SECONDS",
    help="With --port: read the numbers of the whole fleet from its tables so often, for /metrics;"
    " one process is enough.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--grace",
    type=ranges.ABOVE_ZERO,
    default=GRACE,
    show_default=True,
    help="Seconds from a signal to the end of the process, at the latest.",
)
@click.option(
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error")),
    default="info",
    show_default=True,
    help="What is written to stderr.",
)
@target_options
@output.json_option
def poller(**options: Any) -> None:
    """Serve a fleet: ask about the orders that were handed over, give their outcomes to tasks.

    As many of these may run as you like, on as many machines. Each takes its share of the shards;
    what a dead one had, the others take over. SIGTERM or Ctrl-C: queries and tasks under way end
    (10 s at most), the shards are handed back, and the process ends, within --grace seconds. A
    second signal ends it at once, and nothing is lost by that.

    What a store of one owner keeps in the same database becomes the fleet's once its owner has
    ended, and does not go back: a shop that goes on without a fleet would not see it again.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return
    if options["store"] is None:
        raise click.UsageError("which store? Give --store, or set CHAOYING_STORE")
    if options["whole_fleet"] is not None and options["port"] is None:
        raise click.UsageError("--whole-fleet is for GET /metrics: give --port too")
    from chaoying_async.cli.poller.user_tasks import check_function, found_in, logged, queue_named

    found_in(options["app_dir"])
    queue = queue_named(options["queue"]) if options["queue"] else None
    if options["then"] and queue is None:
        check_function(options["then"])
    who = gateway_options.credentials(SignerOptions.taken_from(options))
    where = target(options["url"], options["hosts"])

    def gateway() -> Any:
        limits = httpx.Limits(max_connections=options["concurrency"])
        # Repeats would not count against the rate.
        retries = 0 if options["rate"] or options["merchant_rate"] else 2
        return session(where, who, mch_id=options["mch_id"], limits=limits, read_retries=retries)

    with logged(options["log_level"]):
        interrupts.run(_serve(_fleet(gateway, queue, options), options))


def _store(options: dict[str, Any]) -> SqlPollStore:
    from chaoying_async.pollstore.sql import SqlPollStore

    return SqlPollStore(
        options["store"],
        lease=options["lease"],
        shards=options["shards"],
        table_prefix=options["prefix"],
    )


def _fleet(
    gateway: Callable[[], Any], queue: OutcomeQueue | None, options: dict[str, Any]
) -> Fleet:
    from chaoying_async.workers import Fleet

    return Fleet(
        _store(options),
        gateway,
        queue,
        then=options["then"],
        rate=options["rate"],
        merchant_rate=options["merchant_rate"],
        by_merchant=options["by_merchant"],
        concurrency=options["concurrency"],
        keep_orders=timedelta(days=options["keep_orders"]),
        name=options["name"],
    )


async def _serve(fleet: Fleet, options: dict[str, Any]) -> None:
    from chaoying_async.cli.poller.leaving import leaves

    leaves(fleet.stop, options["grace"])
    async with AsyncExitStack() as stack:
        url, paths = None, ""
        if options["port"] is not None:
            from chaoying_async.cli.poller.health import HealthApp
            from chaoying_async.sandbox.serving.server import listening

            whole = None
            if options["whole_fleet"] is not None:
                from chaoying_async.observing.whole_fleet import WholeFleet

                whole = WholeFleet(_store(options), every=options["whole_fleet"])
                await stack.enter_async_context(whole)
            app = HealthApp(fleet, whole)
            served = listening(app, host=options["host"], port=options["port"])
            url = await stack.enter_async_context(served)
            paths = f"; {url}/health, {url}/ready"
            if "/metrics" in app.paths:
                paths = f"; {url}/health, {url}/ready, {url}/metrics"
        name = stores.shown(options["store"])
        words = f"the fleet in {name} is served" + paths
        output.result({"event": "serving", "store": name, "url": url}, f"{words}. Ctrl-C ends it.")
        await fleet.run()


@poller.command(name="status")
@_STORE
@_PREFIX
@click.option(
    "--merchants", is_flag=True, help="By merchant too; that reads every row of the fleet."
)
@output.json_option
def status(store: str, prefix: str, *, merchants: bool) -> None:
    """The numbers of a whole fleet. Reads only: nothing is taken from who serves.

    Exit code 0 where every shard is served, 1 where some are not.
    """
    from chaoying_async.cli.poller.status_table import show, tell
    from chaoying_async.workers.fleet_status import fleet_status

    found = _read(
        store,
        prefix,
        lambda engine, tables: fleet_status(engine, tables, SystemClock(), merchants=merchants),
    )
    output.end(tell(found) if output.as_json() else show(found))


@poller.command(name="reshard")
@click.argument("shards", type=click.IntRange(1, 4096), metavar="SHARDS")
@_STORE
@_PREFIX
@click.option("--by-merchant/--by-order", default=None, help="Default: as it is.")
@output.json_option
def reshard_(shards: int, store: str, prefix: str, *, by_merchant: bool | None) -> None:
    """Cut the orders of a fleet into another number of shards, while nobody serves it.

    End all its processes first; while one lives, this says which, and changes nothing. Then start
    them with the new number. Processes that only hand orders over may stay.
    """
    from chaoying_async.workers.resharding import reshard

    before, after = _read(
        store,
        prefix,
        lambda engine, tables: reshard(
            engine, tables, SystemClock(), shards, by_merchant=by_merchant
        ),
    )
    output.result(
        {"ok": True, "shards": after.shards, "by_merchant": after.by_merchant},
        f"{after} now; it was {before}. Start its processes with that",
    )


@poller.command(name="release")
@click.argument("mch_id", callback=text, metavar="MCH_ID")
@click.argument("order_no", callback=text, metavar="ORDER_NO")
@_STORE
@_PREFIX
@click.option("--yes", is_flag=True, help="Do not ask first.")
@output.json_option
def release_(mch_id: str, order_no: str, store: str, prefix: str, *, yes: bool) -> None:
    """Let a business order be charged again: a person found that it is unpaid, or paid back.

    For an order of fleet.checkout whose last attempt ended UNKNOWN, PAID_AFTER_CANCEL or
    PAID_EARLIER; ORDER_NO is the business order's number, without that of the attempt. It shows
    what is kept of the order and asks first, since nobody can check what you say: who is wrong
    charges a customer twice. Query the number, and look into the bank's books, before.

    Exit code 1 where the fleet has no such order, 6 while its last attempt is under way.
    """
    from chaoying_async.workers.releasing import kept_order, release

    kept = _read(store, prefix, lambda engine, tables: kept_order(engine, tables, mch_id, order_no))
    if kept is None:
        words = f"the fleet has no record of order {order_no} of merchant {mch_id}"
        output.end(output.refused("NoSuchOrder", words, Exit.REFUSED))
    named = {"mch_id": mch_id, "order_no": order_no}
    if kept.free:
        output.result({"ok": True, "released": False, **named}, f"{order_no} is free already")
        return
    if not yes:
        output.confirm(f"{order_no} of merchant {mch_id}: {kept.how}. May it be charged again?")
    try:
        _read(
            store,
            prefix,
            lambda engine, tables: release(
                engine, tables, SystemClock(), mch_id, order_no, seen=kept
            ),
        )
    except AttemptInProgressError as error:
        output.end(output.refused("AttemptInProgressError", str(error), Exit.PENDING))
    output.result(
        {"ok": True, "released": True, **named, **kept.members()},
        f"{order_no} may be charged again, under another out_trade_no",
    )


def _read(store: str, prefix: str, work: Callable[[Any, FleetTables], Awaitable[T]]) -> T:
    """Work on a fleet's tables beside whoever serves it; no table is made."""
    from chaoying_async.pollstore.failures import told
    from chaoying_async.pollstore.sql import SqlPollStore
    from chaoying_async.sql.transactions import retried, whole
    from chaoying_async.workers.tables import fleet_tables

    url, advice = stores.existing_database(store)

    async def run() -> T:
        source = SqlPollStore(url, table_prefix=prefix)
        engine = source.new_engine()
        try:
            with stores.named(f"the fleet {advice}"), told():
                return await whole(engine, retried(partial(work, engine, fleet_tables(prefix))))
        except StoreError as error:
            if error.kind is StoreTrouble.TABLE_MISSING:
                await _check_fleet(engine, prefix, error)
            raise
        finally:
            await source.dispose(engine)

    return interrupts.run(run())


async def _check_fleet(engine: Any, prefix: str, cause: StoreError) -> None:
    """Raise where a database has no fleet's tables: what it has instead, and where to look."""
    from chaoying_async.sql.creation import table_names

    there = await table_names(engine)
    if f"{prefix}fleet" in there:
        return
    if f"{prefix}polls" in there:
        raise UsageError(
            "this database has a store of one owner, not a fleet: `chaoying explain` shows what it"
            " keeps of an order, and release_order() in the owner's program lets an order be"
            " charged again"
        ) from cause
    raise UsageError(
        f"no fleet's tables named {prefix}... are there: is it the right address and prefix?"
    ) from cause
