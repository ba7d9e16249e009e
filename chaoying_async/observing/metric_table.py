"""Every metric: its name, its kind, its labels, and what it says.

No label has an order number, a buyer, a key or an operator. ``mch_id`` stands only on the metrics
of ``MERCHANT_METRICS``, which a collector gives out where it was told to.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Literal

import attrs

MetricKind = Literal["counter", "gauge", "histogram", "summary"]


@attrs.frozen
class MetricRow:
    """One metric, as Prometheus is told of it."""

    name: str
    """As Prometheus has it: a counter ends in ``_total``, a time in ``_seconds``."""
    kind: MetricKind
    """What it is to Prometheus."""
    words: str
    """Its help text."""
    labels: tuple[str, ...] = ()
    """The names of its labels."""
    together: Callable[[float, float], float] = operator.add
    """What two objects of the same kind come to: their sum, or the larger."""


_POLLER = ("poller",)
_SHARD = ("shard",)
_WORKER = ("worker",)

_ROWS = (
    # ------------------------------------------------------------------------ calls of sessions
    MetricRow(
        "chaoying_calls_total",
        "counter",
        "Calls to the gateway that ended, by endpoint and outcome: what the reply means (RESULT,"
        " PENDING), or the class of the error.",
        ("endpoint", "outcome"),
    ),
    MetricRow(
        "chaoying_call_errors_total",
        "counter",
        "The same calls where they ended with an error of ours, by its class; each class is there"
        " from the start, so its first one is an increase.",
        ("error",),
    ),
    MetricRow(
        "chaoying_call_duration_seconds",
        "histogram",
        "How long a whole call took, its repeats and its wait for a connection included.",
        ("endpoint",),
    ),
    MetricRow(
        "chaoying_calls_in_flight",
        "gauge",
        "Calls that are under way, those that wait for a connection too.",
    ),
    # ------------------------------------------------------------------------- pollers and fleets
    MetricRow("chaoying_poller_pending", "gauge", "Orders that are waited for.", _POLLER),
    MetricRow("chaoying_poller_in_flight", "gauge", "Queries that are under way.", _POLLER),
    MetricRow(
        "chaoying_poller_due",
        "gauge",
        "Orders whose time has come, and which wait for their turn.",
        _POLLER,
    ),
    MetricRow(
        "chaoying_poller_lag_seconds",
        "gauge",
        "By how much the next query is late.",
        _POLLER,
        max,
    ),
    MetricRow(
        "chaoying_poller_breaker_open",
        "gauge",
        "1 while the gateway fails across the board: only probes and last queries leave.",
        _POLLER,
        max,
    ),
    MetricRow(
        "chaoying_poller_unwritten",
        "gauge",
        "Records that the store does not have yet.",
        _POLLER,
    ),
    MetricRow(
        "chaoying_poller_unread",
        "gauge",
        "Outcomes of tracked orders that no consumer has taken.",
        _POLLER,
    ),
    MetricRow("chaoying_poller_polls_total", "counter", "Queries that ended.", _POLLER),
    MetricRow(
        "chaoying_poller_errors_total",
        "counter",
        "Queries that ended with an error, refusals among them.",
        _POLLER,
    ),
    MetricRow(
        "chaoying_poller_store_errors_total",
        "counter",
        "Writes to the store that failed.",
        _POLLER,
    ),
    MetricRow(
        "chaoying_poller_unreadable_total",
        "counter",
        "Records of the store that could not be read by this version.",
        _POLLER,
    ),
    # ------------------------------------------------------------------------------- a fleet alone
    MetricRow(
        "chaoying_fleet_workers",
        "gauge",
        "Processes that serve the fleet, as this one saw at its last look.",
        together=max,
    ),
    MetricRow(
        "chaoying_fleet_shards",
        "gauge",
        "Into how many shards the fleet is cut; the same in every process.",
        together=max,
    ),
    MetricRow("chaoying_fleet_shards_served", "gauge", "Shards that this process serves."),
    MetricRow(
        "chaoying_fleet_looked_seconds",
        "gauge",
        "Age of this process's last look at the database; it looks every second.",
        together=max,
    ),
    MetricRow(
        "chaoying_fleet_failed_deliveries_total",
        "counter",
        "How often an outcome could not be given to its task; each is tried again.",
    ),
    # ------------------------------------------- a whole fleet, from its tables: WholeFleet alone
    MetricRow(
        "chaoying_fleet_whole_pending",
        "gauge",
        "What the whole fleet waits for, by shard; new: handed over, and not taken up yet.",
        _SHARD,
        max,
    ),
    MetricRow(
        "chaoying_fleet_whole_due",
        "gauge",
        "Of these, orders whose turn has come, as the shard's owner last said.",
        _SHARD,
        max,
    ),
    MetricRow(
        "chaoying_fleet_whole_lag_seconds",
        "gauge",
        "By how much the shard's latest query is late; new: how long the oldest has waited.",
        _SHARD,
        max,
    ),
    MetricRow(
        "chaoying_fleet_whole_undelivered",
        "gauge",
        "Outcomes that are on their way to their tasks.",
        _SHARD,
        max,
    ),
    MetricRow(
        "chaoying_fleet_whole_oldest_undelivered_seconds",
        "gauge",
        "How long the oldest of these has been known; 0 where there is none.",
        _SHARD,
        max,
    ),
    MetricRow(
        "chaoying_fleet_whole_served",
        "gauge",
        "1 while some process serves the shard, else 0.",
        _SHARD,
        max,
    ),
    MetricRow(
        "chaoying_fleet_whole_read_seconds",
        "gauge",
        "How old these numbers are.",
        together=max,
    ),
    MetricRow(
        "chaoying_fleet_worker_shards",
        "gauge",
        "Shards that a process of the fleet serves, as it last said.",
        _WORKER,
        max,
    ),
    MetricRow(
        "chaoying_fleet_worker_pending",
        "gauge",
        "What a process of the fleet waits for, as it last said.",
        _WORKER,
        max,
    ),
    MetricRow(
        "chaoying_fleet_worker_lease_seconds",
        "gauge",
        "For how long the lease of a process still runs; below 0 it is silent.",
        _WORKER,
        max,
    ),
    # -------------------------------------------------------------------------------- notifications
    MetricRow(
        "chaoying_decisions_total",
        "counter",
        "Messages about orders by what was decided, queries that were settled too; a redelivery"
        " counts again.",
        ("decision",),
    ),
    MetricRow(
        "chaoying_refused_bodies_total",
        "counter",
        "Bodies that prove nothing: no valid signature (unverified), or no form (malformed).",
        ("reason",),
    ),
    MetricRow(
        "chaoying_deliveries_troubled_total",
        "counter",
        "Deliveries answered fail since the inbox, expected or the resolver of keys failed.",
    ),
    MetricRow(
        "chaoying_deliveries_late_total",
        "counter",
        "Deliveries that were answered before their work had ended.",
    ),
    MetricRow(
        "chaoying_deliveries_not_kept_total",
        "counter",
        "Messages answered fail and not kept, since too many of their kind wait already.",
    ),
    MetricRow(
        "chaoying_on_paid_failures_total",
        "counter",
        "Runs of on_paid that ended without an effect; each is tried again.",
    ),
    MetricRow("chaoying_orders_working", "gauge", "Orders that on_paid is at work on now."),
    MetricRow(
        "chaoying_paid_orders_total",
        "counter",
        "Paid orders by what told of them first: a notification, or a query.",
        ("source",),
    ),
    MetricRow(
        "chaoying_callback_delay_seconds",
        "summary",
        "How long after its payment the first callback of an order came.",
    ),
    MetricRow(
        "chaoying_callback_delay_longest_seconds",
        "gauge",
        "The longest of these since the process began.",
        together=max,
    ),
    MetricRow(
        "chaoying_merchants_dark",
        "gauge",
        "Merchants whose callbacks have ceased: their paid orders are found by query alone.",
    ),
    # --------------------------------------- by merchant: ChaoyingCollector(merchants=True) alone
    MetricRow(
        "chaoying_merchant_paid_orders_total",
        "counter",
        "Paid orders of one merchant by what told of them first.",
        ("mch_id", "source"),
    ),
    MetricRow(
        "chaoying_merchant_callbacks_dark",
        "gauge",
        "1 while no callback of this merchant comes.",
        ("mch_id",),
        max,
    ),
    MetricRow(
        "chaoying_fleet_merchant_pending",
        "gauge",
        "What the whole fleet asks about for one merchant; WholeFleet(merchants=True) alone.",
        ("mch_id",),
        max,
    ),
    MetricRow(
        "chaoying_fleet_merchant_undelivered",
        "gauge",
        "Outcomes of one merchant that are on their way; WholeFleet(merchants=True) alone.",
        ("mch_id",),
        max,
    ),
)

#: By name, in the order in which they are given out.
METRICS: Mapping[str, MetricRow] = {row.name: row for row in _ROWS}
#: Those that a merchant's number stands on: they tell a merchant from another, no person.
MERCHANT_METRICS = frozenset(row.name for row in _ROWS if "mch_id" in row.labels)
