"""What each ``stats()`` says, as values of the metrics of ``metric_table``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from chaoying_async.exceptions import GatewayError, ProtocolError, TransportError
from chaoying_async.sansio.call_numbers import DURATION_BOUNDS, SessionStats
from chaoying_async.sansio.notifications.decide import Decision

if TYPE_CHECKING:
    from chaoying_async.notifications.answering import HandlerStats
    from chaoying_async.observing.whole_fleet import WholeFleetStats
    from chaoying_async.polling.outcome import PollStats
    from chaoying_async.sansio.notifications.callback_health import MerchantCallbacks
    from chaoying_async.workers.worker import FleetStats

#: The poller that a fleet's numbers stand under.
FLEET = "fleet"


class Reading(NamedTuple):
    """One value of a metric."""

    metric: str
    labels: tuple[str, ...]
    value: float
    """The value; of a histogram and a summary the sum."""
    counts: Sequence[int] = ()
    """Of a histogram how many kept within each of ``BOUNDS``; of a summary how many there are."""


def _classes(*errors: type[Exception]) -> Iterator[str]:
    for error in errors:
        if error.__module__ == TransportError.__module__:  # not what others have derived
            yield error.__name__
            yield from _classes(*error.__subclasses__())


#: The errors of the library that a call may end with.
ERRORS = tuple(sorted({*_classes(TransportError, ProtocolError, GatewayError)}))


def of_session(stats: SessionStats) -> Iterator[Reading]:
    """Calls, how long they took, and how many are under way."""
    errors = dict.fromkeys(ERRORS, 0)
    for (endpoint, outcome), count in stats.calls.items():
        yield Reading("chaoying_calls_total", (endpoint, outcome), count)
        if outcome in errors:
            errors[outcome] += count
    for error, count in errors.items():
        yield Reading("chaoying_call_errors_total", (error,), count)
    for endpoint, took in stats.durations.items():
        within = tuple(accumulate(took.counts))
        yield Reading("chaoying_call_duration_seconds", (endpoint,), took.seconds, within)
    yield Reading("chaoying_calls_in_flight", (), stats.in_flight)


#: The names of histogram bounds, as Prometheus writes them.
BOUNDS = (*map(str, DURATION_BOUNDS), "+Inf")

_NOW = ("pending", "in_flight", "due", "unwritten", "unread")
_GROWING = ("polls", "errors", "store_errors", "unreadable")


def of_poller(name: str, stats: PollStats) -> Iterator[Reading]:
    """What waits, and what was asked."""
    for field in _GROWING:
        yield Reading(f"chaoying_poller_{field}_total", (name,), getattr(stats, field))
    yield from _of_now(name, stats)


def _of_now(name: str, stats: PollStats) -> Iterator[Reading]:
    now = {field: getattr(stats, field) for field in _NOW}
    also = {"lag_seconds": stats.lag, "breaker_open": stats.breaker_open}
    yield from _named("chaoying_poller", now | also, name)


def _named(begins: str, values: Mapping[str, float], *labels: str) -> Iterator[Reading]:
    """A reading for each value; its metric's name begins so, and ends as the value is called."""
    for name, value in values.items():
        yield Reading(f"{begins}_{name}", labels, value)


def of_fleet(stats: FleetStats) -> Iterator[Reading]:
    """One process of a fleet: its pollers together, its calls, its share of the shards."""
    for field in _GROWING:  # not of the shards: one that is handed back takes its numbers along
        yield Reading(f"chaoying_poller_{field}_total", (FLEET,), getattr(stats, field))
    for shard in stats.shards.values():
        yield from _of_now(FLEET, shard)
    if not stats.shards:
        none: dict[str, float] = dict.fromkeys((*_NOW, "lag_seconds", "breaker_open"), 0)
        yield from _named("chaoying_poller", none, FLEET)
    fleet = {
        "workers": stats.workers,
        "shards": stats.all_shards,
        "shards_served": len(stats.shards),
        "looked_seconds": stats.looked,
        "failed_deliveries_total": stats.failed_deliveries,
    }
    yield from _named("chaoying_fleet", fleet)
    if stats.session is not None:
        yield from of_session(stats.session)


def of_whole_fleet(stats: WholeFleetStats) -> Iterator[Reading]:
    """A whole fleet as its tables have it: by shard, by process, by merchant."""
    yield Reading("chaoying_fleet_whole_read_seconds", (), stats.age)
    if stats.status is None:
        return
    for shard in stats.status.shards:
        of_shard: dict[str, float] = {
            "pending": shard.pending,
            "due": shard.due,
            "lag_seconds": shard.lag,
            "undelivered": shard.undelivered,
            "oldest_undelivered_seconds": shard.oldest_undelivered or 0.0,
        }
        if shard.number is not None:
            of_shard["served"] = shard.owner is not None
        number = "new" if shard.number is None else str(shard.number)
        yield from _named("chaoying_fleet_whole", of_shard, number)
    for worker in stats.status.workers:
        of_worker = {
            "shards": len(worker.says.get("shards", ())),
            "pending": worker.says.get("pending", 0),
            "lease_seconds": worker.seen,
        }
        yield from _named("chaoying_fleet_worker", of_worker, worker.name)
    for merchant in stats.status.merchants:
        of_merchant = {"pending": merchant.pending, "undelivered": merchant.undelivered}
        yield from _named("chaoying_fleet_merchant", of_merchant, merchant.mch_id)


def of_handler(stats: HandlerStats, *, merchants: bool) -> Iterator[Reading]:
    """Decisions, troubles, and how callbacks come. Each decision stands there from the start.

    Else the first of its kind would be the beginning of its series, which is no increase.
    """
    for decision in Decision:
        count = stats.decisions.get(decision, 0)
        yield Reading("chaoying_decisions_total", (decision.value,), count)
    for reason in ("unverified", "malformed"):
        yield Reading("chaoying_refused_bodies_total", (reason,), getattr(stats, reason))
    for field in ("troubled", "late", "not_kept"):
        yield Reading(f"chaoying_deliveries_{field}_total", (), getattr(stats, field))
    yield Reading("chaoying_on_paid_failures_total", (), stats.failed)
    yield Reading("chaoying_orders_working", (), stats.working)
    dark = sum(callbacks.is_dark for callbacks in stats.callbacks.values())
    yield Reading("chaoying_merchants_dark", (), dark)
    yield from _of_callbacks("chaoying_paid_orders_total", (), stats.all_callbacks)
    delay, longest = stats.all_callbacks.delays, stats.all_callbacks.longest_delay
    seconds, counts = delay.total_seconds(), (stats.all_callbacks.timed,)
    yield Reading("chaoying_callback_delay_seconds", (), seconds, counts)
    if longest is not None:
        name = "chaoying_callback_delay_longest_seconds"
        yield Reading(name, (), longest.total_seconds())
    if merchants:
        for mch_id, callbacks in stats.callbacks.items():
            yield from _of_callbacks("chaoying_merchant_paid_orders_total", (mch_id,), callbacks)
            yield Reading("chaoying_merchant_callbacks_dark", (mch_id,), callbacks.is_dark)


def _of_callbacks(
    metric: str, labels: tuple[str, ...], callbacks: MerchantCallbacks
) -> Iterator[Reading]:
    yield Reading(metric, (*labels, "notification"), callbacks.by_notification)
    yield Reading(metric, (*labels, "query"), callbacks.by_query)
