"""Addresses of databases: read in one way only, and shown without anything that may be a password.

Nobody connects by an address that can be read in two ways: a driver would look for a server whose
name is the rest of the password, and say so in its error. No error here quotes an address.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from chaoying_async.exceptions import UsageError
from chaoying_async.sansio.redact import is_certain, shown_address, shown_path
from chaoying_async.sql.address_options import check_options
from chaoying_async.sql.dialects import MYSQL_NAMES

#: The drivers that are tried out; an address may name another one.
DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
    **dict.fromkeys(MYSQL_NAMES, "mysql+aiomysql"),
}

#: What to install for a driver, where that is not called like the driver.
_PACKAGES = {"aiosqlite": "chaoying-async[sql]", "psycopg": "psycopg[binary]"}

_NO_ADDRESS = (
    "this is no address of a database: write postgresql://USER:PASSWORD@HOST:PORT/NAME, with what "
    "is special in the password escaped (@ is %40, : is %3A, / is %2F)"
)
_NO_FILE = "SQLite keeps a file: write sqlite:///PATH, without a user, a password or a host"


def database_url(where: str | os.PathLike[str] | URL) -> URL:
    """The database at a file's path or an address: its asyncio driver is named, and installed.

    :class:`~chaoying_async.exceptions.UsageError`, which says what to do, for anything that could
    not be opened whatever a server says.
    """
    url = _parsed(where)
    name = url.get_backend_name()
    if name not in DRIVERS:
        raise UsageError(_no_such_database(name))
    url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
    _check_driver(url)
    check_options(url)
    if name == "sqlite":
        _check_file(url)
    return url


#: What other programs call the same databases.
_ALSO = {"postgres": "postgresql", "pgsql": "postgresql", "pg": "postgresql", "sqlite3": "sqlite"}


def _no_such_database(name: str) -> str:
    words = f"a store is kept in {', '.join(sorted(DRIVERS))}, not in {name}"
    near = difflib.get_close_matches(name, sorted(DRIVERS), n=1, cutoff=0.7)
    meant = _ALSO.get(name) or next(iter(near), None)
    return f"{words}: write {meant}://..." if meant else words


def _parsed(where: str | os.PathLike[str] | URL) -> URL:
    if isinstance(where, URL):
        check_address(where)
        return where
    text = os.fspath(where)
    return _read(text) if "://" in text else URL.create("sqlite", database=text)


def _read(text: str) -> URL:
    """SQLAlchemy's URL of an address; :class:`UsageError` where there is any doubt about it."""
    scheme, _, rest = text.partition("://")
    scheme = scheme.lower()
    url = None
    if (scheme.startswith("sqlite") and rest.startswith("/")) or is_certain(text):
        url = _made(f"{scheme}://{rest}")
    if url is None:
        raise UsageError(_NO_ADDRESS)
    check_address(url)
    return url


def _made(text: str) -> URL | None:
    """The URL, or None: SQLAlchemy's error quotes the address, so nothing is raised while it is."""
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        return None


def _check_driver(url: URL) -> None:
    driver = url.drivername.partition("+")[2]
    usual = DRIVERS[url.get_backend_name()]
    try:
        dialect = url.get_dialect()
        if not dialect.get_async_dialect_cls(url).is_async:
            raise UsageError(f"{url.drivername} is no asyncio driver: write {usual}://...")
        dialect.import_dbapi()
    except NoSuchModuleError:
        raise UsageError(f"there is no driver {url.drivername}: write {usual}://...") from None
    except ModuleNotFoundError as error:
        package = _PACKAGES.get(driver, error.name)
        raise UsageError(
            f"the driver of {url.drivername}:// is not installed: pip install '{package}'"
        ) from error


def _check_file(url: URL) -> None:
    file = url.database
    if file in (None, "", ":memory:"):
        raise UsageError("a SQLite store is a file: name one, or use MemoryPollStore in tests")
    path = Path(str(file))
    if str(file).startswith("file:"):  # SQLite's own URI form, read by SQLite
        return
    if path.is_dir():
        raise UsageError(f"{shown_path(str(path))} is a directory: name a file in it")
    if not path.parent.is_dir():
        parent = shown_path(str(path.parent))
        raise UsageError(f"there is no directory {parent}: make it first, or name another")


def check_address(url: URL) -> None:
    """:class:`UsageError` for a URL whose parts cannot be what they are taken for."""
    if url.get_backend_name() == "sqlite":
        if url.host or url.username or url.password:
            raise UsageError(_NO_FILE)
    elif not _is_certain(url):
        raise UsageError(_NO_ADDRESS)


def advice(url: URL) -> str:
    """What to look at when the database cannot be opened; the address without any password."""
    if url.get_backend_name() == "sqlite":
        look = "is it a database's file, on a disk of this machine, that you may write?"
    else:
        look = "does the server run there, and are user, password and database right?"
    return f"{shown_url(url)}: {look}"


def shown_url(url: URL) -> str:
    """Where a database is: SQLite's file, or scheme, host and port of a server."""
    if url.get_backend_name() == "sqlite":
        return shown_path(str(url.database))
    has_user = url.username is not None  # without one, host and port may be user and password
    shown = shown_address(_address(url, user="@" if has_user else ""))
    return shown if _is_certain(url) else f"{url.drivername}://..."


def _is_certain(url: URL) -> bool:
    """Whether its host and port cannot be a user and a password."""
    return shown_address(_address(url, user="@")) == _address(url)


def _address(url: URL, *, user: str = "") -> str:
    host = url.host or ""
    host = f"[{host}]" if ":" in host else host
    return f"{url.drivername}://{user}{host}" + (f":{url.port}" if url.port else "")
