"""What differs between the databases: their clock, "insert unless it is there"."""

from __future__ import annotations

import attrs
from sqlalchemy import BigInteger, ColumnElement, Table, bindparam, literal_column
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import StaticPool
from sqlalchemy.sql.dml import Insert

from chaoying_async.exceptions import UsageError
from chaoying_async.inbox.sql.tables import MYSQL_NAMES
from chaoying_async.sql.addresses import check_address

#: The name under which a statement is given the time, where the database has no shared clock.
NOW = "p_now"

#: What the loser of a deadlock or of a serialization conflict is told (SQLSTATE, MariaDB's errno).
_TRY_AGAIN = frozenset({"40001", "40P01", 1213, 1020})
_DUPLICATE_KEY = 1062
#: RELEASE SAVEPOINT where there is none: no transaction at all, or another one.
_NO_SAVEPOINT = frozenset({"3B001", "25P01", 1305})


@attrs.frozen
class Dialect:
    """How one kind of database does it."""

    name: str
    #: Microseconds since 1970, on the database's own clock (M-26); SQLite is given the ``Clock``'s.
    now: ColumnElement[int]
    #: Whether an open write transaction keeps everybody else from writing.
    one_writer: bool = False

    def insert_new(self, table: Table) -> Insert:
        """An INSERT that leaves alone what is there: no row, or :func:`is_duplicate`."""
        if self.name == "postgresql":
            return postgresql.insert(table).on_conflict_do_nothing()
        if self.name == "sqlite":
            return sqlite.insert(table).on_conflict_do_nothing()
        # INSERT IGNORE would cut what is too long and drown other errors.
        return table.insert()


def _of_postgresql() -> Dialect:
    now = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
    return Dialect("postgresql", literal_column(now, BigInteger))


def _of_mysql() -> Dialect:
    # Not UNIX_TIMESTAMP(NOW(6)): local time, and one hour in autumn comes twice.
    now = "timestampdiff(microsecond, '1970-01-01', utc_timestamp(6))"
    return Dialect("mysql", literal_column(now, BigInteger))


def _of_sqlite() -> Dialect:
    return Dialect("sqlite", bindparam(NOW, type_=BigInteger), one_writer=True)


_DIALECTS = {
    "postgresql": _of_postgresql,
    "sqlite": _of_sqlite,
    **dict.fromkeys(MYSQL_NAMES, _of_mysql),
}


def dialect_of(engine: AsyncEngine) -> Dialect:
    """The engine's dialect; :class:`UsageError` for an engine that no inbox can be kept with."""
    if not isinstance(engine, AsyncEngine):
        raise UsageError("SqlInbox takes SQLAlchemy's AsyncEngine: create_async_engine(...)")
    make = _DIALECTS.get(engine.dialect.name)
    if make is None:
        names = ", ".join(sorted(_DIALECTS))
        raise UsageError(f"SqlInbox knows {names}, not {engine.dialect.name}")
    check_address(engine.url)
    if _autocommits(engine):
        raise UsageError("an engine in AUTOCOMMIT has no transactions: give SqlInbox another one")
    if isinstance(engine.pool, StaticPool):
        raise UsageError(
            "a StaticPool (an in-memory SQLite database) has one connection for everybody, whose"
            " transactions would mix: use a file, or MemoryInbox"
        )
    return make()


def _autocommits(engine: AsyncEngine) -> bool:
    options = engine.sync_engine.get_execution_options()
    # create_engine(isolation_level=...) leaves its word only here.
    of_connections = getattr(engine.dialect, "_on_connect_isolation_level", None)
    return bool(options.get("isolation_level", of_connections) == "AUTOCOMMIT")


def is_duplicate(error: DBAPIError) -> bool:
    """MariaDB: the row is there already."""
    return _DUPLICATE_KEY in _codes(error)


def may_be_tried_again(error: DBAPIError) -> bool:
    """Rolled back by the database for the sake of somebody else's transaction."""
    return not _TRY_AGAIN.isdisjoint(_codes(error))


def is_savepoint_gone(error: DBAPIError) -> bool:
    """The transaction that the savepoint was in is not there any more, though its connection is."""
    if error.connection_invalidated:
        return False
    return not _NO_SAVEPOINT.isdisjoint(_codes(error)) or "no such savepoint" in str(error.orig)


def _codes(error: DBAPIError) -> set[object]:
    """SQLSTATE and the driver's own number, whichever there are."""
    found: set[object] = {getattr(error.orig, "sqlstate", None)}
    if error.orig is not None and error.orig.args:
        found.add(error.orig.args[0])
    return found
