"""Stores and inboxes that a command is pointed at: where they are, and why they cannot be opened.

What a database or Redis raises ends as one line, with what to look at, and never with an address as
it was given: there may be a password in it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import click

REDIS = ("redis://", "rediss://", "unix://")
#: Packages whose errors are about a store; a command uses a database for nothing else.
_FOREIGN = frozenset({"sqlalchemy", "redis", "sqlite3", "asyncpg", "psycopg", "pymysql"})


@contextmanager
def named(what: str) -> Generator[None]:
    """Whatever fails inside says which store it was about."""
    try:
        yield
    except Exception as error:
        error.add_note(f"while opening {what}")
        raise


def existing_database(store: str) -> tuple[str, str]:
    """The URL of a database that is there, and the same with what to look at when it fails."""
    from chaoying_async.pollstore.sql.addresses import address, advice

    url = address(store)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        raise click.UsageError(f"there is no file {url.database}")
    return url.render_as_string(hide_password=False), advice(url)


def redis_advice(store: str) -> str:
    """What to look at when Redis cannot be reached; the address without its password."""
    try:
        parts = urlsplit(store)
        where = parts.hostname or parts.path
        port = parts.port or 6379
    except ValueError:
        raise click.UsageError("this is no address: write redis://HOST:PORT/NUMBER") from None
    return f"Redis at {where}:{port}: does it run there, and is the password right?"


def trouble(error: Exception) -> str | None:
    """One line about an error of a store's own; None for every other error."""
    kinds = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    if not kinds & _FOREIGN and not isinstance(error, OSError):
        return None
    said = str(getattr(error, "orig", None) or _without_number(error)).strip()
    first = said.splitlines()[0] if said else type(error).__name__
    return "; ".join([first, *getattr(error, "__notes__", ())])


def _without_number(error: Exception) -> object:
    """An error of the system's that names no file says nothing by its number."""
    if isinstance(error, OSError) and error.filename is None:
        return error.strerror or error
    return error
