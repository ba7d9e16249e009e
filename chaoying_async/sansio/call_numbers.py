"""Counts the calls of a session: how they ended, and how long they took."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import attrs

#: Calls are counted by the first of these seconds within which they ended.
DURATION_BOUNDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
#: How a call ended that was cancelled, or that failed by no error of ours (a defect, a hook).
CANCELLED, OTHER = "CancelledError", "other"


@attrs.frozen(kw_only=True)
class CallDurations:
    """How long the calls to one endpoint took, their repeats and waiting included."""

    seconds: float
    """Of all calls together."""
    counts: tuple[int, ...]
    """How many ended within each of ``DURATION_BOUNDS`` and not within the one before; the last
    number has those that took longer than all of them.
    """


@attrs.frozen(kw_only=True)
class SessionStats:
    """Numbers of a session since it was made; see ``GatewaySession.stats``."""

    in_flight: int
    """Calls that are under way; those that wait for a free connection count."""
    calls: Mapping[tuple[str, str], int]
    """Calls that ended, by endpoint (``orderquery``) and outcome: the name of what the reply means
    (``RESULT``, ``PENDING``), or of the error's class, as the log has it. ``CancelledError`` is a
    call that its caller gave up, ``other`` what failed by no error of ours. A call that was refused
    before anything was sent (:class:`ParameterError`) is none.
    """
    durations: Mapping[str, CallDurations]
    """How long they took, by endpoint."""


class CallCounts:
    """The mutable counts that ``SessionStats`` is a snapshot of.

    One thread counts. Any may take a snapshot: what changes is copied in one step of the
    interpreter.
    """

    def __init__(self) -> None:
        self._in_flight = 0
        self._calls: Counter[tuple[str, str]] = Counter()
        #: By endpoint: seconds, then the counts.
        self._durations: dict[str, list[float]] = {}

    def begin(self) -> None:
        self._in_flight += 1

    def end(self, endpoint: str, outcome: str, seconds: float) -> None:
        self._in_flight -= 1
        self._calls[endpoint, outcome] += 1
        durations = self._durations.setdefault(endpoint, [0.0] * (len(DURATION_BOUNDS) + 2))
        durations[0] += seconds
        durations[1 + bisect_left(DURATION_BOUNDS, seconds)] += 1

    def snapshot(self) -> SessionStats:
        return SessionStats(
            in_flight=self._in_flight,
            calls=MappingProxyType(dict(self._calls)),
            durations={
                endpoint: _durations(list(numbers))
                for endpoint, numbers in dict(self._durations).items()
            },
        )


def _durations(numbers: list[float]) -> CallDurations:
    seconds, *counts = numbers
    return CallDurations(seconds=seconds, counts=tuple(map(int, counts)))
