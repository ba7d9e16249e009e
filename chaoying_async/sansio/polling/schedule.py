"""Decides when to ask again, without a clock or random numbers of its own.

``next_step`` takes what came so far and answers with ``Wait``, ``Done`` or ``GiveUp``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta

import attrs

from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.polling.status import PollStatus, Says, Standing

_MINUTE = 60.0
_HOUR = 60 * _MINUTE

#: A pre-order is asked about for this long after it expired, and for so long without an expiry.
AFTER_EXPIRY = 2 * _MINUTE
WITHOUT_EXPIRY = 2 * _HOUR


@attrs.frozen
class PollSchedule:
    """When a waiting order is asked about; seconds from when it was first waited for.

    Trouble doubles a pause, up to ``longest`` too.

    The default is for payments: after 5 s, every 5 s, for 180 s (M-22); so later versions of the
    gateway advise, this one's document has a schedule for terminals only. For pre-orders and
    refunds there are :meth:`preorder` and :meth:`refunds`: a refund polled with the
    default ends EXPIRED after three minutes. Numbers that make no sense are a
    :class:`~chaoying_async.exceptions.ParameterError` that names them all.
    """

    first: float = 5.0
    """Seconds before the first query."""
    every: float = 5.0
    """Seconds from one query to the next."""
    until: float = 180.0
    """Seconds from the beginning to the last query, which decides (M-23)."""
    jitter: float = 0.1
    """A pause is up to this fraction longer, never shorter, so that orders that began together do
    not stay together.
    """
    factor: float = 1.0
    """Above 1 every pause is this many times the one before."""
    longest: float = attrs.field(
        default=attrs.Factory(lambda self: _longest_of(self.every), takes_self=True)
    )
    """Pauses stretch up to so many seconds; by default 60, or ``every`` where that is more."""
    steady: float = attrs.field(default=0.0, kw_only=True)
    """Seconds during which pauses do not stretch yet."""
    ends: datetime | None = attrs.field(default=None, kw_only=True)
    """A moment (aware) that takes the place of ``until``, as soon as waiting begins."""

    def __attrs_post_init__(self) -> None:
        problems = {
            name: rule
            for name, rule, holds in _RULES
            if not (_number(getattr(self, name)) and holds(getattr(self, name)))
        }
        if "longest" not in problems and "every" not in problems and self.longest < self.every:
            problems["longest"] = "must not be less than every"
        if self.ends is not None and self.ends.utcoffset() is None:
            problems["ends"] = "needs a time zone"
        if problems:
            raise ParameterError(problems)

    @classmethod
    def preorder(cls, until: datetime | None = None) -> PollSchedule:
        """For QR codes and mini programs, which customers take their time for (M-22).

        After 20 s, every 5 s for 3 minutes, then ever more rarely up to once a minute, and for the
        last time 2 minutes after ``until``: the order's ``time_expire``, aware. Without one: 2
        hours.
        """
        if until is not None and until.utcoffset() is None:
            raise ParameterError({"until": "needs a time zone"})
        return cls(
            first=20.0,
            every=5.0,
            until=WITHOUT_EXPIRY,
            factor=1.2,
            longest=_MINUTE,
            steady=3 * _MINUTE,
            ends=None if until is None else until + timedelta(seconds=AFTER_EXPIRY),
        )

    @classmethod
    def refunds(cls) -> PollSchedule:
        """For refunds: after 30 s, then ever more rarely up to every 6 hours, for 15 days (M-22).

        Banks answer after three *working* days, and holidays are long.
        """
        return cls(first=30.0, every=30.0, until=15 * 24 * _HOUR, factor=1.5, longest=6 * _HOUR)

    def begun(self, now: datetime) -> PollSchedule:
        """The schedule of an order that is waited for from ``now``: ``ends`` as seconds from then.

        An end that is past means: ask once, at once.
        """
        if self.ends is None:
            return self
        left = max(0.0, (self.ends - now).total_seconds())
        return attrs.evolve(self, until=left, ends=None)

    def pause(self, attempts: int, elapsed: float, troubles: int, random_number: float) -> float:
        """Seconds from one query to the next; ``attempts`` 0 is the wait for the first."""
        if attempts == 0:
            pause = self.first
        else:
            # A pause that grows by `factor` each time grows by `factor - 1` a second waited.
            stretched = max(0.0, elapsed - self.first - self.steady) * (self.factor - 1)
            pause = min(self.longest, self.every + stretched)
        if troubles:
            pause = min(max(self.longest, pause), pause * 2.0**troubles)
        return pause * (1 + self.jitter * random_number)


def _longest_of(every: object) -> float:
    return max(_MINUTE, every) if isinstance(every, int | float) and _number(every) else _MINUTE


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_RULES: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
    ("first", "must be a number of seconds, 0 or more", lambda value: value >= 0),
    ("every", "must be a number of seconds above 0", lambda value: value > 0),
    ("until", "must be a number of seconds, 0 or more", lambda value: value >= 0),
    ("jitter", "must be a fraction from 0 to 1", lambda value: 0 <= value <= 1),
    ("factor", "must be 1 or more", lambda value: value >= 1),
    ("longest", "must be a number of seconds above 0", lambda value: value > 0),
    ("steady", "must be a number of seconds, 0 or more", lambda value: value >= 0),
)


@attrs.frozen
class Wait:
    """Ask again, this many seconds after the last query was *sent*; at once if that is past."""

    seconds: float
    """Seconds from when the last query was *sent*."""


@attrs.frozen
class Done:
    """The order has ended."""

    status: PollStatus
    """How it ended."""


@attrs.frozen
class GiveUp:
    """The deadline has passed, was asked about, and decided nothing: EXPIRED, never failed."""


Step = Wait | Done | GiveUp
_GIVE_UP = GiveUp()


def next_step(
    schedule: PollSchedule, attempts: int, elapsed: float, last: Standing, random_number: float
) -> Step:
    """What to do after ``attempts`` queries, the last one sent ``elapsed`` seconds after the start.

    ``last`` is what all answers so far say (``taken_together``), ``random_number`` lies
    from 0 to 1. Nothing ends unasked: ``GiveUp`` and NOT_FOUND come only after a query that was
    sent at the deadline or later (M-23). One more is allowed there where an end was heard of that
    only a second query can make count (M-06).
    """
    if last.says is Says.ENDED and last.counts and last.status is not None:
        return Done(last.status)
    pause = schedule.pause(attempts, elapsed, last.troubles, random_number)
    if attempts == 0 or elapsed < schedule.until:
        return Wait(min(pause, max(0.0, schedule.until - elapsed)))
    if last.says in (Says.PENDING, Says.TROUBLE) or last.status is None:
        return _GIVE_UP
    return Done(last.status) if last.counts else Wait(min(pause, schedule.every))


#: Seconds. Sums of floats drift: a query that is due this near to the deadline is the last one.
_SAME = 1e-6


def last_query_at(due: float, deadline: float) -> float:
    """``due``, or the deadline where only a rounding error lies between them (M-23)."""
    return deadline if deadline - _SAME <= due < deadline else due
