"""From a body to verified facts: is it right, and what does it say.

Nothing here answers anybody, stores anything or asks the time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from chaoying_async.exceptions import (
    AmbiguousSignatureError,
    ChaoyingError,
    MalformedMessageError,
)
from chaoying_async.sansio.credentials import Credentials
from chaoying_async.sansio.enums import PayType, TradeState
from chaoying_async.sansio.notifications.facts import (
    LONGEST_TEXT,
    Facts,
    NotificationOutcome,
    Wallet,
)
from chaoying_async.sansio.paid import PaidSource
from chaoying_async.sansio.sealed import shy
from chaoying_async.sansio.signing import verify_form
from chaoying_async.sansio.values import Fen, fen_or_none, parse_time
from chaoying_async.sansio.wire.forms import parse_form, split_form

#: The document's samples have under 1 KiB.
MAX_BODY = 64 * 1024

_MCH_ID = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch


_PAYTYPES: Mapping[Wallet | None, PayType | None] = {
    Wallet.WECHAT: PayType.WECHAT,
    Wallet.ALIPAY: PayType.ALIPAY,
    None: None,
}


class IncompleteNotificationError(MalformedMessageError):
    """The signature is right, but the message does not say which order it is about."""


class OversizedNotificationError(MalformedMessageError):
    """The body is far larger than any notification of the gateway's."""


class NotABodyError(MalformedMessageError):
    """The handler was given something that a framework made of the body."""


def read_facts(
    body: bytes, credentials: Credentials, kind: Wallet | None, now: datetime | None
) -> Facts:
    """What a body says, verified; without ``now`` previous keys do not count.

    Raises a ``ProtocolError`` where nothing could be verified: then nothing may be kept of it.
    """
    try:
        fields = verified_fields(body, credentials, now)
    except AmbiguousSignatureError:  # raised only where the signature itself is right
        problem = "it is signed, but can be read in two ways (M-04)"
    except IncompleteNotificationError:
        problem = "it is signed, but names no merchant or no order"
    else:
        return facts_of_fields(fields, kind or wallet_of(fields))
    return unreadable_facts(parse_form(body), problem, kind)


def raw_bytes(body: object) -> bytes:
    """The body, or a :class:`MalformedMessageError` for what is no body at all."""
    if isinstance(body, (str, bytes, bytearray, memoryview)):
        size = body.nbytes if isinstance(body, memoryview) else len(body)
        if size > MAX_BODY:  # refused before it is copied
            raise OversizedNotificationError(f"the notification has more than {MAX_BODY} bytes")
        if isinstance(body, str):
            return body.encode("utf-8", "surrogatepass")  # half a pair is then refused as no UTF-8
        return bytes(body)
    raise NotABodyError(
        "handle() takes the request's raw body, as bytes, before any framework parses it; not"
        f" {type(body).__name__}"
    )


def verified_fields(
    body: bytes | str, credentials: Credentials, now: datetime | None = None
) -> dict[str, str]:
    """The verified fields of a body; raises what :func:`parse_notification` raises."""
    if not isinstance(body, (bytes, str)):
        raise TypeError(
            f"pass the raw body (bytes), as it came: {type(body).__name__} is something made of it"
        )
    try:
        if len(body) > MAX_BODY:
            raise OversizedNotificationError(f"the notification has more than {MAX_BODY} bytes")
        fields, pieces = split_form(body)
        verify_form(credentials, fields, pieces, now)
        if missing := [name for name in ("mch_id", "out_trade_no") if not fields.get(name)]:
            raise IncompleteNotificationError(f"verified, but {' and '.join(missing)} are missing")
    except ChaoyingError as error:
        error.about("notification")
        raise
    return fields


def peek_mch_id(body: bytes | str) -> str:
    """The merchant that an *unverified* body names, only to choose whose key verifies it (M-20).

    Bounded and pattern-checked; a :class:`~chaoying_async.exceptions.MalformedMessageError`
    otherwise. Believe nothing else of the body before :func:`parse_notification` has passed with
    that key.
    """
    if len(body) > MAX_BODY:
        raise OversizedNotificationError(f"the notification has more than {MAX_BODY} bytes")
    body = shy(body)
    try:
        mch_id = parse_form(body).get("mch_id", "")
    except ChaoyingError as error:
        raise error.with_traceback(None)  # noqa: B904 - itself, without the frames that read it
    if not _MCH_ID(mch_id):
        raise MalformedMessageError("the notification names no merchant")
    return mch_id


#: Fields that only one wallet's page has; what the page promises comes first.
_OWN_FIELDS: tuple[tuple[Wallet, tuple[str, ...]], ...] = (
    (Wallet.ALIPAY, ("buyer_user_id",)),
    (
        Wallet.WECHAT,
        ("sub_openid", "sub_appid", "wx_mch_id", "wx_sub_mch_id", "promotion_detail"),
    ),
    (Wallet.ALIPAY, ("buyer_logon_id", "fund_bill_list", "invoice_amount")),
)
_TRADE_TYPES = (
    ("pay.alipay", Wallet.ALIPAY),
    ("pay.weixin", Wallet.WECHAT),
    ("pay.wechat", Wallet.WECHAT),
)


def wallet_of(fields: Mapping[str, Any]) -> Wallet | None:
    """Which page of the document these fields read like (C 82); None where nothing says so.

    WeChat's page prints Alipay's trade types, so ``trade_type`` is asked last. One of a third
    wallet (``pay.unionpay.native``), or none, is neither: a refund under a guess would fail.
    """
    for wallet, names in _OWN_FIELDS:
        if any(map(fields.get, names)):
            return wallet
    told: str = fields.get("trade_type", "")
    return next((wallet for start, wallet in _TRADE_TYPES if told.startswith(start)), None)


#: What the document's other replies say of an order that is not, not yet or no longer paid.
_NOT_A_SUCCESS = frozenset(map(str, TradeState)) - {"SUCCESS"}


def notification_outcome(
    state: str | None,
    result_code: str | None,
    pay_result: str | None,
    *,
    time_end: datetime | None,
    total_fee: Fen | None,
    trade_state: str | None = None,
) -> NotificationOutcome:
    """The decision fields of a notification, read together; the rows of M-15 in their order.

    A contradiction comes before everything: ``pay_result`` 0 beside a failure is not a failure. A
    failure may come without ``pay_result``, since its fields are promised for a success only (C
    80). A ``trade_state``, which neither page lists, decides nothing but that it may contradict.
    """
    if pay_result == "0":
        paid = state == result_code == "SUCCESS" and time_end is not None and total_fee is not None
        paid = paid and trade_state not in _NOT_A_SUCCESS
        return NotificationOutcome.PAID if paid else NotificationOutcome.UNCLEAR
    if (state, result_code, _pay_result_kind(pay_result)) in _NOT_PAID:
        return NotificationOutcome.NOT_PAID
    return NotificationOutcome.UNCLEAR


#: state, result_code, pay_result (None: absent) of a notification that says "not paid" (M-15).
_NOT_PAID = frozenset(
    (state, result_code, pay_result)
    for state, result_code, pay_results in (
        ("FAIL", None, (None, "failure")),
        ("FAIL", "FAIL", (None, "failure")),
        ("FAIL", "SUCCESS", (None, "failure")),
        ("SUCCESS", "FAIL", (None, "failure")),
        ("SUCCESS", "SUCCESS", ("failure",)),
    )
    for pay_result in pay_results
)


_RESULT_NUMBER = re.compile(r"-?[0-9]{1,6}").fullmatch


def _pay_result_kind(text: str | None) -> str | None:
    if text is None:
        return None
    number = _RESULT_NUMBER(text)
    return "failure" if number and int(text) != 0 else "unknown"


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]").search


def _unkeepable(number: str) -> str:
    """Why a number of the gateway's cannot be kept; PostgreSQL refuses NUL."""
    if len(number) > LONGEST_TEXT:
        return "its numbers are too long to be kept"
    return "its numbers hold control characters" if _CONTROL(number) else ""


def facts_of_fields(fields: Mapping[str, str], wallet: Wallet | None) -> Facts:
    """The facts in the verified fields of a notification.

    The fields are read as the attributes of a :class:`Notification` are, at a third of the cost.
    """
    told = fields.get
    time_end = parse_time(told("time_end") or "")
    total_fee, coupon_fee = fen_or_none(told("total_fee")), fen_or_none(told("coupon_fee"))
    outcome = notification_outcome(
        told("state") or None,
        told("result_code") or None,
        told("pay_result") or None,
        time_end=time_end,
        total_fee=total_fee,
        trade_state=told("trade_state"),
    )
    transaction_id, out_transaction_id = told("transaction_id"), told("out_transaction_id")
    problem = ""
    if why := _unkeepable(transaction_id or "") or _unkeepable(out_transaction_id or ""):
        transaction_id = out_transaction_id = None
        if outcome is NotificationOutcome.PAID:
            outcome, problem = NotificationOutcome.UNCLEAR, why
    return Facts(  # by position: names would cost half as much again
        PaidSource.NOTIFICATION,
        fields["mch_id"],
        fields["out_trade_no"],
        outcome,
        problem,
        transaction_id or None,
        out_transaction_id or None,
        total_fee,
        coupon_fee,
        None,  # payable
        told("fee_type") or None,
        time_end,
        _PAYTYPES[wallet],
        fields,
    )


def unreadable_facts(fields: Mapping[str, str], problem: str, kind: Wallet | None = None) -> Facts:
    """The facts of a message whose signature is right, but which cannot be believed (M-04, M-15).

    The gateway may be asked about the order that the message names; nothing else may be done.
    """
    return Facts(
        source=PaidSource.NOTIFICATION,
        mch_id=fields.get("mch_id", ""),
        out_trade_no=fields.get("out_trade_no", ""),
        outcome=NotificationOutcome.UNCLEAR,
        problem=problem,
        paytype=_PAYTYPES[kind or wallet_of(fields)],
        raw=fields,
    )
