"""What a store does in the background, such as forgetting an outcome that is ``done()``.

A store that has ``errands`` waits for them before it closes, so what ``done()`` said is durable
once the store's block was left. A user's own store that has none cannot wait: there ``await`` what
``done()`` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Hashable
from functools import partial
from weakref import WeakKeyDictionary

from chaoying_async.abc import Clock
from chaoying_async.exceptions import SessionClosedError, UsageError
from chaoying_async.observation import SafeLog
from chaoying_async.pollstore.failures import told
from chaoying_async.threads import running_loop

log = SafeLog("chaoying_async.pollstore")

#: Seconds that closing a store waits for its errands.
LAST = 10.0

Task = asyncio.Task[Exception | None]


class Durable:
    """What ``done()`` returns: await it to know that this is durable; it raises why it is not.

    It need not be awaited where the store is left afterwards: leaving the store waits for it.
    """

    def __init__(self, until: Callable[[], Awaitable[None]] | None = None) -> None:
        self._until = until

    def __await__(self) -> Generator[object, None, None]:
        if self._until is not None:
            yield from self._until().__await__()


#: For an outcome that no store keeps: there is nothing to wait for.
NOTHING_KEPT = Durable()


class Errands:
    """Tasks by key, one at a time for each key; failures are logged, and raised to who awaits."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, Task] = {}

    def begin(self, key: Hashable, name: str, work: Callable[[], Awaitable[None]]) -> Task:
        """The task that does this, begun now unless one for this key is under way already.

        ``name`` says in the log whose outcome it is.
        """
        if (under_way := self.under_way(key)) is not None:
            return under_way
        if (loop := running_loop()) is None:
            raise UsageError("call done() where its store was opened, in a running loop")
        task = loop.create_task(_run(name, work), name="chaoying store: forget")
        self._tasks[key] = task
        task.add_done_callback(partial(self._ended, key))
        return task

    def under_way(self, key: Hashable) -> Task | None:
        """The task for this key; None when none runs."""
        task = self._tasks.get(key)
        if task is None or task.done() or task.get_loop() is not running_loop():
            return None  # a task of a loop that is gone never ends
        return task

    def _ended(self, key: Hashable, task: Task) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

    async def finish(self, clock: Clock) -> None:
        """Wait until all tasks have ended, for :data:`LAST` seconds at most; then end them."""
        try:
            async with clock.timeout(LAST):
                while waiting := self._here():
                    await asyncio.wait(waiting)
        except TimeoutError:
            left = self._here()
            log.warning(
                "the store is closed before %d records were forgotten: they come again", len(left)
            )
        finally:
            for task in self._here():
                task.cancel()

    def _here(self) -> list[Task]:
        here = asyncio.get_running_loop()
        return [task for task in self._tasks.values() if task.get_loop() is here]


async def _run(name: str, work: Callable[[], Awaitable[None]]) -> Exception | None:
    try:
        with told():
            await work()
    except Exception as error:  # noqa: BLE001 - whoever awaits it is told
        # Not the traceback: a driver's errors may quote what was being written.
        log.error("%s is done() but comes again: %s", name, error)  # noqa: TRY400
        return error
    return None


def durable(task: Task) -> Durable:
    """What ``done()`` returns for a task of :class:`Errands`."""

    async def until() -> None:
        await asyncio.wait([task])
        if task.cancelled():
            raise SessionClosedError("the store was closed before that")
        if (error := task.result()) is not None:
            raise error

    return Durable(until)


_REGISTRIES: WeakKeyDictionary[object, Errands] = WeakKeyDictionary()
_OTHERS = Errands()


def errands_of(store: object) -> Errands:
    """The store's own errands, or those that we keep for a store that has none."""
    found = getattr(store, "errands", None)
    if isinstance(found, Errands):
        return found
    try:
        return _REGISTRIES.setdefault(store, Errands())
    except TypeError:
        return _OTHERS
