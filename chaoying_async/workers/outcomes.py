"""How waiting ended, as the user's task gets it: JSON, and the same every time it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from chaoying_async.exceptions import ParameterError
from chaoying_async.payments.outcome import CheckoutOutcome, RefundOutcome
from chaoying_async.polling.order import number_of
from chaoying_async.polling.outcome import PollOutcome
from chaoying_async.pollstore.sql.tables import LONGEST_KEY
from chaoying_async.sansio.paid import PaidOrder, RefundedOrder
from chaoying_async.sansio.polling.status import Query
from chaoying_async.sansio.stored import encoded, error_members, paid_in, paid_members

#: The kind of the rows that hold an outcome until it was delivered.
OUTCOME = "outcome"

#: The member of an outcome whose row stays until the task has taken it: see ``took_effect``.
KEPT_UNTIL_TAKEN = "kept"

#: The member that says with what the names of the fleet's tables begin, where that is so.
KEPT_IN = "table_prefix"

#: The numbers of a query that an outcome names.
_NUMBERS = ("out_trade_no", "transaction_id", "out_refund_no", "refund_id")


@attrs.frozen(eq=False)
class OutcomeReport:
    """What is told of an end; its row in the database gives it the number that makes it whole."""

    mch_id: str
    number: str
    members: Mapping[str, Any]

    def numbered(self, seq: int) -> dict[str, Any]:
        """The outcome; ``seq`` grows with every wait for the same order."""
        return {**_named(f"{self.mch_id}:{self.number}:{seq}", seq), **self.members}


def outcome_item(seq: int, item: str) -> str:
    """The key of an outcome's row: an order may be waited for again before it was delivered."""
    return f"{seq} {item}"[:LONGEST_KEY]


def item_in(item: str) -> str:
    """The key that :func:`outcome_item` was made of."""
    return item.partition(" ")[2]


def text_begins(seq: int, id_: str) -> str:
    """What the text of this very outcome begins with, and no other's does."""
    return f"{encoded(_named(id_, seq))[:-1]},"


def _named(id_: str, seq: int) -> dict[str, Any]:
    """The members that every outcome begins with."""
    return {"id": id_, "seq": seq}


def poll_report(outcome: PollOutcome[Any], mch_id: str) -> OutcomeReport:
    """How an order or a refund that was watched ended."""
    query = outcome.query
    members: dict[str, Any] = {
        "of": query.endpoint.name,
        "mch_id": mch_id,
        **_numbers(query),
        "status": outcome.status.value,
        **_paid(outcome.paid),
        "refunded": _fen(outcome.refunded),
        "advice": outcome.advice,
        "msg": outcome.msg,
        "error": None if outcome.error is None else error_members(outcome.error),
    }
    if outcome.paid is not None and not members["transaction_id"]:
        members["transaction_id"] = outcome.paid.transaction_id
    if isinstance(outcome, RefundOutcome):
        members |= {"of": "refund", "may_be_sent_again": outcome.may_be_sent_again}
    return OutcomeReport(mch_id, number_of(query)[1], members)


def checkout_report(outcome: CheckoutOutcome) -> OutcomeReport:
    """How a payment ended."""
    said = outcome.replies[-1] if outcome.replies else None
    members: dict[str, Any] = {
        "of": "checkout",
        "mch_id": outcome.mch_id,
        **dict.fromkeys(_NUMBERS),
        "out_trade_no": outcome.out_trade_no,
        "order_no": outcome.order_no,
        "status": outcome.status.value,
        "reason": outcome.reason.value,
        **_paid(outcome.paid),
        "refunded": None,
        "advice": outcome.advice,
        "msg": outcome.msg,
        "error": error_members(said) if isinstance(said, Exception) else None,
    }
    if outcome.paid is not None:
        members["transaction_id"] = outcome.paid.transaction_id
    return OutcomeReport(outcome.mch_id, outcome.out_trade_no, members)


def paid_order_of(outcome: Mapping[str, Any]) -> PaidOrder | None:
    """The paid order of an outcome, for ``handler.settle``; None unless it is PAID.

    PAID_EARLIER has one too: the handler's inbox knows whether it took effect already. What was
    paid with another amount (MISMATCH), refunded, or cancelled has none: a person decides. What is
    no outcome is a :class:`ParameterError` that names every field it lacks.
    """
    check_outcome(outcome, "status", "order")
    if outcome["status"] not in ("PAID", "PAID_EARLIER") or outcome["order"] is None:
        return None
    order = _order_in(outcome["order"])
    return None if isinstance(order, RefundedOrder) else order


def check_outcome(outcome: object, *names: str) -> None:
    """:class:`ParameterError` for what a task was not called with: it names every missing field."""
    if not isinstance(outcome, Mapping):
        rule = f"must be the mapping that the task was called with, not {type(outcome).__name__}"
        raise ParameterError({"outcome": rule})
    _check_has(outcome, "", *names)


def _order_in(members: object) -> PaidOrder:
    if not isinstance(members, Mapping):
        raise ParameterError({"order": f"must be a mapping, not {type(members).__name__}"})
    _check_has(members, "order.", "mch_id", "out_trade_no")
    try:
        return paid_in(members)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        rule = f"cannot be read: {type(error).__name__} in one of its fields"
        raise ParameterError({"order": rule}) from error


def _check_has(members: Mapping[str, Any], prefix: str, *names: str) -> None:
    missing = [name for name in names if name not in members]
    if missing:
        raise ParameterError({f"{prefix}{name}": "is missing" for name in missing})


def _numbers(query: Query) -> dict[str, str | None]:
    return {name: getattr(query, name, None) for name in _NUMBERS}


def _paid(order: PaidOrder | None) -> dict[str, Any]:
    """Amounts in fen; ``order`` is read by :func:`paid_order_of`."""
    return {
        "payable": _fen(None if order is None else order.payable),
        "paid": _fen(None if order is None else order.paid),
        "order": None if order is None else paid_members(order),
    }


def _fen(amount: int | None) -> int | None:
    return None if amount is None else int(amount)
