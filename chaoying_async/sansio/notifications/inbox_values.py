"""What an inbox keeps: orders, claims on them, and messages that were set aside.

Plain values without behaviour, so that every inbox can hold them in its own way. The texts that an
inbox keeps for a handler (``payload``) are ASCII JSON and mean nothing to it; they never hold
anything unverified, nor anything about the buyer (M-27).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

import attrs

from chaoying_async.exceptions import ChaoyingError
from chaoying_async.sansio.paid import known_numbers

#: So far ahead of now the ``time_end`` of a payment may be (M-15).
AHEAD = timedelta(minutes=10)

#: Characters of an order's names as every database can keep them (M-18); the document's have 32.
LONGEST_MCH_ID, LONGEST_NUMBER = 64, 128


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
    """Claimed: being worked on while its lease lasts, else waiting to be taken up again."""
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


def _written(text: str | Callable[[], str]) -> str:
    return text if isinstance(text, str) else text()


# Not frozen: one is made for every delivery, and a frozen one takes three times as long.
@attrs.define
class Entry:
    """What is known of a payment when its order is claimed; nobody changes it afterwards.

    ``payload`` may be given as a function that writes it: writing costs more than deciding, and an
    inbox that lives in memory hardly ever reads it. What the function writes from may know the
    buyer, so an inbox that keeps the entry beyond the work has it written (:meth:`with_payload`).
    """

    _payload: str | Callable[[], str] = attrs.field(alias="payload", repr=False, eq=_written)
    """ASCII JSON, enough to run ``on_paid`` without another delivery; or a function that writes it.
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

    @property
    def payload(self) -> str:
        """ASCII JSON, enough to run ``on_paid`` without another delivery."""
        return _written(self._payload)

    def with_payload(self, payload: str) -> Entry:
        """A copy with this payload."""
        return Entry(
            payload,
            self.first_seen,
            self.payable,
            self.transaction_id,
            self.out_transaction_id,
            self.source,
            self.decision,
            self.other_numbers,
        )


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
    """What the last claim (or the failure notification) brought."""
    lease: float = 0.0
    """Seconds that the claim's lease still has, on the inbox's clock; 0.0 when nobody holds it."""
    failures: int = 0
    """How often ``on_paid`` has failed."""
    reason: str = ""
    """Why it is QUARANTINED."""
    token: int = 0
    """The number of the last claim; a number that has changed since says that another claim came.
    """

    def as_claim(self) -> Claim:
        """To end a HELD order just as it was read: without effect once anybody has claimed it."""
        return Claim(self.key, self.token, self.failures)


@attrs.define
class Claim:
    """The right to work on an order, until the lease ends."""

    key: OrderKey
    """Which order it is about."""
    token: int
    """A number that grows with every claim on the order, so that an old holder's no longer fits."""
    failures: int = 0
    """How often ``on_paid`` has failed so far."""
    before: Record | None = None
    """The order before this claim; None when it was new."""


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


class ClaimLostError(ChaoyingError):
    """The claim had ended before its work did: what was done in its transaction is rolled back."""


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
