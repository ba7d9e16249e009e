"""Outcomes as jobs of PgQueuer, enqueued in the transaction that records them.

    pip install 'chaoying-async[pgqueuer]'

Embed PgQueuer: make its ``PgQueuer`` object in your worker and await its ``run()``. Its command
``pgq`` is not needed; its tables are made by ``await Queries(driver).install()``, once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from pgqueuer import Job, PgQueuer, Queries, QueueManager
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder
from pgqueuer.domain.settings import DBSettings, db_settings
from pgqueuer.errors import RetryRequested
from pgqueuer.executors import EntrypointExecutor
from pgqueuer.models import Context
from sqlalchemy.exc import StatementError
from sqlalchemy.ext.asyncio import AsyncConnection

from chaoying_async.exceptions import UsageError
from chaoying_async.sql.transactions import driver_of
from chaoying_async.workers.log_texts import log
from chaoying_async.workers.queues.payloads import as_text

Task = TypeVar("Task", bound=Callable[[dict[str, Any]], Awaitable[None]])

#: Seconds until a task that failed runs again: doubled each time, up to the last.
_FIRST_RETRY, _LAST_RETRY = 1, 300

_NO_TRANSACTION = (
    "PgQueuerQueue enqueues inside a transaction, so that a rollback takes the job back: this"
    " connection commits every statement by itself (AUTOCOMMIT)"
)

#: By SQLAlchemy's driver: how it writes the parameter $1.
_PLACEHOLDERS: Mapping[str, str] = {"asyncpg": r"$\1", "psycopg": r"%(p\1)s"}


class PgQueuerQueue:
    """Hands outcomes to PgQueuer: a job exists exactly where the outcome was committed.

    The store has to be in the PostgreSQL database that has PgQueuer's tables. ``settings``: where
    these are, if they are not called as PgQueuer's environment variables (``PGQUEUER_PREFIX``,
    ``PGQUEUER_SCHEMA``) say. ``priority``: that of the jobs.

    A task is found by its name when a worker takes the job, so an outcome for a name that no worker
    knows waits in the queue. While an outcome's job is queued or runs, sending the outcome again
    adds no second one.

    Write the tasks with :func:`outcome_task`. As PgQueuer's own entrypoints are made by default, a
    job whose task raised is deleted.
    """

    def __init__(self, *, settings: DBSettings | None = None, priority: int = 0) -> None:
        self._settings = settings or db_settings()
        self._priority = priority

    @property
    def joins(self) -> bool:
        """True: a rolled back outcome leaves no job."""
        return True

    async def send(
        self, then: str, outcome: Mapping[str, Any], connection: AsyncConnection | None
    ) -> None:
        """Enqueue the outcome; workers see it once the connection's transaction is committed."""
        if connection is None or connection.dialect.driver not in _PLACEHOLDERS:
            raise UsageError(
                "PgQueuerQueue needs the connection that records the outcome, to PostgreSQL by"
                " postgresql+asyncpg:// or postgresql+psycopg://"
            )
        if _commits_by_itself(connection):
            raise UsageError(_NO_TRANSACTION)
        driver: Any = _Joined(connection)
        queries = Queries(
            driver,
            qbe=QueryBuilderEnvironment(self._settings),
            qbq=QueryQueueBuilder(self._settings),
        )
        try:
            await queries.enqueue(
                then,
                as_text(outcome).encode("ascii"),
                self._priority,
                dedupe_key=f"{then}:{outcome['id']}",
                on_conflict="skip",
            )
        except StatementError as error:
            error.hide_parameters = True  # they are the outcome
            raise
        if not _in_transaction(connection):
            raise UsageError(_NO_TRANSACTION)


class _Joined:
    """The part of a PgQueuer driver that enqueueing needs, on SQLAlchemy's connection.

    SQLAlchemy begins the transaction of a new connection with its first statement. Handed to
    PgQueuer, the driver's connection below would know of no transaction yet, and commit the job.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        driver = self._connection.dialect.driver
        parameters: Any = args
        if driver == "psycopg":
            query = query.replace("%", "%%")
            parameters = {f"p{number}": value for number, value in enumerate(args, 1)}
        statement = re.sub(r"\$(\d+)", _PLACEHOLDERS[driver], query)
        rows = await self._connection.exec_driver_sql(statement, parameters)
        return [{**row} for row in rows.mappings()]


def _commits_by_itself(connection: AsyncConnection) -> bool:
    sync: Any = connection.sync_connection
    # create_engine(isolation_level=...) leaves its word only here.
    of_connections = getattr(connection.dialect, "_on_connect_isolation_level", None)
    return bool(sync.get_execution_options().get("isolation_level", of_connections) == "AUTOCOMMIT")


def _in_transaction(connection: AsyncConnection) -> bool:
    driver = driver_of(connection)
    if connection.dialect.driver == "asyncpg":
        return bool(driver.is_in_transaction())
    return bool(driver.info.transaction_status)


# ----------------------------------------------------------------------------------------- workers


def outcome_task(worker: PgQueuer | QueueManager, name: str) -> Callable[[Task], Task]:
    """A decorator: run this coroutine function with each outcome that was sent to ``name``.

        @outcome_task(pgq, "shop.order_ended")
        async def order_ended(outcome): ...

    The job is done when the function returns. If it raises, or is cancelled because the worker
    stops, the function runs again later, for ever: after 1 s, doubling to 5 min. If the worker is
    killed, another one takes the job when ``heartbeat_timeout`` of ``PgQueuer.run`` has passed
    (30 s by default). A worker whose event loop is blocked as long loses its job in the same way,
    and both run it.

    So the function may see one outcome twice, and has to be idempotent by ``outcome["id"]``. Let
    ``run(shutdown_on_listener_failure=True)`` end a worker that hears of no new jobs.
    """

    def register(function: Task) -> Task:
        async def run(job: Job) -> None:
            await function(json.loads(job.payload or b""))

        worker.entrypoint(
            name,
            accepts_context=False,
            on_failure="hold",
            executor_factory=_UntilItReturns,
        )(run)
        return function

    return register


class _UntilItReturns(EntrypointExecutor):
    """Gives the job back whenever its function did not return."""

    async def execute(self, job: Job, context: Context) -> None:
        try:
            await super().execute(job, context)
        except (RetryRequested, SystemExit, KeyboardInterrupt, GeneratorExit):
            raise
        # PgQueuer would delete a job that raised, and one whose worker was told to stop. One that
        # raised what is no Exception would wait for the heartbeat's time-out, and nobody hear why.
        except BaseException as error:
            delay = min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(job.attempts, 10))
            log.warning(
                "%s failed with job %s and runs again in %s s",
                job.entrypoint,
                job.id,
                delay,
                exc_info=error,
            )
            raise RetryRequested(timedelta(seconds=delay), type(error).__name__) from error
