"""Decides how a command ends, by error and by status: exit code, and what to do next.

Scripts decide by the exit code:

=====  ===========================================================================================
0      it went well: the call did what was asked, the signature is right, the books agree
1      refused or failed: by the gateway, by a signature that is wrong, by an order that is over
2      the command itself is wrong or something is missing; nothing was sent
3      outcome unknown: money may have moved; query the same number before anything else
4      no usable answer: the address cannot be reached, or something before the gateway answered
5      bytes came that cannot be read or trusted
6      not decided yet: ask again
7      paid, and nobody compared the amount with what the order costs
130    interrupted
=====  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

import attrs

from chaoying_async.exceptions import (
    AgentError,
    ChaoyingError,
    GatewayError,
    MerchantConfigError,
    MerchantError,
    NotConfiguredYetError,
    OrderNotFoundError,
    OutcomeUnknownError,
    ParameterError,
    ProtocolError,
    QueryRefusedError,
    ReplyMismatchError,
    RequestNotSentError,
    SignatureRefusedError,
    SignatureVerificationError,
    StoreError,
    TradeFailedError,
    TradePendingError,
    TradeRefundedError,
    TransportError,
    UsageError,
)
from chaoying_async.polling import PollOutcome
from chaoying_async.sansio.api.follow_up import Cancel, OrderQuery, Refund, RefundQuery
from chaoying_async.sansio.paid import PaidOrder, advice_in_refund
from chaoying_async.sansio.polling.status import PollStatus


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    """It went well: the call did what was asked, the signature is right, the books agree."""
    REFUSED = 1
    """Refused or failed: by the gateway, by a signature that is wrong, by an order that is over."""
    USAGE = 2
    """The command itself is wrong or something is missing; nothing was sent."""
    UNKNOWN = 3
    """The outcome is unknown and money may have moved: query the same number before anything else.
    """
    UNREACHED = 4
    """No usable answer came: the address cannot be reached, or something before the gateway
    answered.
    """
    UNTRUSTED = 5
    """Bytes came that cannot be read or trusted."""
    PENDING = 6
    """Not decided yet: ask again."""
    UNCOMPARED = 7
    """It is paid, and nobody compared the amount with what the order costs."""
    INTERRUPTED = 130
    """Interrupted by the user."""


_ABOUT_THE_KEY = (
    "Is CHAOYING_KEY the key of CHAOYING_AGENT_ID, here and not in a test environment? "
    "`chaoying check` asks the gateway, and says which of them is wrong"
)

#: What no other number helps against.
_SUPPORT: Mapping[type[GatewayError], str] = {
    MerchantError: (
        "The merchant number is unknown or disabled: put CHAOYING_MCH_ID right, or ask the "
        "gateway's support; no other order number helps"
    ),
    AgentError: (
        "The agent number is unknown or disabled: put CHAOYING_AGENT_ID right, or ask the "
        "gateway's support; no other order number helps"
    ),
    MerchantConfigError: (
        "This merchant is not set up for this kind of payment: take another wallet, or have the "
        "gateway's support set it up; no other order number helps"
    ),
}

#: Error, exit code, what to do next; the first row that fits wins.
_ROWS: tuple[tuple[type[ChaoyingError], Exit, str], ...] = (
    (ParameterError, Exit.USAGE, "nothing was sent: put the fields right"),
    (UsageError, Exit.USAGE, "nothing was sent"),
    (StoreError, Exit.USAGE, "what was being waited for is in the store still: run it again"),
    (
        OutcomeUnknownError,
        Exit.UNKNOWN,
        "it may have been carried out: query the same number before anything else",
    ),
    (RequestNotSentError, Exit.UNREACHED, "nothing was sent: the same call may be repeated"),
    (TransportError, Exit.UNREACHED, "no usable answer came: asking again is safe"),
    (
        ReplyMismatchError,
        Exit.UNTRUSTED,
        "it is about something else than what was asked: believe nothing in it, and query again",
    ),
    (SignatureVerificationError, Exit.UNTRUSTED, f"believe nothing in it. {_ABOUT_THE_KEY}"),
    (
        ProtocolError,
        Exit.UNTRUSTED,
        (
            "believe nothing in it: something other than the gateway may have answered; is the"
            " address right?"
        ),
    ),
    (
        TradePendingError,
        Exit.PENDING,
        (
            "not decided yet, so neither paid nor unpaid: deliver nothing and charge nothing again;"
            " query again in 5 seconds"
        ),
    ),
    (NotConfiguredYetError, Exit.PENDING, "the terminal has no merchant yet: ask again"),
    (TradeFailedError, Exit.REFUSED, "over, and not paid: a new attempt takes a new number"),
    (TradeRefundedError, Exit.REFUSED, advice_in_refund(None)),
    (
        OrderNotFoundError,
        Exit.REFUSED,
        (
            "no such number under this merchant and paytype: are they right? What was sent minutes"
            " ago may still appear, so it is not known to be unpaid: query again before you charge"
            " again"
        ),
    ),
    (
        QueryRefusedError,
        Exit.PENDING,
        (
            "the query failed, which says nothing of the order, so neither paid nor unpaid: deliver"
            " nothing and charge nothing again; query again in 5 seconds"
        ),
    ),
    (SignatureRefusedError, Exit.REFUSED, f"this call moved nothing. {_ABOUT_THE_KEY}"),
    (MerchantError, Exit.REFUSED, f"this call moved nothing. {_SUPPORT[MerchantError]}"),
    (AgentError, Exit.REFUSED, f"this call moved nothing. {_SUPPORT[AgentError]}"),
    (
        MerchantConfigError,
        Exit.REFUSED,
        f"this call moved nothing. {_SUPPORT[MerchantConfigError]}",
    ),
    (GatewayError, Exit.REFUSED, "refused, and this call moved nothing"),
)

#: For what follows a payment: it has the wallet that was paid with, and no other.
_FOLLOW_UP_ROWS: tuple[tuple[type[ChaoyingError], Exit, str], ...] = (
    (
        MerchantConfigError,
        Exit.REFUSED,
        (
            "this call moved nothing. This merchant is not set up for this wallet: is the paytype"
            " the wallet that was paid with? If it is, have the gateway's support set it up, and"
            " send the same call again; no other number helps"
        ),
    ),
)

#: Rows for a refund, where the next step differs from that for a payment (M-25).
_REFUND_ROWS: tuple[tuple[type[ChaoyingError], Exit, str], ...] = (
    (
        OutcomeUnknownError,
        Exit.UNKNOWN,
        (
            "the money may be on its way back: query the same out_refund_no before anything else,"
            " and never send another one meanwhile"
        ),
    ),
    (
        TradePendingError,
        Exit.PENDING,
        "not decided yet: ask again, and send no other refund meanwhile",
    ),
    (TradeRefundedError, Exit.PENDING, "not accepted: query its out_refund_no"),
    *_FOLLOW_UP_ROWS,
)
_REFUND_QUERY_ROWS: tuple[tuple[type[ChaoyingError], Exit, str], ...] = (
    (
        OrderNotFoundError,
        Exit.REFUSED,
        (
            "no such refund under this merchant and paytype: are they right? What was sent minutes"
            " ago may still appear: query again, and send the refund again under the same number"
            " only"
        ),
    ),
    (
        QueryRefusedError,
        Exit.PENDING,
        (
            "the query failed, which says nothing of the refund: query again, and send no other"
            " refund meanwhile"
        ),
    ),
    *_REFUND_ROWS,
)
_ABOUT: Mapping[str, tuple[tuple[type[ChaoyingError], Exit, str], ...]] = {
    OrderQuery.endpoint.name: _FOLLOW_UP_ROWS,
    Cancel.endpoint.name: _FOLLOW_UP_ROWS,
    Refund.endpoint.name: _REFUND_ROWS,
    RefundQuery.endpoint.name: _REFUND_QUERY_ROWS,
}


#: What to do about variables of the environment.
_SETTINGS = (
    "nothing was sent: set them in the environment (export NAME=value; in PowerShell $env:NAME ="
    ' "value"); `chaoying sandbox` prints a set to try out'
)


def after_error(error: ChaoyingError) -> tuple[Exit, str]:
    """The exit code for an error, and what to do next."""
    problems = getattr(error, "problems", ())
    if problems and all(name.startswith("CHAOYING_") for name in problems):
        return Exit.USAGE, _SETTINGS
    for kind, code, then in (*_ABOUT.get(getattr(error, "doing", ""), ()), *_ROWS):
        if isinstance(error, kind):
            return code, then
    return Exit.REFUSED, ""


@attrs.frozen
class Ending:
    """How a status ends a command: exit code, colour, what to do next."""

    exit: Exit
    """The exit code."""
    style: str
    """The colour that the status is shown in."""
    then: str = ""
    """What to do next, in a sentence; empty where nothing is left to do."""


_UNPAID = Ending(Exit.REFUSED, "yellow", "over, and not paid: a new attempt takes a new number")

_STATUSES: Mapping[PollStatus, Ending] = {
    PollStatus.PAID: Ending(Exit.OK, "green"),
    PollStatus.REFUNDED: Ending(Exit.OK, "green"),
    PollStatus.FAILED: _UNPAID,
    PollStatus.CLOSED: _UNPAID,
    PollStatus.REVOKED: _UNPAID,
    PollStatus.NOT_FOUND: Ending(
        Exit.REFUSED, "yellow", "no such number under this paytype and merchant: are they right?"
    ),
    PollStatus.MISMATCH: Ending(
        Exit.UNTRUSTED,
        "bold red",
        "another amount or currency than expected: a person looks, deliver nothing",
    ),
    PollStatus.REFUSED: Ending(
        Exit.REFUSED, "bold red", "the gateway will not be asked: put that right and watch again"
    ),
    PollStatus.EXPIRED: Ending(
        Exit.PENDING, "bold yellow", "not decided yet: it may have been paid; watch again"
    ),
    PollStatus.REFUND_FAILED: Ending(
        Exit.REFUSED, "yellow", "the refund failed: a new one takes a new number"
    ),
    PollStatus.CHANGED: Ending(Exit.REFUSED, "bold yellow", "a person pays it out another way"),
    PollStatus.NOTSURE: Ending(
        Exit.PENDING, "bold yellow", "send the same refund again, under the same number"
    ),
}

#: The same for refunds, because of which nobody charges or delivers (M-25).
_REFUND_STATUSES: Mapping[PollStatus, Ending] = {
    **_STATUSES,
    PollStatus.NOT_FOUND: Ending(
        Exit.REFUSED,
        "yellow",
        "no such refund under this paytype and merchant: are they right? If its call was refused,"
        " mend the cause and send it again under the same number",
    ),
    PollStatus.MISMATCH: Ending(
        Exit.UNTRUSTED, "bold red", "another amount or currency than expected: a person looks"
    ),
    PollStatus.EXPIRED: Ending(
        Exit.PENDING,
        "bold yellow",
        "not decided yet, and banks take days: watch again, and send no other refund meanwhile",
    ),
}

#: Of several orders the worst decides: the code that comes first here.
_WORST = (Exit.UNTRUSTED, Exit.PENDING, Exit.REFUSED)


def after_outcome(outcome: PollOutcome[Any]) -> Ending:
    """The ending for an outcome of the poller."""
    refund = isinstance(outcome.query, RefundQuery)
    return after_status(outcome.status, refund=refund, paid=outcome.paid)


def after_status(status: PollStatus, *, refund: bool, paid: PaidOrder | None = None) -> Ending:
    """The ending for a status. An order that was refunded, even in part, is not simply paid."""
    if status is PollStatus.REFUNDED and not refund:
        return Ending(Exit.REFUSED, "yellow", advice_in_refund(paid))
    return (_REFUND_STATUSES if refund else _STATUSES)[status]


def worst(exits: Iterable[Exit]) -> Exit:
    """The exit code of several orders together."""
    found = set(exits)
    return next((code for code in _WORST if code in found), Exit.OK)
