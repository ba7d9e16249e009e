"""Where a store is kept: an address that is understood, and can be opened, or a sentence why not.

No error here quotes an address as it was given: there may be a password in it.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import NoSuchModuleError

from chaoying_async.exceptions import UsageError
from chaoying_async.pollstore.sql.tables import MYSQL_NAMES
from chaoying_async.sansio.redact import shown_path
from chaoying_async.sql.addresses import check_address, read_address, shown_url

#: The drivers that are tried out; an address may name another one.
DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
    **dict.fromkeys(MYSQL_NAMES, "mysql+aiomysql"),
}

#: What to install for a driver, where that is not called like the driver.
_PACKAGES = {"aiosqlite": "chaoying-async[sql]", "psycopg": "psycopg[binary]"}


def address(where: str | os.PathLike[str] | URL) -> URL:
    """The database at a file's path or an address, its asyncio driver named, and there.

    :class:`~chaoying_async.exceptions.UsageError`, which says what to do, for anything that could
    not be opened whatever a server says.
    """
    url = _parsed(where)
    name = url.get_backend_name()
    if name not in DRIVERS:
        raise UsageError(f"a store is kept in {', '.join(sorted(DRIVERS))}, not in {name}")
    url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
    _check_driver(url)
    if name == "sqlite":
        _check_file(url)
    return url


def advice(url: URL) -> str:
    """What to look at when the database cannot be opened; the address without any password."""
    if url.get_backend_name() == "sqlite":
        look = "is it a database's file, on a disk of this machine, that you may write?"
    else:
        look = "does the server run there, and are user, password and database right?"
    return f"{shown_url(url)}: {look}"


def _parsed(where: str | os.PathLike[str] | URL) -> URL:
    if isinstance(where, URL):
        check_address(where)
        return where
    text = os.fspath(where)
    return read_address(text) if "://" in text else URL.create("sqlite", database=text)


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
