"""``Fleet``: orders that any process hands over, and that any process sees to their end."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from chaoying_async.abc import Clock, Gateway
from chaoying_async.exceptions import ParameterError, SessionClosedError, UsageError
from chaoying_async.payments.outcome import CheckoutOutcome
from chaoying_async.polling.feeding import PollItem, each
from chaoying_async.polling.order import merchant_of
from chaoying_async.pollstore.failures import told
from chaoying_async.pollstore.sql import SqlPollStore
from chaoying_async.sansio.api.barcode import Pay
from chaoying_async.sansio.api.endpoint import check_kind
from chaoying_async.sansio.api.face import FacePay
from chaoying_async.sansio.api.follow_up import OrderQuery, Refund, RefundQuery
from chaoying_async.sansio.enums import PayType, Undocumented
from chaoying_async.sansio.payments.hearing import Payment
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import Query
from chaoying_async.sql.addresses import advice
from chaoying_async.sql.engines import check_engine
from chaoying_async.workers.bringing_over import OldStore, OldStoreOrders
from chaoying_async.workers.database import PATIENCE, FleetDatabase, Sharding
from chaoying_async.workers.database_clock import DatabaseClock
from chaoying_async.workers.old_orders import KEEP, OldOrders, check_keep
from chaoying_async.workers.queues.protocol import OutcomeQueue
from chaoying_async.workers.releasing import release
from chaoying_async.workers.sending import Sending
from chaoying_async.workers.shared_gateway import SharedGateway
from chaoying_async.workers.tables import LONGEST_NAME, WATCH, fleet_tables
from chaoying_async.workers.watching import check_task, watch_of
from chaoying_async.workers.worker import FleetStats, Worker

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
    from sqlalchemy.sql.dml import Insert

#: How many watches are written in one statement.
_TOGETHER = 500


class Fleet:
    """Waits for orders with as many processes as there are, and brings each outcome to your task.

    ::

        fleet = Fleet(SqlPollStore("postgresql://..."), GatewaySession.from_env)
        async with fleet:  # a web process; or: await fleet.run()
            async with engine.begin() as connection:
                ...  # your order's row
                await fleet.watch(
                    OrderQuery(...), then="shop:order_ended", expected=1230, connection=connection
                )

    ``watch`` writes into your own transaction: rolled back, it never happened. Some process of the
    fleet then asks about the order until its end, and gives the outcome to ``then``: a task of
    ``queue``, or without one a function of this program (``module:function``, called with
    ``outcome=``), in the process that asks. It comes at least once: ``outcome["id"]`` is the same
    every time, and ``handler.settle(paid_order_of(outcome))`` makes a payment take effect once.

    ``store`` is a :class:`SqlPollStore` that is not opened; it says where the database is, the
    ``lease``, and into how many ``shards`` the orders are cut. That number is kept in the database,
    and another one is a :class:`~chaoying_async.exceptions.UsageError`. A process serves its share
    of the shards. Opening never waits for one: what others have is taken over when it is free.

    ``then`` is the task of the orders that name none.

    ``gateway`` makes the session of this process. ``rate`` and ``merchant_rate`` are the queries a
    second of the whole fleet, of which each shard has its part; with ``by_merchant`` all orders of
    a merchant are in one shard, and ``merchant_rate`` is that shard's. ``concurrency`` bounds the
    queries of this process, but for those about payments of :meth:`checkout`: these, and whatever
    moves money, wait for a connection of the session at most. Every ``look`` seconds it looks which
    shards are free and what was handed over; what is handed over in this process is seen at once.

    Of each business order that was charged a row stays, so that none is charged twice: until its
    last attempt is ``keep_orders`` old (400 days; 366 at least, None: for ever) and is known to
    have ended. What nobody could decide stays.

    What a ``SqlPollStore`` of one owner holds in the same database is brought over as soon as no
    process owns it: its outcomes come to this ``then``.

    Only ``async with`` and :meth:`run` serve. A process that does neither may hand orders over;
    :meth:`close` ends its connections, or a block of :meth:`handing_over`.
    """

    def __init__(
        self,
        store: SqlPollStore,
        gateway: Callable[[], Gateway],
        queue: OutcomeQueue | None = None,
        rate: float | None = None,
        concurrency: int = 200,
        *,
        then: str | None = None,
        merchant_rate: float | None = None,
        by_merchant: bool = False,
        look: float = 1.0,
        keep_orders: timedelta | None = KEEP,
        name: str | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._worker: Worker | None = None
        if not isinstance(store, SqlPollStore):
            raise UsageError("a fleet takes a SqlPollStore, which is not opened")
        self._sharding = Sharding(store.shards, by_merchant)
        patience = getattr(queue, "patience", None)
        seconds = {"rate": rate, "merchant_rate": merchant_rate, "look": look}
        _check(concurrency, {**seconds, "queue.patience": patience})
        if queue is not None and queue.joins and patience is not None:
            raise UsageError(
                "a queue that joins the fleet's transactions keeps no rows: its patience is None"
            )
        check_keep(keep_orders)
        _check_name(name)
        self._keep_orders = keep_orders
        self._name = name
        self._store = store
        self._make_gateway = gateway
        check_task(then)
        self._concurrency = concurrency
        self._clock = DatabaseClock(clock or store.clock)
        self._rng = rng or random.Random()
        self._engine = store.new_engine()
        self._database = FleetDatabase(
            self._engine, fleet_tables(store.table_prefix), self._clock, store.lease
        )
        part = 1 / store.shards
        if merchant_rate is not None and not by_merchant:
            merchant_rate *= part
        self._make_worker = partial(
            Worker,
            queue=queue,
            then=then,
            sharding=self._sharding,
            look=look,
            lease=store.lease,
            rate=None if rate is None else rate * part,
            merchant_rate=merchant_rate,
            clock=self._clock,
            rng=self._rng,
        )
        self._mch_id: str | None = None
        self._closing = AsyncExitStack()
        self._serving: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()

    def __repr__(self) -> str:
        state = "idle" if self._worker is None else f"{len(self._worker.served)} shards"
        return f"<Fleet of {self._sharding}, {state}>"

    # ------------------------------------------------------------------------------- handing over

    def watching(
        self,
        query: Query,
        *,
        then: str | None = None,
        expected: int | None = None,
        schedule: PollSchedule | None = None,
    ) -> Insert:
        """The statement that hands an order over, for a connection or session that is not async.

        ``connection.execute(fleet.watching(...))``, in the transaction of your order's row. Its
        arguments are those of :meth:`watch`. A statement is one watch, however often it is
        executed: make another one to wait again. The fleet's tables have to be there: they are
        made when a process first serves, or by your migrations (``fleet_metadata``).
        """
        watch = self._watch(query, then, expected, schedule)
        return self._database.handing_over(WATCH, watch)

    async def watch(
        self,
        query: Query,
        *,
        then: str | None = None,
        expected: int | None = None,
        schedule: PollSchedule | None = None,
        connection: AsyncConnection | AsyncSession | None = None,
    ) -> None:
        """Wait for one order or refund from now on; its outcome comes to the task ``then``.

        Without ``then`` it is the task that the process which serves it has for such orders.

        ``expected`` is the amount in fen; another one ends MISMATCH. ``schedule`` is
        M-22's for payments or refunds by default. On a ``connection`` of yours this is part of your
        transaction, and durable when you commit; else it is durable on return. An order that is
        waited for already is joined: its first ``then`` and amount count. Where that wait's last
        query left before you committed, this is a wait of its own, with another outcome. The query
        names its merchant, or the session of ``gateway`` does (M-18).
        """
        statement = self.watching(query, then=then, expected=expected, schedule=schedule)
        if connection is not None:
            await connection.execute(statement)
            return
        await self._database.write_rows(statement)
        self._wake()

    async def watch_many(
        self,
        queries: Iterable[PollItem] | AsyncIterable[PollItem],
        *,
        then: str | None = None,
        expected: int | None = None,
        schedule: PollSchedule | None = None,
        connection: AsyncConnection | AsyncSession | None = None,
    ) -> int:
        """Wait for many; an item is a query, or a query and its expected amount. How many.

        Without a ``connection`` some hundreds are committed at a time, so after an error some are
        handed over: calling this again does no harm.
        """
        count = 0
        batch: list[Mapping[str, Any]] = []
        async for item in each(queries):
            query, amount = item if isinstance(item, tuple) else (item, expected)
            batch.append(self._watch(query, then, amount, schedule))
            count += 1
            if len(batch) == _TOGETHER:
                await self._write(batch, connection)
                batch = []
        await self._write(batch, connection)
        return count

    async def _write(
        self, batch: list[Mapping[str, Any]], connection: AsyncConnection | AsyncSession | None
    ) -> None:
        if not batch:
            return
        statement = self._database.handing_over_many(WATCH)
        rows = [{f"p_{name}": value for name, value in row.items()} for row in batch]
        if connection is not None:
            await connection.execute(statement, rows)
            return
        await self._database.write_rows(statement, rows)
        self._wake()

    async def checkout(
        self,
        pay: Payment,
        *,
        then: str,
        paytype: PayType | Undocumented | str | None = None,
        order_no: str | None = None,
        allow_no_cancel: bool = False,
    ) -> CheckoutOutcome | None:
        """Charge a customer from this process, and leave the rest to the fleet (M-24).

        The payment leaves when it is durable that it may, within 5 s of the last look and 10 s of
        the call. What its own answer decides is returned, and comes to ``then`` like everything
        else. None: it is under way, and however this process ends, the fleet asks, cancels in time,
        and tells ``then``. So let ``then`` act, and show the customer what is returned.

        ``pay`` and the other arguments are those of :func:`~chaoying_async.checkout`; a payment
        code is never written down. One business order is charged once, by all processes together:
        another attempt is an :class:`~chaoying_async.exceptions.AttemptInProgressError`. A
        :class:`~chaoying_async.exceptions.StoreError` comes only before the payment left
        (``sent`` is False). The fleet has to be open: its session pays. Cancelling the caller
        cancels nothing at the gateway.
        """
        check_kind("pay", pay, Pay, FacePay)
        return await self._sender().checkout(
            pay,
            then=then,
            paytype=paytype,
            order_no=order_no,
            allow_no_cancel=allow_no_cancel,
        )

    async def refund(self, refund: Refund, *, then: str) -> None:
        """Send a refund from this process, and leave the rest to the fleet (M-25).

        Its end comes to ``then``, after days perhaps. What never left, or was refused in words that
        prove that nothing moved, raises as in :func:`~chaoying_async.refund_and_track`, and is not
        told to ``then``. Called again while it is under way, this sends nothing; what never left,
        as after a :class:`~chaoying_async.exceptions.StoreError`, it sends. While nobody knows
        whether it left, since its sender is at work, or has ended and the gateway was not seen to
        have the refund, this is an :class:`~chaoying_async.exceptions.AttemptInProgressError`: call
        again in a minute. Another refund under its number is one, too. When ``then`` has had its
        end, nobody remembers the number, and this sends it once more.
        """
        check_kind("refund", refund, Refund)
        await self._sender().refund(refund, then=then)

    async def release_order(self, order_no: str, *, mch_id: str | None = None) -> bool:
        """Allow another attempt: a person found that all of this order are unpaid, or paid back.

        For orders of :meth:`checkout` that ended UNKNOWN or PAID_AFTER_CANCEL, or PAID_EARLIER
        where that payment turned out to be another sale's: they bar every other attempt, and stay
        until this is called. The library cannot check what you say here: who is wrong charges a
        customer twice. The next attempt needs another ``out_trade_no``.

        False: the fleet has no record of such an order. One that is under way, or whose outcome is
        not written down yet, is an :class:`~chaoying_async.exceptions.AttemptInProgressError`. The
        record keeps when this was said, and how the attempt had ended, until there is another one;
        a line at WARNING says it too. Whoever may write into the fleet's tables may do this; the
        fleet need not be open. On the command line: ``chaoying poller release``.
        """
        merchant = mch_id or self._default_merchant()
        tables, clock = self._database.tables, self._clock.own
        work = partial(release, self._engine, tables, clock, merchant, order_no)
        with told():
            return await self._database.work.take(work, seconds=PATIENCE) is not None

    def _sender(self) -> Sending:
        self._opened()
        return self._sending

    def _opened(self) -> Worker:
        if self._worker is None:
            raise SessionClosedError("the fleet is not open: use it inside `async with`")
        return self._worker

    def _watch(
        self, query: Query, then: str | None, expected: int | None, schedule: PollSchedule | None
    ) -> Mapping[str, Any]:
        check_kind("query", query, OrderQuery, RefundQuery)
        merchant = query.mch_id or self._default_merchant(
            query.endpoint.name, where=" in the query"
        )
        return watch_of(
            query,
            mch_id=merchant,
            then=then,
            expected=expected,
            schedule=schedule,
            by_merchant=self._sharding.by_merchant,
            now=self._clock.now(),
            rng=self._rng,
        )

    def _default_merchant(self, *about: str, where: str = "") -> str:
        if self._mch_id is None:
            self._mch_id = merchant_of(self._make_gateway(), None, *about, where=where)
        return self._mch_id

    # ------------------------------------------------------------------------------------ serving

    async def __aenter__(self) -> Self:
        if self._worker is not None:
            raise UsageError("this fleet is open already; a process opens it once")
        try:
            check_engine(self._engine, "Fleet", "Poller")
            await self._database.open(self._sharding)
        except BaseException as error:
            error.add_note(f"while opening the fleet's tables {advice(self._engine.url)}")
            await self._store.dispose(self._engine)
            raise
        try:
            gateway: Any = self._make_gateway()
            if hasattr(gateway, "__aenter__"):
                gateway = await self._closing.enter_async_context(gateway)
        except BaseException:
            await self._store.dispose(self._engine)
            raise
        shared = SharedGateway(gateway, self._concurrency)
        self._sending = Sending(
            self._database,
            shared,
            old_store=OldStoreOrders(self._store.table_prefix, self._clock.own),
            by_merchant=self._sharding.by_merchant,
            clock=self._clock,
            rng=self._rng,
            wake=self._wake,
        )
        self._closing.push_async_callback(self._sending.close)
        self._worker = self._make_worker(
            self._name or _own_name(self._rng),
            self._database,
            shared,
            old_store=OldStore(
                *(self._database, self._store.table_prefix, self._sharding),
                clock=self._clock.own,
                lease=self._store.lease,
            ),
            old_orders=OldOrders(self._database, self._clock.own, self._keep_orders),
        )
        self._serving = asyncio.get_running_loop().create_task(
            self._worker.serve(), name="chaoying fleet: serve"
        )
        self._serving.add_done_callback(lambda _: self._stopped.set())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        worker, serving = self._worker, self._serving
        self._worker = self._serving = None
        try:
            if worker is not None and serving is not None:
                worker.stop()
                await asyncio.shield(serving)
        except asyncio.CancelledError:  # once more: tasks and queries under way end now
            if serving is not None:
                serving.cancel()
                await asyncio.wait([serving])
            raise
        finally:
            self._stopped.clear()
            try:
                await self._closing.aclose()
            finally:
                await self._store.dispose(self._engine)

    @asynccontextmanager
    async def handing_over(self) -> AsyncGenerator[Self]:
        """A block for a process that hands orders over and serves none of them.

        Nothing is opened before the first order, and no connection is left when the block is left.
        """
        try:
            yield self
        finally:
            await self.close()

    async def close(self) -> None:
        """Close the connections; what is served here ends first, as when the block is left.

        An engine of yours stays open. Closing twice does no harm, and what is handed over later
        opens connections again.
        """
        await self.__aexit__(None, None, None)

    async def run(self) -> None:
        """Serve until :meth:`stop` is called or this is cancelled; for a process of its own."""
        async with self:
            await self._stopped.wait()

    def stop(self) -> None:
        """End :meth:`run`: queries under way end, and the shards are handed back.

        Called before :meth:`run`, or while that opens its database, it ends that just as well.
        """
        self._stopped.set()

    def stats(self) -> FleetStats:
        """Numbers of this process; ``chaoying poller status`` has those of the whole fleet.

        They are read from memory, without a query of the database, and any thread may ask.
        """
        return self._opened().stats()

    def _wake(self) -> None:
        if self._worker is not None:
            self._worker.wake()


def _check(concurrency: object, seconds: Mapping[str, object]) -> None:
    """:class:`ParameterError` that names every number with which nothing would ever be asked."""
    problems = {
        name: "must be a number above 0"
        for name, value in seconds.items()
        if value is not None
        and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf)
    }
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        problems["concurrency"] = "must be a whole number, 1 or more"
    if problems:
        raise ParameterError(problems)


def _check_name(name: object) -> None:
    """:class:`ParameterError` for what its column would cut off, or refuse at every look."""
    is_one = isinstance(name, str) and len(name) <= LONGEST_NAME and "\0" not in name
    if name is not None and not is_one:
        rule = f"must be text of at most {LONGEST_NAME} characters, without NUL"
        raise ParameterError({"name": rule})


def _own_name(rng: random.Random) -> str:
    """A name for this process that people can find, and that no other process has."""
    return f"{socket.gethostname()}:{os.getpid()}:{rng.randrange(16**6):06x}"
