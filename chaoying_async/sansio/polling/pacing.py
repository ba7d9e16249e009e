"""Decides how many queries leave a second, and when a failing gateway is left alone.

A token bucket and a circuit breaker, as values that have no clock of their own. The breaker looks
at all queries together: many troubles in a row, with no answer between them, mean that the gateway
is down for everybody. Then one probe at a time is enough to notice that it is back.
"""

from __future__ import annotations

import math
from typing import Self

import attrs

from chaoying_async.exceptions import ParameterError

#: Above so many a second tokens are handed out in small groups: timers are not that exact.
_ONE_BY_ONE = 50.0
#: The group, as a fraction of a second's tokens.
_GROUP = 0.02
#: Moments nearer to each other than this are the same one: sums of floats drift.
_SAME = 1e-9


@attrs.frozen
class Bucket:
    """Tokens that come back with time; made by :meth:`per_second`, used by :meth:`take`."""

    refill: float
    """Tokens that come back each second."""
    size: float
    """Tokens that it holds at most."""
    tokens: float
    """Tokens that it held at ``at``."""
    at: float = -math.inf
    """A moment, in seconds of whatever clock is used."""

    @classmethod
    def per_second(cls, rate: float) -> Self:
        """A full bucket that hands out at most ``rate`` tokens in any second, not on average."""
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
            raise ParameterError({"rate": "must be a number above 0"})
        if rate <= _ONE_BY_ONE:
            return cls(refill=float(rate), size=1.0, tokens=1.0)
        size = max(1.0, rate * _GROUP)
        return cls(refill=rate - size, size=size, tokens=size)  # a full bucket and what refills it

    def wait(self, now: float) -> float:
        """Seconds until there is a token; 0.0 when there is one now."""
        lacking = (1.0 - self._level(now)) / self.refill
        return lacking if lacking > _SAME else 0.0

    def take(self, now: float) -> Bucket:
        """The bucket after one token was taken; ask :meth:`wait` first."""
        level = max(0.0, self._level(now) - 1.0)
        return Bucket(self.refill, self.size, level, now)

    def _level(self, now: float) -> float:
        if self.at == -math.inf:
            return self.tokens
        return min(self.size, self.tokens + max(0.0, now - self.at) * self.refill)


#: So many troubles in a row, over all orders, and it opens.
THRESHOLD = 10
#: Seconds from one probe to the next: the first pause, and the longest.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


@attrs.frozen
class Breaker:
    """Closed (everything may be asked) or open (probes only)."""

    troubles: int = 0
    pause: float = FIRST_PAUSE
    probe_at: float | None = None
    """When the next probe may leave; None while closed."""

    @property
    def is_open(self) -> bool:
        """Whether queries wait for a probe to come back well."""
        return self.probe_at is not None

    def heard(self, *, trouble: bool, now: float) -> Breaker:
        """The breaker after an answer: trouble may open it, everything else closes it."""
        if not trouble:
            return self if self == CLOSED else CLOSED
        if self.is_open:
            return self  # what was under way when it opened says nothing new
        if self.troubles + 1 < THRESHOLD:
            return Breaker(self.troubles + 1)
        return Breaker(self.troubles + 1, FIRST_PAUSE, now + FIRST_PAUSE)

    def probed(self, now: float) -> Breaker:
        """The breaker after a probe left."""
        return Breaker(self.troubles, min(2 * self.pause, LONGEST_PAUSE), now + self.pause)


CLOSED = Breaker()
