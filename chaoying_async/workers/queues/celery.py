"""Outcomes as messages to Celery's tasks, sent from the fleet's outbox after the commit.

pip install 'chaoying-async[celery]'
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore, Reject, Retry  # type: ignore[import-untyped]

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock, within
from chaoying_async.exceptions import UsageError
from chaoying_async.workers.log_texts import log
from chaoying_async.workers.queues.payloads import as_plain
from chaoying_async.workers.this_process import this_process

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

#: Seconds until a task that failed runs again: doubled each time, up to the last. A countdown that
#: outlasts Redis's visibility time-out (an hour) would be run by everybody who looks.
_FIRST_RETRY, _LAST_RETRY = 1, 60


class CeleryQueue:
    """Sends outcomes to the tasks of ``app``, each as the keyword argument ``outcome``.

    ``tasks`` names tasks that this program does not import: a worker drops a message for a task
    that it does not know (and logs all of it), so other names are refused with a
    :class:`~chaoying_async.exceptions.UsageError`. Roll a new task out to the workers first.

    Celery's calls block, so they are made in ``threads`` threads. A broker that does not answer for
    ``timeout`` seconds is a :class:`TimeoutError`, also for messages that no thread has taken up
    yet: those wait for as long as others go through. One that is down raises what Celery raises.

    The message is in Redis, or written by RabbitMQ, when ``send`` returns. It is as safe there as
    your broker is, and on Redis no safer than kombu: a worker that is killed with -9 while it takes
    a message has it for ever. With ``patience`` (seconds; longer than a task runs and than messages
    usually wait) the fleet keeps each outcome in its table until the task has taken it with
    :func:`~chaoying_async.workers.took_effect`, and sends again what nobody took in that time. Run
    Redis with ``appendonly yes`` and without eviction all the same. Messages have no
    ``eta``, no ``countdown`` and no ``expires``, whatever the task's own options say; no result is
    kept. Write the tasks with :func:`outcome_task`.

    Make the queue anywhere; it is usable in any event loop and after a fork.
    """

    def __init__(
        self,
        app: Any,
        *,
        tasks: Collection[str] = (),
        patience: float | None = None,
        timeout: float = 10.0,
        threads: int = 4,
        clock: Clock | None = None,
    ) -> None:
        self._app = app
        self.patience = patience
        self._elsewhere = frozenset(tasks)
        self._timeout = timeout
        self._most = threads
        self._clock = clock or SystemClock()
        self._senders: _Senders | None = None

    @property
    def joins(self) -> bool:
        """False: a broker takes no part in a transaction of the database."""
        return False

    async def send(
        self,
        then: str,
        outcome: Mapping[str, Any],
        connection: AsyncConnection | None,  # noqa: ARG002 - the interface's
    ) -> None:
        """Send the outcome; at least once, also where this raises."""
        plain = as_plain(outcome)
        senders = self._senders
        if senders is None or senders.process is not this_process():
            senders = self._senders = _Senders(self._app, self._most, self._timeout)
        # Not anyio's threads: when a caller gives up on one, its limiter takes it for free, and
        # every further call would add a thread that waits for the broker. Here the caller leaves
        # the queue, or the thread stays one of the few that there are.
        message = _QueuedOutcome(then, plain)
        sent = asyncio.wrap_future(senders.threads.submit(self._send, senders, message))
        try:
            await self._in_time(senders, message, sent)
        finally:
            sent.cancel()  # where it waits for a thread, it leaves the queue

    async def _in_time(
        self, senders: _Senders, message: _QueuedOutcome, sent: asyncio.Future[None]
    ) -> None:
        """Wait for a message whose turn comes as long as others go through, and then in time."""
        since = self._clock.monotonic()
        while True:
            left = since + self._timeout - self._clock.monotonic()
            try:
                return await within(self._clock, left, asyncio.shield(sent))
            except TimeoutError:
                latest = senders.went_well if message.began is None else message.began
                if sent.done() or latest <= since:
                    raise
                since = latest

    def close(self) -> None:
        """Close the connections; what is being sent is sent. A later ``send`` opens new ones."""
        senders, self._senders = self._senders, None
        if senders is not None and senders.process is this_process():
            senders.close()

    def _send(self, senders: _Senders, message: _QueuedOutcome) -> None:
        message.began = self._clock.monotonic()
        then, outcome = message.then, message.outcome
        self._check_name(then)
        connection = senders.connection()
        try:
            self._app.send_task(
                then,
                kwargs={"outcome": outcome},
                connection=connection,
                expires=None,  # of the task's own options
                delivery_mode=2,  # on the disk, if the broker has one
                ignore_result=True,
                # A connection may have been cut since its last use. Once more, and not for longer.
                retry=True,
                retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0},
                **_shown(outcome),
            )
        except BaseException:
            senders.drop(connection)
            raise
        senders.went_well = self._clock.monotonic()

    def _check_name(self, then: str) -> None:
        if then in self._elsewhere or then in self._app.tasks:
            return
        self._app.set_current()  # in this thread; the modules may ask for the current app
        self._app.loader.import_default_modules()
        if then not in self._app.tasks:
            raise UsageError(
                f"Celery has no task {then!r} here: name its module in the app's include=, or, if"
                " the task is part of another program, the task in CeleryQueue(tasks=[...])"
            )


def _shown(outcome: Mapping[str, Any]) -> dict[str, str]:
    """What workers, Flower and logs show of the arguments: which outcome it is, and no more."""
    return {"argsrepr": "()", "kwargsrepr": f"{{'outcome': {outcome.get('id')!r}}}"}


class _QueuedOutcome:
    """One outcome on its way."""

    def __init__(self, then: str, outcome: dict[str, Any]) -> None:
        self.then = then
        self.outcome = outcome
        #: When a thread took it up; None while it waits for one.
        self.began: float | None = None


class _Senders:
    """The threads of one process that send, and the broker's connection of each."""

    def __init__(self, app: Any, most: int, timeout: float) -> None:
        self.process = this_process()
        #: When a message was sent last.
        self.went_well = -math.inf
        self.threads = ThreadPoolExecutor(most, thread_name_prefix="chaoying-celery")
        self._app = app
        self._timeout = timeout
        self._mine = threading.local()
        self._all: set[Any] = set()

    def connection(self) -> Any:
        """The thread's own: kombu's connections are not to be shared."""
        found = getattr(self._mine, "connection", None)
        if found is None:
            found = self._app.connection_for_write(connect_timeout=self._timeout)
            found.transport_options.update(_options(found.transport.driver_type, self._timeout))
            self._mine.connection = found
            self._all.add(found)
        return found

    def drop(self, connection: Any) -> None:
        """Nobody knows what the connection is worth after an error."""
        self._mine.connection = None
        self._all.discard(connection)
        with suppress(Exception):  # the error that led here is the one to tell
            connection.release()

    def close(self) -> None:
        self.threads.shutdown(wait=True, cancel_futures=True)
        while self._all:
            self._all.pop().release()


def _options(driver_type: str, timeout: float) -> dict[str, Any]:
    """A broker that hangs has to let the thread go; RabbitMQ has to say that it has the message."""
    return {
        "redis": {"socket_timeout": timeout, "socket_connect_timeout": timeout},
        "amqp": {"confirm_publish": True, "read_timeout": timeout, "write_timeout": timeout},
    }.get(driver_type, {})


# ----------------------------------------------------------------------------------------- workers


def outcome_task(app: Any, name: str, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: a task of ``app`` that is called with each outcome that was sent to ``name``.

        @outcome_task(app, "shop.order_ended")
        def order_ended(outcome): ...

    The message is acknowledged when the function has returned. If it raises, or is cancelled, the
    function runs again later, for ever: after 1 s, doubling to a minute. Celery's own ``Ignore``
    and ``Reject`` are obeyed: they end an outcome, and so does a ``retry`` of yours that cannot be
    sent; just raise. If its process is killed, Celery takes the message up at once; if the whole
    worker is killed, with Redis only when the ``visibility_timeout`` has passed (an hour, unless
    ``broker_transport_options`` says otherwise; it has to be longer than any task runs, else the
    task runs twice at once).

    So the function may see one outcome twice, and has to be idempotent by ``outcome["id"]``.
    ``options`` are further ones of ``app.task``.
    """

    def register(function: Callable[..., Any]) -> Any:
        @wraps(function)
        def run(self: Any, outcome: dict[str, Any]) -> None:
            try:
                function(outcome)
            except (Ignore, Reject, SystemExit, KeyboardInterrupt):
                raise  # an exit is a lost worker for Celery, which takes the message up again
            except BaseException as error:  # Celery would drop the message
                if isinstance(error, Retry) and error.sig is not None:
                    raise  # with the message that comes next
                _again(self, outcome, error)

        kept = {
            "acks_late": True,
            "acks_on_failure": False,
            "acks_on_timeout": False,
            "reject_on_worker_lost": True,
            "max_retries": None,
            "ignore_result": True,
        }
        # Not shared: other apps of this process would have a task of this name too.
        return app.task(name=name, bind=True, **{"shared": False, **options, **kept})(run)

    return register


def _again(task: Any, outcome: dict[str, Any], error: BaseException) -> None:
    delay = min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(task.request.retries, 10))
    log.warning("%s failed and runs again in %s s", task.name, delay, exc_info=error)
    try:
        raise task.retry(exc=error, countdown=delay, **_shown(outcome))
    except Reject as unsent:
        # Celery would drop the message where it cannot send the one that replaces it.
        raise Reject(unsent.reason, requeue=True) from error
