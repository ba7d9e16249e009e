"""When everything fails, ask little: a circuit breaker as a value, which has no clock of its own.

It looks at all queries together. Many troubles in a row, with no answer between them, mean that the
gateway is down for everybody; then one probe at a time is enough to notice that it is back.
"""

from __future__ import annotations

import attrs

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
    #: When the next probe may leave; None while closed.
    probe_at: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether queries wait for a probe to come back well."""
        return self.probe_at is not None

    def heard(self, *, trouble: bool, now: float) -> Breaker:
        """After any answer; whatever is not trouble closes it, a refusal too."""
        if not trouble:
            return self if self == CLOSED else CLOSED
        if self.is_open:
            return self  # what was under way when it opened says nothing new
        if self.troubles + 1 < THRESHOLD:
            return Breaker(self.troubles + 1)
        return Breaker(self.troubles + 1, FIRST_PAUSE, now + FIRST_PAUSE)

    def probed(self, now: float) -> Breaker:
        """After a probe left."""
        return Breaker(self.troubles, min(2 * self.pause, LONGEST_PAUSE), now + self.pause)


CLOSED = Breaker()
