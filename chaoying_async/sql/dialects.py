"""What differs between the databases: their clock, an INSERT of what may be there, their errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import attrs
from sqlalchemy import BigInteger, ColumnElement, Table, bindparam, func, literal_column, true
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.dml import Insert

from chaoying_async.abc import Clock
from chaoying_async.sansio.errorchain import error_chain

#: SQLAlchemy's names of MariaDB: which one it is depends on how the address begins.
MYSQL_NAMES = ("mysql", "mariadb")

#: Moments are kept as whole microseconds since then: they sort, and survive every time zone.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: The parameter by which SQLite's statements are given the time.
NOW = "p_now"

_INSERT: Mapping[str, Callable[[Table], postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}

#: Codes for the loser of a deadlock or serialization conflict (SQLSTATE, MariaDB's errno).
_TRY_AGAIN = frozenset({"40001", "40P01", 1213, 1020})
#: Codes of a lock that another transaction has; and SQLite's, whose low byte says so.
_TAKEN = frozenset({1205, "55P03"})
_BUSY = 5
#: Codes of a server, or a session, that may only be read.
_READ_ONLY = frozenset({"25006", 1290, 1792, 1836})
_DUPLICATE_KEY = 1062
#: MariaDB's code for a savepoint that is not there: no transaction at all, or another one.
_NO_SAVEPOINT = 1305


@attrs.frozen(eq=False)
class SqlDialect:
    """How one kind of database does what the others do in another way."""

    name: str
    now: ColumnElement[int]
    """Microseconds since 1970, on the database's own clock (M-26). SQLite has none that several
    processes share: its statements are given the time of a ``Clock``, by :meth:`timed`.
    """
    one_writer: bool = False
    """Whether an open write transaction keeps everybody else from writing."""

    def timed(self, clock: Clock) -> dict[str, int]:
        """The parameter that a statement with :attr:`now` in it needs."""
        return {NOW: microseconds(clock.now())} if self.one_writer else {}

    def limits_idling(self, seconds: float) -> tuple[ColumnElement[bool], ...]:
        """A condition that is true, and lets PostgreSQL end a transaction that is idle for so long.

        Else the locks of a process whose network has gone are held for hours. MariaDB knows such a
        limit for a whole session alone: see ``engine_at``.
        """
        if self.name != "postgresql":
            return ()
        limit = "idle_in_transaction_session_timeout", f"{round(seconds * 1000)}ms", true()
        return (func.set_config(*limit).is_not(None),)

    def insert_new(self, table: Table) -> Insert:
        """An INSERT that leaves alone what is there: no row, or an error :func:`is_duplicate`."""
        if self.name == "mysql":  # where INSERT IGNORE would cut long texts and drown other errors
            return table.insert()
        return _INSERT[self.name](table).on_conflict_do_nothing()

    def insert_or_keep(self, table: Table, key: str) -> Insert:
        """An INSERT that leaves alone what is there, and never fails for that."""
        if self.name == "mysql":
            return self.insert_or_replace(table, [key], key)
        return self.insert_new(table)

    def insert_or_replace(self, table: Table, keys: list[str], value: str) -> Insert:
        """An INSERT that gives an existing row of these keys a new ``value``, and nothing else."""
        if self.name == "mysql":
            inserting = mysql.insert(table)
            return inserting.on_duplicate_key_update({value: inserting.inserted[value]})
        insert = _INSERT[self.name](table)
        return insert.on_conflict_do_update(
            index_elements=keys, set_={value: insert.excluded[value]}
        )


#: By SQLAlchemy's name of the dialect.
DIALECTS: Mapping[str, SqlDialect] = {
    "sqlite": SqlDialect("sqlite", bindparam(NOW, type_=BigInteger), one_writer=True),
    "postgresql": SqlDialect(
        "postgresql",
        literal_column("(extract(epoch from clock_timestamp()) * 1000000)::bigint", BigInteger),
    ),
    **dict.fromkeys(
        MYSQL_NAMES,
        SqlDialect(
            "mysql",
            # Not UNIX_TIMESTAMP(NOW(6)): local time, and one hour in autumn comes twice.
            literal_column(
                "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))", BigInteger
            ),
        ),
    ),
}


def microseconds(moment: datetime) -> int:
    """A moment as whole microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def dialect_of(engine: AsyncEngine) -> SqlDialect:
    """The dialect of an engine that :func:`~chaoying_async.sql.engines.check_engine` accepted."""
    return DIALECTS[engine.dialect.name]


def is_duplicate(error: DBAPIError) -> bool:
    """Whether MariaDB says that the row is there already."""
    return _DUPLICATE_KEY in _codes(error)


def may_be_tried_again(error: DBAPIError) -> bool:
    """Whether the database rolled this back for the sake of somebody else's transaction."""
    return not _TRY_AGAIN.isdisjoint(_codes(error))


def is_for_others(error: BaseException, *, handled: BaseException | None = None) -> bool:
    """Whether an error comes from such a thing, or from a lock that somebody else has (M-16).

    ``handled``: an error that says nothing about this one, see ``error_chain``.
    """
    chain = error_chain(error, handled=handled)
    return any(isinstance(each, DBAPIError) and _is_others_fault(each) for each in chain)


def _is_others_fault(error: DBAPIError) -> bool:
    busy = (getattr(error.orig, "sqlite_errorcode", None) or 0) & 0xFF == _BUSY
    return busy or not (_TRY_AGAIN | _TAKEN).isdisjoint(_codes(error))


def is_savepoint_gone(error: DBAPIError) -> bool:
    """Whether the transaction of a savepoint has ended, though its connection lives."""
    if error.connection_invalidated:
        return False
    return _NO_SAVEPOINT in _codes(error) or "no such savepoint" in str(error.orig)


def is_read_only(error: DBAPIError) -> bool:
    """Whether a server may only be read: it is a replica, or has become one."""
    return not _READ_ONLY.isdisjoint(_codes(error))


def _codes(error: DBAPIError) -> set[object]:
    """SQLSTATE and the driver's own number, whichever there are."""
    found: set[object] = {getattr(error.orig, "sqlstate", None)}
    if error.orig is not None and error.orig.args:
        found.add(error.orig.args[0])
    return found
