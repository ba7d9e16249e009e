"""The objects that are watched, and what they say together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from chaoying_async.exceptions import ParameterError, SessionClosedError
from chaoying_async.observing.metric_table import METRICS
from chaoying_async.observing.readings import (
    FLEET,
    Reading,
    of_fleet,
    of_handler,
    of_poller,
    of_session,
    of_whole_fleet,
)

if TYPE_CHECKING:
    from chaoying_async.notifications.answering import HandlerStats
    from chaoying_async.observing.whole_fleet import WholeFleetStats
    from chaoying_async.polling.outcome import PollStats
    from chaoying_async.sansio.call_numbers import SessionStats
    from chaoying_async.workers.worker import FleetStats

S_co = TypeVar("S_co", covariant=True)


class HasStats(Protocol[S_co]):
    """Whatever has numbers."""

    def stats(self) -> S_co:
        """The numbers now."""
        ...


class Watched:
    """Sessions, pollers, handlers and fleets, whose numbers are read when they are asked for.

    Several sessions or handlers are added up. Several pollers come as a mapping, by the names that
    their numbers stand under; a single one is ``poller``, and a fleet's are ``fleet``.
    ``merchants``: whether the metrics by merchant are read too.
    """

    def __init__(
        self,
        *,
        session: HasStats[SessionStats] | Sequence[HasStats[SessionStats]] = (),
        poller: HasStats[PollStats] | Mapping[str, HasStats[PollStats]] | None = None,
        handler: HasStats[HandlerStats] | Sequence[HasStats[HandlerStats]] = (),
        fleet: HasStats[FleetStats] | None = None,
        whole_fleet: HasStats[WholeFleetStats] | None = None,
        merchants: bool = False,
    ) -> None:
        self._sessions = _several(session)
        self._pollers = _named(poller)
        self._handlers = _several(handler)
        self._fleets: Sequence[HasStats[FleetStats]] = () if fleet is None else (fleet,)
        self._whole = () if whole_fleet is None else (whole_fleet,)
        self.merchants = merchants
        if FLEET in self._pollers and fleet is not None:
            raise ParameterError({"poller": f"must not be named {FLEET!r} beside a fleet"})
        given = (
            *self._sessions,
            *self._pollers.values(),
            *self._handlers,
            *self._fleets,
            *self._whole,
        )
        if not given:
            raise ParameterError({"session": "give a session, a poller, a handler or a fleet"})
        for each in given:
            if not callable(getattr(each, "stats", None)):
                kind = type(each).__name__
                names = "session, poller, handler, fleet, whole_fleet"
                raise ParameterError({names: f"{kind} has no stats()"})

    def readings(self) -> Mapping[str, Mapping[tuple[str, ...], Reading]]:
        """What all of them say now, by metric and labels."""
        found: dict[str, dict[tuple[str, ...], Reading]] = {}
        for reading in self._read():
            of_metric = found.setdefault(reading.metric, {})
            before = of_metric.get(reading.labels)
            of_metric[reading.labels] = reading if before is None else _together(before, reading)
        return found

    def _read(self) -> Iterator[Reading]:
        yield from chain.from_iterable(of_session(each.stats()) for each in self._sessions)
        for name, poller in self._pollers.items():
            yield from of_poller(name, poller.stats())
        for handler in self._handlers:
            yield from of_handler(handler.stats(), merchants=self.merchants)
        with suppress(SessionClosedError):  # it begins, or has ended
            for fleet in self._fleets:
                yield from of_fleet(fleet.stats())
        with suppress(SessionClosedError):
            for whole in self._whole:
                yield from of_whole_fleet(whole.stats())


def _several(given: Any) -> Sequence[Any]:
    return tuple(given) if isinstance(given, Sequence) else (given,)


def _named(
    poller: HasStats[PollStats] | Mapping[str, HasStats[PollStats]] | None,
) -> Mapping[str, HasStats[PollStats]]:
    if poller is None:
        return {}
    return dict(poller) if isinstance(poller, Mapping) else {"poller": poller}


def _together(one: Reading, other: Reading) -> Reading:
    join = METRICS[one.metric].together
    counts = tuple(map(sum, zip(one.counts, other.counts, strict=True)))
    return Reading(one.metric, one.labels, join(one.value, other.value), counts)
