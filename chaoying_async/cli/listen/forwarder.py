"""Passing a notification on to a program of yours, until it answers ``success``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from http import HTTPStatus
from typing import Any

import attrs
import httpx

from chaoying_async.abc import Clock
from chaoying_async.sansio.notifications.message import SUCCESS

#: Seconds before each attempt, inside the three seconds that the gateway waits.
QUICK = (0.0, 0.1, 0.3)
#: Seconds before each attempt where the event log keeps the notification meanwhile.
PATIENT = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
#: Seconds that one attempt may take: all that the gateway would have waited, less the way here.
PATIENCE = 2.5
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_LONGEST = 1024


@attrs.frozen(kw_only=True)
class Attempt:
    """How one attempt ended. ``status`` is None where no answer came."""

    status: int | None = None
    answer: bytes = b""
    problem: str = ""
    #: Of a notification that was here before.
    again: bool = False

    @property
    def accepted(self) -> bool:
        """Answered as the gateway would want it."""
        return self.status == HTTPStatus.OK and self.answer == SUCCESS


class Forwarder:
    """Posts bodies, byte for byte, to one URL."""

    def __init__(
        self, url: str, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url
        self._clock = clock
        self._client = httpx.AsyncClient(trust_env=False, timeout=PATIENCE, transport=transport)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def deliver(
        self,
        body: bytes,
        waits: Sequence[float],
        tell: Callable[[Attempt], None],
        *,
        room: AbstractAsyncContextManager[Any] | None = None,
    ) -> Attempt:
        """Try until it is accepted or the waits are used up; ``tell`` hears of every attempt.

        ``room`` is entered for each attempt: who has to wait for it waits before its time counts.
        """
        attempt = Attempt(problem="not tried")
        for wait in waits:
            await self._clock.sleep(wait)
            async with room or nullcontext():
                attempt = await self._once(body)
            tell(attempt)
            if attempt.accepted:
                break
        return attempt

    async def _once(self, body: bytes) -> Attempt:
        try:
            async with self._clock.timeout(PATIENCE):
                return await self._post(body)
        except TimeoutError:
            return Attempt(problem="no answer in time")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Attempt(problem=type(error).__name__)

    async def _post(self, body: bytes) -> Attempt:
        async with self._client.stream("POST", self._url, content=body, headers=_FORM) as reply:
            answer = b""
            async for chunk in reply.aiter_bytes():
                answer += chunk
                if len(answer) > _LONGEST:
                    break
            return Attempt(status=reply.status_code, answer=answer[:_LONGEST])
