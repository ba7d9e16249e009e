"""What an inbox keeps: orders, and messages that were set aside.

Plain values without behaviour, so that every inbox can hold them in its own way. The texts that an
inbox keeps for a handler (``payload``) are ASCII JSON and mean nothing to it; they never hold
anything unverified, nor anything about the buyer (M-27).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

import attrs

from chaoying_async.exceptions import ChaoyingError, HandlerMisuseError
from chaoying_async.sansio.paid import known_numbers

#: So far ahead of now the ``time_end`` of a payment may be (M-15).
AHEAD = timedelta(minutes=10)

#: Characters of an order's names as every database can keep them (M-18); the document's have 32.
LONGEST_MCH_ID, LONGEST_NUMBER = 64, 128


#: The fingerprint under which an order's first message of the other way is kept, closed (M-13): the
#: next one is compared with its numbers, so pruning leaves its payload. No message has such a one.
FIRST: Final = "0" * 64


class OrderKey(NamedTuple):
    """Which order, byte for byte: case, trailing blanks and full-width letters count (M-18).

    At most 64 and 128 characters, none of them a control character: a handler sees to that.
    """

    mch_id: str
    """The merchant's number."""
    out_trade_no: str
    """The order's number."""


class SeenState(StrEnum):
    """How far an order has come."""

    HELD = "HELD"
    """Not done: it failed and waits for its next try, or is worked on while its lease lasts."""
    DONE = "DONE"
    """Its effect is durable."""
    NOT_PAID = "NOT_PAID"
    """Only failures were heard of so far; a later "paid" counts."""
    QUARANTINED = "QUARANTINED"
    """A person has to say what happened: never run again by itself."""


class Mark(StrEnum):
    """What a person wants done with something that waits (``chaoying inbox``)."""

    RETRY = "RETRY"
    """Decide again, with what is known today."""
    APPLY = "APPLY"
    """Run ``on_paid`` for it, without judging the amount again; never for an order that is DONE."""
    DISMISS = "DISMISS"
    """Nothing is to be done about it any more."""


#: An order's decision (``Entry.decision``) where a person said that it is to be applied: a retry
#: does not ask again whether it should be.
BY_A_PERSON: Final = "APPLY (a person said so)"


@attrs.frozen
class Entry:
    """What is known of a payment."""

    payload: str = attrs.field(repr=False)
    """ASCII JSON, enough to run ``on_paid`` without another delivery; empty where it is not kept.
    """
    first_seen: datetime
    """When the message first came (aware, UTC)."""
    payable: int | None = None
    """The order amount in fen; None where it is not known."""
    transaction_id: str | None = None
    """The platform's number of the payment."""
    out_transaction_id: str | None = None
    """The wallet's number of the payment."""
    source: str = ""
    """``PaidSource`` as text."""
    decision: str = ""
    """``Decision`` as text: which function is to run."""
    other_numbers: tuple[str, ...] = ()
    """The same payment's numbers as the other way names them: a query's, where ``source`` is a
    notification, and the other way round; empty where that is not known (M-13).
    """

    @property
    def numbers(self) -> frozenset[str]:
        """The payment's transaction numbers, as ``source`` names them (M-13)."""
        return known_numbers(self.transaction_id, self.out_transaction_id)


class Ways(NamedTuple):
    """A payment's numbers as a notification names them, and as a query does (M-13)."""

    notification: frozenset[str]
    """The numbers that a notification gave it; empty where none did."""
    query: frozenset[str]
    """The numbers that a query gave it; empty where none did."""

    @classmethod
    def of(cls, entry: Entry) -> Ways:
        """The numbers in a record."""
        others = frozenset(entry.other_numbers)
        if entry.source == "NOTIFICATION":
            return cls(entry.numbers, others)
        return cls(others, entry.numbers)

    def is_another(self, payment: Ways) -> bool:
        """Whether these are two payments.

        They are where the same way names other numbers, or where no number of the two is the same.
        """
        if not any(self) or not any(payment):
            return False  # a conflict needs two numbers that differ
        told_twice = [(mine, theirs) for mine, theirs in zip(self, payment, strict=True)]
        if any(mine and theirs and not mine & theirs for mine, theirs in told_twice):
            return True
        return frozenset().union(*self).isdisjoint(frozenset().union(*payment))


@attrs.frozen(kw_only=True)
class Record:
    """An order as its inbox knows it."""

    key: OrderKey
    """Which order it is."""
    state: SeenState
    """How far it has come."""
    entry: Entry
    """What the last try (or the failure notification) brought."""
    lease: float = 0.0
    """Seconds that its holder's lease still has, on the inbox's clock; 0.0 when none runs."""
    failures: int = 0
    """How often ``on_paid`` has failed."""
    reason: str = ""
    """Why it is QUARANTINED."""
    token: int = 0
    """Another one after every change of the record: whether anybody has tried since it was read."""


@attrs.frozen(kw_only=True)
class Aside:
    """A verified message that could not take effect, or not yet."""

    key: OrderKey
    """The order, as the message names it and not as the shop does: an unknown order has no other
    name.
    """
    fingerprint: str
    """64 hex digits, the same ones when the same message comes again."""
    decision: str
    """``Decision`` as text, with `` (untold)`` behind it until somebody was told of it."""
    reason: str
    """Why it did not take effect, for a person."""
    payload: str = attrs.field(repr=False)
    """ASCII JSON, enough to decide about it again."""
    first_seen: datetime
    """When the message first came (aware, UTC)."""
    tries: int = 0
    """How often ``run_due`` has looked at it."""
    mark: Mark | None = None
    """What a person wants done; None until then."""
    foreign: bool = False
    """Whether the shop knows no such order of this merchant, so that the message may be any
    stranger's.
    """


class LookAgainError(ChaoyingError):
    """The work on an order was undone for the sake of somebody else's: nobody has failed."""


class ClaimLostError(LookAgainError):
    """The claim on an order had ended before the work under it did."""


class TransactionEndedError(HandlerMisuseError):
    """A function of the user's returned, and had ended the transaction that it was lent."""


class InboxFullError(ChaoyingError):
    """A bounded inbox has no room, and nothing in it is old enough to be forgotten (M-19)."""


class TooManyWaitError(InboxFullError):
    """Too many messages of this order, or of this merchant, wait already (M-15)."""


#: So many open messages of one order are kept, and of so many orders of one merchant's that the
#: shop does not know: more would be a stranger who fills the inbox (M-15).
MOST_MESSAGES, MOST_FOREIGN = 20, 200


def check_room(aside: Aside, *, messages: int, of_it: bool, orders: int) -> None:
    """Raise :class:`TooManyWaitError` where no further message of that order is to be kept.

    ``messages`` are the order's own open ones, ``orders`` the merchant's other foreign orders;
    ``of_it``: this order is a foreign one already.
    """
    if messages >= MOST_MESSAGES:
        raise TooManyWaitError(f"{MOST_MESSAGES} messages of this order wait already")
    if aside.foreign and not of_it and orders >= MOST_FOREIGN:
        raise TooManyWaitError(f"messages of {MOST_FOREIGN} unknown orders of this merchant wait")
