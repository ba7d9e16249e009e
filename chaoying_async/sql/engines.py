"""Engines: made for an address, and refused where nothing could be kept with them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import StaticPool

from chaoying_async.exceptions import UsageError
from chaoying_async.sql.addresses import check_address, database_url
from chaoying_async.sql.dialects import DIALECTS, MYSQL_NAMES, SqlDialect, dialect_of

#: The mark of an engine that was made here.
_OURS = {"chaoying_ours": True}


def engine_at(
    where: str | os.PathLike[str] | URL, *pragmas: str, idle: float | None = None
) -> AsyncEngine:
    """An engine of our own for a file's path or a database's address.

    The engine names no parameters in errors and logs none. On SQLite every connection begins with
    ``pragmas``. MariaDB ends a transaction of its connections that is idle for ``idle`` seconds:
    else the locks of a process whose network has gone are held for hours.
    """
    url = database_url(where)
    name = url.get_backend_name()
    # A file is there. Older SQLAlchemys cannot ping by aiomysql: the first statement finds out.
    ping = name not in {"sqlite", *MYSQL_NAMES}
    engine = create_async_engine(
        url, hide_parameters=True, pool_pre_ping=ping, execution_options=_OURS
    )
    settings = [f"PRAGMA {pragma}" for pragma in pragmas] if name == "sqlite" else []
    if idle is not None and name in MYSQL_NAMES:
        # MySQL has no such limit, and takes the rest for a comment.
        limit = math.ceil(idle)
        settings = [f"SET /*M! SESSION idle_transaction_timeout = {limit}, */ @chaoying=1"]
    if settings:
        event.listen(engine.sync_engine, "connect", _setting(settings))
    return engine


def is_ours(engine: AsyncEngine) -> bool:
    """Whether nobody else uses the connections of this engine: it came from :func:`engine_at`."""
    return _OURS.items() <= engine.sync_engine.get_execution_options().items()


def _setting(statements: Sequence[str]) -> Any:
    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
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
