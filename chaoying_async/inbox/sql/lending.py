"""The connection lent to users' functions: what it refuses, how its transaction is watched."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NoReturn

from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.exceptions import HandlerMisuseError, UsageError
from chaoying_async.sansio.notifications.inbox_values import TransactionEndedError
from chaoying_async.sql.dialects import is_savepoint_gone

ENDED = "on_paid ended the transaction that it was lent: whether it took effect is not known"


class LentConnection(AsyncConnection):
    """An ``AsyncConnection`` inside a transaction that somebody else ends.

    ``execute``, ``begin_nested`` and ``AsyncSession(bind=connection)`` work as ever: a session's
    ``commit`` and ``rollback`` end at a savepoint of its own. What would end the transaction itself
    is refused.
    """

    __slots__ = ()

    def begin(self) -> NoReturn:
        """Refused: the transaction has begun."""
        _refuse("begin", "use begin_nested()")

    async def commit(self) -> NoReturn:
        """Refused: what on_paid did is committed with the inbox's record, when it returns."""
        _refuse("commit", "just return")

    async def rollback(self) -> NoReturn:
        """Refused: raise something, and all of it is rolled back."""
        _refuse("rollback", "raise an exception")

    async def close(self) -> NoReturn:
        """Refused: the inbox closes the connection."""
        _refuse("close", "just return")

    async def aclose(self) -> NoReturn:
        """Refused: the inbox closes the connection."""
        _refuse("close", "just return")

    async def invalidate(self, exception: BaseException | None = None) -> NoReturn:  # noqa: ARG002
        """Refused: raise something, and all of it is rolled back."""
        _refuse("invalidate", "raise an exception")


def _refuse(what: str, instead: str) -> NoReturn:
    raise HandlerMisuseError(
        f"{what}() on the connection lent to on_paid: its transaction ends with on_paid; {instead}"
    )


@asynccontextmanager
async def lend(connection: AsyncConnection, *, marked: bool) -> AsyncGenerator[LentConnection]:
    """Lend a connection that is in a transaction; on leaving, that transaction is still the same.

    A savepoint watches over it: it is gone when the transaction was ended in whatever way (a raw
    COMMIT, the driver's own method, a DDL statement on MariaDB). Where the transaction is
    ``marked``, no savepoint is needed: the statement that records the order finds out by itself.
    """
    root = connection.get_transaction()
    guard = None if marked else await connection.begin_nested()
    with _as_if_nested(connection):
        yield LentConnection(connection.engine, connection.sync_connection)
    if connection.invalidated:
        raise InvalidRequestError("the connection was lost while on_paid ran")
    if connection.closed or root is None or not root.is_active:
        raise TransactionEndedError(ENDED)
    if guard is not None and not guard.is_active:
        raise TransactionEndedError(ENDED)
    if connection.get_nested_transaction() != guard:
        raise UsageError(
            "on_paid returned with a begin_nested() or a session still open: end it, so that it is"
            " clear what counts"
        )
    if guard is None:
        return
    try:
        await guard.commit()
    except DBAPIError as error:
        if is_savepoint_gone(error):
            raise TransactionEndedError(ENDED) from error
        raise


@contextmanager
def _as_if_nested(connection: AsyncConnection) -> Generator[None]:
    """Have sessions on this connection make a savepoint of their own.

    A session asks the connection whether it is in a savepoint. Where it is not, the session's
    ``rollback`` would end the transaction that it only takes part in.
    """
    sync: Any = connection.sync_connection
    sync.in_nested_transaction = lambda: True
    try:
        yield
    finally:
        del sync.in_nested_transaction
