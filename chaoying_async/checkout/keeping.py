"""What a checkout or a refund writes into the store; without a store it writes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from chaoying_async.abc import Clock, PollStore
from chaoying_async.exceptions import SessionClosedError, StoreInUseError

log = logging.getLogger("chaoying_async.checkout")

#: Seconds that a record may take while its task is being cancelled.
SHIELDED_FOR = 10.0

#: Forgetting that is under way: the store (by ``id``: its task keeps it alive), kind and key.
_FORGETTING: dict[tuple[int, str, str], asyncio.Task[None]] = {}


class Keeper:
    """One kind of texts in a store; ``None`` keeps nothing."""

    def __init__(self, store: PollStore | None, kind: str) -> None:
        self.store = store
        self.kind = kind

    async def put(self, key: str, text: str) -> None:
        """Durable on return; raises what the store raises."""
        if self.store is not None:
            await self.store.put(self.kind, {key: text})

    async def get(self, key: str) -> str | None:
        """What is there."""
        return None if self.store is None else await self.store.get(self.kind, key)

    async def before_money(self, key: str, text: str) -> bool:
        """Write it down, and read again that the store is ours; False: then nothing may leave."""
        if self.store is None:
            return True
        try:
            await self.store.put(self.kind, {key: text})
            await self.store.hold()
        except (StoreInUseError, SessionClosedError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a database raises
            self._complain(key, error)
            return False
        return True

    async def note(self, key: str, text: str) -> None:
        """Write down what was learnt; a store that fails must not lose what was learnt."""
        if self.store is None:
            return
        try:
            await self.store.put(self.kind, {key: text})
        except Exception as error:  # noqa: BLE001 - the outcome counts more than its record
            self._complain(key, error)

    async def forget(self, key: str) -> None:
        """Drop it; one that stays comes again, which does no harm."""
        if self.store is None:
            return
        try:
            await self.store.forget(self.kind, [key])
        except Exception as error:  # noqa: BLE001 - the same
            self._complain(key, error)

    def forget_soon(self, key: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Do the ``work`` that ends in forgetting this key, once at a time, in a task."""
        if (under_way := self._forgetting(key)) is not None:
            return under_way

        async def forget() -> None:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - the same
                self._complain(key, error)

        task = asyncio.get_running_loop().create_task(forget())
        where = self._where(key)
        _FORGETTING[where] = task
        task.add_done_callback(lambda _: _FORGETTING.pop(where, None))
        return task

    async def forgotten(self, key: str) -> None:
        """Wait for a forgetting that was begun: it must not drop what is written from now on."""
        if (under_way := self._forgetting(key)) is not None:
            await asyncio.wait([under_way])

    def _forgetting(self, key: str) -> asyncio.Task[None] | None:
        task = _FORGETTING.get(self._where(key))
        here = asyncio.get_running_loop()  # what a loop left that is gone, never ends
        return None if task is None or task.get_loop() is not here else task

    def _where(self, key: str) -> tuple[int, str, str]:
        return (id(self.store), self.kind, key)

    def _complain(self, key: str, error: Exception) -> None:
        log.error("the store failed with %s for %s %s", type(error).__name__, self.kind, key)


async def shielded(clock: Clock, work: Callable[[], Awaitable[None]]) -> bool:
    """Do this although the task is being cancelled, however often; whether it was done in time."""

    async def bounded() -> None:
        async with clock.timeout(SHIELDED_FOR):
            await work()

    task = asyncio.ensure_future(bounded())
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue  # the caller raises it again when this is written down
    return not task.cancelled() and task.exception() is None
