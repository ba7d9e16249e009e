"""Calls a handler so that the gateway has its answer in time, also when nobody opened it."""

from __future__ import annotations

import asyncio
from typing import Final

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.notifications.facts import Wallet
from chaoying_async.web.adapter_log import AdapterLog
from chaoying_async.web.contract import NO_ANSWER, Handles, HttpAnswer, Refusal, call

#: Seconds until the answer of a handler that is not open; the default ``budget`` is as long.
ANSWER_SECONDS: Final = 2.0


class TimelyHandler:
    """Calls the handler of one route.

    An open handler answers within its budget. A handler that is not open answers when ``on_paid``
    has ended, which is too late for a gateway that gives up after 3 s. So it works in a task of its
    own, and after :data:`ANSWER_SECONDS` the answer is ``fail``; the work goes on, and the
    gateway's next delivery finds the effect.
    """

    def __init__(
        self,
        handler: Handles,
        kind: Wallet | None,
        clock: Clock | None,
        log: AdapterLog,
        how_to_open: str,
    ) -> None:
        self._handler = handler
        self._kind = kind
        self._clock: Clock = clock or SystemClock()
        self._log = log
        self._how_to_open = how_to_open
        self._working: set[asyncio.Task[HttpAnswer]] = set()

    async def handle(
        self, body: bytes | bytearray | Refusal, *, loop_lasts: bool = True
    ) -> HttpAnswer:
        """The answer to a body; a :class:`Refusal` is returned as it is.

        ``loop_lasts``: this event loop outlives the request. Otherwise the work is awaited.
        """
        try:
            if isinstance(body, Refusal):
                return body
            is_open = getattr(self._handler, "is_open", True)  # a handler of the user's may not say
            if not is_open:
                self._log.not_open(self._how_to_open)
            if is_open or not loop_lasts:
                return await self._handler.handle(bytes(body), kind=self._kind)
            work = call(self._handler, bytes(body), self._kind)
            task = asyncio.create_task(work, name="chaoying web: notification")
        finally:
            del body  # a debug page shows the locals of every frame of a traceback (M-27)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        try:
            async with self._clock.timeout(ANSWER_SECONDS):
                return await asyncio.shield(task)
        except TimeoutError:
            return NO_ANSWER
