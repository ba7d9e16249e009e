"""What the fleet asks of a queue: that an outcome reaches the user's task at least once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


class OutcomeQueue(Protocol):
    """The queue that runs the user's tasks: PgQueuer, Celery, or one of your own.

    A queue of your own passes the tests of ``tests/workers/test_queue_contract.py``.
    """

    @property
    def joins(self) -> bool:
        """Whether :meth:`send` takes part in the transaction of the connection it is handed.

        True: the fleet calls it inside the transaction that records the outcome; rolled back, there
        is no job. False: the fleet calls it after the commit, from its outbox, with None.
        """
        ...

    async def send(
        self, then: str, outcome: Mapping[str, Any], connection: AsyncConnection | None
    ) -> None:
        """Hand ``outcome``, which JSON can hold, to the task named ``then``.

        When it returns, the broker has the outcome, or the transaction has. When it raises, the
        fleet tries again later, whatever the error; the task may get the outcome all the same. An
        error of a queue that joins may leave the transaction useless: roll it back.

        It is called again with the same ``outcome["id"]`` where nobody knows how the first call
        ended, so the task may run twice with it. It never blocks the event loop. A queue that does
        not join gives up within a bounded time; one that joins is as fast as the database.

        No error and no line in a log shows what is in the outcome, but for its id.
        """
        ...


class KeepingQueue(OutcomeQueue, Protocol):
    """A queue that may lose what it has: the fleet keeps each outcome until its task has taken it.

    The task takes it with ``took_effect``, in the transaction of its effects. What is not taken in
    time is sent again.
    """

    @property
    def patience(self) -> float | None:
        """Seconds after which an outcome that nobody took is sent again; None: nothing is kept.

        A queue that joins has none.
        """
        ...
