"""Every numbered contradiction of the document (tests/data/spec/contradictions.md) has its answer.

Most are settled where their subject is tested; a test there names the number. Those that no other
file has a place for are here. The table says which need no test, and why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from chaoying_async import (
    AlipayPreOrder,
    Cancel,
    FacePay,
    GetPartnerId,
    OrderQuery,
    Pay,
    QrConfGet,
    Refund,
    RefundQuery,
    WechatPreOrder,
    WxAddSubDevConfig,
)
from chaoying_async.exceptions import (
    ChaoyingWarning,
    GatewayError,
    OrderNotFoundError,
    OutcomeUnknownError,
    ParameterError,
    SignatureRefusedError,
    TradeFailedError,
    TradePendingError,
    TradeRefundedError,
    VersionTooLowError,
)
from chaoying_async.sansio import enums
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Request, field_specs
from chaoying_async.sansio.api.field_rules import CodeRule
from chaoying_async.sansio.enums import PaymentChannelId, PayType, TradeState, TradeType
from chaoying_async.sansio.exchange import build_request
from chaoying_async.sansio.hosts import Hosts
from chaoying_async.sansio.meaning import Meaning
from chaoying_async.sansio.notifications.message import parse_notification
from tests.pure.factories import (
    CREDENTIALS,
    FULL_REQUESTS,
    QUERY,
    form,
    notification,
    paid,
    read,
    reply_body,
    signed,
)
from tests.pure.spec import ROOT, TABLES, full_request
from tests.table import table

TESTS = Path(__file__).parents[1]

#: Contradictions that no test can hold, and why.
NEEDS_NO_TEST: Mapping[int, str] = {
    5: "documentation only: the setting is called `key`; Credentials says whose it is",
    16: "M-15 and M-16: unique numbers and one effect for each order stop replays",
    34: "the document gives no interval: the schedules of M-22 and M-24 are ours, and tested",
    47: "about tests: examples that do not add up; test_examples.py compares fields, not sums",
}

_NUMBER = re.compile(r"\bC ([0-9]{1,3})(?:\s+to\s+C ([0-9]{1,3}))?")


def _named() -> dict[int, set[str]]:
    """Every number that some file of the tests names, with those files."""
    found: dict[int, set[str]] = {}
    for path in sorted(TESTS.rglob("*.py")):
        for first, last in _NUMBER.findall(path.read_text("utf-8")):
            for number in range(int(first), int(last or first) + 1):
                found.setdefault(number, set()).add(path.name)
    return found


def test_every_contradiction_is_named_by_a_test_or_explained() -> None:
    """1 to 108: a test that names the number, or a line in the table that says why not."""
    text = (ROOT / "contradictions.md").read_text("utf-8")
    numbers = {int(number) for number in re.findall(r"^### ([0-9]+)\.", text, re.MULTILINE)}
    assert numbers == set(range(1, 109))
    named = set(_named())
    assert numbers - named - set(NEEDS_NO_TEST) == set(), "neither tested nor explained"
    assert named <= numbers


# ---------------------------------------------------------------------------------- A: signatures


@table("request_", FULL_REQUESTS, ids=lambda request: request.endpoint.name)
def test_every_call_is_signed(request_: Request[Any]) -> None:
    """Whatever "some interfaces check signatures" may mean (C 13)."""
    assert len(build_request(request_, CREDENTIALS).fields["sign"]) == 32


def test_plain_http_is_a_switch_and_loopback() -> None:
    """The scheme is weak: a signed string allows an offline guess of the key (C 17)."""
    for url in ("http://gateway.example", "ftp://gateway.example", "gateway.example", "https://"):
        with pytest.raises(ParameterError):
            Hosts.single(url)
    allowed = Hosts.single("http://gateway.example", dangerous_allow_http=True)
    assert allowed.pay == "http://gateway.example"
    assert Hosts.single("http://127.0.0.1:8000").pay == "http://127.0.0.1:8000"
    assert Hosts.single("https://gateway.example").pay == "https://gateway.example"


def test_nonce_str_is_sent_by_pre_orders_only() -> None:
    """A common parameter of both, in no other table (C 18)."""
    having = {cls for cls in REQUESTS if "nonce_str" in {spec.name for spec in field_specs(cls)}}
    assert having == {WechatPreOrder, AlipayPreOrder}


@table("signed_", [True, False])
def test_an_unsigned_failure_is_the_failure_and_no_proof(signed_: bool) -> None:
    """A read: the refusal itself; a payment: unknown unless the code proves it (C 4)."""
    members = {"state": "FAIL", "code": "20004", "msg": "参数错误"}
    body = reply_body(members) if signed_ else json.dumps(members).encode()
    with pytest.raises(GatewayError):
        read(QUERY, body)
    with pytest.raises(OutcomeUnknownError) as caught:
        read(full_request(Pay), body)
    assert isinstance(caught.value.refusal, GatewayError)


# --------------------------------------------------------------------------------------- B: status


def _refused(request: Request[Any], **members: str) -> BaseException:
    with pytest.raises((GatewayError, OutcomeUnknownError)) as caught:
        read(request, reply_body({"state": "FAIL", "msg": "no", **members}))
    return caught.value


def test_a_failure_with_10002_is_never_a_refund() -> None:
    """The example of a wrong signature prints it: state FAIL wins, with a hint (C 19)."""
    error = _refused(QUERY, code="10002", trade_state="REFUND")
    assert isinstance(error, GatewayError)
    assert "signature" in str(error)
    assert isinstance(_refused(QUERY, code="20002"), SignatureRefusedError)
    with pytest.raises(TradeRefundedError):
        read(QUERY, reply_body(paid(code="10002", trade_state="SUCCESS"))).unwrap()


@table(
    ("changes", "meaning"),
    [
        ({}, Meaning.RESULT),
        ({"code": None}, Meaning.RESULT),
        ({"code": "10001"}, Meaning.PENDING),
        ({"code": "10003", "trade_state": "FAIL"}, Meaning.PENDING),
        ({"code": "10004"}, Meaning.PENDING),
        ({"trade_state": "FAIL"}, Meaning.PENDING),
        ({"trade_state": None}, Meaning.PENDING),
        ({"trade_state": "success"}, Meaning.PENDING),
        ({"code": "99999"}, Meaning.PENDING),
        ({"code": "10004", "trade_state": "FAIL"}, Meaning.FAILED),
        ({"code": "10005", "trade_state": "FAIL"}, Meaning.FAILED),
        ({"code": "10006", "trade_state": "FAIL"}, Meaning.FAILED),
        ({"trade_state": "REFUND"}, Meaning.REFUNDED),
    ],
)
def test_status_fields_that_contradict_each_other_are_pending(
    changes: dict[str, Any], meaning: Meaning
) -> None:
    """Four fields without a mapping: paid and over only where all of them agree (C 23)."""
    assert read(QUERY, reply_body(paid(**changes))).meaning is meaning


@table("code", ["10004", "10005", "10006"])
@table("cls", [Refund, RefundQuery, Cancel])
def test_a_refund_or_cancel_is_never_told_to_take_a_new_number(cls: Any, code: str) -> None:
    """Whatever failed there: the refund may be on its way, the order be paid; ask again (M-25)."""
    members = {"state": "SUCCESS", "trade_state": "FAIL", "code": code, "msg": "支付错误"}
    for body in (reply_body(members), json.dumps(members).encode()):
        reply = read(full_request(cls), body)
        assert reply.meaning is Meaning.PENDING
        with pytest.raises(TradePendingError):
            reply.unwrap()


def test_version_too_low_is_an_error_of_its_own() -> None:
    """No retry helps; whether money moved is still asked (C 28)."""
    body = reply_body({"state": "VER", "msg": "版本过低"})
    with pytest.raises(VersionTooLowError):
        read(QUERY, body)
    for cls in (Pay, FacePay, Refund, Cancel, WechatPreOrder):
        with pytest.raises(OutcomeUnknownError) as caught:
            read(full_request(cls), body)
        assert isinstance(caught.value.refusal, VersionTooLowError)


@table("trade_state", [TradeState.PROCESSING, TradeState.NEED_QUERY])
def test_processing_and_need_query_both_mean_wait(trade_state: TradeState) -> None:
    """Two words without a distinction (C 30); an answer that has only the envelope (C 31)."""
    members = {"state": "SUCCESS", "code": "10001", "trade_state": str(trade_state)}
    pay = full_request(Pay)
    for request in (QUERY, pay):
        for body in (reply_body(members), json.dumps(members).encode()):
            reply = read(request, body)
            assert reply.result is None
            with pytest.raises(TradePendingError):
                reply.unwrap()


def test_the_method_must_be_named_where_it_is_least_known() -> None:
    """pay has no paytype, its four follow-up calls require one (C 32); facepay has it (C 33)."""
    required = {
        cls
        for cls in REQUESTS
        if any(spec.name == "paytype" and spec.required for spec in field_specs(cls))
    }
    assert {OrderQuery, Refund, RefundQuery, Cancel, FacePay} <= required
    assert Pay not in required


@table(
    ("auth_code", "wallet"),
    [
        *[(f"{prefix}0000000000004711", PayType.WECHAT) for prefix in range(10, 16)],
        *[(f"{prefix}{'0' * 14}", PayType.ALIPAY) for prefix in range(25, 31)],
        *[(f"28{'0' * length}", PayType.ALIPAY) for length in range(14, 23)],
        ("62" + "0" * 17, PayType.UNIONPAY),
        ("91" + "0" * 16, PayType.QQ),
        ("51" + "0" * 16, PayType.BESTPAY),
        ("18" + "0" * 16, PayType.JDPAY),
        ("", None),
        ("13000000000000000", None),
        ("1300000000000000000", None),
        ("16" + "0" * 16, None),
        ("24" + "0" * 16, None),
        ("31" + "0" * 16, None),
        ("28" + "0" * 13, None),
        ("28" + "0" * 23, None),
        ("62" + "0" * 16, None),
        ("1300000000000000 0", None),
        ("13000000000000000\n", None),
        ("１３0000000000000000", None),
        ("99" + "0" * 16, None),
    ],
)
def test_the_wallet_behind_a_code_is_a_guess_that_may_be_none(
    auth_code: str, wallet: PayType | None
) -> None:
    """By the published prefix and length, None when unsure (C 32)."""
    assert PayType.from_auth_code(auth_code) is wallet


def test_no_such_order_is_not_failed() -> None:
    """Right after a lost answer it may mean "not there yet" (C 38)."""
    error = _refused(QUERY, code="20007")
    assert isinstance(error, OrderNotFoundError)
    assert not isinstance(error, TradeFailedError)
    assert isinstance(_refused(full_request(Pay), code="20007"), OutcomeUnknownError)


@table("code", ["20003", "30001"])
def test_codes_of_trouble_behind_the_gateway_prove_nothing(code: str) -> None:
    """They look local and are not: the outcome of a payment is unknown (C 37)."""
    for cls in (Pay, Refund, Cancel, WechatPreOrder):
        assert isinstance(_refused(full_request(cls), code=code), OutcomeUnknownError)


def test_a_refunded_order_needs_no_field_but_its_status() -> None:
    """Fields are promised for trade_state SUCCESS only (C 39)."""
    reply = read(QUERY, reply_body({"state": "SUCCESS", "trade_state": "REFUND"}))
    with pytest.raises(TradeRefundedError):
        reply.unwrap()


def test_a_cancel_answer_that_is_unclear_is_asked_about() -> None:
    """It may have given a payment back (C 36)."""
    for code in ("20004", "20007", "20011", "10000"):
        assert isinstance(_refused(full_request(Cancel), code=code), OutcomeUnknownError)


# -------------------------------------------------------------------------------------- C: amounts

REFUND = full_request(Refund, out_trade_no="A1", transaction_id=None, total_fee=4, refund_fee=4)
REFUNDED = {
    "state": "SUCCESS",
    "trade_state": "SUCCESS",
    "out_trade_no": "A1",
    "base_refund_fee": "4",
    "refund_fee": "2",
    "coupon_refund_fee": "2",
}


def test_what_comes_back_of_a_refund_is_not_what_was_applied_for() -> None:
    """base_refund_fee is; refund_fee is less by the vouchers and is never compared (C 43, C 44)."""
    result = read(REFUND, reply_body(REFUNDED)).unwrap()
    assert (result.base_refund_fee, result.refund_fee) == (4, 2)


def test_a_paid_answer_is_compared_by_its_payable_amount() -> None:
    """base_fee is the order amount, total_fee what was paid (C 42)."""
    pay = full_request(Pay, mch_id="00000001", out_trade_no="1497769914931", total_fee=4)
    result = read(pay, reply_body(paid(base_fee="4", total_fee="2", coupon_fee="2"))).unwrap()
    assert (result.base_fee, result.total_fee) == (4, 2)
    with pytest.raises(OutcomeUnknownError, match="base_fee"):
        read(pay, reply_body(paid(base_fee="2", total_fee="4")))


def test_a_coupon_above_the_order_is_odd_and_no_error() -> None:
    """A warning: it must not hide a paid order; fee_type may be absent (C 48)."""
    with pytest.warns(ChaoyingWarning, match="coupon_fee"):
        reply = read(QUERY, reply_body(paid(coupon_fee="5")))
    assert reply.unwrap().fee_type is None
    read(QUERY, reply_body(paid(coupon_fee="4")))


# ---------------------------------------------------------------------------- D, E: numbers, fields


def test_the_wallets_refund_number_is_in_the_list() -> None:
    """out_transaction_id of a refund is an order number by its example (C 56)."""
    entry = {"out_refund_no": "TK1", "out_refund_id": "5000", "refund_status": "SUCCESS"}
    query = RefundQuery(paytype=PayType.WECHAT, mch_id="1", out_refund_no="TK1")
    members = {"state": "SUCCESS", "trade_state": "SUCCESS", "refund_list": json.dumps([entry])}
    (item,) = read(query, reply_body(members | {"out_transaction_id": "4200"})).unwrap().refund_list
    assert item.out_refund_id == "5000"


def test_refund_numbers_of_a_list_are_text_that_starts_anywhere() -> None:
    """serial_no counts from 0 in the example; nothing relies on it (C 102)."""
    entries = [{"serial_no": number, "out_refund_no": f"TK{number}"} for number in ("0", "10", "x")]
    query = RefundQuery(paytype=PayType.WECHAT, mch_id="1", out_refund_no="TK10")
    members = {"state": "SUCCESS", "trade_state": "SUCCESS", "refund_list": json.dumps(entries)}
    found = read(query, reply_body(members | {"refund_count": "1"})).unwrap().refund_list
    assert [item.serial_no for item in found] == ["0", "10", "x"]


@table("given", ["pay_info", "code_url"])
@table("trade_type", [TradeType.NATIVE, TradeType.JSPAY])
def test_a_pre_orders_answer_brings_whatever_it_brings(given: str, trade_type: TradeType) -> None:
    """The examples do not belong together: NATIVE asked, pay_info came (C 64)."""
    request = full_request(WechatPreOrder, trade_type=trade_type, out_trade_no="A0001")
    members = {"state": "SUCCESS", "trade_state": "SUCCESS", given: "x", "out_trade_no": "A0001"}
    reply = read(request, json.dumps(members).encode())
    assert getattr(reply.unwrap(), given) == "x"


def test_a_pre_orders_answer_may_print_another_merchant() -> None:
    """The document's own example does: a warning, no mismatch (C 55, M-06)."""
    request = full_request(WechatPreOrder, mch_id="00000001", out_trade_no="A0001")
    members = {"state": "SUCCESS", "trade_state": "SUCCESS", "mch_id": "3338102513618944"}
    with pytest.warns(ChaoyingWarning, match="mch_id"):
        read(request, json.dumps(members).encode())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            '{"timeStamp": "1511947589427", "status": "0"}',
            {"timeStamp": "1511947589427", "status": "0"},
        ),
        ('{"tradeNO": "2018"}', {"tradeNO": "2018"}),
        ("not json", None),
        ("", None),
        ("[" * 100_000, None),
        ("9" * 10_000, None),
    ],
    ids=["wechat", "alipay", "text", "empty", "deep", "long"],
)
def test_pay_info_is_handed_through_and_read_on_request(text: str, value: object) -> None:
    """The wallet gets the text itself; unreadable is None, never an error (C 106)."""
    for cls in (WechatPreOrder, AlipayPreOrder):
        result = read(
            full_request(cls, out_trade_no="A0001"),
            json.dumps({"state": "SUCCESS", "trade_state": "SUCCESS", "pay_info": text}).encode(),
        ).unwrap()
        assert (result.pay_info or "") == text
        assert result.pay_info_json() == value


# ---------------------------------------------------------------------- F, G, H: the rest of it all


@table("length", [1, 70, 5_000])
def test_a_notification_is_read_as_a_form_and_nothing_else(length: int) -> None:
    """No header is asked, so none can be wrong; the sign is never optional (C 81)."""
    fields = signed(notification(attach="x" * length))
    assert parse_notification(form(fields), CREDENTIALS).raw["attach"] == "x" * length


def test_only_pre_orders_are_notified_about() -> None:
    """pay and facepay have no notify_url: their results come from polling (C 87)."""
    having = {cls for cls in REQUESTS if "notify_url" in {spec.name for spec in field_specs(cls)}}
    assert having == {WechatPreOrder, AlipayPreOrder}


@table(
    "url",
    [
        "http://qrpay.storepos.cn/qrpay/1",
        "https://evil.example/qrpay/1",
        "https://qrpay.storepos.cn@evil.example/qrpay/1",
        "https://qrpay.storepos.cn:8443/qrpay/1",
        "https://pay.storepos.cn/UnifiedPay/Gateway?method=refund",
    ],
)
def test_a_printed_code_cannot_collect_signatures(url: str) -> None:
    """https, an allowed host, no user, no odd port (C 95)."""
    scanned = QrConfGet(url=url, device_info="d", op_device_id="o")
    with pytest.raises(ParameterError) as caught:
        build_request(scanned, CREDENTIALS)
    assert set(caught.value.problems) == {"url"}


def test_a_scanned_value_that_could_be_cut_is_refused_by_name() -> None:
    """Whatever is not exactly the documented shape is a ParameterError (C 96, M-04, M-05)."""
    url = "https://qrpay.storepos.cn/qrpay/1?op_shop_id=x%26total_fee%3D1"
    with pytest.raises(ParameterError) as caught:
        build_request(QrConfGet(url=url, device_info="d", op_device_id="o"), CREDENTIALS)
    assert set(caught.value.problems) == {"op_shop_id"}


def test_a_scanned_link_and_an_extra_parameter_do_not_collide() -> None:
    """No name twice in what is sent (C 96)."""
    url = "https://qrpay.storepos.cn/qrpay/1?shop=1"
    scanned = QrConfGet(
        url=url, device_info="d", op_device_id="o", allow=("shop",), extra={"shop": "2"}
    )
    with pytest.raises(ParameterError) as caught:
        build_request(scanned, CREDENTIALS)
    assert set(caught.value.problems) == {"shop"}


UNUSED = {
    "scene", "picType", "typeId", "DealType", "LegalPersonType", "LegalPersonCertType",
    "flag_type", "AccountType", "IdCardType",
}  # fmt: skip


def test_tables_that_no_call_uses_are_constants_only() -> None:
    """The same two papers are numbered from 0 in one table and from 1 in another (C 104)."""
    used = {
        spec.rule.table
        for cls in REQUESTS
        for spec in field_specs(cls)
        if isinstance(spec.rule, CodeRule)
    }
    assert not used & {TABLES[name] for name in UNUSED}
    assert [*enums.LegalPersonCertType] == ["0", "1"]
    assert [*enums.IdCardType] == ["1", "2"]


@table("channel", ["CCB", "SPDB", "LAKALA"])
def test_a_channel_that_the_table_lacks_is_text(channel: str) -> None:
    """The set is open; CCB stands in an example (C 103)."""
    members = {
        "state": "SUCCESS",
        "code": "10000",
        "partner_list": json.dumps([{"pay_channel": channel}]),
    }
    (partner,) = read(full_request(GetPartnerId), reply_body(members)).unwrap().partner_list
    assert partner.pay_channel == channel
    assert isinstance(partner.pay_channel, PaymentChannelId) == (channel in set(PaymentChannelId))


def test_addresses_in_answers_are_text() -> None:
    """code_img_url and pay_url are never fetched: draw the code from code_url (C 105)."""
    members = {
        "state": "SUCCESS",
        "trade_state": "SUCCESS",
        "code_img_url": "javascript:alert(1)",
        "code_url": "weixin://wxpay/bizpayurl?pr=1&sign=2",
    }
    result = read(full_request(AlipayPreOrder), json.dumps(members).encode()).unwrap()
    assert result.code_img_url == "javascript:alert(1)"
    assert result.code_url == "weixin://wxpay/bizpayurl?pr=1&sign=2"


def test_a_setting_needs_no_code() -> None:
    """wx_addsubdevconfig has no success fields: state SUCCESS is all (C 25)."""
    for members in ({"state": "SUCCESS"}, {"state": "SUCCESS", "code": "10000"}):
        assert read(full_request(WxAddSubDevConfig), reply_body(members)).result is not None
