"""Engines: made for an address, and refused where nothing could be kept with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from chaoying_async.exceptions import UsageError
from chaoying_async.sql.addresses import check_address, database_url
from chaoying_async.sql.dialects import DIALECTS, MYSQL_NAMES, SqlDialect, dialect_of


def engine_at(where: str | os.PathLike[str] | URL, *pragmas: str) -> AsyncEngine:
    """An engine of our own for a file's path or a database's address.

    The engine names no parameters in errors and logs none. On SQLite every connection begins with
    ``pragmas``.
    """
    url = database_url(where)
    if url.get_backend_name() != "sqlite":
        # Older SQLAlchemys cannot ping by aiomysql; there the first statement finds what is broken.
        ping = url.get_backend_name() not in MYSQL_NAMES
        return create_async_engine(url, hide_parameters=True, pool_pre_ping=ping)
    engine = create_async_engine(url, hide_parameters=True)
    if pragmas:
        event.listen(engine.sync_engine, "connect", _setting(pragmas))
    return engine


def _setting(pragmas: Sequence[str]) -> Any:
    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return prepare


def check_engine(engine: AsyncEngine, owner: str, instead: str) -> SqlDialect:
    """The engine's dialect; :class:`UsageError` for an engine that ``owner`` cannot work with.

    ``instead``: the class that keeps things in memory.
    """
    if not isinstance(engine, AsyncEngine):
        raise UsageError(f"{owner} takes SQLAlchemy's AsyncEngine: create_async_engine(...)")
    if engine.dialect.name not in DIALECTS:
        raise UsageError(f"{owner} knows {', '.join(sorted(DIALECTS))}, not {engine.dialect.name}")
    check_address(engine.url)
    options = engine.sync_engine.get_execution_options()
    # create_engine(isolation_level=...) leaves its word only here.
    of_connections = getattr(engine.dialect, "_on_connect_isolation_level", None)
    if options.get("isolation_level", of_connections) == "AUTOCOMMIT":
        raise UsageError(f"an engine in AUTOCOMMIT has no transactions: give {owner} another one")
    if isinstance(engine.pool, StaticPool):
        raise UsageError(
            "a StaticPool (an in-memory SQLite database) has one connection for everybody, whose"
            f" transactions would mix: use a file, or {instead}"
        )
    return dialect_of(engine)
