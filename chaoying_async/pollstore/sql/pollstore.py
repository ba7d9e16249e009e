"""The poll store in a database: texts in one table, their owner in another, written in batches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import URL, Delete, Executable, bindparam, delete, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.dml import Insert

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.exceptions import (
    ParameterError,
    SessionClosedError,
    StoreError,
    StoreInUseError,
    StoreTrouble,
)
from chaoying_async.pollstore.errands import Errands
from chaoying_async.pollstore.failures import told
from chaoying_async.pollstore.sql.ownership import Ownership
from chaoying_async.pollstore.sql.tables import LONGEST_KEY, LONGEST_KIND, store_tables
from chaoying_async.sql.addresses import advice, database_url
from chaoying_async.sql.autocommit import check_commit
from chaoying_async.sql.batching import Batches, Take
from chaoying_async.sql.columns import DEFAULT_PREFIX
from chaoying_async.sql.dialects import dialect_of
from chaoying_async.sql.engines import check_engine, engine_at
from chaoying_async.sql.transactions import connected, transaction, whole

log = logging.getLogger("chaoying_async.pollstore")

#: Rows that are read at a time.
_PAGE = 5000
#: How often a lease is renewed while it runs.
_RENEWALS = 3
#: A SQLite file is kept in WAL mode, and written through to the disk at every commit; one
#: connection waits 10 s for another.
_PRAGMAS = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL")

#: ``(kind, key)`` to the text to keep; None: to be dropped.
Changes = Mapping[tuple[str, str], str | None]
#: So many changes go into one transaction.
_MOST = 2000


class _OpenStore:
    """What an open store has, and a closed one has not: statements, an owner, a writer."""

    def __init__(self, store: SqlPollStore, engine: AsyncEngine) -> None:
        metadata, texts, owner = store_tables(store.table_prefix)
        self.engine = engine
        self.metadata = metadata
        self.owned = Ownership(engine, owner, store.clock, store.lease)
        columns = texts.c
        same = (columns.kind == bindparam("p_kind"), columns.item == bindparam("p_item"))
        self.put: Insert = dialect_of(engine).insert_or_replace(texts, ["kind", "item"], "body")
        self.drop: Delete = delete(texts).where(*same)
        self.get = select(columns.body).where(*same)
        self.page = (
            select(columns.seq, columns.item, columns.body)
            .where(columns.kind == bindparam("p_kind"), columns.seq > bindparam("p_after"))
            .order_by(columns.seq)
            .limit(_PAGE)
        )

    async def start(self, clock: Clock) -> None:
        """Make the tables, take the store, and go on renewing its lease."""
        await self.make_tables()
        await self.owned.take()
        self.writer: Batches[Changes, None] = Batches(self.write, most=_MOST, size=len)
        self.renewing = asyncio.get_running_loop().create_task(self.renew(clock))

    async def make_tables(self) -> None:
        """Make the tables that are missing; other processes may be doing the same."""
        for _ in self.metadata.tables:  # each may have been made between our look and our try
            with contextlib.suppress(DBAPIError):
                return await whole(self.engine, self._make_tables())
        return await whole(self.engine, self._make_tables())

    async def _make_tables(self) -> None:
        async with connected(self.engine) as connection:
            await check_commit(connection)
        async with transaction(self.engine) as connection:
            await connection.run_sync(self.metadata.create_all)

    async def stop(self, *, dispose: bool) -> None:
        """Write what is left, give the store back, dispose; cancelled, it writes less.

        The rest is done all the same: a transaction that is cut off may leave a SQLite file locked,
        and a renewal that goes on would keep the store from everybody.
        """
        ending = asyncio.get_running_loop().create_task(self._end(dispose=dispose))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:
            self.writer.drop()
            await asyncio.wait([ending])
            raise

    async def _end(self, *, dispose: bool) -> None:
        try:
            await self._give_back()
        finally:
            if dispose:
                await self.engine.dispose()

    async def _give_back(self) -> None:
        await self.writer.close()
        self.renewing.cancel()
        await asyncio.wait([self.renewing])
        try:
            await self.owned.release()
        except Exception as error:  # noqa: BLE001 - drivers raise errors of their own too
            log.warning("the lease could not be given back (%s): it runs out", type(error).__name__)

    async def renew(self, clock: Clock) -> None:
        """Renew the lease for as long as the store is ours; after an error, try again."""
        while True:
            await clock.sleep(self.owned.lease / _RENEWALS)
            try:
                await self.owned.renew()
            except StoreInUseError:
                log.error("%s", "another process has taken the poll store over")  # noqa: TRY400
                return
            except Exception as error:  # noqa: BLE001 - drivers raise errors of their own too
                log.warning("the store's lease could not be renewed: %s", type(error).__name__)

    async def read(self, statement: Executable, values: dict[str, Any]) -> Sequence[Any]:
        """All rows of one statement, in a connection of its own."""
        return await whole(self.engine, self._read(statement, values))

    async def _read(self, statement: Executable, values: dict[str, Any]) -> Sequence[Any]:
        async with connected(self.engine) as connection:
            return (await connection.execute(statement, values)).all()

    async def write(self, take: Take[Changes]) -> Sequence[None]:
        """Write what waits in one transaction; what is newer counts."""
        batch = take()
        together: dict[tuple[str, str], str | None] = {}
        for changes in batch:
            together.update(changes)
        await whole(self.engine, self._commit(together))
        return [None] * len(batch)

    async def _commit(self, changes: Changes) -> None:
        """The lease is renewed in the same transaction, which proves that it is the owner's."""
        put = [
            {"kind": kind, "item": key, "body": text}
            for (kind, key), text in changes.items()
            if text is not None
        ]
        drop = [
            {"p_kind": kind, "p_item": key} for (kind, key), text in changes.items() if text is None
        ]
        async with transaction(self.engine) as connection:
            await self.owned.renew_in(connection)
            if put:
                await connection.execute(self.put, put)
            if drop:
                await connection.execute(self.drop, drop)


class SqlPollStore:
    """What is being waited for, kept in a database; see :class:`~chaoying_async.abc.PollStore`.

    ::

        async with SqlPollStore("polls.db") as store, Poller(gateway, store=store) as poller:
            ...

    ``where`` is the path of a SQLite file, the address of a database
    (``postgresql+psycopg://...``, ``mysql+aiomysql://...``) or an ``AsyncEngine`` of yours, which
    stays open. Tables are made where they are missing. A file on a network share is no place for
    SQLite: use a server.

    One process owns a store at a time, for ``lease`` seconds that are renewed while it lives.
    Opening a store whose owner lives is a :class:`~chaoying_async.exceptions.StoreInUseError`;
    after a crash it waits until the dead owner's lease has run out, and says so at WARNING. The
    lease is on the database's clock, for SQLite on that of ``clock``. An owner that was stalled for
    so long that another took over can write nothing more: each call is then a ``StoreInUseError``.

    ``put`` and ``forget`` are durable when they return, and what comes together is written
    together. Whatever the database raises is a :class:`~chaoying_async.exceptions.StoreError` whose
    ``kind`` says what to mend; the database's own error is its cause. On opening it has a note that
    says what to look at. What no database could open (an address that is none, a driver or a
    directory that is missing) is a :class:`~chaoying_async.exceptions.UsageError`.

    Leaving the block waits for what ``done()`` of an outcome has begun, up to 10 s.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | URL | AsyncEngine = "polls.db",
        *,
        lease: float = 15.0,
        table_prefix: str = DEFAULT_PREFIX,
        clock: Clock | None = None,
    ) -> None:
        self._opened: _OpenStore | None = None
        self._opening = False
        if not lease > 0:
            raise ParameterError({"lease": "must be a number of seconds above 0"})
        self.lease = lease
        self.table_prefix = table_prefix
        self.clock: Clock = clock or SystemClock()
        self._where = where
        #: The poller that is open on it; a store has one at a time.
        self.polled_by: object | None = None
        #: Outcomes being forgotten in the background; closing the store waits for them.
        self.errands = Errands()

    def __repr__(self) -> str:
        return f"<SqlPollStore {'closed' if self._opened is None else 'open'}>"

    async def __aenter__(self) -> Self:
        if self._opened is not None or self._opening:
            raise StoreInUseError("this store is open already; one process, one owner")
        engine = self._engine()
        self._opening = True
        try:
            with told():
                check_engine(engine, "SqlPollStore", "MemoryPollStore")
                opened = _OpenStore(self, engine)
                await opened.start(self.clock)
        except BaseException as error:
            error.add_note(f"while opening the poll store {advice(engine.url)}")
            await self._dispose(engine)
            raise
        finally:
            self._opening = False
        self._opened = opened
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.errands.finish(self.clock)
        finally:
            opened, self._opened = self._opened, None
            if opened is not None:
                with told():
                    await opened.stop(dispose=opened.engine is not self._where)

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        opened = self._usable()
        for key, text in items.items():
            _check(kind, key, text)
        if items:
            with told():
                await opened.writer.add({(kind, key): text for key, text in items.items()})

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        opened = self._usable()
        if keys:
            with told():
                await opened.writer.add({(kind, key): None for key in keys})

    async def get(self, kind: str, key: str) -> str | None:
        opened = self._usable()
        with told():
            rows = await opened.read(opened.get, {"p_kind": kind, "p_item": key})
        return rows[0].body if rows else None

    async def load(self, kind: str) -> AsyncIterator[tuple[str, str]]:
        """Read in pages, so it holds no transaction open."""
        async for item in _pages(self._usable, kind):
            yield item

    async def peek(self, kind: str) -> list[tuple[str, str]]:
        """What :meth:`load` gives, read beside the store's owner: nothing is opened or taken.

        For looking only; no file and no table is made by it. Where no store was ever made, it
        raises a :class:`~chaoying_async.exceptions.StoreError`.
        """
        if not isinstance(self._where, AsyncEngine):
            _check_file_exists(self._where)
        engine = self._engine()
        try:
            with told():
                check_engine(engine, "SqlPollStore", "MemoryPollStore")
            looking = _OpenStore(self, engine)
            return [item async for item in _pages(lambda: looking, kind)]
        except StoreError as error:
            error.add_note(f"while looking into the poll store {advice(engine.url)}")
            raise
        finally:
            await self._dispose(engine)

    async def hold(self) -> None:
        opened = self._usable()
        with told():
            await opened.owned.hold()

    def _engine(self) -> AsyncEngine:
        if isinstance(self._where, AsyncEngine):
            return self._where
        return engine_at(self._where, *_PRAGMAS)

    async def _dispose(self, engine: AsyncEngine) -> None:
        if engine is not self._where:  # else it is the caller's
            await engine.dispose()

    def _usable(self) -> _OpenStore:
        if self._opened is None:
            raise SessionClosedError("the store is not open: use it inside `async with`")
        self._opened.owned.check()
        return self._opened


def _check_file_exists(where: str | os.PathLike[str] | URL) -> None:
    """:class:`StoreError` for a file that is missing: SQLite would make one by looking for it."""
    url = database_url(where)
    file = str(url.database or "")
    a_path = url.get_backend_name() == "sqlite" and not file.startswith("file:")
    if a_path and not Path(file).is_file():
        words = f"there is no poll store at {file}: is that its file?"
        raise StoreError(words, kind=StoreTrouble.TABLE_MISSING)


async def _pages(reader: Callable[[], _OpenStore], kind: str) -> AsyncGenerator[tuple[str, str]]:
    after = -1
    while True:
        opened = reader()
        with told():
            rows = await opened.read(opened.page, {"p_kind": kind, "p_after": after})
        for after, key, text in rows:  # noqa: B007 - where the next page begins
            yield key, text
        if len(rows) < _PAGE:
            return


def _check(kind: str, key: str, text: str) -> None:
    """Refuse what any of the databases would cut off or refuse, before it is in a batch."""
    problems = {}
    for name, value, longest in (("kind", kind, LONGEST_KIND), ("key", key, LONGEST_KEY)):
        if not _storable(value) or len(value) > longest:
            problems[name] = f"must be text of at most {longest} characters, without NUL"
    if not _storable(text):
        problems["text"] = "must be text without NUL"
    if problems:
        raise ParameterError(problems)


def _storable(value: str) -> bool:
    return "\0" not in value and (value.isascii() or _HALF(value) is None)


#: Half a character, which is no UTF-8.
_HALF = re.compile("[\ud800-\udfff]").search
