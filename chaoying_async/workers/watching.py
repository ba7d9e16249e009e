"""What is handed over to a fleet: the rows of orders to wait for, and the statement with them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from datetime import datetime
from random import Random
from typing import Any

import attrs

from chaoying_async.exceptions import ParameterError
from chaoying_async.polling.order import check_amount, number_of
from chaoying_async.sansio.api.follow_up import RefundQuery
from chaoying_async.sansio.polling.record import (
    POLL,
    PendingOrder,
    check_keepable,
    number_in,
    record_key,
)
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import Query
from chaoying_async.workers.tables import LONGEST_NAME, NO_TASK, WATCH

#: The last slot is one less: what a signed column of four bytes takes.
_SLOTS = 2**31
#: Of chance in the number of a watch, beside the microsecond of its time.
_BITS = 20
#: How many parts the key of a payment, a refund or a business order has; others have more.
_OF_A_PAYMENT = 2
_PAYMENTS, _REFUNDS = PollSchedule(), PollSchedule.refunds()


def slot_of(*parts: str) -> int:
    """The place of an order among all orders: the same in every process and version."""
    return zlib.crc32("\0".join(parts).encode()) % _SLOTS


def slot_in(item: str, *, by_merchant: bool) -> int | None:
    """The slot of a row by its key, or by that of an outcome; None where somebody else wrote it."""
    try:
        key = json.loads(item[item.index("[") :])
        if len(key) == _OF_A_PAYMENT:
            merchant, *number = key
        else:
            _, merchant, _, *number, _ = key
        return slot_of(str(merchant), *([] if by_merchant else map(str, number)))
    except (ValueError, TypeError):
        return None


def row_kind(kind: str, item: str) -> str:
    """The kind of the row of a poller's record of that kind and key."""
    return WATCH if kind == POLL and number_in(item) else kind


def _item_of(query: Query, mch_id: str, now: datetime, rng: Random) -> str:
    """The key of one watch: no two are alike, in no process, so none is lost in another's row.

    Whose row it meets could end before the COMMIT of the transaction in which it was written.
    """
    name, number = number_of(query)
    unique = abs(int(now.timestamp() * 1e6)) << _BITS | rng.getrandbits(_BITS) | 1
    return record_key((query.endpoint.name, mch_id, str(query.paytype), name, number), unique)


def watch_of(
    query: Query,
    *,
    mch_id: str,
    then: str | None,
    expected: int | None,
    schedule: PollSchedule | None,
    by_merchant: bool,
    now: datetime,
    rng: Random,
) -> Mapping[str, Any]:
    """The columns of a query's row; :class:`ParameterError` for what cannot be kept, or waited for.

    ``now`` is replaced by the database's own time when the order is taken up (M-26): a moment at
    which the schedule ends is kept as it is.
    """
    check_amount(expected)
    check_task(then)
    chosen = schedule or (_REFUNDS if isinstance(query, RefundQuery) else _PAYMENTS)
    begun = chosen.begun(now)
    check_keepable(query, begun)
    kept = begun if chosen.ends is None else attrs.evolve(begun, ends=chosen.ends)
    pending = PendingOrder(query=query, expected=expected, schedule=kept, started=now)
    number = () if by_merchant else number_of(query)
    return {
        "item": _item_of(query, mch_id, now, rng),
        "slot": slot_of(mch_id, *number),
        "body": pending.text(mch_id),
        "then": then or NO_TASK,
    }


def check_task(then: object) -> None:
    """:class:`ParameterError` for what is no name of a task; None: the order names none."""
    if then is None:
        return
    if not isinstance(then, str) or not then or len(then) > LONGEST_NAME or "\0" in then:
        rule = f"names the task that gets the outcome: text of at most {LONGEST_NAME} characters"
        raise ParameterError({"then": rule})
