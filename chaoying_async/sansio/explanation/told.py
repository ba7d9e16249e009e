"""One thing that one witness told of an order, and how it bears on whether the order was paid."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import attrs

from chaoying_async.sansio.currency import is_yuan, shown_code
from chaoying_async.sansio.printable import one_line


@attrs.frozen
class ForeignAmount:
    """An amount in another currency than CNY."""

    number: int
    """As it came."""
    fee_type: str
    """The currency, fit to be shown."""


#: What a sentence is filled with. Amounts are whole numbers of fen, or of another currency.
Value = str | int | ForeignAmount | None


def amount_of(number: int | None, fee_type: str | None) -> int | ForeignAmount | None:
    """The amount as a sentence is filled with it."""
    if number is None or is_yuan(fee_type):
        return number
    return ForeignAmount(number, shown_code(fee_type))


_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch


class Witness(StrEnum):
    """Who told something."""

    GATEWAY = "gateway"
    """The gateway, asked just now; its answers are signed."""
    STORE = "store"
    """A poll store of the shop's."""
    FLEET = "fleet"
    """The tables of a fleet, in the database of a poll store."""
    INBOX = "inbox"
    """The shop's inbox, which holds nothing that was not verified."""
    AUDIT_LOG = "audit-log"
    """A log of the shop's exchanges. Signatures are masked in it, so its answers prove nothing."""


class Bearing(StrEnum):
    """How something that was told bears on whether the order was paid."""

    PAID = "PAID"
    """It was paid."""
    IN_REFUND = "IN_REFUND"
    """It was paid, and all of it or a part came back."""
    OTHER_AMOUNT = "OTHER_AMOUNT"
    """It was paid, and another amount than was expected."""
    UNPAID = "UNPAID"
    """It is over, and was not paid."""
    OPEN = "OPEN"
    """It is not decided."""
    ABSENT = "ABSENT"
    """There is no such order, says somebody who may be wrong (M-11)."""
    NONE = "NONE"
    """It says nothing of that."""


#: These say that money came.
PAID_ONCE = frozenset({Bearing.PAID, Bearing.IN_REFUND, Bearing.OTHER_AMOUNT})


@attrs.frozen(kw_only=True)
class Statement:
    """One line of the timeline. Nothing in it is personal, and no text of it is a stranger's."""

    witness: Witness
    what: str
    """The name of its sentence, in the part ``told`` of the words."""
    at: datetime | None = None
    """When it happened (aware); None where nobody wrote that down."""
    values: Mapping[str, Value] = attrs.field(factory=dict)
    """What its sentence is filled with."""
    bearing: Bearing = Bearing.NONE
    """How it bears on whether the order was paid."""
    proves: bool = False
    """Whether a signature was verified for it, by us or by the shop's own library."""
    payable: int | None = None
    """The order amount that it names, in fen."""
    fee_type: str | None = None
    """The currency of that amount; None where nothing names one, which is CNY."""
    status: str = ""
    """The status by which its witness calls it; empty where there is none."""


def word(text: object) -> str:
    """A code or a number from outside, if it looks like one; else a question mark."""
    found = str(text)
    return found if _WORD(found) else "?"


def sentence(text: object) -> str:
    """A text of ours that may quote others, on one line."""
    return one_line(str(text), 300)
