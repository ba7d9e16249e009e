"""Decides what the status fields of a reply mean, by tables (M-06 to M-13).

The order of the questions, for a reply: is it refused (M-09)? has it a result (M-07)? has the order
gone into refund, or ended unpaid (M-07)? Everything else is pending (M-11): unknown is never
failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import attrs

from chaoying_async.exceptions import (
    NotConfiguredYetError,
    TradeFailedError,
    TradePendingError,
    TradeRefundedError,
    _TradeError,
)


class Family(Enum):
    """The kind of an endpoint: answers of one kind are read alike."""

    PAY = "pay, facepay"
    """A result means *paid*."""
    QUERY = "orderquery"
    """A result means *paid*, whoever sent the payment."""
    REFUND = "refund"
    """A result means that the refund was accepted."""
    REFUND_QUERY = "refundquery"
    """Each entry of the list says how its refund stands."""
    CANCEL = "cancel"
    """A result means that the cancel was carried out."""
    PREORDER = "both pre-orders"
    """A result means that the order exists."""
    LOOKUP = "getfaceauth, authcodetoopenid"
    """Asks the trade gateway about something else than an order."""
    OPERATION = "Mch_Reg, GetMchId, GetPartnerId, GetMchInfo, WXA_Code2Session"
    """Calls about merchants, which have no trade state."""
    SMS = "GetMchSMSValid"
    """Its ``code`` is minutes and no status (C 26)."""
    SETTING = "wx_addsubdevconfig"
    """Adds a setting, and brings back nothing but the status."""
    TERMINAL = "PayBoxConfGet, QrConfGet"
    """A result means that the terminal has a merchant."""

    @property
    def moves_money(self) -> bool:
        """Whether its requests move money and so are sent once per call (M-02)."""
        return self in _MONEY


_MONEY = frozenset({Family.PAY, Family.REFUND, Family.CANCEL, Family.PREORDER})


class Meaning(Enum):
    """What one reply says."""

    RESULT = "the call succeeded"
    """The call did what was asked (M-07)."""
    REFUNDED = "the order has gone into refund"
    """The order was paid and has gone into refund."""
    FAILED = "the order is over and was not paid"
    """The order is over and was not paid. No answer to a refund, its query or a cancel says so."""
    PENDING = "the outcome is not known yet"
    """The outcome is not known yet: ask again. Unknown values and contradictions count as this
    (M-11).
    """
    NOT_CONFIGURED = "the terminal is not configured yet"
    """The terminal has no merchant yet (C 27)."""
    REFUSED = "the gateway refused the call"
    """The gateway refused the call, and this call moved nothing (M-09, left column)."""
    UNCLEAR_REFUSAL = "the gateway refused the call, which may have been carried out all the same"
    """The gateway refused the call in words that do not prove that nothing moved (M-09, right
    column).
    """
    UNREADABLE = "the answer has no known state"
    """The answer's ``state`` is none of the document's."""

    @property
    def says(self) -> str:
        """The meaning in words."""
        return str(self.value)


#: What ``Reply.unwrap`` raises where there is no result.
WITHOUT_RESULT: Mapping[Meaning, type[_TradeError]] = {
    Meaning.REFUNDED: TradeRefundedError,
    Meaning.FAILED: TradeFailedError,
    Meaning.PENDING: TradePendingError,
    Meaning.NOT_CONFIGURED: NotConfiguredYetError,
}

_ANY = None
_OK = frozenset({"10000"})
_OK_OR_ABSENT = frozenset({"10000", None})
_SUCCESS = frozenset({"SUCCESS"})
_SUCCESS_OR_ABSENT = frozenset({"SUCCESS", None})


@attrs.frozen
class ResultRule:
    """Under state SUCCESS: a result when both fields hold one of these; None: any (M-07)."""

    trade_state: frozenset[str | None]
    """The trade states under which there is a result; None stands for an absent one."""
    code: frozenset[str | None] | None
    """The codes under which there is a result; None in place of the set: any code."""


_TRADE_RULE = ResultRule(trade_state=_SUCCESS, code=_OK_OR_ABSENT)

#: M-07. Operation calls have no trade_state; should one come, only SUCCESS does not contradict (C
#: 23).
RESULT_RULES: Mapping[Family, ResultRule] = {
    Family.PAY: _TRADE_RULE,
    Family.QUERY: _TRADE_RULE,
    Family.REFUND: _TRADE_RULE,
    Family.REFUND_QUERY: _TRADE_RULE,
    Family.CANCEL: _TRADE_RULE,
    Family.PREORDER: _TRADE_RULE,
    Family.LOOKUP: _TRADE_RULE,
    Family.OPERATION: ResultRule(trade_state=_SUCCESS_OR_ABSENT, code=_OK),
    Family.SMS: ResultRule(trade_state=_SUCCESS_OR_ABSENT, code=_ANY),  # code is minutes (C 26)
    Family.SETTING: ResultRule(trade_state=_SUCCESS_OR_ABSENT, code=_OK_OR_ABSENT),
    Family.TERMINAL: ResultRule(trade_state=_SUCCESS_OR_ABSENT, code=_OK_OR_ABSENT),
}

#: Over without payment: trade_state FAIL with one of these (M-07).
_ENDED_UNPAID = frozenset({"10004", "10005", "10006"})
#: Here the same words are of the refund or the cancel, and do not prove that it was not done.
_DONE_WITH_AN_ORDER = frozenset({Family.REFUND, Family.REFUND_QUERY, Family.CANCEL})
_REFUND_CODE = "10002"

_NEVER_STARTED = frozenset({"20002", "20005", "20012", "20013"})

#: M-09, left column: under state FAIL, these codes prove that *this* call moved nothing.
SETTLED_REFUSALS: Mapping[Family, frozenset[str]] = {
    Family.PAY: _NEVER_STARTED,
    Family.REFUND: _NEVER_STARTED | {"20007"},
    Family.CANCEL: _NEVER_STARTED,
}

#: M-09, right column of the pre-orders: everything but these proves it.
UNSETTLED_PREORDER_REFUSALS: frozenset[str | None] = frozenset({"20003", "20006", "30001", None})


def classify(
    family: Family,
    state: str | None,
    code: str | None,
    trade_state: str | None,
    *,
    configured: bool = False,
) -> Meaning:
    """What a reply means, from its status fields alone; empty fields are None.

    ``configured`` matters for terminals only: ``mch_id`` and ``mch_trade_code`` are both there.
    """
    if state in ("FAIL", "VER"):
        return _refusal(family, state, code)
    if state != "SUCCESS":
        return Meaning.UNREADABLE
    rule = RESULT_RULES[family]
    holds = trade_state in rule.trade_state and (rule.code is None or code in rule.code)
    if family is Family.TERMINAL and not (holds and configured):
        return Meaning.NOT_CONFIGURED
    if holds:
        return Meaning.RESULT
    return _without_result(family, code, trade_state)


def _without_result(family: Family, code: str | None, trade_state: str | None) -> Meaning:
    rule = RESULT_RULES[family]
    status = None if rule.code is _ANY else code  # a number of minutes says nothing (C 26)
    if trade_state == "REFUND" or status == _REFUND_CODE:
        return Meaning.REFUNDED
    if trade_state == "FAIL" and status in _ENDED_UNPAID and family not in _DONE_WITH_AN_ORDER:
        return Meaning.FAILED
    return Meaning.PENDING


def _refusal(family: Family, state: str, code: str | None) -> Meaning:
    if not family.moves_money:
        return Meaning.REFUSED
    if state == "VER":
        return Meaning.UNCLEAR_REFUSAL
    if family is Family.PREORDER:
        settled = code not in UNSETTLED_PREORDER_REFUSALS
    else:
        settled = code in SETTLED_REFUSALS[family]
    return Meaning.REFUSED if settled else Meaning.UNCLEAR_REFUSAL


#: Answers that end an order; where they need no signature they need M-09's connection (M-08).
FINAL = frozenset({Meaning.FAILED, Meaning.REFUSED, Meaning.UNCLEAR_REFUSAL})


def may_be_unsigned(
    meaning: Meaning, *, must_sign: bool, trusted: bool, require_signed: bool
) -> bool:
    """Whether an answer without a signature counts (M-08).

    ``must_sign`` is the endpoint's, ``trusted`` says that the connection was https with ``verify``
    on, or to a loopback host. ``require_signed`` takes none at all.
    """
    if require_signed or meaning is Meaning.REFUNDED:
        return False
    if meaning is Meaning.RESULT:
        return not must_sign
    return trusted or meaning not in FINAL
