"""The poll store in a database: texts in one table, their owner in another, written in batches."""

from __future__ import annotations

import math
import os
import re
from collections.abc import AsyncIterator, Collection, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import URL, bindparam
from sqlalchemy.ext.asyncio import AsyncEngine

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
from chaoying_async.pollstore.sql.owned_texts import OwnedTexts, TextStatements
from chaoying_async.pollstore.sql.ownership import Ownership, longest_idle
from chaoying_async.pollstore.sql.tables import LONGEST_KEY, LONGEST_KIND, store_tables
from chaoying_async.sql.addresses import advice, database_url
from chaoying_async.sql.columns import DEFAULT_PREFIX
from chaoying_async.sql.creation import make_tables
from chaoying_async.sql.dialects import dialect_of
from chaoying_async.sql.engines import check_engine, engine_at
from chaoying_async.sql.transactions import to_its_end
from chaoying_async.sql.turns import Turns

#: A SQLite file is kept in WAL mode, and written through to the disk at every commit; one
#: connection waits 10 s for another.
_PRAGMAS = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL")

#: How many connections read and write texts at a time.
_AT_ONCE = 3
#: Seconds that a use of the database may take at least, and making the tables.
_PATIENCE, _MAKING_TABLES = 10.0, 60.0


class _OpenStore(OwnedTexts):
    """What an open store has, and a closed one has not."""

    def __init__(self, store: SqlPollStore, engine: AsyncEngine) -> None:
        self.metadata, texts, owner = store_tables(store.table_prefix)
        put = dialect_of(engine).insert_or_replace(texts, ["kind", "item"], "body")
        put = put.values(
            kind=bindparam("p_kind"), item=bindparam("p_item"), body=bindparam("p_body")
        )
        owned = Ownership(engine, owner, store.clock, store.lease)
        patience = max(_PATIENCE, store.lease)
        turns = Turns(engine, store.clock, seconds=patience, at_once=_AT_ONCE)
        super().__init__(engine, owned, TextStatements.of(texts, put), turns)

    async def open(self, clock: Clock) -> None:
        """Make the tables, take the store, and go on renewing its lease."""
        making = partial(make_tables, self.engine, self.metadata)
        await self._turns.take(making, seconds=_MAKING_TABLES)
        await self.owned.take()
        self.start(clock)

    async def close(self, *, dispose: bool) -> None:
        """Write what is left, give the store back, dispose; the last even when cancelled."""
        try:
            await self.stop()
        finally:
            if dispose:
                await to_its_end(self.engine.dispose())


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

    A server that says nothing is given up: a use of it after 10 s, or after a lease where that is
    longer, a renewal after a sixth of the lease. The call is then a ``StoreError`` (what it wrote
    may have been committed), and the next one opens another connection.

    Leaving the block waits for what ``done()`` of an outcome has begun, up to 10 s.

    Several processes share what is waited for through a :class:`~chaoying_async.workers.Fleet`. It
    is given such a store without opening it, and cuts its part of the database into ``shards``,
    each of which has an owner of its own.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | URL | AsyncEngine = "polls.db",
        *,
        lease: float = 15.0,
        shards: int = 16,
        table_prefix: str = DEFAULT_PREFIX,
        clock: Clock | None = None,
    ) -> None:
        self._opened: _OpenStore | None = None
        self._opening = False
        if not 0 < lease < math.inf:
            raise ParameterError({"lease": "must be a number of seconds above 0"})
        self.lease = lease
        self.shards = shards
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
        engine = self.new_engine()
        self._opening = True
        try:
            with told():
                check_engine(engine, "SqlPollStore", "MemoryPollStore")
                opened = _OpenStore(self, engine)
                await opened.open(self.clock)
        except BaseException as error:
            error.add_note(f"while opening the poll store {advice(engine.url)}")
            await self.dispose(engine)
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
                    await opened.close(dispose=opened.engine is not self._where)

    async def put(self, kind: str, items: Mapping[str, str]) -> None:
        opened = self._usable()
        for key, text in items.items():
            _check(kind, key, text)
        await opened.put(kind, items)

    async def forget(self, kind: str, keys: Collection[str]) -> None:
        await self._usable().forget(kind, keys)

    async def get(self, kind: str, key: str) -> str | None:
        return await self._usable().get(kind, key)

    async def load(self, kind: str) -> AsyncIterator[tuple[str, str]]:
        """Read in pages, so it holds no transaction open."""
        async for row in self._usable().pages(kind, self._usable):
            yield row.item, row.body

    async def peek(self, kind: str) -> list[tuple[str, str]]:
        """What :meth:`load` gives, read beside the store's owner: nothing is opened or taken.

        For looking only; no file and no table is made by it. Where no store was ever made, it
        raises a :class:`~chaoying_async.exceptions.StoreError`.
        """
        if not isinstance(self._where, AsyncEngine):
            _check_file_exists(self._where)
        engine = self.new_engine()
        try:
            with told():
                check_engine(engine, "SqlPollStore", "MemoryPollStore")
            looking = _OpenStore(self, engine)
            return [(row.item, row.body) async for row in looking.pages(kind, lambda: None)]
        except StoreError as error:
            error.add_note(f"while looking into the poll store {advice(engine.url)}")
            raise
        finally:
            await self.dispose(engine)

    async def hold(self) -> None:
        opened = self._usable()
        with told():
            await opened.owned.hold()

    def new_engine(self) -> AsyncEngine:
        """The engine that was given, or one made for the path or address; :meth:`dispose` it."""
        if isinstance(self._where, AsyncEngine):
            return self._where
        return engine_at(self._where, *_PRAGMAS, idle=longest_idle(self.lease))

    async def dispose(self, engine: AsyncEngine) -> None:
        """Close an engine's connections, unless it is yours."""
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
