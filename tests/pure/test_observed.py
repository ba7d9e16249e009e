"""What an observer is told of work: how it ended, in codes and names of classes."""

from __future__ import annotations

import asyncio

import pytest

from chaoying_async import (
    ChaoyingError,
    GatewayError,
    OrderNotFoundError,
    OutcomeUnknownError,
    ParameterError,
    TransportError,
)
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.observed import (
    HowItEnded,
    ObservedCall,
    ObservedMessage,
    ObservedPayment,
    ObservedWork,
    begins_order,
    error_name,
    order_mark,
)
from tests.pure.factories import QUERY, paid, read, reply_body

REFUSED = GatewayError("no", state="FAIL", code="20005")


def call() -> ObservedCall:
    return ObservedCall(endpoint=QUERY.endpoint, method="POST", address="https://a.example/b")


@pytest.mark.parametrize(
    ("error", "name", "ended"),
    [
        (TransportError("no"), "TransportError", HowItEnded.FAILED),
        (ParameterError({"a": "no"}), "ParameterError", HowItEnded.FAILED),
        (ValueError("no"), "other", HowItEnded.FAILED),
        (asyncio.CancelledError(), "CancelledError", HowItEnded.UNKNOWN),
        (KeyboardInterrupt(), "CancelledError", HowItEnded.UNKNOWN),
        (OutcomeUnknownError("no"), "OutcomeUnknownError", HowItEnded.UNKNOWN),
        (OrderNotFoundError("no", state="FAIL", code="20007"), "OrderNotFoundError",
         HowItEnded.UNKNOWN),
    ],
)  # fmt: skip
def test_an_error_is_told_by_its_class(error: BaseException, name: str, ended: HowItEnded) -> None:
    """M-11: after what proves nothing, nobody knows; of others' errors not even the class."""
    work = ObservedWork()
    work.failed(error)
    assert (error_name(error), work.error, work.ended) == (name, name, ended)


def test_what_left_before_a_defect_has_no_known_end() -> None:
    """Of a call that was sent, an error that says so proves nothing."""
    for sent, ended in ((True, HowItEnded.UNKNOWN), (False, HowItEnded.FAILED)):
        error = ChaoyingError("no")
        error.sent = sent
        work = ObservedWork()
        work.failed(error)
        assert work.ended is ended


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (REFUSED, "20005"),
        (OutcomeUnknownError("no", refusal=REFUSED), "20005"),
        (OutcomeUnknownError("no"), ""),
        (GatewayError("no", state="FAIL", code="A100011"), "other"),
        (GatewayError("no", state="FAIL", code=None), ""),
        (TransportError("no"), ""),
    ],
)
def test_a_call_that_failed_has_the_documented_code_alone(error: Exception, code: str) -> None:
    """M-27: whatever else a gateway writes there may be anything."""
    told = call()
    told.failed(error)
    assert (told.code, told.outcome) == (code, type(error).__name__)


def test_a_reply_ends_a_call_unless_it_is_pending() -> None:
    """The gateway carried it out; whether the order is paid, is another question."""
    for members, outcome, ended, code in (
        (paid(), "RESULT", HowItEnded.DONE, "10000"),
        (paid(trade_state="NEED_QUERY", code="10002x"), "PENDING", HowItEnded.UNKNOWN, "other"),
    ):
        told = call()
        told.answered(read(QUERY, reply_body(members)))
        assert (told.outcome, told.ended, told.code) == (outcome, ended, code)


def test_a_payment_is_done_once_it_is_known_what_became_of_the_money() -> None:
    """However it ended."""
    for known, ended in ((True, HowItEnded.DONE), (False, HowItEnded.UNKNOWN)):
        payment = ObservedPayment(name="checkout")
        payment.over("FAILED", "NOT_SENT", known=known)
        assert (payment.status, payment.reason, payment.ended) == ("FAILED", "NOT_SENT", ended)
    paid_for = ObservedPayment(name="checkout")
    paid_for.over("PAID", known=True)
    assert (paid_for.status, paid_for.reason) == ("PAID", "")


def test_a_message_is_done_once_nobody_is_at_work_on_it() -> None:
    """After an error it stays as that left it, whatever was decided before."""
    for over, ended in ((True, HowItEnded.DONE), (False, HowItEnded.UNKNOWN)):
        message = ObservedMessage(name="notification")
        message.decided("APPLY", over=over)
        assert (message.decision, message.ended) == ("APPLY", ended)
    failed = ObservedMessage(name="settle")
    failed.failed(ValueError("no"))
    failed.decided("APPLY", over=True)
    assert (failed.decision, failed.ended) == ("APPLY", HowItEnded.FAILED)


def test_orders_begin_with_a_payment_or_a_pre_order() -> None:
    """What is heard later belongs to these calls."""
    begin = {each.endpoint.name for each in REQUESTS if begins_order(each.endpoint)}
    assert begin == {"pay", "facepay", "WECHAT_PreOrder", "ALIPAY_PreOrder"}


def test_a_mark_tells_orders_apart() -> None:
    """By merchant and number together (M-18)."""
    assert order_mark("1", "A1") == order_mark("1", "A1")
    assert len({order_mark("1", "A1"), order_mark("1", "A2"), order_mark("2", "A1")}) == 3


def test_before_it_ends_nobody_knows_how_work_ended() -> None:
    """Neither how long it took, nor a status or a code."""
    for work in (call(), ObservedPayment(name="resume"), ObservedMessage(name="run_due")):
        assert (work.started, work.elapsed, work.error, work.order) == (0.0, 0.0, "", None)
        assert work.ended is HowItEnded.UNKNOWN
    assert (call().status, call().round_trips, call().outcome, call().code) == (None, 0, "", "")
    payment = ObservedPayment(name="resume")
    assert (payment.status, payment.reason) == ("", "")
    assert ObservedMessage(name="run_due").decision == ""
