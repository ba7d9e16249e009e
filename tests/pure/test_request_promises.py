"""What requests, replies and credentials promise to a caller who handles them with little care."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from chaoying_async import (
    Credentials,
    GatewayError,
    OrderQuery,
    ParameterError,
    Pay,
    PayType,
    Refund,
    TradeRefundedError,
    parse_notification,
)
from chaoying_async.exceptions import SignatureRefusedError
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.api.endpoint import Request, check_kind, check_request
from chaoying_async.sansio.api.field_rules import GoodsDetail
from chaoying_async.sansio.credentials import credentials_from
from chaoying_async.sansio.exchange import build_request
from chaoying_async.sansio.model import model
from tests.factories import every_request
from tests.pure.factories import (
    CREDENTIALS,
    QUERY,
    form,
    notification,
    paid,
    read,
    reply_body,
    signed,
)
from tests.table import table

ENVIRON = {"CHAOYING_AGENT_ID": "1", "CHAOYING_KEY": "k", "CHAOYING_PID": "p"}
EVERY = every_request()


@model
class Unchecked(Request[Any]):
    """A request with a field that nobody checks."""

    shop: str = ""


@table("text", ['""', '"k"', "'k'", "`k`", "“k”", "‘k’", "\"k'", '"secret"'])
def test_a_value_in_quotes_is_refused(text: str) -> None:
    """A shell keeps them in a file of variables; every signature would be wrong."""
    with pytest.raises(ParameterError, match="quotes") as caught:
        credentials_from(ENVIRON | {"CHAOYING_KEY": text})
    assert set(caught.value.problems) == {"CHAOYING_KEY"}


@table("text", ['"', '"k', 'k"', 'k"s"', '"k"s', "it's"])
def test_a_quote_that_belongs_to_a_value_stays(text: str) -> None:
    """At one end, or inside."""
    assert credentials_from(ENVIRON | {"CHAOYING_KEY": text}).key == text


def test_the_environment_names_the_version_of_the_program() -> None:
    """C 93: without the variable it is 1.0."""
    assert credentials_from(ENVIRON | {"CHAOYING_VERSION": "7.2"}).version == "7.2"
    assert credentials_from(ENVIRON) == Credentials("1", "k", "p")
    assert credentials_from(ENVIRON | {"CHAOYING_VERSION": ""}).version == "1.0"


@table("name", ["sign", "key", "total_fee", "mch_id"])
def test_what_the_document_names_is_no_extra_parameter(name: str) -> None:
    """It would be sent beside the field, or in its place."""
    with pytest.raises(ParameterError, match="documented name"):
        OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1", extra={name: "1"})


@table("extra", [{"shop": 5}, {"shop": None}, {5: "x"}])
def test_an_extra_parameter_that_is_no_text_is_named(extra: Any) -> None:
    """What it would be sent as nobody knows."""
    with pytest.raises(ParameterError, match="a name and a value of text") as caught:
        OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1", extra=extra)
    assert set(caught.value.problems) == {str(name) for name in extra}


@table("call", sorted(EVERY))
def test_every_call_says_who_is_calling(call: str) -> None:
    """The agent, its platform and its version; a terminal names its own platform."""
    sent = build_request(EVERY[call], CREDENTIALS).fields
    assert (sent["agent_id"], sent["version"]) == (CREDENTIALS.agent_id, CREDENTIALS.version)
    assert sent["pid"] == getattr(EVERY[call], "pid", CREDENTIALS.pid)


def test_a_field_without_a_rule_is_never_sent() -> None:
    """Whoever adds one hears of it with the first request."""
    with pytest.raises(TypeError, match="has no rule"):
        Unchecked(shop="1").wire_fields()


def test_another_request_than_is_wanted_is_named() -> None:
    """The field, what it must be, and what it is."""
    check_kind("payment", EVERY["pay"], Pay)
    check_request(EVERY["pay"])
    for value, kind in ((EVERY["refund"], "Refund"), (Pay, "the class Pay"), (None, "NoneType")):
        with pytest.raises(ParameterError) as caught:
            check_kind("payment", value, Pay, OrderQuery)
        assert caught.value.problems == {
            "payment": f"must be Pay(...) or OrderQuery(...), not {kind}"
        }
    with pytest.raises(TypeError, match="not the class Refund"):
        check_request(Refund)


def test_every_bad_member_of_an_item_is_named() -> None:
    """C 73: the item's number, and each of its members."""
    members: dict[str, Any] = {"pay_goods_id": 7, "goods_name": "a&total_fee=1"}
    bad = GoodsDetail(goods_id="a b", quantity=0, price=-1, **members)
    found = " / ".join(bad.problems())
    for member in ("goods_id", "pay_goods_id", "goods_name", "quantity", "price"):
        assert f"{member} " in found
    assert len(bad.problems()) == 5
    assert GoodsDetail(goods_id="a-1", quantity=1, price=0).problems() == []


@table("call", sorted(EVERY))
def test_parameters_travel_as_a_form_or_in_the_query(call: str) -> None:
    """A GET has neither a body nor a type of one."""
    sent = build_request(EVERY[call], CREDENTIALS)
    is_form = ("Content-Type", "application/x-www-form-urlencoded") in sent.headers
    assert is_form is (sent.method == "POST") is bool(sent.body)
    assert ("sign=" in sent.url) is (sent.method == "GET")


@pytest.mark.parametrize("request_", [QUERY, EVERY["pay"]], ids=["orderquery", "pay"])
def test_a_reply_about_an_order_that_came_back_brings_the_order(request_: Any) -> None:
    """M-07: it was paid, and this much is known of it."""
    members = paid(
        code="10002", trade_state="REFUND", out_trade_no=request_.out_trade_no, base_fee="100",
        total_fee="100",
    )  # fmt: skip
    reply = read(request_, reply_body(members))
    with pytest.raises(TradeRefundedError) as caught:
        reply.unwrap()
    assert caught.value.paid is not None
    assert caught.value.paid.out_trade_no == request_.out_trade_no
    assert "code 10002, trade_state REFUND" in str(caught.value)
    assert "code=10002, trade_state=REFUND" in repr(reply)


def test_what_a_reply_lacks_is_shown_as_a_dash() -> None:
    """In its repr and in the error that it becomes."""
    reply = read(QUERY, reply_body(paid(code=None, trade_state="PROCESSING")))
    assert "code=-, trade_state=PROCESSING" in repr(reply)


def test_only_10002_hints_at_a_wrong_signature() -> None:
    """C 19: the document uses it for something else."""
    for code, hinted in (("10002", True), ("20002", False), ("20009", False)):
        with pytest.raises(GatewayError) as caught:
            read(QUERY, f'{{"state":"FAIL","code":"{code}","msg":"no"}}'.encode())
        assert ("most likely is a wrong signature" in str(caught.value)) is hinted
        assert isinstance(caught.value, SignatureRefusedError) is (code == "20002")


@table("request_", [EVERY["pay"], EVERY["facepay"]], ids=lambda each: each.endpoint.name)
def test_a_pickle_of_what_is_personal_is_refused_by_its_name(request_: Any) -> None:
    """M-27: the error says which field, as the request calls it."""
    with pytest.raises(TypeError, match=rf"{type(request_).__name__}\.\w+ is personal"):
        pickle.dumps(request_)


def test_every_call_has_a_request_that_these_tests_make() -> None:
    """A new one is not forgotten here."""
    assert {each.endpoint.name for each in REQUESTS} == EVERY.keys()


def test_what_each_call_may_do_is_written_here_once_more() -> None:
    """M-02, M-08: what moves money, what may be sent again, and what need not be signed."""
    calls = {each.endpoint.name: each.endpoint for each in REQUESTS}
    once = {"pay", "facepay", "refund", "cancel", "WECHAT_PreOrder", "ALIPAY_PreOrder"}
    assert {name for name, each in calls.items() if each.moves_money} == once
    reads = {
        *("getfaceauth", "authcodetoopenid", "orderquery", "refundquery"),
        *("GetMchId", "GetMchInfo", "GetPartnerId", "PayBoxConfGet", "QrConfGet"),
    }
    assert {name for name, each in calls.items() if each.repeatable} == reads
    unsigned = {"WECHAT_PreOrder", "ALIPAY_PreOrder", "WXA_Code2Session"}
    assert {name for name, each in calls.items() if not each.must_sign} == unsigned


def test_fields_as_received_take_no_part_in_a_hash_or_a_repr() -> None:
    """M-27: they hold everything, and lists and objects have no hash."""
    message = parse_notification(form(signed(notification(attach="table 7"))), CREDENTIALS)
    assert message.raw["attach"] == "table 7"
    assert hash(message) == hash(copy.copy(message))
    assert "raw" not in repr(message)
