"""The statement with which a task takes an outcome out of the fleet's table, once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Delete, delete, func

from chaoying_async.exceptions import ParameterError, UsageError
from chaoying_async.sql.columns import DEFAULT_PREFIX
from chaoying_async.workers.outcomes import (
    KEPT_IN,
    KEPT_UNTIL_TAKEN,
    check_outcome,
    text_begins,
)
from chaoying_async.workers.tables import fleet_tables


def took_effect(outcome: Mapping[str, Any], *, table_prefix: str | None = None) -> Delete:
    """The statement that takes an outcome, for the transaction in which the task acts on it.

        with Session.begin() as session:
            if session.execute(took_effect(outcome)).rowcount:
                ...  # act on it, in this transaction

    No row: the outcome took effect before, so do nothing. Rolled back, it comes again. The session
    or connection is of the fleet's database, async or not. The outcome itself says in which tables
    the fleet keeps it; with another ``table_prefix`` than that it is a :class:`UsageError`.

    This is for queues with a ``patience`` (``CeleryQueue(app, patience=600)``), under which the
    fleet keeps the outcome until then. An outcome that was sent without one is a
    :class:`UsageError`, since its row has gone already: give every process of the fleet the same
    queue. What is no outcome is a :class:`ParameterError`.
    """
    check_outcome(outcome, "id", "seq")
    seq, id_ = outcome["seq"], outcome["id"]
    if type(seq) is not int:
        raise ParameterError({"seq": "must be the whole number that the task was called with"})
    if not isinstance(id_, str) or not id_.endswith(f":{seq}"):
        raise ParameterError({"id": "must be the text that the task was called with"})
    if outcome.get(KEPT_UNTIL_TAKEN) is not True:
        raise UsageError("the fleet kept no row of this outcome: give its queue a `patience`")
    rows = fleet_tables(_prefix(outcome, table_prefix)).rows
    # The row's number finds it by the table's key. It may be another outcome's, where the table was
    # made anew, so the text decides; not by LIKE, which on SQLite takes A7 for a7.
    begins = text_begins(seq, id_)
    return delete(rows).where(rows.c.seq == seq, func.substr(rows.c.body, 1, len(begins)) == begins)


def _prefix(outcome: Mapping[str, Any], given: str | None) -> str:
    kept_in = outcome.get(KEPT_IN)
    if kept_in is None:  # an earlier version's
        return DEFAULT_PREFIX if given is None else given
    if not isinstance(kept_in, str):
        raise ParameterError({KEPT_IN: "must be the text that the task was called with"})
    if given not in (None, kept_in):
        raise UsageError(
            f"the fleet keeps this outcome in tables named {kept_in}..., not {given}...: leave"
            " `table_prefix` out"
        )
    return kept_in
