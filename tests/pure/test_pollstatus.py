"""What every answer to a query means for a poll, held against a second writing of the rules."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from chaoying_async import (
    AmbiguousSignatureError,
    ChaoyingError,
    Code,
    GatewayError,
    GatewayUnavailableError,
    MalformedMessageError,
    MissingSignatureError,
    OrderQuery,
    OutcomeUnknownError,
    ParameterError,
    PayType,
    PollStatus,
    RefundQuery,
    RefundStatus,
    ReplyMismatchError,
    RequestNotSentError,
    SessionClosedError,
    SignatureVerificationError,
    TransportError,
)
from chaoying_async.exceptions import GATEWAY_ERRORS
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.polling.record import number_in, record_key
from chaoying_async.sansio.polling.status import (
    CONFIGURATION_CODES,
    ORDER_ADVICE,
    REFUND_ADVICE,
    REFUND_ENDS,
    TROUBLE_CODES,
    UNASKED,
    UNPAID,
    Answer,
    Query,
    Says,
    Standing,
    read_answer,
    taken_together,
)
from tests.factories import CREDENTIALS, MCH_ID, ORDER, REFUND, answer_fields, body_of
from tests.pure import rulebook
from tests.sizes import thinned
from tests.table import table

ORDER_QUERY = OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_trade_no=ORDER)
REFUND_QUERY = RefundQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_refund_no=REFUND)


def read(query: Query, expected: int | None = None, **fields: Any) -> Answer:
    """What a signed answer with these fields means."""
    sent = build_request(query, CREDENTIALS)
    body = body_of(answer_fields(query.endpoint.name, **fields))
    try:
        said: Any = read_reply(sent, 200, body, CREDENTIALS, now=None)
    except ChaoyingError as error:
        said = error
    return read_answer(query, said, expected)


def order_rule(  # noqa: PLR0911 - a row each
    state: str | None, code: str | None, trade_state: str | None
) -> tuple[Says, Any]:
    """M-07, M-09, M-11 and C 23 again, in other words."""
    if state in ("FAIL", "VER"):
        if state == "VER" or code in ("20002", "20004", "20005", "20012", "20013"):
            return Says.ENDED, PollStatus.REFUSED
        if code == "20007":
            return Says.ABSENT, PollStatus.NOT_FOUND
        return (Says.TROUBLE if code in ("20006", "30001") else Says.PENDING), None
    if state != "SUCCESS":
        return Says.TROUBLE, None
    if trade_state == "SUCCESS" and code in ("10000", None):
        return Says.ENDED, PollStatus.PAID
    if trade_state == "REFUND" or code == "10002":
        return Says.ENDED, PollStatus.REFUNDED
    ends = {"10004": PollStatus.CLOSED, "10005": PollStatus.REVOKED, "10006": PollStatus.FAILED}
    if trade_state == "FAIL" and code in ends:
        return Says.ENDED, ends[code]
    return (Says.TROUBLE if code in ("20006", "30001") else Says.PENDING), None


def test_every_answer_about_an_order_means_what_the_rules_say() -> None:
    """State x code x trade_state, all of them."""
    statuses = itertools.product(rulebook.STATES, rulebook.CODES, rulebook.TRADE_STATES)
    for state, code, trade_state in thinned(statuses, every=11):
        found = read(ORDER_QUERY, state=state, code=code, trade_state=trade_state)
        assert (found.says, found.status) == order_rule(state, code, trade_state), (
            state,
            code,
            trade_state,
        )


@table("refund_status", [*RefundStatus, "SOMETHING", None])
def test_a_refund_ends_by_its_own_status_alone(refund_status: str | None) -> None:
    """M-25, C 40: trade_state SUCCESS says only that the query worked."""
    item = {"out_refund_no": REFUND, "refund_status": refund_status, "base_refund_fee": "40"}
    other = {"out_refund_no": "R-2", "refund_status": "SUCCESS"}
    listed = json.dumps([other, item])
    ends = {
        "SUCCESS": PollStatus.REFUNDED,
        "FAIL": PollStatus.REFUND_FAILED,
        "CHANGE": PollStatus.CHANGED,
        "NOTSURE": PollStatus.NOTSURE,
    }
    found = read(REFUND_QUERY, 40, refund_list=listed)
    assert found.status is ends.get(refund_status or "")
    assert found.says is (Says.ENDED if found.status else Says.PENDING)
    if refund_status == "SUCCESS":
        assert read(REFUND_QUERY, 41, refund_list=listed).status is PollStatus.MISMATCH
        other_currency = read(REFUND_QUERY, 40, refund_list=listed, fee_type="USD")
        assert other_currency.status is PollStatus.MISMATCH


@table("amount", [None, "", "5.00", "-500", "４0", "4e1"])
def test_a_refund_whose_amount_cannot_be_read_is_not_the_expected_one(amount: str | None) -> None:
    """M-13: required by the document; "nothing is left to do" would be a guess (M-25)."""
    item = {"out_refund_no": REFUND, "refund_status": "SUCCESS", "refund_fee": "1"}
    if amount is not None:
        item["base_refund_fee"] = amount
    listed = json.dumps([item])
    assert read(REFUND_QUERY, 40, refund_list=listed).status is PollStatus.MISMATCH
    assert read(REFUND_QUERY, None, refund_list=listed).status is PollStatus.REFUNDED


@table("code", ["10002", "10004", "10005", "10006"])
@table("trade_state", ["FAIL", "REFUND"])
def test_an_orders_end_is_no_news_about_a_refund(code: str, trade_state: str) -> None:
    """M-25: final only by refund_status."""
    assert read(REFUND_QUERY, code=code, trade_state=trade_state).says is Says.PENDING


def test_paid_means_the_expected_amount_too() -> None:
    """M-13, C 42: base_fee against the order, never what was paid after a coupon."""
    coupon = {"base_fee": "100", "total_fee": "75", "coupon_fee": "25"}
    assert read(ORDER_QUERY, 100, **coupon).status is PollStatus.PAID
    assert read(ORDER_QUERY, None, **coupon).status is PollStatus.PAID
    assert read(ORDER_QUERY, 75, **coupon).status is PollStatus.MISMATCH
    assert read(ORDER_QUERY, 100, fee_type="USD").status is PollStatus.MISMATCH
    assert read(ORDER_QUERY, 100, fee_type="CNY").status is PollStatus.PAID


def test_a_refund_by_the_gateways_number_is_found_too() -> None:
    """And one entry that names another is not it (M-06)."""
    query = RefundQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, refund_id="X1")
    listed = json.dumps([{"out_refund_no": "R", "refund_id": "X1", "refund_status": "FAIL"}])
    assert read(query, refund_list=listed).status is PollStatus.REFUND_FAILED


@table(("code", "trade_state"), [("10004", "FAIL"), ("10005", "FAIL"), ("10002", "REFUND")])
def test_an_end_that_does_not_name_its_order_is_unsure(code: str, trade_state: str) -> None:
    """M-06: the signature holds nothing of the request."""
    named = read(ORDER_QUERY, code=code, trade_state=trade_state)
    unnamed = read(
        ORDER_QUERY, code=code, trade_state=trade_state, out_trade_no=None, transaction_id=None
    )
    assert named.sure
    assert not unnamed.sure
    once = taken_together(UNASKED, unnamed)
    assert not once.counts
    assert taken_together(once, unnamed).counts
    assert taken_together(UNASKED, named).counts


ERRORS: list[tuple[Exception, Says, PollStatus | None]] = [
    (ParameterError({"x": "y"}), Says.ENDED, PollStatus.REFUSED),
    (TransportError("x"), Says.TROUBLE, None),
    (RequestNotSentError("x"), Says.TROUBLE, None),
    (OutcomeUnknownError("x"), Says.TROUBLE, None),
    (GatewayUnavailableError("x", status=502), Says.TROUBLE, None),
    (MalformedMessageError("x"), Says.TROUBLE, None),
    (ReplyMismatchError("x"), Says.PENDING, None),
    (SignatureVerificationError("x"), Says.PENDING, None),
    (MissingSignatureError("x"), Says.PENDING, None),
    (AmbiguousSignatureError("x"), Says.PENDING, None),
    (SessionClosedError("x"), Says.TROUBLE, None),
    (RuntimeError("a hook of the user's"), Says.TROUBLE, None),
]


@table(("error", "says", "status"), ERRORS, ids=lambda value: repr(value)[:30])
def test_every_error_means_something(error: Exception, says: Says, status: Any) -> None:
    """None of them means "not paid"."""
    answer = read_answer(ORDER_QUERY, error)
    assert (answer.says, answer.status) == (says, status)


def test_refusals_are_complete() -> None:
    """Every code of the document, known or not, has its meaning, and none of them is FAILED."""
    for code in (*GATEWAY_ERRORS, None, "99999"):
        answer = read_answer(ORDER_QUERY, GatewayError("x", state="FAIL", code=code))
        assert answer.status in (None, PollStatus.REFUSED, PollStatus.NOT_FOUND)
        assert not answer.about_order
    assert set(Code) >= CONFIGURATION_CODES | TROUBLE_CODES


def test_the_tables_share_out_the_statuses() -> None:
    """Each status belongs to orders, to refunds or to both."""
    both = {"REFUNDED", "NOT_FOUND", "MISMATCH", "REFUSED", "EXPIRED"}
    orders = {PollStatus.PAID, *UNPAID.values()}
    refunds = set(REFUND_ENDS.values()) - both
    assert set(PollStatus) == orders | refunds | both
    assert not orders & refunds
    assert set(REFUND_ENDS) == set(RefundStatus) - {RefundStatus.PROCESSING}


CLOSED = Answer(Says.ENDED, PollStatus.CLOSED, sure=False, about_order=True)
FAILED = Answer(Says.ENDED, PollStatus.FAILED, sure=False, about_order=True)
ABSENT = Answer(Says.ABSENT, PollStatus.NOT_FOUND, sure=False)
REFUSED = Answer(Says.ENDED, PollStatus.REFUSED, sure=False)
OPEN = Answer(Says.PENDING, about_order=True)
NO_NEWS = Answer(Says.PENDING)
TROUBLE = Answer(Says.TROUBLE)


@table(
    ("answers", "status", "counts"),
    [
        ([CLOSED], PollStatus.CLOSED, False),
        ([CLOSED, CLOSED], PollStatus.CLOSED, True),
        ([CLOSED, TROUBLE, CLOSED], PollStatus.CLOSED, True),
        ([CLOSED, NO_NEWS, CLOSED], PollStatus.CLOSED, True),
        ([CLOSED, OPEN, CLOSED], PollStatus.CLOSED, False),
        ([CLOSED, FAILED], None, False),
        ([CLOSED, FAILED, FAILED], PollStatus.FAILED, False),
        ([REFUSED, REFUSED], PollStatus.REFUSED, True),
        ([REFUSED, OPEN], None, False),
        ([ABSENT, ABSENT], PollStatus.NOT_FOUND, True),
        ([OPEN, ABSENT, ABSENT], None, False),
        ([CLOSED, ABSENT, ABSENT], None, False),
        ([TROUBLE] * 40, None, False),
    ],
)
def test_answers_taken_together(
    answers: list[Answer], status: PollStatus | None, counts: bool
) -> None:
    """Two that agree count, two that differ are pending, and what was seen once exists (M-11)."""
    standing = UNASKED
    for answer in answers:
        standing = taken_together(standing, answer)
    assert (standing.status, standing.counts) == (status, counts)
    assert standing.troubles <= 16


def test_any_news_ends_the_counting_of_troubles() -> None:
    """So that the next pause is the schedule's own again."""
    troubled = taken_together(taken_together(UNASKED, TROUBLE), TROUBLE)
    assert troubled == Standing(Says.TROUBLE, troubles=2)
    assert taken_together(troubled, OPEN).troubles == 0
    assert taken_together(troubled, NO_NEWS).troubles == 0


def test_every_end_of_a_wait_says_what_to_do() -> None:
    """Of an order and of a refund; the two have only troubles in common."""
    common = {PollStatus.NOT_FOUND, PollStatus.MISMATCH, PollStatus.REFUSED, PollStatus.EXPIRED}
    assert common == ORDER_ADVICE.keys() & REFUND_ADVICE.keys()
    assert ORDER_ADVICE.keys() - common == {PollStatus.PAID, *UNPAID.values()}
    assert REFUND_ADVICE.keys() - common == {*REFUND_ENDS.values()}


def test_whatever_is_read_in_an_answer_about_an_order_was_about_it() -> None:
    """M-11: an order that was seen is no longer "not found"."""
    for fields in (
        {"trade_state": "FAIL", "code": "10004", "base_fee": None},
        {"trade_state": "REFUND", "code": "10002"},
        {"trade_state": "PROCESSING", "code": "10001", "base_fee": None},
    ):
        assert read(ORDER_QUERY, **fields).about_order


def test_keys_of_waits_stay_what_they_are_in_every_version() -> None:
    """M-23: a store finds by them what an earlier version wrote."""
    key = record_key(["1", "A1"], 3)
    assert key == '["1","A1",3]'
    assert number_in(key) == 3
    assert [number_in(each) for each in ("x", '["1","A1",-1]', '["1","A1",\u0663]', "")] == [0] * 4


def test_a_key_of_500_characters_is_kept_and_no_longer_one() -> None:
    """What every store takes."""
    fits = 500 - len('["1","",3]')
    assert len(record_key(["1", "x" * fits], 3)) == 500
    with pytest.raises(ParameterError, match="too long"):
        record_key(["1", "x" * (fits + 1)], 3)
