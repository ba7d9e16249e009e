"""Runs the signature doctor on messages of strangers, with limits, and never on the loop."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

from anyio import CapacityLimiter, to_thread

from chaoying_async.abc import Clock
from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.doctor import diagnose

#: Bytes; longer messages are not examined: a notification has about 1 KiB, and each byte costs.
LONGEST: Final = 8 * 1024
#: How many messages are examined in a minute; each takes up to a tenth of a second.
A_MINUTE: Final = 30
_MINUTE: Final = 60.0
_REMEMBERED: Final = 100


class BoundedDoctor:
    """Finds the mistakes behind a wrong sign, within its limits.

    A message that it does not examine gets no mistakes. The answer for a message that came before
    is remembered, so sending the same message again costs nothing.
    """

    def __init__(self, credentials: Credentials, clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[str, ...]] = OrderedDict()
        self._left = float(A_MINUTE)
        self._since = clock.monotonic()
        self._one_at_a_time = CapacityLimiter(1)

    async def mistakes(self, body: bytes) -> tuple[str, ...]:
        """The mistakes behind the sign of this body; none if the body is not examined."""
        if len(body) > LONGEST:
            return ()
        mark = hashlib.sha256(body).digest()
        if mark in self._known:
            return self._known[mark]
        if not self._may():
            return ()
        found = await to_thread.run_sync(
            _mistakes, body, self._credentials, limiter=self._one_at_a_time
        )
        self._known[mark] = found
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

    def _may(self) -> bool:
        now = self._clock.monotonic()
        earned = (now - self._since) * A_MINUTE / _MINUTE
        self._left, self._since = min(float(A_MINUTE), self._left + earned), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def _mistakes(body: bytes, credentials: Credentials) -> tuple[str, ...]:
    try:
        verdict = diagnose(body, credentials)
    except ChaoyingError:
        return ()
    return tuple(finding.mistake for finding in verdict.findings)
