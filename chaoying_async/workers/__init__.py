"""Polling on as many machines as it takes, and outcomes that arrive in the user's own tasks.

- ``background_loop``: an event loop in a thread, for calls that other threads wait for.
- ``blocking``: ``BlockingGateway``, calls that wait, for code without an event loop.
- ``bringing_over``: takes over what a store of one owner holds.
- ``database``: what the processes of a fleet share: its cut, who lives, which shards are free.
- ``database_clock``: a clock whose wall time is the database's.
- ``delivery``: brings the outcomes of a shard to their tasks, until each has arrived.
- ``fleet``: ``Fleet``, which takes what is handed over, and serves its share of it.
- ``fleet_status``: numbers of a whole fleet, read from its tables.
- ``log_texts``: what may be said of an error that came from anywhere.
- ``old_orders``: forgets the records of business orders that nobody charges any more.
- ``order_rows``: the rows of a fleet that name one order.
- ``outcomes``: how waiting ended, as the user's task gets it.
- ``queues``: hands outcomes to the queue that people already run.
- ``releasing``: lets a business order be charged again, on the word of a person.
- ``renumbering``: makes a SQLite table of before anew, which gave numbers of rows out again.
- ``resharding``: cuts a fleet's orders into another number of shards, while nobody serves.
- ``senders_store``: a poll store for who sends a payment or refund, until it is taken over.
- ``sending``: payments and refunds that leave from this process.
- ``served_shard``: one shard, from when its lease was taken until it is handed back.
- ``shard``: a poll store over the rows of one shard, and their way to an outcome.
- ``shard_payments``: sees the payments and refunds of one shard to their end.
- ``shared_gateway``: one session for all shards of a process; payments do not wait in it.
- ``tables``: the fleet's tables.
- ``taking``: the statement with which a task takes an outcome, once.
- ``this_process``: tells this process from the one that it was forked from.
- ``watching``: what is handed over: the rows of orders to wait for.
- ``worker``: takes this process's share of the shards, serves them, and hands them back.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaoying_async.workers.blocking import BlockingGateway
    from chaoying_async.workers.fleet import Fleet
    from chaoying_async.workers.outcomes import paid_order_of
    from chaoying_async.workers.queues.celery import CeleryQueue
    from chaoying_async.workers.queues.pgqueuer import PgQueuerQueue
    from chaoying_async.workers.queues.protocol import KeepingQueue, OutcomeQueue
    from chaoying_async.workers.tables import fleet_metadata
    from chaoying_async.workers.taking import took_effect
    from chaoying_async.workers.worker import FleetStats

__all__ = [
    "BlockingGateway",
    "CeleryQueue",
    "Fleet",
    "FleetStats",
    "KeepingQueue",
    "OutcomeQueue",
    "PgQueuerQueue",
    "fleet_metadata",
    "paid_order_of",
    "took_effect",
]

#: Loaded when they are used: a blocking gateway needs no SQLAlchemy, which a fleet stands on.
_MODULES = {
    "BlockingGateway": "blocking",
    "CeleryQueue": "queues.celery",
    "Fleet": "fleet",
    "FleetStats": "worker",
    "KeepingQueue": "queues.protocol",
    "OutcomeQueue": "queues.protocol",
    "PgQueuerQueue": "queues.pgqueuer",
    "fleet_metadata": "tables",
    "paid_order_of": "outcomes",
    "took_effect": "taking",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    value = globals()[name] = getattr(module, name)
    return value
