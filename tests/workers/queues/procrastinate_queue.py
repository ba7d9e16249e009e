"""A third queue, written from the protocol alone: procrastinate, in the same transaction.

It shows that PgQueuer can be replaced. Who takes it to their shop has to know what the tests keep
off: procrastinate's loggers write each task's arguments at INFO (set them to WARNING), and nobody
takes up a killed worker's job until a task of one's own asks for stalled jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from procrastinate import App
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.exceptions import UsageError
from chaoying_async.sql.transactions import driver_of
from chaoying_async.workers.queues.payloads import as_text


class ProcrastinateQueue:
    """Defers on psycopg's connection below SQLAlchemy's."""

    def __init__(self, app: App) -> None:
        self._app = app

    @property
    def joins(self) -> bool:
        return True

    async def send(
        self, then: str, outcome: Mapping[str, Any], connection: AsyncConnection | None
    ) -> None:
        if connection is None or connection.dialect.driver != "psycopg":
            raise UsageError("ProcrastinateQueue needs a connection by postgresql+psycopg://")
        if then not in self._app.tasks:  # a worker would end the job as failed
            raise UsageError(f"the app of procrastinate has no task {then!r}")
        # SQLAlchemy has to know that something was written: else its commit() would do nothing.
        await connection.exec_driver_sql("SELECT 1")
        driver = driver_of(connection)
        if driver.autocommit:
            raise UsageError("ProcrastinateQueue needs a transaction, not AUTOCOMMIT")
        deferrer = self._app.configure_task(then, connection=driver)
        await deferrer.defer_async(
            outcome=as_text(outcome)
        )  # jsonb takes no NUL, text of JSON does
