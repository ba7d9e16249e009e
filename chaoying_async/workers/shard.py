"""One shard while this process owns it: a poll store over its rows, and their way to an outcome."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Self

from sqlalchemy import bindparam, case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.abc import Clock
from chaoying_async.exceptions import StoreInUseError, UsageError
from chaoying_async.pollstore.errands import Errands
from chaoying_async.pollstore.failures import told
from chaoying_async.pollstore.sql.owned_texts import OwnedTexts, TextStatements
from chaoying_async.pollstore.sql.ownership import Ownership
from chaoying_async.sansio.polling.record import POLL
from chaoying_async.sansio.stored import encoded
from chaoying_async.sql.dialects import dialect_of
from chaoying_async.sql.many import execute_for_each
from chaoying_async.sql.transactions import rows_of, transaction
from chaoying_async.sql.turns import Turns
from chaoying_async.workers.log_texts import log
from chaoying_async.workers.outcomes import OUTCOME, OutcomeReport, outcome_item
from chaoying_async.workers.queues.protocol import OutcomeQueue
from chaoying_async.workers.tables import FRESH, KEPT, NO_TASK, WATCH, FleetTables
from chaoying_async.workers.watching import row_kind

_MICRO = 1_000_000
#: How many rows one statement names.
_READ_AT_A_TIME = 500


class Shard:
    """A :class:`~chaoying_async.abc.PollStore` of the rows with this shard's mark.

    Every write renews the shard's lease in its transaction, so it is the owner's or fails with a
    :class:`~chaoying_async.exceptions.StoreInUseError`. A text is put into a row that is there: who
    hands something over makes its row.
    """

    def __init__(
        self,
        number: int,
        engine: AsyncEngine,
        tables: FleetTables,
        owned: Ownership,
        *,
        queue: OutcomeQueue | None,
        then: str | None,
        clock: Clock,
        turns: Turns,
    ) -> None:
        self._turns = turns
        self.number = number
        self.table_prefix = tables.prefix
        #: The poller that is open on it; see ``polling.records``.
        self.polled_by: object | None = None
        #: Outcomes being forgotten in the background.
        self.errands = Errands()
        self._engine = engine
        self._owned = owned
        self._queue = queue
        self._clock = clock
        self._dialect = dialect_of(engine)
        rows = tables.rows
        columns = rows.c
        of_kind = columns.kind == bindparam("p_kind")
        same = of_kind, columns.item == bindparam("p_item")
        mine = columns.shard == number
        # A row of the same key that was handed over since is nobody's yet; records of business
        # orders belong to no shard.
        written = or_(mine, columns.shard == KEPT)
        put = update(rows).where(*same, written).values(body=bindparam("p_body"))
        self._texts = OwnedTexts(engine, owned, TextStatements.of(rows, put, mine), turns)
        # A body that is not given stays what it is by then: its sender may be writing still.
        body = func.coalesce(bindparam("p_body", type_=columns.body.type), columns.body)
        self._mark = (
            update(rows)
            .where(columns.seq == bindparam("p_seq"), columns.shard + 0 == FRESH)
            .values(shard=number, body=body)
        )
        self._marked = (
            select(columns.kind, columns.item, columns.body)
            .where(mine, columns.seq.in_(bindparam("p_seqs", expanding=True)))
            .order_by(columns.seq)  # of two watches of one order the first one counts
        )
        named = case((columns.then == NO_TASK, then or NO_TASK), else_=columns.then).label("then")
        self._row = select(columns.seq, named).where(*same, mine)
        # "+ 0": else MariaDB may look a row up by the index of shards, and wait for the locks of
        # its neighbours, which transactions of the shop have.
        by_seq = columns.seq == bindparam("p_seq"), columns.shard + 0 == number
        self._drop = delete(rows).where(*by_seq)
        self._becomes_outcome = (
            update(rows)
            .where(*by_seq)
            .values(
                kind=OUTCOME,
                item=bindparam("p_item"),
                body=bindparam("p_body"),
                due=0,
                tries=0,
                created=self._dialect.now,
            )
        )
        others = columns.seq.not_in(bindparam("p_busy", expanding=True))
        self._due = (
            select(columns.seq, named, columns.body, columns.tries)
            .where(mine, of_kind, columns.due <= self._dialect.now, others)
            .order_by(columns.seq)
        )
        self._next_due = select(func.min(columns.due) - self._dialect.now).where(
            mine, of_kind, others
        )
        pause = self._dialect.now + bindparam("p_pause")
        self._later = update(rows).where(*by_seq).values(tries=columns.tries + 1, due=pause)
        # Its task deletes the row in a transaction of the shop's, however long that takes.
        self._free = select(columns.seq).where(*by_seq).with_for_update(skip_locked=True)
        self._again = update(rows).where(*by_seq).values(due=pause)

    def __repr__(self) -> str:
        return f"<Shard {self.number}>"

    async def __aenter__(self) -> Self:
        """Begin to write; its lease was just taken."""
        self._texts.start(self._clock)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.errands.finish(self._clock)
        finally:
            with told():
                await self._texts.stop()

    # ---------------------------------------------------------------------------- a poll store

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        self._owned.check()
        for of_kind in _row_kinds(kind):
            some = {key: text for key, text in items.items() if row_kind(kind, key) == of_kind}
            await self._texts.put(of_kind, some)

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        """Delete the texts under these keys, but what was handed over since and not taken up."""
        self._owned.check()
        for of_kind in _row_kinds(kind):
            some = [key for key in keys if row_kind(kind, key) == of_kind]
            await self._texts.forget(of_kind, some)

    async def get(self, kind: str, key: str) -> str | None:
        self._owned.check()
        return await self._texts.get(row_kind(kind, key), key)

    async def load(self, kind: str) -> AsyncGenerator[tuple[str, str]]:
        for of_kind in _row_kinds(kind):
            async for row in self._texts.pages(of_kind, self._owned.check):
                yield row.item, row.body

    async def hold(self) -> None:
        self._owned.check()
        with told():
            await self._owned.hold()

    # ------------------------------------------------------------------------- its own ways

    async def mark(self, bodies: Mapping[int, str | None]) -> None:
        """Put the shard's mark on rows that nobody has taken up, by their ``seq``.

        Their bodies are written with it, but those that are None, which stay as they are. A row
        that is gone, or was taken up by another, is left alone: see :meth:`marked`.
        """
        marks = [{"p_seq": seq, "p_body": body} for seq, body in bodies.items()]
        with told():
            await self._write(lambda c: execute_for_each(c, self._mark, marks))

    async def marked(self, seqs: Collection[int]) -> list[Any]:
        """``kind``, ``item`` and ``body`` of those of these rows that have the shard's mark."""
        found: list[Any] = []
        for begin in range(0, len(seqs), _READ_AT_A_TIME):
            some = list(islice(seqs, begin, begin + _READ_AT_A_TIME))
            with told():
                found += await self._read(self._marked, {"p_seqs": some})
        return found

    async def tell(self, kind: str, key: str, report: OutcomeReport) -> None:
        """What is waited for has ended: hand its outcome over, and wait for it no more (M-23).

        A queue that joins our transaction gets the outcome in it. Where that fails, or the queue
        joins none, the row holds the outcome until it was delivered. Where the row is gone this was
        done before.
        """
        where = {"p_kind": row_kind(kind, key), "p_item": key}
        with told():
            if self._queue is not None and self._queue.joins:
                try:
                    return await self._write(partial(self._send_at_once, where, report))
                except StoreInUseError:
                    raise
                except Exception as error:  # noqa: BLE001 - it is tried again from its row
                    log.warning(
                        "the outcome of %s was not queued at once (%s): it is queued from its row",
                        *(key, type(error).__name__),
                    )
            return await self._write(partial(self._keep_outcome, where, report))

    async def _send_at_once(
        self, where: Mapping[str, str], report: OutcomeReport, connection: AsyncConnection
    ) -> None:
        row = (await connection.execute(self._row, where)).first()
        if row is not None:
            await self._send(row.seq, row.then, report.numbered(row.seq), connection)

    async def _keep_outcome(
        self, where: Mapping[str, str], report: OutcomeReport, connection: AsyncConnection
    ) -> None:
        row = (await connection.execute(self._row, where)).first()
        if row is not None:
            values = {
                "p_seq": row.seq,
                "p_item": outcome_item(row.seq, where["p_item"]),
                "p_body": encoded(report.numbered(row.seq)),
            }
            await connection.execute(self._becomes_outcome, values | self._time())

    async def send(self, seq: int, then: str, outcome: Mapping[str, Any]) -> None:
        """Give a kept outcome to a queue that joins the transaction which forgets it."""
        with told():
            await self._write(partial(self._send, seq, then, outcome))

    async def _send(
        self, seq: int, then: str, outcome: Mapping[str, Any], connection: AsyncConnection
    ) -> None:
        check_named(then)
        await connection.execute(self._drop, {"p_seq": seq})
        if self._queue is not None:
            await self._queue.send(then, outcome, connection)

    async def due(self, limit: int, busy: Collection[int] = ()) -> Sequence[Any]:
        """The next outcomes to be delivered, but those of ``busy``, each by its ``seq``.

        ``seq``, ``then``, ``body`` and ``tries`` of each.
        """
        values = {"p_kind": OUTCOME, "p_busy": list(busy)} | self._time()
        with told():
            return await self._read(self._due.limit(limit), values)

    async def next_due(self, busy: Collection[int] = ()) -> float | None:
        """Seconds until one that is not ``busy`` is to be delivered; None: there is none."""
        values = {"p_kind": OUTCOME, "p_busy": list(busy)} | self._time()
        with told():
            ((left,),) = await self._read(self._next_due, values)
        return None if left is None else max(0.0, int(left) / _MICRO)

    async def delivered(self, seq: int) -> None:
        """Forget an outcome that its task has."""
        with told():
            await self._write(lambda c: c.execute(self._drop, {"p_seq": seq}))

    async def deliver_later(self, seq: int, pause: float) -> None:
        """Count one more failure; the outcome is due again after so many seconds.

        Not where its task has it all the same: that decides.
        """
        await self._while_free(self._later, seq, pause)

    async def lend(self, seq: int, seconds: float) -> bool:
        """Keep an outcome that is about to be sent until its task takes it; due again in so long.

        False: the task took it, or is just about to.
        """
        return await self._while_free(self._again, seq, seconds)

    async def _while_free(self, statement: Any, seq: int, pause: float) -> bool:
        """Whether the row is there and in nobody's hands; then it is due after the pause."""
        values = {"p_seq": seq, "p_pause": round(pause * _MICRO)} | self._time()
        free: list[int] = []

        async def write(connection: AsyncConnection) -> None:
            free[:] = (await connection.execute(self._free, values)).scalars()
            if free:
                await connection.execute(statement, values)

        with told():
            await self._write(write)
        return bool(free)

    async def _write(self, write: Callable[[AsyncConnection], Awaitable[object]]) -> None:
        """Write in a transaction that is the owner's, or fails."""
        await self._turns.take(partial(self._write_now, write))

    async def _write_now(self, write: Callable[[AsyncConnection], Awaitable[object]]) -> None:
        async with transaction(self._engine) as connection:
            await self._owned.renew_in(connection)
            await write(connection)

    async def _read(self, statement: Any, values: dict[str, Any]) -> Sequence[Any]:
        return await self._turns.take(partial(rows_of, self._engine, statement, values))

    def _time(self) -> dict[str, int]:
        return self._dialect.timed(self._clock)


def check_named(then: str) -> None:
    """:class:`UsageError` for an order that names no task, in a process that has none for it."""
    if then == NO_TASK:
        raise UsageError("the order names no task: give `then` to Fleet, or --then to the poller")


def _row_kinds(kind: str) -> Sequence[str]:
    """The kinds of rows that hold a poller's records of that kind."""
    return (POLL, WATCH) if kind == POLL else (kind,)
