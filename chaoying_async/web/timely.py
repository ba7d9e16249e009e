"""Calls a handler so that the gateway has its answer in time, also where nobody opened it."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from chaoying_async.abc import Clock
from chaoying_async.clock import SystemClock
from chaoying_async.sansio.notifications.message import Wallet
from chaoying_async.web.adapter_log import AdapterLog
from chaoying_async.web.contract import NO_ANSWER, Handles, HttpAnswer

#: Seconds until the answer where the handler has no owner; its ``budget`` is as long.
ANSWER_SECONDS: Final = 2.0


class TimelyHandler:
    """One route's way to its handler.

    An open handler answers within its budget. One that is not open answers when ``on_paid`` has
    ended, which is too late for a gateway that gives up after 3 s. So the work goes on in a task of
    its own, whose answer is awaited only for :data:`ANSWER_SECONDS`: then it is ``fail``, and the
    gateway's next delivery finds the effect.
    """

    def __init__(
        self,
        handler: Handles,
        kind: Wallet | None,
        clock: Clock | None,
        reports: AdapterLog,
        how_to_open: str,
    ) -> None:
        self._handler = handler
        self._kind = kind
        self._clock: Clock = clock or SystemClock()
        self._reports = reports
        self._how_to_open = how_to_open
        self._working: set[asyncio.Task[HttpAnswer]] = set()

    @property
    def has_owner(self) -> bool:
        """Whether somebody opened the handler. One of the user's own need not say so."""
        return bool(getattr(self._handler, "is_open", True))

    async def handle(self, body: bytes, *, lasts: bool = True) -> HttpAnswer:
        """The answer. ``lasts``: whether this loop outlives the request; else it is waited for."""
        try:
            if self.has_owner:
                return await self._handler.handle(body, kind=self._kind)
            self._reports.not_open(self._how_to_open)
            if not lasts:
                return await self._handler.handle(body, kind=self._kind)
            task = asyncio.ensure_future(_handled(self._handler, body, self._kind))
        finally:
            del body  # a debug page shows the locals of every frame of a traceback (M-27)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        try:
            async with self._clock.timeout(ANSWER_SECONDS):
                return await asyncio.shield(task)
        except TimeoutError:
            return NO_ANSWER


async def _handled(handler: Any, body: bytes, kind: Wallet | None) -> HttpAnswer:
    try:
        answer: HttpAnswer = await handler.handle(body, kind=kind)
        return answer
    finally:
        del body
