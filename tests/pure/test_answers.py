"""M-06: a reply answers its request; M-13: what a paid order is, whichever way it was learnt."""

from __future__ import annotations

import json
import warnings
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from chaoying_async import Fen, OrderQuery, PaidOrder, PaidSource, PayType, RefundQuery
from chaoying_async.exceptions import (
    ChaoyingError,
    ChaoyingWarning,
    GatewayError,
    OutcomeUnknownError,
    ReplyMismatchError,
)
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.model import fields_of
from chaoying_async.sansio.paid import paid_order
from tests.factories import (
    CREDENTIALS,
    MCH_ID,
    MONEY,
    ORDER,
    REFUND,
    REFUND_ID,
    TRANSACTION,
    answer_fields,
    body_of,
    every_request,
)
from tests.table import table

REQUESTS = every_request()
IDENTIFIERS = ("out_trade_no", "out_refund_no", "transaction_id", "refund_id", "auth_code")


def read(request: Request[Any], fields: dict[str, str], *, signed: bool = True) -> Reply[Any]:
    """The reply to ``request`` with these fields."""
    sent = build_request(request, CREDENTIALS)
    return read_reply(sent, 200, body_of(fields, signed=signed), CREDENTIALS, now=None)


def mismatch(
    request: Request[Any], fields: dict[str, str], *, signed: bool = True
) -> ReplyMismatchError:
    """The mismatch that reading ends in; for money it is the cause of "unknown"."""
    with pytest.raises(ChaoyingError) as caught:
        read(request, fields, signed=signed)
    error: BaseException | None = caught.value
    if request.endpoint.moves_money:
        assert isinstance(error, OutcomeUnknownError)
        assert error.refusal is None
        error = error.__cause__
    assert isinstance(error, ReplyMismatchError)
    return error


def sent_identifiers() -> list[tuple[str, str]]:
    """Every identifier of every request."""
    return [
        (name, identifier)
        for name, request in REQUESTS.items()
        for identifier in IDENTIFIERS
        if identifier in request.wire_fields()
    ]


STATES: dict[str, dict[str, Any]] = {
    "success": {},
    "pending": {"trade_state": "NEED_QUERY", "code": "10001"},
    "ended": {"trade_state": "FAIL", "code": "10004"},
    "refunded": {"trade_state": "REFUND", "code": "10002"},
    "refused": {"state": "FAIL", "code": "20005", "trade_state": None},
    "unclear": {"state": "FAIL", "code": "20006", "trade_state": None},
    "too old": {"state": "VER", "code": None, "trade_state": None},
}


@table("state", STATES)
@table(("name", "identifier"), sent_identifiers())
def test_an_identifier_that_both_carry_must_be_equal(
    name: str, identifier: str, state: str
) -> None:
    """M-06: another order's signed answer is refused, whatever it says; for money it is unknown."""
    request = REQUESTS[name]
    ours = request.wire_fields()[identifier]
    for theirs in (
        ours + "1",
        ours[:-1],
        ours.swapcase() if ours.swapcase() != ours else "0" + ours,
    ):
        fields = answer_fields(name, **STATES[state], **{identifier: theirs})
        error = mismatch(request, fields)
        assert identifier in str(error)
        assert theirs not in str(error.args[0])
    unsigned = answer_fields(name, **STATES[state], **{identifier: ours + "1"})
    mismatch(request, unsigned, signed=False)


def test_the_sweep_has_every_identifier() -> None:
    """Each of the five is sent by some request above, but for the numbers that have tests below."""
    swept = {identifier for _, identifier in sent_identifiers()}
    assert swept == set(IDENTIFIERS) - {"transaction_id", "refund_id"}


@table(
    "request_",
    [
        OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, transaction_id=TRANSACTION),
        OrderQuery(
            paytype=PayType.WECHAT, mch_id=MCH_ID, transaction_id=TRANSACTION, out_trade_no=ORDER
        ),
    ],
)
def test_the_gateways_own_number_counts_as_much(request_: OrderQuery) -> None:
    """M-06: asked by transaction_id, an answer with another one is a mismatch."""
    assert read(request_, answer_fields("orderquery")).result is not None
    mismatch(request_, answer_fields("orderquery", transaction_id=TRANSACTION[::-1]))


@table("name", ["pay", "facepay"])
@table("base_fee", ["99", "101", "1000", "10", "-100", "100.0", "1e2", "", None])
def test_a_payment_is_for_the_amount_that_was_asked(name: str, base_fee: str | None) -> None:
    """M-06: on pay and facepay base_fee is the request's total_fee, or nothing is believed."""
    mismatch(REQUESTS[name], answer_fields(name, base_fee=base_fee))


@table("name", ["pay", "facepay"])
def test_a_discount_is_no_mismatch(name: str) -> None:
    """C 42: what the customer paid may be less than the order; base_fee alone is compared."""
    reply = read(REQUESTS[name], answer_fields(name, total_fee="80", coupon_fee="20"))
    assert reply.unwrap().total_fee == 80


@table("name", ["pay", "facepay", "orderquery"])
@table("empty", [None, ""])
def test_a_paid_answer_names_its_order(name: str, empty: str | None) -> None:
    """M-06: "paid" without the number that was asked about could be anybody's."""
    mismatch(REQUESTS[name], answer_fields(name, out_trade_no=empty))


def test_an_undecided_answer_need_not_name_its_order() -> None:
    """M-06: NEED_QUERY comes with hardly a field; the engines above deal with what is final."""
    for changes in (STATES["pending"], STATES["ended"], STATES["refunded"]):
        fields = answer_fields("orderquery", **changes, out_trade_no=None, transaction_id=None)
        assert read(REQUESTS["orderquery"], fields).result is None


ONE_MERCHANT = ("pay", "facepay", "orderquery", "refund", "refundquery", "cancel")


@table("state", STATES)
@table("name", ONE_MERCHANT)
def test_another_merchant_is_a_mismatch(name: str, state: str) -> None:
    """M-06: a reply that names another mch_id answers somebody else's question."""
    fields = answer_fields(name, **STATES[state], mch_id="00000002")
    assert "mch_id" in str(mismatch(REQUESTS[name], fields))


@table("name", ["WECHAT_PreOrder", "ALIPAY_PreOrder"])
def test_a_pre_orders_other_merchant_is_a_warning(name: str) -> None:
    """M-06: the document's own pre-order example names another merchant than its request."""
    with pytest.warns(ChaoyingWarning, match="another mch_id"):
        reply = read(REQUESTS[name], answer_fields(name, mch_id="00000002"))
    assert reply.result is not None


@table("name", sorted(set(REQUESTS) - set(ONE_MERCHANT)))
def test_elsewhere_a_merchants_number_is_an_answer_not_a_check(name: str) -> None:
    """M-06 lists whose mch_id counts: GetMchId and its kin bring one that nobody asked for."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert read(REQUESTS[name], answer_fields(name, mch_id="00000002")).result is not None
    told = [each for each in said if "another mch_id" in str(each.message)]
    assert bool(told) is name.endswith("PreOrder")


@table(
    "name, carries",
    [
        *((name, "out_refund_no") for name in ("pay", "facepay", "orderquery", "cancel")),
        *((name, "time_end") for name in ("refund", "cancel")),
    ],
)
def test_an_answer_to_another_kind_of_call_is_a_mismatch(name: str, carries: str) -> None:
    """M-06: a connection that lags behind delivers another call's answer about the same order."""
    fields = answer_fields(name, **{carries: "20260101120000"})
    assert carries in str(mismatch(REQUESTS[name], fields))


# ------------------------------------------------------------------------------------ refund_list


def entries(*items: Any) -> str:
    return json.dumps(items)


OURS = {"out_refund_no": REFUND, "refund_id": REFUND_ID, "refund_status": "SUCCESS"}
OTHER = {"out_refund_no": "R-2", "refund_id": "5002", "refund_status": "SUCCESS"}


@table(
    "refund_list",
    [
        None,
        "",
        "[]",
        "{}",
        "null",
        "no json",
        entries(OTHER),
        entries({"refund_status": "SUCCESS"}),
        entries("R-100011"),
        entries([OURS]),
        entries(OURS | {"out_refund_no": REFUND.lower()}),
        entries(OURS | {"out_refund_no": [REFUND]}),
        entries(OURS, OURS | {"refund_status": "FAIL"}),
        json.dumps(OURS),
    ],
)
def test_refundquery_needs_the_entry_that_was_asked_about(refund_list: str | None) -> None:
    """M-06: the number is inside refund_list, and without its entry the answer is a mismatch."""
    mismatch(REQUESTS["refundquery"], answer_fields("refundquery", refund_list=refund_list))


@table(
    ("numbers", "entry", "fits"),
    [
        ({"out_refund_no": REFUND}, OURS, True),
        ({"refund_id": REFUND_ID}, OURS, True),
        ({"refund_id": REFUND_ID}, {"out_refund_no": REFUND}, False),
        ({"refund_id": REFUND_ID}, OURS | {"refund_id": "5002"}, False),
        ({"out_refund_no": REFUND, "refund_id": REFUND_ID}, OURS, True),
        ({"out_refund_no": REFUND, "refund_id": REFUND_ID}, {"out_refund_no": REFUND}, True),
        ({"out_refund_no": REFUND, "refund_id": REFUND_ID}, {"refund_id": REFUND_ID}, True),
        ({"out_refund_no": REFUND, "refund_id": REFUND_ID}, OURS | {"refund_id": "5002"}, False),
        ({"out_refund_no": REFUND, "refund_id": REFUND_ID}, OURS | {"out_refund_no": "R"}, False),
    ],
)
def test_the_entry_is_the_one_with_the_requests_numbers(
    numbers: dict[str, Any], entry: dict[str, str], fits: bool
) -> None:
    """M-06, C 54: each number that both carry must be equal, and one of them must be there."""
    query = RefundQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, **numbers)
    fields = answer_fields("refundquery", refund_list=entries(OTHER, entry))
    if fits:
        assert len(read(query, fields).unwrap().refund_list) == 2
    else:
        mismatch(query, fields)


# --------------------------------------------------------------------------------------- the errors


@table("name", MONEY)
def test_a_mismatch_beats_a_refusal(name: str) -> None:
    """M-06 before M-09: a refusal of another order says nothing of ours."""
    request = REQUESTS[name]
    fields = answer_fields(name, state="FAIL", code="20005", trade_state=None, out_trade_no="B1")
    with pytest.raises(OutcomeUnknownError) as caught:
        read(request, fields)
    assert not isinstance(caught.value, GatewayError)
    assert caught.value.refusal is None


# --------------------------------------------------------------------------------- M-13: PaidOrder


def test_a_paid_order_takes_the_payable_amount_from_base_fee() -> None:
    """M-13, M-18, C 42: payable is base_fee, paid is total_fee, the merchant is the request's."""
    fields = answer_fields(
        "orderquery", total_fee="80", coupon_fee="20", out_transaction_id="T2", mch_id=None
    )
    reply = read(REQUESTS["orderquery"], fields)
    order = paid_order(reply.unwrap(), mch_id="as-asked", raw=reply.raw)
    assert (order.payable, order.paid, order.coupon_fee) == (Fen(100), Fen(80), Fen(20))
    assert all(type(amount) is Fen for amount in (order.payable, order.paid, order.coupon_fee))
    assert (order.mch_id, order.out_trade_no) == ("as-asked", ORDER)
    assert (order.transaction_id, order.out_transaction_id) == (TRANSACTION, "T2")
    assert order.paytype is PayType.WECHAT
    assert order.time_end == datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=8)))
    assert order.source is PaidSource.QUERY
    assert order.raw["base_fee"] == "100"


@table("name", ["pay", "facepay", "orderquery"])
def test_every_result_that_says_paid_makes_the_same_order(name: str) -> None:
    """M-13, C 24, C 33: three endpoints say paid; facepay's answer has no paytype."""
    reply = read(REQUESTS[name], answer_fields(name))
    order = paid_order(reply.unwrap(), mch_id=MCH_ID, raw=reply.raw, source=PaidSource.CONFIRM)
    assert order.payable == 100
    assert order.source is PaidSource.CONFIRM
    assert (order.paytype is None) == (name != "orderquery")


def test_a_paid_order_has_the_fields_of_the_rules() -> None:
    """M-13 names them."""
    assert [field.alias for field in fields_of(PaidOrder)] == [
        *("mch_id", "out_trade_no", "transaction_id", "out_transaction_id", "payable", "paid"),
        *("coupon_fee", "paytype", "time_end", "source", "raw", "fee_type"),
    ]
