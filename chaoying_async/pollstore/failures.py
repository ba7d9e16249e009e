"""What is wrong with a store, read from whatever its database or file system raised.

The kind is read from codes, never from an exception's class: so no driver has to be installed for
it, and a user's own store is understood like ours. No foreign error leaves a public call, and no
text of one is quoted: a statement's parameters may be in it (M-27).
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from chaoying_async.exceptions import (
    ChaoyingError,
    SessionClosedError,
    StoreError,
    StoreInUseError,
    StoreTrouble,
)
from chaoying_async.sansio.errorchain import error_chain

#: Errors of a store that is not ours any more, or not open: no call of it will succeed.
GONE = (StoreInUseError, SessionClosedError)

_SAYS: Mapping[StoreTrouble, str] = {
    StoreTrouble.LOCKED: "its database is locked by somebody else: end what holds the lock",
    StoreTrouble.DISK_FULL: "its disk is full: make room",
    StoreTrouble.READ_ONLY: (
        "it may not be written: look at the rights of the file and its directory, or at whether "
        "the server is a read-only replica"
    ),
    StoreTrouble.CONNECTION: (
        "the connection to its database was refused or lost: see that it runs and can be reached"
    ),
    StoreTrouble.ACCESS: "its database refuses the user, the password, the name or the rights",
    StoreTrouble.TABLE_MISSING: (
        "its tables are missing, or are another program's: open the store again, which makes them"
    ),
    StoreTrouble.POOL_TIMEOUT: (
        "no connection of its pool came free in time: give the engine a larger pool, or see who "
        "keeps them"
    ),
    StoreTrouble.CORRUPT: (
        "its file is damaged, cannot be read, or is no database: restore it, do not delete it"
    ),
    StoreTrouble.OTHER: "see the cause",
}

_ERRNO: Mapping[int, StoreTrouble] = {
    errno.ENOSPC: StoreTrouble.DISK_FULL,
    errno.EDQUOT: StoreTrouble.DISK_FULL,
    errno.EFBIG: StoreTrouble.DISK_FULL,
    errno.EROFS: StoreTrouble.READ_ONLY,
    errno.EACCES: StoreTrouble.READ_ONLY,
    errno.EPERM: StoreTrouble.READ_ONLY,
    errno.EBUSY: StoreTrouble.LOCKED,
    errno.EAGAIN: StoreTrouble.LOCKED,
    errno.EHOSTUNREACH: StoreTrouble.CONNECTION,
    errno.ENETUNREACH: StoreTrouble.CONNECTION,
    errno.EPIPE: StoreTrouble.CONNECTION,
}

#: By the beginning of ``sqlite_errorname``: there are finer names, as SQLITE_READONLY_DBMOVED.
_SQLITE: Mapping[str, StoreTrouble] = {
    "SQLITE_BUSY": StoreTrouble.LOCKED,
    "SQLITE_LOCKED": StoreTrouble.LOCKED,
    "SQLITE_PROTOCOL": StoreTrouble.LOCKED,
    "SQLITE_FULL": StoreTrouble.DISK_FULL,
    "SQLITE_READONLY": StoreTrouble.READ_ONLY,
    "SQLITE_CANTOPEN": StoreTrouble.READ_ONLY,
    "SQLITE_PERM": StoreTrouble.READ_ONLY,
    "SQLITE_AUTH": StoreTrouble.ACCESS,
    "SQLITE_CORRUPT": StoreTrouble.CORRUPT,
    "SQLITE_NOTADB": StoreTrouble.CORRUPT,
    "SQLITE_FORMAT": StoreTrouble.CORRUPT,
    "SQLITE_IOERR": StoreTrouble.CORRUPT,
}
#: SQLite has one code for everything that is wrong with a statement.
_SQLITE_WORDS = ("no such table", "no such column", "has no column named", "no such index")

#: libpq's words for a server that refused the connection: the SQLSTATE is lost on the way.
_LIBPQ_WORDS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "not permitted")

#: By the beginning of PostgreSQL's SQLSTATE.
_SQLSTATE: Mapping[str, StoreTrouble] = {
    "55P03": StoreTrouble.LOCKED,
    "55006": StoreTrouble.LOCKED,
    "57014": StoreTrouble.LOCKED,
    "40": StoreTrouble.LOCKED,
    "53100": StoreTrouble.DISK_FULL,
    "25006": StoreTrouble.READ_ONLY,
    "42P01": StoreTrouble.TABLE_MISSING,
    "42703": StoreTrouble.TABLE_MISSING,
    "3F000": StoreTrouble.TABLE_MISSING,
    "42501": StoreTrouble.ACCESS,
    "28": StoreTrouble.ACCESS,
    "3D000": StoreTrouble.ACCESS,
    "08": StoreTrouble.CONNECTION,
    "53": StoreTrouble.CONNECTION,
    "57": StoreTrouble.CONNECTION,
    "25P03": StoreTrouble.CONNECTION,
    "XX001": StoreTrouble.CORRUPT,
    "XX002": StoreTrouble.CORRUPT,
    "58": StoreTrouble.CORRUPT,
}

#: MariaDB's and MySQL's own numbers, the server's and the client's.
_MYSQL: Mapping[int, StoreTrouble] = {
    **dict.fromkeys((1020, 1099, 1100, 1205, 1213, 1637, 3024, 3572), StoreTrouble.LOCKED),
    **dict.fromkeys((1021, 1114), StoreTrouble.DISK_FULL),
    **dict.fromkeys((1036, 1290, 1792, 1836, 4101), StoreTrouble.READ_ONLY),
    **dict.fromkeys((1044, 1045, 1049, 1142, 1143, 1227, 1698), StoreTrouble.ACCESS),
    **dict.fromkeys((1054, 1146, 1932), StoreTrouble.TABLE_MISSING),
    **dict.fromkeys((1040, 1042, 1043, 1053, 1080, 1129, 1152, 1153), StoreTrouble.CONNECTION),
    **dict.fromkeys((1158, 1159, 1160, 1161, 1184, 1203, 1226, 1317), StoreTrouble.CONNECTION),
    **dict.fromkeys((1927, 2055, 4031, *range(2000, 2028)), StoreTrouble.CONNECTION),
    **dict.fromkeys((1033, 1034, 1035, 1194, 1195, 1712, 1877), StoreTrouble.CORRUPT),
}
_MYSQL_DRIVERS = ("pymysql", "aiomysql", "asyncmy", "mysql", "MySQLdb", "mariadb")


@contextmanager
def told() -> Generator[None]:
    """Raises what fails inside as an error of ours, with the foreign error as its cause."""
    handled = sys.exception()
    try:
        yield
    except ChaoyingError:
        raise
    except Exception as error:
        raise store_error(error, handled) from error


def store_error(error: Exception, handled: BaseException | None = None) -> StoreError:
    """The error of ours for a foreign one, in words that quote nothing of it.

    ``handled``: the error in whose ``except`` the store was called, see ``error_chain``.
    """
    foreign: Any
    for foreign in error_chain(error):
        if hasattr(foreign, "hide_parameters"):  # an engine of the user's may show them
            foreign.hide_parameters = True
    kind = trouble_of(error, handled)
    return StoreError(
        f"the poll store failed with {type(error).__name__}: {_SAYS[kind]}", kind=kind
    )


def says(error: BaseException) -> str:
    """What is wrong, in words that quote nothing of the error; empty where nobody knows."""
    kind = trouble_of(error)
    return "" if kind is StoreTrouble.OTHER else _SAYS[kind]


def trouble_of(error: BaseException, handled: BaseException | None = None) -> StoreTrouble:
    """What is wrong, from the first error in the chain that has a code for it."""
    chain = list(error_chain(error, handled=handled))
    for each in chain:
        for read in _READERS:
            if (kind := read(each)) is not None:
                return kind
    lost = any(map(_is_of_the_connection, chain))
    return StoreTrouble.CONNECTION if lost else StoreTrouble.OTHER


def _is_of_the_connection(error: Any) -> bool:
    """Whether an error without any code says that the connection failed."""
    if isinstance(error, (ConnectionError, TimeoutError, socket.gaierror)):
        return True
    if getattr(error, "connection_invalidated", False) or type(error).__name__ == "InterfaceError":
        return True
    return _of_psycopg(error)


def _of_psycopg(error: Any) -> bool:
    """Whether libpq raised this: it passes on no SQLSTATE, even where the server sent one."""
    return type(error).__module__.startswith("psycopg") and (
        type(error).__name__ == "OperationalError"
    )


def _of_pool(error: Any) -> StoreTrouble | None:
    mine = (type(error).__module__, type(error).__name__) == ("sqlalchemy.exc", "TimeoutError")
    return StoreTrouble.POOL_TIMEOUT if mine else None


def _of_sqlite(error: Any) -> StoreTrouble | None:
    name = getattr(error, "sqlite_errorname", None)
    if not isinstance(name, str):
        return None
    if any(words in str(error) for words in _SQLITE_WORDS):
        return StoreTrouble.TABLE_MISSING
    return _by_beginning(_SQLITE, name)


def _of_postgresql(error: Any) -> StoreTrouble | None:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str):
        return _by_beginning(_SQLSTATE, state)
    if _of_psycopg(error) and any(words in str(error) for words in _LIBPQ_WORDS):
        return StoreTrouble.ACCESS
    return None


def _of_mysql(error: Any) -> StoreTrouble | None:
    number = error.args[0] if error.args else None
    if type(error).__module__.partition(".")[0] not in _MYSQL_DRIVERS or type(number) is not int:
        return None
    # 3, 1030 and their like carry the system's own number in their text alone.
    full = f"errno: {errno.ENOSPC} " in str(error) or f"error {errno.ENOSPC} " in str(error)
    return StoreTrouble.DISK_FULL if full else _MYSQL.get(number)


def _of_system(error: Any) -> StoreTrouble | None:
    return _ERRNO.get(error.errno or 0) if isinstance(error, OSError) else None


#: Asked in this order: the first that knows the error's code says what it means.
_READERS = (_of_pool, _of_sqlite, _of_postgresql, _of_mysql, _of_system)


def _by_beginning(table: Mapping[str, StoreTrouble], code: str) -> StoreTrouble | None:
    fitting = [begins for begins in table if code.startswith(begins)]
    return table[max(fitting, key=len)] if fitting else None
