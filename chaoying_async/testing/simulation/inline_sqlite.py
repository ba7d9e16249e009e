"""SQLite without a thread: aiosqlite's connection, whose calls run inline after a virtual delay.

It is the real SQLite on a real file, so locks, WAL and constraints are its own. What is simulated:
how long a call takes, what fails on purpose, and waiting for a lock (SQLite's own would stop the
world). A call goes on when its caller is cancelled, as it does in aiosqlite's thread.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import aiosqlite
from sqlalchemy import URL, AsyncAdaptedQueuePool, Dialect, Engine, event, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import LRUCache

from chaoying_async.testing.simulation.process import Process
from chaoying_async.testing.simulation.timeline import Happening, Timeline

#: Seconds between two tries to get a lock.
_LOOK_AGAIN = 0.02
#: Seconds that a connection waits for a lock, unless told otherwise; aiosqlite's default.
_PATIENCE = 5.0
#: What SQLite says when another connection's lock is in the way.
_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY})
_BUSY_TIMEOUT = "PRAGMA busy_timeout="
#: Calls that take no time worth simulating.
_INSTANT = frozenset(
    {"cursor", "close", "fetchall", "fetchone", "fetchmany", "regexp", "floor", "ROLLBACK"}
)
_WRITES = ("INSERT", "UPDATE", "DELETE", "WITH ALONE", "REPLACE", "CREATE", "BEGIN IMMEDIATE")


class Trouble(Enum):
    """What a database can do instead of its work."""

    BUSY = "database is locked"
    """Another program holds the lock for longer than anybody waits."""
    FULL = "database or disk is full"
    """A write finds no room."""
    READ_ONLY = "attempt to write a readonly database"
    """A write is not allowed, as when a file system went read-only."""
    COMMIT_FAILS = "disk I/O error"
    """A COMMIT fails, and the transaction is still open."""
    COMMIT_ROLLED_BACK = "disk I/O error, and rolled back"
    """A COMMIT fails, and SQLite has rolled back by itself."""
    COMMIT_UNKNOWN = "disk I/O error, and yet committed"
    """A COMMIT is carried out, and an error is raised all the same."""
    GONE = "unable to open database file"
    """Nothing can be done with it: its process is cut off."""


_CODES = {
    Trouble.BUSY: sqlite3.SQLITE_BUSY,
    Trouble.FULL: sqlite3.SQLITE_FULL,
    Trouble.READ_ONLY: sqlite3.SQLITE_READONLY,
    Trouble.GONE: sqlite3.SQLITE_CANTOPEN,
}
_ON_COMMIT = (Trouble.COMMIT_FAILS, Trouble.COMMIT_ROLLED_BACK, Trouble.COMMIT_UNKNOWN)


class CalmDisk:
    """A disk on which nothing fails; every call takes about a millisecond, a COMMIT ten."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def takes(self, *, commit: bool) -> float:
        """How many seconds a call takes."""
        return self._rng.uniform(0.0, 0.02 if commit else 0.002)

    def trouble(self) -> Trouble | None:
        """What goes wrong with a call, if anything; drawn for every call."""
        return None


#: What is to be done, and who waits for it.
Job = tuple["asyncio.Future[Any] | None", Callable[[], Any]]


class InlineConnection(aiosqlite.Connection):
    """aiosqlite's connection; in the place of its thread's queue is a :class:`_Desk`."""

    def __init__(self, desk: _Desk, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._tx: Any = desk

    def __await__(self) -> Generator[Any, None, aiosqlite.Connection]:
        return self._connect().__await__()  # without starting a thread

    def __del__(self) -> None:
        """Do nothing: a dead process closes nothing, and nobody warns it."""


class _Desk:
    """Does what a connection asks for, one thing after the other, each after its delay."""

    def __init__(self, files: SimulatedFiles, path: str) -> None:
        self._files = files
        self._path = path
        self._waiting: deque[Job] = deque()
        self._connection: sqlite3.Connection | None = None
        self._patience = _PATIENCE
        self._gone = False
        #: Whether anything was ever done on it.
        self.was_used = False
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()

    def connect(self) -> sqlite3.Connection:
        """Open the file."""
        made = sqlite3.connect(self._path, timeout=0)
        self._connection = made
        self._files.process.files[self] = None
        return made

    def torn_down(self) -> None:
        """Close the file at once, as the operating system does for a dead process."""
        self._gone = True
        self._files.process.files.pop(self, None)
        self._waiting.clear()
        if self._connection is not None:
            # Closing alone would leave the locks of statements that dead coroutines still hold.
            with suppress(sqlite3.Error):
                for cursor in list(self._cursors):
                    cursor.close()
                self._connection.rollback()
                self._connection.close()

    def put_nowait(self, item: Job | object) -> None:
        """Take what is to be done, as the queue of aiosqlite's thread does."""
        if not isinstance(item, tuple):
            return  # older aiosqlites tell their thread to end
        if self._gone:
            future, function = item
            if future is not None and _closes(function):
                future.set_result(None)
            elif future is not None:
                future.set_exception(ValueError("Connection closed"))
            return
        self.was_used = self._connection is not None
        self._waiting.append(item)
        if len(self._waiting) == 1:
            self._begin()

    def _begin(self) -> None:
        name = _name(self._waiting[0][1])
        if name in _INSTANT:
            self._work(name, 0.0)
            return
        takes = self._files.disk.takes(commit=name == "COMMIT")
        asyncio.get_running_loop().call_later(takes, self._work, name, 0.0)

    def _work(self, name: str, waited: float) -> None:
        if not self._waiting:
            return
        function = self._patient(self._waiting[0][1], name)
        loop = asyncio.get_running_loop()
        result: Any = None
        error: Exception | None = None
        try:
            result = self._done(function, name)
        except sqlite3.OperationalError as failed:
            code = getattr(failed, "sqlite_errorcode", 0)
            if code in _LOCKED and waited < self._patience and not hasattr(failed, "on_purpose"):
                loop.call_later(_LOOK_AGAIN, self._work, name, waited + _LOOK_AGAIN)
                return
            error = failed
        except Exception as failed:  # noqa: BLE001 - as aiosqlite's thread does
            error = failed
        if name == "COMMIT":  # a kill may come after it, and before anybody hears of it
            loop.call_later(self._files.disk.takes(commit=False), self._deliver, result, error)
        else:
            self._deliver(result, error)

    def _done(self, function: Callable[[], Any], name: str) -> Any:
        connection = self._connection
        trouble = None if connection is None else self._files.trouble(name)
        if connection is None or trouble is None:
            result = function()
        else:
            if trouble is Trouble.COMMIT_UNKNOWN:
                function()
            elif trouble is Trouble.COMMIT_ROLLED_BACK:
                connection.rollback()
            self._files.note(Happening.TROUBLE, f"{name}: {trouble.value}")
            error: Any = sqlite3.OperationalError(trouble.value.partition(",")[0])
            error.sqlite_errorcode = _CODES.get(trouble, sqlite3.SQLITE_IOERR)
            error.on_purpose = True
            raise error
        if isinstance(result, sqlite3.Cursor):
            self._cursors.add(result)
        if name == "COMMIT":
            self._files.note(Happening.COMMIT, Path(self._path).name)
        return result

    def _deliver(self, result: Any, error: Exception | None) -> None:
        if not self._waiting:
            return
        future, function = self._waiting.popleft()
        if self._waiting:
            self._begin()
        if _closes(function):
            self._files.process.files.pop(self, None)
        if future is None or future.done():
            if result is self._connection:  # older aiosqlites forget one whose caller is gone
                self.torn_down()
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def _patient(self, function: Callable[[], Any], name: str) -> Callable[[], Any]:
        """Keeps ``PRAGMA busy_timeout`` to ourselves: SQLite would wait in real time."""
        if not name.startswith(_BUSY_TIMEOUT) or not isinstance(function, partial):
            return function
        self._patience = int(name.removeprefix(_BUSY_TIMEOUT)) / 1000
        return partial(function.func, f"{_BUSY_TIMEOUT}0", *function.args[1:])


def _name(function: Callable[[], Any]) -> str:
    """What a call is about: its SQL, COMMIT, or the name of the driver's method."""
    if isinstance(function, partial):
        if function.args and isinstance(function.args[0], str):
            sql = function.args[0]
            return "COMMIT" if sql.strip().upper().startswith("COMMIT") else sql
        method = getattr(function.func, "__name__", "")
        return {"commit": "COMMIT", "rollback": "ROLLBACK"}.get(method, method)
    return getattr(function, "__name__", "")


def _closes(function: Callable[[], Any]) -> bool:
    """Whether a call closes its connection, and not just a cursor."""
    if not isinstance(function, partial):
        return "stop" in getattr(function, "__name__", "")
    of_connection = isinstance(getattr(function.func, "__self__", None), sqlite3.Connection)
    return of_connection and _name(function) == "close"


class Compiled:
    """What engines on SQLite files can have in common: the dialect, and every statement's SQL.

    An engine of one's own costs 5 ms and compiles each statement again; a world has six.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect  # of an engine that has connected once, so it knows its SQLite
        self._statements: Any = LRUCache(500)

    def engine(
        self, url: URL, connect: Callable[[], Awaitable[aiosqlite.Connection]]
    ) -> AsyncEngine:
        """An engine as ``create_async_engine(url, async_creator=connect)`` makes it."""
        dbapi: Any = self._dialect.dbapi
        pool = AsyncAdaptedQueuePool(
            lambda: dbapi.connect(async_creator_fn=connect), dialect=self._dialect
        )
        if on_connect := self._dialect.on_connect_url(url):
            event.listen(pool, "connect", lambda connection, _: on_connect(connection))
        options = {"compiled_cache": self._statements}
        return AsyncEngine(
            Engine(pool, self._dialect, url, hide_parameters=True, execution_options=options)
        )


class SimulatedFiles:
    """The files of one process: engines on them that need no thread."""

    def __init__(
        self,
        process: Process,
        timeline: Timeline,
        disk: CalmDisk,
        *,
        compiled: Compiled | None = None,
    ) -> None:
        self._compiled = compiled
        self.process = process
        self.disk = disk
        self._timeline = timeline

    def engine(self, path: str) -> AsyncEngine:
        """An engine on a SQLite file, as ``create_async_engine("sqlite+aiosqlite:///path")``."""

        async def connect() -> aiosqlite.Connection:
            desk = _Desk(self, path)
            return await InlineConnection(desk, desk.connect)

        url = make_url(f"sqlite+aiosqlite:///{path}")
        if self._compiled is None:
            return create_async_engine(url, async_creator=connect, hide_parameters=True)
        return self._compiled.engine(url, connect)

    def trouble(self, name: str) -> Trouble | None:
        """What goes wrong with this call."""
        if self.process.cut_off:
            return self._out_of_reach(name)
        found = self.disk.trouble()
        if found is None:
            return None
        writes = name.upper().startswith(_WRITES)
        if found in _ON_COMMIT:
            return found if name == "COMMIT" else None
        if found in (Trouble.FULL, Trouble.READ_ONLY):
            return found if writes or (name == "COMMIT" and found is Trouble.FULL) else None
        return found if writes or name.upper().startswith("SELECT") else None

    def _out_of_reach(self, name: str) -> Trouble | None:
        """A COMMIT was made before its answer was lost, or was not: as the steps have it."""
        if name == "COMMIT":
            heard = self.process.steps % 2
            return Trouble.COMMIT_UNKNOWN if heard else Trouble.COMMIT_ROLLED_BACK
        return None if name in _INSTANT else Trouble.GONE

    def note(self, happening: Happening, what: str) -> None:
        """Write a line into the world's story."""
        self._timeline.note(happening, what, self.process.name)
