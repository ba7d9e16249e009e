"""The connection lent to users' functions: what it refuses, and what may not be left behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn, cast

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from chaoying_async.exceptions import HandlerMisuseError, UsageError
from chaoying_async.sansio.errorchain import error_chain
from chaoying_async.sansio.notifications.inbox_values import LookAgainError, TransactionEndedError
from chaoying_async.sql.dialects import is_for_others

ENDED = "on_paid ended the transaction that it was lent: whether it took effect is not known"
UNDONE = "the database undid it for somebody else's sake"
#: The option of a lent connection that holds what its database undid on it for others' sake.
_UNDONE_HERE: Final = "chaoying_async_undone_here"


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


def tell_whose(engine: AsyncEngine) -> None:
    """From now on :func:`lend` knows which errors of this engine came on the lent connection."""
    event.listen(engine.sync_engine, "handle_error", _note)  # once, however often it is called


def _note(context: ExceptionContext) -> None:
    error, connection = context.sqlalchemy_exception, context.connection
    if connection is None or error is None or not is_for_others(error):
        return
    undone_here = connection.get_execution_options().get(_UNDONE_HERE)
    if undone_here is not None:
        undone_here.append(error)


@asynccontextmanager
async def lend(connection: AsyncConnection) -> AsyncGenerator[LentConnection]:
    """Lend a connection that is in a transaction; what can be seen from here is seen on leaving.

    A raw COMMIT is not: the statement that commits the order finds that out. ``LookAgainError``
    where the database undid something in this very transaction for somebody else's sake. A lock
    that the user's function met anywhere else is that function's own failure (M-16).
    """
    undone_here: list[BaseException] = []
    root, sync = connection.get_transaction(), cast("Any", connection.sync_connection)
    # A session asks whether it is in a savepoint, and makes one of its own then. Where it is not,
    # the session's ``rollback`` would end the transaction that it only takes part in.
    sync.in_nested_transaction = lambda: True
    sync.execution_options(**{_UNDONE_HERE: undone_here})
    try:
        yield LentConnection(connection.engine, sync)
    except Exception as error:
        if any(each in undone_here for each in error_chain(error)):
            raise LookAgainError(UNDONE) from error
        raise
    finally:
        del sync.in_nested_transaction
    if connection.invalidated:
        raise InvalidRequestError("the connection was lost while on_paid ran")
    if connection.closed or root is None or not root.is_active:
        raise TransactionEndedError(ENDED)
    if connection.get_nested_transaction() is not None:
        raise UsageError(
            "on_paid returned with a begin_nested() or a session still open: end it, so that it is"
            " clear what counts"
        )
