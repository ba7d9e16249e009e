"""Posts a notification to a program of the user's until that answers ``success``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from http import HTTPStatus
from typing import Any

import attrs
import httpx

from chaoying_async.abc import Clock
from chaoying_async.sansio.notifications.message import SUCCESS
from chaoying_async.transport.causes import reason

#: Seconds before each attempt, inside the three seconds that the gateway waits.
QUICK = (0.0, 0.1, 0.3)
#: Seconds before each attempt while the event log keeps the notification.
PATIENT = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
#: Seconds that one attempt may take: as long as the gateway waits, less the way to here.
PATIENCE = 2.5
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_LONGEST = 1024


@attrs.frozen(kw_only=True)
class ForwardAttempt:
    """How one attempt ended. ``status`` is None where no answer came."""

    status: int | None = None
    answer: bytes = b""
    problem: str = ""
    again: bool = False
    """Whether the notification was received before."""

    @property
    def accepted(self) -> bool:
        """Whether the answer is what the gateway wants."""
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
        await self._client.aclose()

    async def deliver(
        self,
        body: bytes,
        waits: Sequence[float],
        tell: Callable[[ForwardAttempt], None],
        *,
        room: AbstractAsyncContextManager[Any] | None = None,
    ) -> ForwardAttempt:
        """Try until an attempt is accepted or ``waits`` is used up; ``tell`` gets every attempt.

        ``room`` is entered for each attempt; waiting for it is not part of the attempt's time.
        """
        attempt = ForwardAttempt(problem="not tried")
        for wait in waits:
            await self._clock.sleep(wait)
            async with room or nullcontext():
                attempt = await self._once(body)
            tell(attempt)
            if attempt.accepted:
                break
        return attempt

    async def _once(self, body: bytes) -> ForwardAttempt:
        try:
            async with self._clock.timeout(PATIENCE):
                return await self._post(body)
        except TimeoutError:
            return ForwardAttempt(problem="no answer in time")
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # a host that is no name
            return ForwardAttempt(problem=reason(error))

    async def _post(self, body: bytes) -> ForwardAttempt:
        async with self._client.stream("POST", self._url, content=body, headers=_FORM) as reply:
            answer = b""
            async for chunk in reply.aiter_bytes():
                answer += chunk
                if len(answer) > _LONGEST:
                    break
            return ForwardAttempt(status=reply.status_code, answer=answer[:_LONGEST])
