"""Shows the numbers of a whole fleet: tables where a person reads, one JSON line for a program."""

from __future__ import annotations

from typing import Any

import attrs

from chaoying_async.cli import output
from chaoying_async.cli.exits import Exit
from chaoying_async.workers.fleet_status import FleetStatus

_SHARDS = ("shard", "served by", "pending", "due", "lag", "undelivered", "oldest")
_WORKERS = ("worker", "shards", "pending", "due", "lag", "polls", "errors", "lease")
_MERCHANTS = ("mch_id", "pending", "undelivered")


def tell(found: FleetStatus) -> Exit:
    """Print one JSON line; times are seconds."""
    record: dict[str, Any] = {
        "ok": not found.unserved,
        **attrs.asdict(found.sharding),
        "pending": found.pending,
        "due": found.due,
        "lag": found.lag,
        "undelivered": found.undelivered,
        "oldest_undelivered": found.oldest_undelivered,
        "unserved": list(found.unserved),
        "of_shards": [attrs.asdict(shard) for shard in found.shards],
        "workers": [
            {"name": worker.name, "lease": worker.seen, **worker.says} for worker in found.workers
        ],
        "merchants": [attrs.asdict(merchant) for merchant in found.merchants],
    }
    output.tell(record)
    return _exit(found)


def show(found: FleetStatus) -> Exit:
    """Print tables."""
    output.show_table(
        "shards",
        _SHARDS,
        [
            (
                "new" if shard.number is None else shard.number,
                shard.owner,
                *(shard.pending, shard.due, _seconds(shard.lag), shard.undelivered),
                _seconds(shard.oldest_undelivered),
            )
            for shard in found.shards
        ],
    )
    output.show_table(
        "workers",
        _WORKERS,
        [
            (
                worker.name,
                len(worker.says.get("shards", ())),
                *(worker.says.get(name) for name in ("pending", "due")),
                _seconds(worker.says.get("lag")),
                *(worker.says.get(name) for name in ("polls", "errors")),
                _seconds(worker.seen) if worker.seen > 0 else "silent",
            )
            for worker in found.workers
        ],
    )
    if found.merchants:
        rows = [(each.mch_id, each.pending, each.undelivered) for each in found.merchants]
        output.show_table("merchants", _MERCHANTS, rows)
    oldest = found.oldest_undelivered
    late = f", the oldest for {_seconds(oldest)}" if oldest is not None else ""
    output.say(
        f"{found.sharding}; {found.pending:,} pending, {found.due:,} due, lag"
        f" {_seconds(found.lag)}; {found.undelivered:,} outcomes undelivered{late}"
    )
    if found.unserved:
        numbers = ", ".join(map(str, found.unserved))
        output.say(f"nobody serves {numbers}: start a poller", style="bold red")
    return _exit(found)


def _exit(found: FleetStatus) -> Exit:
    return Exit.REFUSED if found.unserved else Exit.OK


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"
