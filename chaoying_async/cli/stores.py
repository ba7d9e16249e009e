"""Finds the store or inbox that a command names, and says why it cannot be opened.

An error of a database or of Redis becomes one line that says what to look at. It never quotes the
address as it was given, since there may be a password in it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import click

from chaoying_async.abc import InboxForPeople
from chaoying_async.pollstore.failures import says
from chaoying_async.sansio.redact import shown_address, shown_path

#: Of a shop's tables where it chose none, and of those of ``chaoying watch --store`` beside them.
SHOP_PREFIX, WATCH_PREFIX = "chaoying_", "chaoying_watch_"

_REDIS = ("redis://", "rediss://", "unix://")
#: Packages whose errors are always about a store: a command uses a database for nothing else.
_FOREIGN = frozenset({"sqlalchemy", "redis", "sqlite3", "asyncpg", "psycopg", "pymysql"})


@contextmanager
def named(what: str) -> Generator[None]:
    """Errors raised inside get a note that says which store they are about."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while opening {what}")
        raise


def existing_database(store: str) -> tuple[str, str]:
    """The URL of an existing database, and its description with what to look at if it fails."""
    from chaoying_async.sql.addresses import advice, database_url

    url = database_url(store)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        raise click.UsageError(f"there is no file {shown_path(str(url.database))}")
    return url.render_as_string(hide_password=False), advice(url)


def is_redis(store: str) -> bool:
    """Whether this is the address of a Redis server, and not of a database or a file."""
    return store.lower().startswith(_REDIS)


def redis_advice(store: str) -> str:
    """What to look at if Redis cannot be reached, with its address but not its password."""
    return f"Redis at {shown_address(store)}: does it run there, and is the password right?"


@asynccontextmanager
async def opened_inbox(store: str, prefix: str | None) -> AsyncGenerator[InboxForPeople]:
    """The inbox at an address, a SQLite file's path included; closed with the block."""
    more = {} if prefix is None else {"prefix": prefix}
    if is_redis(store):
        from chaoying_async.inbox.redis.inbox import redis_inbox_at

        with named(f"the inbox in {redis_advice(store)}"):
            async with redis_inbox_at(store, **more) as box:
                yield box
        return
    from chaoying_async.inbox.sql.inbox import sql_inbox_at

    url, advice = existing_database(store)
    more = {} if prefix is None else {"table_prefix": prefix}
    with named(f"the inbox {advice}"):
        async with sql_inbox_at(url, **more) as box:
            yield box


def shown(store: str) -> str:
    """The store's name, without anything that may be a password."""
    return shown_address(store) if "://" in store else shown_path(store)


def trouble(error: Exception) -> str | None:
    """One line about an error of a store; None for every other error.

    It does not quote the database or Redis, whose texts name users; a user name may be a token.
    """
    notes = getattr(error, "__notes__", ())
    if isinstance(error, OSError):
        # Without the system's number where it names no file.
        words = (error.strerror or error) if error.filename is None else error
        return "; ".join([str(words), *notes])
    kinds = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    if not kinds & _FOREIGN:
        return None
    return "; ".join(filter(None, [type(error).__name__, says(error), *notes]))
