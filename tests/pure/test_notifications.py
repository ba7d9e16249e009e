from __future__ import annotations

import ast
import inspect
import itertools
import pickle
from pathlib import Path
from typing import Any

import pytest

from chaoying_async.exceptions import (
    ChaoyingError,
    MalformedMessageError,
    MissingSignatureError,
    ProtocolError,
    SignatureVerificationError,
)
from chaoying_async.sansio.enums import BankType, FeeType, State, TradeState, TradeTypeResult
from chaoying_async.sansio.notifications import message as notifications
from chaoying_async.sansio.notifications.facts import NotificationOutcome, Wallet
from chaoying_async.sansio.notifications.message import (
    FAIL,
    SUCCESS,
    AlipayNotification,
    Notification,
    WechatNotification,
    facts_of,
    parse_notification,
)
from chaoying_async.sansio.notifications.reading import (
    MAX_BODY,
    notification_outcome,
    peek_mch_id,
    verified_fields,
)
from chaoying_async.sansio.values import Fen, parse_time
from tests.pure.factories import CREDENTIALS, form, notification, signed
from tests.table import table

PAID, NOT_PAID, UNCLEAR = (
    NotificationOutcome.PAID,
    NotificationOutcome.NOT_PAID,
    NotificationOutcome.UNCLEAR,
)


def _read(kind: Wallet | None = None, /, **changes: str) -> Notification:
    return parse_notification(form(signed(notification(**changes))), CREDENTIALS, kind=kind)


# ------------------------------------------------------------------------------- kinds and typing


@table(
    ("changes", "wallet"),
    [
        ({}, Wallet.WECHAT),
        ({"trade_type": "pay.weixin.jspay"}, Wallet.WECHAT),
        ({"trade_type": ""}, Wallet.WECHAT),
        ({"trade_type": "pay.alipay.native"}, Wallet.ALIPAY),
        ({"trade_type": "pay.alipay.unheard-of"}, Wallet.ALIPAY),
        ({"trade_type": "", "buyer_user_id": "2088"}, Wallet.ALIPAY),
        ({"buyer_user_id": "2088"}, Wallet.ALIPAY),
        ({"trade_type": "PAY.ALIPAY.NATIVE"}, Wallet.WECHAT),
        *(
            ({"trade_type": "pay.alipay.native", name: "x"}, Wallet.WECHAT)
            for name in ("sub_openid", "sub_appid", "wx_mch_id", "wx_sub_mch_id")
        ),
        ({"trade_type": "pay.alipay.native", "sub_openid": ""}, Wallet.ALIPAY),
        ({"trade_type": "pay.alipay.jspay", "sub_openid": "x", "wx_mch_id": "1"}, Wallet.WECHAT),
        *(
            ({"trade_type": "pay.weixin.native", name: "1"}, Wallet.ALIPAY)
            for name in ("buyer_logon_id", "fund_bill_list", "invoice_amount")
        ),
        ({"sub_openid": "x", "buyer_logon_id": "1"}, Wallet.WECHAT),
        ({"sub_openid": "x", "buyer_user_id": "2088"}, Wallet.ALIPAY),
    ],
)
def test_the_kind_follows_from_fields_of_one_page_then_from_the_trade_type(
    changes: dict[str, str], wallet: Wallet
) -> None:
    """WeChat's page prints Alipay's trade types: they alone say nothing (C 82)."""
    read_by = _read(**changes)
    assert read_by.wallet is wallet
    assert (
        type(read_by)
        is {Wallet.WECHAT: WechatNotification, Wallet.ALIPAY: AlipayNotification}[wallet]
    )


@table("kind", Wallet)
def test_a_stated_kind_wins(kind: Wallet) -> None:
    """Whoever has a notify_url for each page knows better than the trade type (C 82)."""
    for trade_type in ("pay.alipay.native", "pay.weixin.native", ""):
        assert _read(kind, trade_type=trade_type, buyer_user_id="2088").wallet is kind


def test_fields_are_typed_and_raw_keeps_them_as_received() -> None:
    """Amounts in fen, times in GMT+8, codes from their tables, unknown fields in raw (C 57)."""
    fields = notification(coupon_fee="0", gmt_create="20180417094613", shop="7")
    read_by = parse_notification(form(signed(fields)), CREDENTIALS)

    assert read_by.total_fee == Fen(1)
    assert read_by.coupon_fee == Fen(0)
    assert read_by.time_end == parse_time("20180417094729")
    assert read_by.state is State.SUCCESS
    assert read_by.fee_type is FeeType.CNY
    assert read_by.bank_type is BankType.CFT
    assert read_by.trade_type is TradeTypeResult.WEIXIN_NATIVE
    assert dict(read_by.raw) == signed(fields)


def test_codes_outside_their_tables_stay_text() -> None:
    """Open when reading: a bank that no table lists is no error (C 29, C 82)."""
    read_by = _read(
        bank_type="ICBC_DEBIT", fee_type="USD", trade_type="pay.weixin.future", state="0"
    )
    assert (read_by.bank_type, read_by.fee_type) == ("ICBC_DEBIT", "USD")
    assert read_by.trade_type == "pay.weixin.future"
    assert read_by.state == "0"


@table("missing", ["mch_id", "out_trade_no"])
def test_without_merchant_or_order_a_notification_is_unreadable(missing: str) -> None:
    """The two that make it about something; the error names the field (M-18)."""
    with pytest.raises(MalformedMessageError, match=missing):
        _read(**{missing: ""})


# ---------------------------------------------------------------------------------- what it means

STATES = ("SUCCESS", "FAIL", "VER", "0", "success", None)
PAY_RESULTS = (
    "0", "1", "-1", "00", "-0", "+1", "999999", "1000000", "-999999", "0.0", " 0", "x", "１", None,
)  # fmt: skip
#: The last two columns of M-15's first rows, written out by hand.
ORDINARY_FAILURES = {"1", "-1", "999999", "-999999"}


def _by_the_rules(state: str | None, result_code: str | None, pay_result: str | None) -> Any:
    """M-15 and C 80 in prose, as code: the table that ours is held against."""
    if pay_result == "0":
        return PAID if state == result_code == "SUCCESS" else UNCLEAR
    failure = pay_result in ORDINARY_FAILURES
    if state == result_code == "SUCCESS":
        return NOT_PAID if failure else UNCLEAR
    known = {state, result_code} <= {"SUCCESS", "FAIL", None} and "FAIL" in (state, result_code)
    readable = failure or pay_result is None
    # `result_code` may be absent under state FAIL, `state` never.
    return NOT_PAID if known and state is not None and readable else UNCLEAR


@table("state", STATES)
@table("result_code", STATES)
def test_the_outcome_table_is_complete(state: str | None, result_code: str | None) -> None:
    """state x result_code x pay_result, unknown values included: never paid by accident.

    M-15, C 80.
    """
    for pay_result in PAY_RESULTS:
        outcome = notification_outcome(
            state, result_code, pay_result, time_end=parse_time("20180417094729"), total_fee=Fen(1)
        )
        assert outcome is _by_the_rules(state, result_code, pay_result), pay_result


@table("state", [state for state in STATES if state])
def test_the_outcome_of_a_real_notification_is_that_of_the_table(state: str) -> None:
    """The property reads the fields as received."""
    for result_code, pay_result in itertools.product(STATES, PAY_RESULTS):
        changes = {"state": state, "result_code": result_code or "", "pay_result": pay_result or ""}
        assert _read(**changes).outcome is _by_the_rules(state, result_code, pay_result)


@table("trade_state", [*TradeState, "0", "anything"])
def test_a_trade_state_that_says_otherwise_is_a_contradiction(trade_state: str) -> None:
    """M-11, M-15: the printed condition is on it (C 80); a failure with it is an ordinary one.

    The pages do not list it, so a value that no page has contradicts nothing.
    """
    otherwise = trade_state in {"FAIL", "PROCESSING", "NEED_QUERY", "REFUND"}
    assert _read(trade_state=trade_state).outcome is (UNCLEAR if otherwise else PAID)
    failed = _read(trade_state=trade_state, result_code="FAIL", pay_result="1")
    assert failed.outcome is NOT_PAID
    for message in (_read(trade_state=trade_state), failed):
        assert facts_of(message).outcome is message.outcome


def test_exactly_one_combination_is_paid() -> None:
    """SUCCESS, SUCCESS and "0"; the printed condition "both 0" is not it (C 80)."""
    combinations = itertools.product(STATES, STATES, PAY_RESULTS)
    paid = [each for each in combinations if _by_the_rules(*each) is PAID]
    assert paid == [("SUCCESS", "SUCCESS", "0")]
    assert _read(state="0", result_code="0", trade_state="0").outcome is UNCLEAR


@table(
    "changes",
    [
        {"time_end": ""},
        {"time_end": "yesterday"},
        {"time_end": "20180230000000"},
        {"total_fee": ""},
        {"total_fee": "0.01"},
        {"total_fee": "-1"},
        {"total_fee": "1" * 16},
    ],
)
def test_a_payment_without_a_readable_time_or_amount_is_unclear(changes: dict[str, str]) -> None:
    """It cannot be compared with anything, and it is not "not paid" either (M-15)."""
    assert _read(**changes).outcome is UNCLEAR
    assert _read(pay_result="1", **changes).outcome is NOT_PAID


# --------------------------------------------------------------------------------- bodies and sizes

UNREADABLE = {
    "XML": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "JSON": b'{"out_trade_no": "A1", "sign": "x=y"}',
    "a JSON list": b'["a=1"]',
    "multipart": b'--b\r\nContent-Disposition: form-data; name="sign"\r\n\r\n1\r\n--b--\r\n',
    "a pickle": pickle.dumps({"out_trade_no": "A1"}),
    "YAML": b"out_trade_no: A1\nsign: x\n",
    "nothing": b"",
    "a word": b"success",
    "not UTF-8": b"a=\xff\xfe",
    "gzip": b"\x1f\x8b\x08\x00=",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_what_is_no_form_is_unreadable(body: bytes) -> None:
    """The bytes decide, never a header; nothing is parsed as anything else (M-14)."""
    for act in (lambda: parse_notification(body, CREDENTIALS), lambda: peek_mch_id(body)):
        with pytest.raises(MalformedMessageError):
            act()


@table("body", ["<a>\udc80=</a>", "a=\ud800", "\ud800", "=\udfff&sign=1"])
def test_half_a_surrogate_pair_in_a_str_is_unreadable(body: str) -> None:
    """A framework's lenient decoding does not become a UnicodeEncodeError of ours."""
    for act in (lambda: parse_notification(body, CREDENTIALS), lambda: peek_mch_id(body)):
        with pytest.raises(MalformedMessageError):
            act()


def test_bytes_and_str_are_the_same_notification() -> None:
    """Escaped or not, both types verify."""
    fields = signed(notification(attach="超 赢+💰"))
    escaped = form(fields)
    raw = "&".join(f"{name}={value}" for name, value in fields.items()).replace("+", "%2B")
    readings = [
        parse_notification(body, CREDENTIALS)
        for body in (escaped, escaped.decode(), raw, raw.encode())
    ]
    assert all(each == readings[0] for each in readings)


def test_the_size_of_a_body_is_bounded() -> None:
    """MAX_BODY bytes are read, one more is refused before it is parsed."""
    body = form(signed(notification()))
    fits = body + b"&pad=" + b"x" * (MAX_BODY - len(body) - 5)
    assert len(fits) == MAX_BODY
    with pytest.raises(SignatureVerificationError):
        parse_notification(fits, CREDENTIALS)
    for huge in (fits + b"x", (fits + b"x").decode()):
        for act in (
            lambda huge=huge: parse_notification(huge, CREDENTIALS),
            lambda huge=huge: peek_mch_id(huge),
        ):
            with pytest.raises(MalformedMessageError, match="65536"):
                act()


def test_an_unsigned_or_wrongly_signed_body_is_not_even_typed() -> None:
    """Verification comes first: bad fields do not show through a bad signature (C 88)."""
    with pytest.raises(MissingSignatureError):
        parse_notification(form(notification(mch_id="")), CREDENTIALS)
    with pytest.raises(SignatureVerificationError):
        parse_notification(form(notification(mch_id="") | {"sign": "0" * 32}), CREDENTIALS)


@table("made", [{"mch_id": "1"}, None, 7, [b"a=1"]])
def test_what_a_framework_made_of_the_body_is_refused_by_name(made: Any) -> None:
    """The bytes are signed, not what they were parsed into: the error says what to pass."""
    with pytest.raises(TypeError, match=rf"raw body .*{type(made).__name__}"):
        parse_notification(made, CREDENTIALS)


def test_nothing_trusted_is_made_without_verification() -> None:
    """No host, debug or environment exception: one constructor call, after verify."""
    tree = ast.parse(inspect.getsource(notifications))
    makers = [
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).startswith(("_MODELS[", "WechatNot", "AlipayNot"))
    ]
    assert makers == ["typed"]
    assert "return typed(verified_fields(" in inspect.getsource(parse_notification)
    lines = inspect.getsource(verified_fields).splitlines()
    verified = next(at for at, line in enumerate(lines) if "verify_form(" in line)
    assert [at for at, line in enumerate(lines) if "return " in line] == [len(lines) - 1]
    assert verified < len(lines) - 1
    # Beside it only facts, which are made of verified fields alone, are typed.
    package = Path(notifications.__file__).parents[1]
    typing = [path.name for path in package.rglob("*.py") if " typed(" in path.read_text("utf-8")]
    assert sorted(typing) == ["message.py"]
    assert list(inspect.signature(parse_notification).parameters) == [
        "body",
        "credentials",
        "kind",
        "now",
    ]


def test_errors_say_that_it_was_a_notification() -> None:
    """And hold neither the key nor a field's value (M-27)."""
    bodies = [b"", form(notification()), form(notification() | {"sign": "0" * 32})]
    for body in bodies:
        with pytest.raises(ProtocolError) as caught:
            parse_notification(body, CREDENTIALS)
        assert str(caught.value).startswith("notification: ")
        assert CREDENTIALS.key not in str(caught.value)


def test_a_repeat_is_the_same_notification() -> None:
    """Pure: nothing is remembered between two calls (C 83)."""
    assert _read() == _read()


def test_the_answers_are_exact_bytes() -> None:
    """Seven bytes without quotes or line feed; anything else asks again (C 85)."""
    assert (SUCCESS, FAIL) == (b"success", b"fail")


# ------------------------------------------------------------------------------------------- peek


@table("mch_id", ["00000001", "f20170519135901860000", "a-b_C", "x" * 64])
def test_peek_finds_the_merchant_of_an_unverified_body(mch_id: str) -> None:
    """Only to choose whose key verifies it (M-20)."""
    assert peek_mch_id(form(notification(mch_id=mch_id))) == mch_id


@table("mch_id", ["", "x" * 65, "a b", "a\n", "超", "../1", "1;2", "１"])
def test_peek_refuses_what_is_no_merchant_number(mch_id: str) -> None:
    """It may become part of a query or a path: bounded and pattern-checked (M-20)."""
    with pytest.raises(MalformedMessageError):
        peek_mch_id(form(notification() | {"mch_id": mch_id}))


def test_peek_refuses_two_merchants() -> None:
    """Nobody may choose the key and the reading separately (M-20)."""
    with pytest.raises(MalformedMessageError):
        peek_mch_id(form(notification()) + b"&mch_id=other")


def test_every_error_is_one_of_ours_and_asks_for_another_delivery() -> None:
    """All of them are ProtocolErrors: answer `fail` (M-14)."""
    for body in (*UNREADABLE.values(), form(notification()), form(notification() | {"sign": "x"})):
        with pytest.raises(ChaoyingError) as caught:
            parse_notification(body, CREDENTIALS)
        assert isinstance(caught.value, ProtocolError)
