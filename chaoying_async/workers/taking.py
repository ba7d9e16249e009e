"""The statement with which a task takes an outcome out of the fleet's table, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Delete, delete

from chaoying_async.sql.columns import DEFAULT_PREFIX
from chaoying_async.workers.outcomes import check_outcome
from chaoying_async.workers.tables import fleet_tables


def took_effect(outcome: Mapping[str, Any], *, table_prefix: str = DEFAULT_PREFIX) -> Delete:
    """The statement that takes an outcome, for the transaction in which the task acts on it.

        with Session.begin() as session:
            if session.execute(took_effect(outcome)).rowcount:
                ...  # act on it, in this transaction

    No row: the outcome took effect before, so do nothing. Rolled back, it comes again. This is for
    queues with a ``patience`` (``CeleryQueue(app, patience=600)``), under which the fleet keeps the
    outcome until then; without one no row is there when the task runs. The session or connection is
    of the fleet's database, async or not. What is no outcome is a :class:`ParameterError`.
    """
    check_outcome(outcome, "seq")
    rows = fleet_tables(table_prefix).rows
    # The number is never given out twice, so its row is the outcome's.
    return delete(rows).where(rows.c.seq == int(outcome["seq"]))
