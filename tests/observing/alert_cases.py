"""For each alert rule: series with which it fires, and series with which it stays silent.

In the words of ``promtool test rules``: a value a minute, ``0+1x60`` grows by one a minute,
``0x20 1x40`` is a single event in the twenty-first minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

Series = Mapping[str, str]

_JOB = 'job="chaoying",instance="a:1"'
GROWS, ONCE, NONE = "0+1x90", "0x20 1x70", "0x90"


def of(metric: str, more: str = "") -> str:
    labels = ",".join(filter(None, (_JOB, more)))
    return f"{metric}{{{labels}}}"


@attrs.frozen(kw_only=True)
class AlertCase:
    """One rule."""

    fires: Series
    silent: Series
    labels: Mapping[str, str] = attrs.field(factory=dict)
    """Its labels besides ``job`` and ``severity``."""
    at: int = 30
    """The minute at which it fires."""
    silent_at: Sequence[int] = (25, 30, 40)


def _errors(name: str, values: str) -> dict[str, str]:
    return {of("chaoying_call_errors_total", f'error="{name}"'): values}


def _calls(outcome: str, values: str) -> dict[str, str]:
    return {of("chaoying_calls_total", f'endpoint="orderquery",outcome="{outcome}"'): values}


def _decisions(name: str, values: str) -> dict[str, str]:
    return {of("chaoying_decisions_total", f'decision="{name}"'): values}


def _poller(metric: str, values: str) -> dict[str, str]:
    return {of(f"chaoying_poller_{metric}", 'poller="poller"'): values}


def _paid(by_query: str, by_notification: str) -> dict[str, str]:
    name = "chaoying_paid_orders_total"
    return {
        of(name, 'source="query"'): by_query,
        of(name, 'source="notification"'): by_notification,
    }


def _took(within: str, longer: str) -> dict[str, str]:
    name = "chaoying_call_duration_seconds_bucket"
    label = 'endpoint="pay",le="{}"'
    return {
        of(name, label.format("5.0")): within,
        of(name, label.format("10.0")): longer,
        of(name, label.format("+Inf")): longer,
    }


_POLLER = {"poller": "poller"}
_INSTANCE = {"instance": "a:1"}

CASES: Mapping[str, AlertCase] = {
    "ChaoyingDown": AlertCase(
        fires={of("up"): NONE}, silent={of("up"): "1x20 0 1x70"}, labels=_INSTANCE
    ),
    "ChaoyingGatewayFails": AlertCase(
        fires=_errors("TransportError", "0+30x90")
        | _calls("TransportError", "0+30x90")
        | _calls("RESULT", "0+30x90"),
        silent=_errors("TransportError", "0+6x90")
        | _calls("TransportError", "0+6x90")
        | _calls("RESULT", "0+54x90"),
    ),
    "ChaoyingOutcomesUnknown": AlertCase(
        fires=_errors("OutcomeUnknownError", GROWS),
        silent=_errors("OutcomeUnknownError", "0x20 3x70"),
    ),
    "ChaoyingRefusesUs": AlertCase(
        fires=_errors("AgentError", GROWS),
        silent=_errors("AgentError", ONCE),
        labels={"error": "AgentError"},
    ),
    "ChaoyingRepliesDistrusted": AlertCase(
        fires=_errors("ReplyMismatchError", ONCE),
        silent=_errors("OrderNotFoundError", GROWS),
        labels={"error": "ReplyMismatchError"},
        at=25,
    ),
    "ChaoyingSlow": AlertCase(
        fires=_took("0+8x90", "0+10x90"), silent=_took("0+99x90", "0+100x90")
    ),
    "ChaoyingPollerLate": AlertCase(
        fires=_poller("lag_seconds", "90x90"),
        silent=_poller("lag_seconds", "0x22 90x3 0x65"),
        labels=_POLLER,
    ),
    "ChaoyingBreakerOpen": AlertCase(
        fires=_poller("breaker_open", "1x90"),
        silent=_poller("breaker_open", "0x23 1x1 0x66"),
        labels=_POLLER,
    ),
    "ChaoyingOutcomesUnread": AlertCase(
        fires=_poller("unread", "5x90"),
        silent=_poller("unread", "5x18 3 5x7 4 5x9 2 5x50"),
        labels=_POLLER | _INSTANCE,
    ),
    "ChaoyingStoreFails": AlertCase(
        fires=_poller("store_errors_total", GROWS),
        silent=_poller("store_errors_total", ONCE),
        labels=_POLLER,
    ),
    "ChaoyingRecordsUnreadable": AlertCase(
        fires=_poller("unreadable_total", "1x90"),
        silent=_poller("unreadable_total", NONE),
        labels=_POLLER,
    ),
    "ChaoyingFleetBlind": AlertCase(
        fires={of("chaoying_fleet_looked_seconds"): "30x90"},
        silent={of("chaoying_fleet_looked_seconds"): "1x90"},
        labels=_INSTANCE,
    ),
    "ChaoyingShardsUnserved": AlertCase(
        fires={
            of("chaoying_fleet_shards_served"): "8x90",
            of("chaoying_fleet_shards"): "16x90",
        },
        silent={
            of("chaoying_fleet_shards_served"): "8x90",
            'chaoying_fleet_shards_served{job="chaoying",instance="b:1"}': "8x90",
            of("chaoying_fleet_shards"): "16x90",
            'chaoying_fleet_shards{job="chaoying",instance="b:1"}': "16x90",
        },
    ),
    "ChaoyingTasksFail": AlertCase(
        fires={of("chaoying_fleet_failed_deliveries_total"): GROWS},
        silent={of("chaoying_fleet_failed_deliveries_total"): ONCE},
    ),
    "ChaoyingNotTakenUp": AlertCase(
        fires={of("chaoying_fleet_whole_lag_seconds", 'shard="new"'): "90x90"},
        silent={
            of("chaoying_fleet_whole_lag_seconds", 'shard="new"'): "0x22 90x3 0x65",
            of("chaoying_fleet_whole_lag_seconds", 'shard="1"'): "90x90",
        },
    ),
    "ChaoyingOutcomesUndelivered": AlertCase(
        fires={of("chaoying_fleet_whole_oldest_undelivered_seconds", 'shard="1"'): "1000x90"},
        silent={of("chaoying_fleet_whole_oldest_undelivered_seconds", 'shard="1"'): "300x90"},
    ),
    "ChaoyingFleetNumbersOld": AlertCase(
        fires={of("chaoying_fleet_whole_read_seconds"): "0+60x90"},
        silent={
            of("chaoying_fleet_whole_read_seconds"): "0+60x90",
            'chaoying_fleet_whole_read_seconds{job="chaoying",instance="b:1"}': "20x90",
        },
    ),
    "ChaoyingConflict": AlertCase(
        fires=_decisions("CONFLICT", ONCE), silent=_decisions("APPLY", GROWS), at=25
    ),
    "ChaoyingSetAside": AlertCase(
        fires=_decisions("STALE", GROWS),
        silent=_decisions("STALE", ONCE),
        labels={"decision": "STALE"},
        at=40,
        silent_at=(25, 34, 40),
    ),
    "ChaoyingOnPaidFails": AlertCase(
        fires={of("chaoying_on_paid_failures_total"): GROWS},
        silent={of("chaoying_on_paid_failures_total"): ONCE},
    ),
    "ChaoyingInboxFails": AlertCase(
        fires={of("chaoying_deliveries_troubled_total"): GROWS},
        silent={of("chaoying_deliveries_troubled_total"): ONCE},
    ),
    "ChaoyingNotificationsNotKept": AlertCase(
        fires={of("chaoying_deliveries_not_kept_total"): ONCE},
        silent={of("chaoying_deliveries_not_kept_total"): NONE},
        at=25,
    ),
    "ChaoyingNothingVerifies": AlertCase(
        fires={of("chaoying_refused_bodies_total", 'reason="unverified"'): GROWS}
        | _decisions("APPLY", NONE),
        silent={of("chaoying_refused_bodies_total", 'reason="unverified"'): GROWS}
        | _decisions("APPLY", GROWS),
    ),
    "ChaoyingCallbacksDark": AlertCase(
        fires={of("chaoying_merchants_dark"): "1x90"},
        silent={of("chaoying_merchants_dark"): NONE},
    ),
    "ChaoyingFoundByQuery": AlertCase(
        fires=_paid("0+2x90", GROWS), silent=_paid(GROWS, "0+2x90"), at=80, silent_at=(40, 80)
    ),
}
