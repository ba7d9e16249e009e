from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chaoying_async import (
    AlipayPreOrder,
    Cancel,
    FacePay,
    GetMchId,
    OrderQuery,
    Pay,
    Refund,
    RefundQuery,
    WechatPreOrder,
    WxAddSubDevConfig,
)
from chaoying_async.exceptions import ChaoyingWarning, ParameterError
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Request, field_specs
from chaoying_async.sansio.api.field_rules import (
    AmountRule,
    CodeRule,
    GoodsDetail,
    IpRule,
    TimeRule,
)
from chaoying_async.sansio.enums import LimitPay, PayType, TradeState, TradeType, Undocumented
from chaoying_async.sansio.exchange import Defaults, build_request
from chaoying_async.sansio.values import Fen
from tests.pure.factories import CREDENTIALS, FULL_REQUESTS
from tests.pure.spec import full_request, full_values
from tests.table import table

full = table("request_", FULL_REQUESTS, ids=lambda request: request.endpoint.name)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)  # has no GMT+8


def _problems(cls: type[Request[Any]], **changes: Any) -> Mapping[str, str]:
    """What is wrong with an otherwise good request."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ChaoyingWarning)
        try:
            full_request(cls, **changes)
        except ParameterError as error:
            return error.problems
    return {}


# ------------------------------------------------------------------------------------------- rules


@full
def test_a_full_request_is_good_and_says_everything(request_: Request[Any]) -> None:
    """Every field filled in: accepted, and every one of them on the wire."""
    left_out = {"receipt_appid"}  # excludes subscribe_appid (C 74)
    assert set(request_.wire_fields()) == request_.names - left_out


@full
def test_all_broken_rules_are_reported_at_once(request_: Request[Any]) -> None:
    """One error names every bad field, and holds no value (M-27)."""
    cls = type(request_)
    bad: dict[str, Any] = {spec.name: object() for spec in field_specs(cls)}
    if not bad:
        return
    with pytest.raises(ParameterError) as caught:
        cls(**(full_values(cls) | bad))
    assert set(caught.value.problems) == set(bad)
    assert isinstance(caught.value, ValueError)
    assert "object at 0x" not in str(caught.value)
    assert caught.value.doing == cls.endpoint.name


@full
def test_each_field_alone_is_refused_when_it_is_no_value_of_its_kind(
    request_: Request[Any],
) -> None:
    """A number where text belongs, text where an amount belongs: by name, without the value."""
    for spec in field_specs(type(request_)):
        for wrong in (4711.5, b"4711", ["4711"], "\ud800"):
            problems = _problems(type(request_), **{spec.name: wrong})
            assert set(problems) >= {spec.name}, (spec.name, wrong)
            assert not any("4711" in rule for rule in problems.values())


@full
def test_an_empty_required_field_is_as_good_as_none(request_: Request[Any]) -> None:
    """`""` and None are absent: refused where required, left out where optional (C 8)."""
    for spec in field_specs(type(request_)):
        for empty in ("", None):
            problems = _problems(type(request_), **{spec.name: empty})
            if spec.required:
                assert "required" in problems[spec.name]


@full
def test_an_empty_optional_field_is_as_good_as_none(request_: Request[Any]) -> None:
    """`""` and None are both what was left out: refused and sent alike, alone and together (C 8).

    A terminal's `pid` that was left out is the terminals' own (C 94).
    """
    cls = type(request_)
    required = {spec.name for spec in field_specs(cls) if spec.required}
    optional = [spec.name for spec in field_specs(cls) if not spec.required]
    for names in [[name] for name in optional] + [optional]:
        expected = _problems(cls, **dict.fromkeys(names))
        assert _problems(cls, **dict.fromkeys(names, "")) == expected, names
        if not expected:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ChaoyingWarning)
                empty, none = (full_request(cls, **dict.fromkeys(names, it)) for it in ("", None))
            assert empty.wire_fields() == none.wire_fields(), names
            assert empty.wire_fields().get("pid") == ("CySoftPayBox" if "pid" in optional else None)
            assert required <= empty.wire_fields().keys()


@table(
    ("cls", "name", "good", "bad"),
    [
        # order numbers: 5 to 32, an underscore only on pay, facepay and cancel (C 49)
        (
            Pay,
            "out_trade_no",
            ["A_001", "a" * 32],
            ["A001", "a" * 33, "A-0001", "A0001\n", "超00001"],
        ),
        (FacePay, "out_trade_no", ["A_001"], ["A 0001"]),
        (Cancel, "out_trade_no", ["A_001"], ["A.0001"]),
        (WechatPreOrder, "out_trade_no", ["A0001"], ["A_001", "A001", "a" * 33]),
        (AlipayPreOrder, "out_trade_no", ["A0001"], ["A_001"]),
        (OrderQuery, "out_trade_no", ["A-1", "x" * 40], []),
        # refund numbers: hyphens are fine (C 53)
        (Refund, "out_refund_no", ["TK-1497769914931-01", "T", "a_B"], ["a" * 33, "T.1", "T 1"]),
        (RefundQuery, "out_refund_no", ["TKT0020190517145341153-B"], ["a" * 33, "超"]),
        # amounts: whole fen, at least 1 (M-12)
        (Pay, "total_fee", [1, Fen(1), 10**15 - 1], [0, -1, 1.0, "1", True, Fen(0), 10**15]),
        # addresses (C 76, C 86)
        (
            WechatPreOrder,
            "notify_url",
            ["https://a.example/n", "http://a.example:8080/n/7", "https://[::1]:65535/n"],
            [
                *("https://a/n?x=1", "https://a/n#x", "a/n", "ftp://a/n", "https:///n"),
                *("https://a/ n", "https://a:0/n", "https://a:65536/n", "https://a:x/n"),
            ],
        ),
        (
            WxAddSubDevConfig,
            "jsapi_path",
            ["http://a.com/pay/", "http://a.com/pay/;https://b.com/"],
            ["http:/a.com/pay/", "a.com", "http://a.com/;", "http://a.com/,http://b c/"],
        ),
        (
            Pay,
            "mch_create_ip",
            ["114.114.114.114", "2001:db8::1", "::ffff:1.2.3.4"],
            ["fe80::1%eth0", "1.2.3", "1.2.3.256", "1.2.3.4\n", "[::1]"],
        ),
        # placeholders of the tables are never sent (C 72)
        (Pay, "profit_sharing_receiver", ["{}", "--", "- "], ["-"]),
        (Pay, "profit_sharing", ["N", "Y"], []),
        # lengths that the document does not give are not checked (C 108)
        (Pay, "body", ["x" * 5000, "x", "超", " x "], [" "]),
        (Pay, "attach", ["x" * 5000], ["a&total_fee=1"]),
        # closed when sending (C 29, C 66, C 67)
        (
            OrderQuery,
            "paytype",
            [PayType.QQ, "QQ", Undocumented("ECNY")],
            ["ECNY", "qq", TradeState.FAIL],
        ),
        (WechatPreOrder, "limit_pay", [*LimitPay, "no_credit"], ["CREDIT"]),
        (AlipayPreOrder, "trade_type", [*TradeType], ["JSAPI"]),
        # times have a zone (C 68)
        (
            WechatPreOrder,
            "time_start",
            [NOON - timedelta(days=9000)],
            [NOON.replace(tzinfo=None), "20260101000000", NOON.replace(year=999), LATEST],
        ),
    ],
)
def test_the_rule_of_a_field(
    cls: type[Request[Any]], name: str, good: list[Any], bad: list[Any]
) -> None:
    """What each printed constraint lets through, and what it refuses by name."""
    for value in good:
        assert name not in _problems(cls, **{name: value}), value
    for value in bad:
        assert name in _problems(cls, **{name: value}), value


def test_an_amount_of_another_kind_names_the_ways_out() -> None:
    """The message says how to pass yuan (M-12)."""
    assert 'fen("12.30")' in _problems(Pay, total_fee=12.3)["total_fee"]


def test_every_rule_class_is_met_by_some_field() -> None:
    """A rule that nothing uses is not held by these tests."""
    used = {type(spec.rule) for cls in REQUESTS for spec in field_specs(cls)}
    assert {AmountRule, CodeRule, IpRule, TimeRule} <= used


# --------------------------------------------------------------------------- rules over many fields

CODE = {"auth_code": "130000000000000000"}


@table("trade_type", TradeType)
def test_sub_appid_of_a_wechat_pre_order(trade_type: TradeType) -> None:
    """Required for JSPAY, APP and APP_BANK, optional for NATIVE (C 62)."""
    problems = _problems(WechatPreOrder, trade_type=trade_type, sub_appid=None)
    assert ("sub_appid" in problems) == (trade_type is not TradeType.NATIVE)


@table("trade_type", TradeType)
def test_buyer_id_of_a_wechat_pre_order(trade_type: TradeType) -> None:
    """Required for JSPAY alone."""
    problems = _problems(WechatPreOrder, trade_type=trade_type, buyer_id=None)
    assert ("buyer_id" in problems) == (trade_type is TradeType.JSPAY)


@table(("cls", "warned"), [(WechatPreOrder, TradeType.NATIVE), (AlipayPreOrder, TradeType.JSPAY)])
@table("trade_type", TradeType)
def test_a_missing_product_id_only_warns(
    cls: type[Request[Any]], warned: TradeType, trade_type: TradeType
) -> None:
    """Once, under the documented condition; the document's own examples lack it (C 63)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        full_request(cls, trade_type=trade_type, product_id=None)
    assert [warning.category for warning in caught] == [ChaoyingWarning] * (trade_type is warned)
    assert all("product_id" in str(warning.message) for warning in caught)


@table("trade_type", TradeType)
@table("given", [(), ("buyer_id",), ("buyer_logon_id",)])
def test_the_buyer_of_an_alipay_pre_order(trade_type: TradeType, given: tuple[str, ...]) -> None:
    """JSPAY needs buyer_id or buyer_logon_id; "buger_id" is a misprint (C 65)."""
    buyer: dict[str, Any] = dict.fromkeys(("buyer_id", "buyer_logon_id"), None)
    problems = _problems(AlipayPreOrder, trade_type=trade_type, **buyer | dict.fromkeys(given, "b"))
    missing = trade_type is TradeType.JSPAY and not given
    assert set(problems) == ({"buyer_id", "buyer_logon_id"} if missing else set())
    assert not any("buger_id" in cls.__slots__ for cls in REQUESTS)


def test_every_trade_type_may_be_sent_to_both_wallets() -> None:
    """The lists are copies of each other: let the server refuse (C 67)."""
    for trade_type in TradeType:
        for cls in (WechatPreOrder, AlipayPreOrder):
            assert _problems(cls, trade_type=trade_type) == {}


@table(
    ("cls", "start", "expire", "bad"),
    [
        (AlipayPreOrder, None, None, set()),
        (AlipayPreOrder, NOON, None, {"time_expire"}),
        (AlipayPreOrder, None, NOON, {"time_start"}),
        (WechatPreOrder, NOON, None, set()),
        (WechatPreOrder, None, NOON, set()),
        *[
            (cls, NOON, NOON + timedelta(seconds=apart), {"time_expire"} if apart <= 0 else set())
            for cls in (WechatPreOrder, AlipayPreOrder)
            for apart in (-1, 0, 1)
        ],
    ],
)
def test_the_validity_of_a_pre_order(
    cls: type[Request[Any]], start: datetime | None, expire: datetime | None, bad: set[str]
) -> None:
    """Alipay: both or none; WeChat: each alone; the end after the start (C 68)."""
    assert set(_problems(cls, time_start=start, time_expire=expire)) == bad


def test_times_are_sent_in_gmt8() -> None:
    """Whatever zone the caller's datetime has (C 68)."""
    fields = full_request(WechatPreOrder, time_start=NOON, time_expire=None).wire_fields()
    assert fields["time_start"] == "20260601200000"


@table(
    ("cls", "first", "second"),
    [
        (OrderQuery, "out_trade_no", "transaction_id"),
        (Refund, "out_trade_no", "transaction_id"),
        (RefundQuery, "out_refund_no", "refund_id"),
    ],
)
def test_one_of_two_numbers_is_needed_and_both_are_sent(
    cls: type[Request[Any]], first: str, second: str
) -> None:
    """None of them is refused with both named; both are fine (C 54)."""
    assert set(_problems(cls, **{first: None, second: None})) == {first, second}
    assert _problems(cls, **{first: None}) == _problems(cls, **{second: None}) == {}
    assert {first, second} <= set(full_request(cls).wire_fields())


def test_a_refund_query_takes_no_order_number() -> None:
    """Dropped in v2.5.1 (C 54)."""
    names = {spec.name for spec in field_specs(RefundQuery)}
    assert not names & {"out_trade_no", "transaction_id"}


def test_a_refund_is_not_above_its_order() -> None:
    """refund_fee <= total_fee of the same request, the rest is the server's (C 44)."""
    assert set(_problems(Refund, refund_fee=5, total_fee=4)) == {"refund_fee"}
    assert _problems(Refund, refund_fee=4, total_fee=4) == {}


def test_device_info_for_qq_wallet() -> None:
    """Required where the caller states QQ, also through a default; pay cannot know (C 69)."""
    qq = full_request(FacePay, paytype=PayType.QQ, device_info=None)
    with pytest.raises(ParameterError) as caught:
        build_request(qq, CREDENTIALS)
    assert set(caught.value.problems) == {"device_info"}
    sent = build_request(qq, CREDENTIALS, defaults=Defaults(device_info="till-1"))
    assert sent.fields["device_info"] == "till-1"
    build_request(full_request(FacePay, device_info=None), CREDENTIALS)
    assert "paytype" not in {spec.name for spec in field_specs(Pay)}


def test_a_code_of_qq_wallet_without_a_device_warns() -> None:
    """A code that looks like QQ's, and neither request nor session names a device (C 69)."""
    pay = full_request(Pay, auth_code="91" + "2" * 16, device_info=None)
    with pytest.warns(ChaoyingWarning, match="device_info") as warned:
        sent = build_request(pay, CREDENTIALS)
    assert "2" * 16 not in str(warned[0].message)
    assert "device_info" not in sent.fields
    build_request(pay, CREDENTIALS, defaults=Defaults(device_info="till-1"))
    build_request(full_request(Pay, auth_code="91" + "2" * 16), CREDENTIALS)
    build_request(full_request(Pay, auth_code="13" + "2" * 16, device_info=None), CREDENTIALS)


def test_the_warning_about_a_device_never_stops_a_payment() -> None:
    """Where warnings are errors the payment is built all the same: a code only looks like QQ's."""
    pay = full_request(Pay, auth_code="91" + "2" * 16, device_info=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert build_request(pay, CREDENTIALS).fields["auth_code"] == "91" + "2" * 16


def test_a_long_device_number_on_pay_warns_and_is_not_cut() -> None:
    """At most 8 characters for UnionPay, whose example has 9: a warning only (C 70)."""
    with pytest.warns(ChaoyingWarning, match="op_device_id"):
        pay = full_request(Pay, op_device_id="device_01")
    assert pay.wire_fields()["op_device_id"] == "device_01"
    full_request(Pay, op_device_id="device_1")
    full_request(FacePay, op_device_id="device_01")


@table("cls", [Refund, Cancel])
def test_an_operator_is_needed_for_refund_and_cancel(cls: type[Request[Any]]) -> None:
    """From the request or the session (C 71)."""
    request = full_request(cls, op_user_id=None)
    with pytest.raises(ParameterError) as caught:
        build_request(request, CREDENTIALS)
    assert set(caught.value.problems) == {"op_user_id"}
    sent = build_request(request, CREDENTIALS, defaults=Defaults(op_user_id="yzq"))
    assert sent.fields["op_user_id"] == "yzq"


def test_subscribe_and_receipt_appid_exclude_each_other() -> None:
    """Both are refused, none is fine (C 74)."""
    both = {"subscribe_appid": "a", "receipt_appid": "b"}
    assert set(_problems(WxAddSubDevConfig, **both)) == set(both)
    assert _problems(WxAddSubDevConfig, subscribe_appid=None) == {}
    assert _problems(WxAddSubDevConfig, subscribe_appid=None, receipt_appid="b") == {}


@table("separator", list(",;|，；、/ \t\n"))
def test_a_call_binds_one_appid(separator: str) -> None:
    """The document takes one with each call, so two in one text are refused (C 75)."""
    two = f"wx4da448cd29920000{separator}wx4da448cd29920001"
    for name in ("appid", "subscribe_appid"):
        assert set(_problems(WxAddSubDevConfig, **{name: two})) == {name}
    recommended = {"subscribe_appid": None, "receipt_appid": two}
    assert set(_problems(WxAddSubDevConfig, **recommended)) == {"receipt_appid"}


def test_more_than_two_payment_directories_warn() -> None:
    """A merchant has two at most; how many it has already only the gateway knows (C 76)."""
    three = "http://a.cn/;http://b.cn/;http://c.cn/"
    with pytest.warns(ChaoyingWarning, match="jsapi_path"):
        config = full_request(WxAddSubDevConfig, jsapi_path=three)
    assert config.wire_fields()["jsapi_path"] == three
    full_request(WxAddSubDevConfig, jsapi_path="http://a.cn/;http://b.cn/")


@table(
    ("given", "bad"),
    [
        ({"mobile", "valid"}, set()),
        ({"username", "password"}, set()),
        ({"mobile", "valid", "username", "password"}, set()),
        ({"mobile"}, {"valid"}),
        ({"valid"}, {"mobile"}),
        ({"username"}, {"password"}),
        ({"mobile", "valid", "password"}, {"username"}),
        ({"mobile", "password"}, {"valid", "username"}),
        (set(), {"mobile", "valid", "username", "password"}),
    ],
)
def test_one_complete_pair_opens_get_mch_id(given: set[str], bad: set[str]) -> None:
    """Mobile and SMS code, or user name and password; no half pairs (C 79)."""
    values = {name: name if name in given else None for name in full_values(GetMchId)}
    assert set(_problems(GetMchId, **values)) == bad


def test_an_absent_field_is_a_type_error_and_an_empty_one_breaks_a_rule() -> None:
    """Both name every field; the first is Python's own, as of any call."""
    named: dict[str, Any] = {"total_fee": 1}
    with pytest.raises(TypeError, match=r"'out_trade_no', 'body', and 'auth_code'"):
        Pay(**named)
    empties: tuple[Any, ...] = ("", None)
    for empty in empties:
        with pytest.raises(ParameterError) as caught:
            Pay(**named, out_trade_no=empty, body=empty, auth_code=empty)
        assert caught.value.problems == dict.fromkeys(
            ("out_trade_no", "body", "auth_code"), "is required"
        )


# ------------------------------------------------------------------------------------ goods_detail


def test_goods_are_sent_compactly_in_real_utf8() -> None:
    """quantity and price as JSON numbers, empty members left out, made once (C 73)."""
    goods = [
        GoodsDetail(goods_id="CY000", goods_name="促销单品", quantity=1, price=Fen(1)),
        GoodsDetail(goods_id="b-_1", pay_goods_id="", quantity=2, price=150),
    ]
    sent = build_request(full_request(Pay, goods_detail=goods), CREDENTIALS)
    assert sent.fields["goods_detail"] == (
        '[{"goods_id":"CY000","goods_name":"促销单品","quantity":1,"price":1},'
        '{"goods_id":"b-_1","quantity":2,"price":150}]'
    )
    assert "goods_detail" not in full_request(Pay, goods_detail=[]).wire_fields()


@table(
    "goods",
    [
        "[]x",
        {"goods_id": "a"},
        [{"goods_id": "a", "quantity": 1, "price": 1}],
        [GoodsDetail(goods_id="a b", quantity=1, price=1)],
        [GoodsDetail(goods_id="", quantity=1, price=1)],
        [GoodsDetail(goods_id="a", quantity=0, price=1)],
        [GoodsDetail(goods_id="a", quantity=True, price=1)],
        [GoodsDetail(goods_id="a", quantity=1, price=1.5)],  # type: ignore[arg-type]
        [GoodsDetail(goods_id="a", goods_name="\ud800", quantity=1, price=1)],
        [GoodsDetail(goods_id="a", goods_name="x&total_fee=1", quantity=1, price=1)],
    ],
    ids=repr,
)
def test_bad_goods_are_refused_by_item(goods: Any) -> None:
    """goods_id of letters, digits, - and _; whole numbers; nothing that could be cut (C 73)."""
    assert set(_problems(Pay, goods_detail=goods)) == {"goods_detail"}


def test_an_item_may_be_a_gift() -> None:
    """A price of 0 is a price; the whole payment still has to cost something (M-12)."""
    gift = GoodsDetail(goods_id="a", quantity=1, price=0)
    sent = full_request(Pay, goods_detail=[gift]).wire_fields()
    assert sent["goods_detail"] == '[{"goods_id":"a","quantity":1,"price":0}]'
    assert set(_problems(Pay, total_fee=0)) == {"total_fee"}


def test_all_problems_of_all_items_are_reported() -> None:
    """Item by item, none hides behind another."""
    bad = GoodsDetail(goods_id="?", quantity=0, price=-1)
    rule = _problems(Pay, goods_detail=[bad, bad])["goods_detail"]
    for index in (0, 1):
        for member in ("goods_id", "quantity", "price"):
            assert f"item {index}: {member}" in rule
