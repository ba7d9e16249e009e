from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from chaoying_async.exceptions import (
    GatewayError,
    MalformedMessageError,
    OutcomeUnknownError,
    ParameterError,
    ReplyMismatchError,
    RequestNotSentError,
    UsageError,
)
from chaoying_async.sansio.api.barcode import Pay
from chaoying_async.sansio.api.follow_up import Refund
from chaoying_async.sansio.enums import PayType, Undocumented
from chaoying_async.sansio.paid import PaidOrder, PaidSource
from chaoying_async.sansio.payments import machine as rules
from chaoying_async.sansio.payments.hearing import PayNews, read_cancel, read_pay
from chaoying_async.sansio.payments.intent import (
    Intent,
    OrderRecord,
    intent_in,
    key_of,
    number_in,
    order_record_in,
)
from chaoying_async.sansio.payments.moves import (
    ADVICE,
    REFUSAL_ADVICE,
    Ask,
    CancelNews,
    Cancels,
    CheckoutEnd,
    CheckoutReason,
    CheckoutStatus,
    SendCancel,
    WaitUntil,
)
from chaoying_async.sansio.payments.order_numbers import OrderNumbers
from chaoying_async.sansio.payments.refunds import RefundIntent, refund_intent_in
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import Answer, PollStatus, Says, refusal
from chaoying_async.sansio.values import GMT8, Fen
from tests.factories import every_request
from tests.pure import factories

EXACT = PollSchedule(jitter=0)
OPEN = Answer(Says.PENDING, about_order=True)
PAID = Answer(Says.ENDED, PollStatus.PAID)
CLOSED = Answer(Says.ENDED, PollStatus.CLOSED, about_order=True)
TROUBLE = Answer(Says.TROUBLE)
ABSENT = refusal("FAIL", "20007")
PAY = Pay(out_trade_no="A100011", body="b", total_fee=100, auth_code="130000000000000001")


def opened(**changes: Any) -> rules.Till:
    given: dict[str, Any] = {"ended": 0.0, "paytype": "WECHAT", "certain": True}
    return rules.opened(changes.pop("schedule", EXACT), **given | changes)


def asked(till: rules.Till, at: float, answer: Answer) -> rules.Till:
    return rules.heard_query(till, answer, sent=at, paytype="WECHAT")


def test_the_numbers_are_the_rules() -> None:
    """M-24, word for word."""
    assert (rules.POLLING_ENDS, rules.CANCEL_AFTER, rules.CANCEL_UNTIL) == (240, 15, 270)
    assert rules.RESTARTED_CANCEL == (30, 240)
    assert rules.NEVER_ARRIVED == 270
    assert rules.CONFIRM == (5, 10, 30, 60, 120)
    assert set(CheckoutStatus) == {
        *("PAID", "PAID_EARLIER", "FAILED", "CANCELLED", "PAID_AFTER_CANCEL", "UNKNOWN")
    }


def test_it_asks_waits_and_cancels() -> None:
    """One decision at a time, from what is known and the moment."""
    till = opened(ended=2.0)
    assert rules.next_move(till, 2.0) == WaitUntil(7.0)
    assert rules.next_move(till, 7.0) == Ask("WECHAT")
    till = asked(till, 182.0, OPEN)
    assert rules.next_move(till, 182.0) == SendCancel("WECHAT", 270.0)
    assert rules.next_move(till, 271.0) == Ask("WECHAT")  # too late to cancel
    till = rules.heard_cancel(till, CancelNews.CARRIED_OUT, ended=183.0)
    assert rules.next_move(till, 183.0) == WaitUntil(188.0)


def test_a_cancel_that_succeeded_is_not_cancelled_without_a_later_query() -> None:
    """M-24: what was heard before the cancel does not count."""
    till = asked(opened(), 180.0, OPEN)
    till = rules.heard_cancel(till, CancelNews.CARRIED_OUT, ended=180.0)
    assert till.standing.status is None
    till = asked(till, 185.0, CLOSED)
    assert rules.next_move(till, 185.0) == WaitUntil(210.0)
    assert rules.next_move(asked(till, 210.0, CLOSED), 210.0) == CheckoutEnd(
        CheckoutStatus.CANCELLED
    )


def test_a_second_look_without_an_answer_is_taken_again_after_a_pause() -> None:
    """A gateway in trouble is not asked again at once."""
    till = asked(opened(), 180.0, OPEN)
    till = rules.heard_cancel(till, CancelNews.CARRIED_OUT, ended=180.0)
    till = asked(asked(till, 185.0, CLOSED), 210.0, TROUBLE)
    move = rules.next_move(till, 210.0)
    assert isinstance(move, WaitUntil)
    assert move.moment >= 210.0 + rules.EFFECT_EVERY
    assert rules.next_move(till, move.moment) == Ask("WECHAT")


def test_a_reversed_payment_is_cancelled_at_once() -> None:
    """M-24: revoked or refunded, nothing can come any more."""
    for status in (PollStatus.REVOKED, PollStatus.REFUNDED):
        till = asked(opened(), 180.0, OPEN)
        till = rules.heard_cancel(till, CancelNews.CARRIED_OUT, ended=180.0)
        till = asked(till, 185.0, Answer(Says.ENDED, status, about_order=True))
        assert rules.next_move(till, 185.0) == CheckoutEnd(CheckoutStatus.CANCELLED)


def test_a_paid_answer_after_a_cancel_must_stay() -> None:
    """M-24: asked on (5, 10, 30, 60, 120 s); the last question needs an answer."""
    till = rules.heard_cancel(asked(opened(), 180.0, OPEN), CancelNews.UNCLEAR, ended=180.0)
    till = asked(till, 185.0, PAID)
    at = 185.0
    for pause in rules.CONFIRM:
        assert rules.next_move(till, at) == WaitUntil(at + pause)
        at += pause
        till = asked(till, at, PAID)
    assert rules.next_move(till, at) == CheckoutEnd(CheckoutStatus.PAID_AFTER_CANCEL)
    till = rules.heard_cancel(asked(opened(), 180.0, OPEN), CancelNews.UNCLEAR, ended=180.0)
    till = asked(till, 185.0, PAID)
    for extra in range(8):
        till = asked(till, 190.0 + extra, TROUBLE if extra else ABSENT)
    assert rules.next_move(till, 400.0) == CheckoutEnd(
        CheckoutStatus.UNKNOWN, CheckoutReason.PAID_UNCONFIRMED
    )


def test_a_last_confirmation_that_is_not_answered_is_asked_for_three_times_more() -> None:
    """M-24: every five seconds; then a person has to look."""
    till = rules.heard_cancel(asked(opened(), 180.0, OPEN), CancelNews.UNCLEAR, ended=180.0)
    till = asked(till, 185.0, PAID)
    at = 185.0
    for pause in rules.CONFIRM[:-1]:
        at += pause
        till = asked(till, at, PAID)
    at += rules.CONFIRM[-1]
    till = asked(till, at, TROUBLE)
    for _ in range(3):
        assert rules.next_move(till, at) == WaitUntil(at + 5)
        at += 5
        till = asked(till, at, TROUBLE)
    assert rules.next_move(till, at) == CheckoutEnd(
        CheckoutStatus.UNKNOWN, CheckoutReason.PAID_UNCONFIRMED
    )


def test_not_found_needs_no_other_answer_ever() -> None:
    """M-24: seen once, or a doubtful answer to pay, and it never ends NOT_FOUND."""
    for till in (opened(seen=True), opened(suspect=True), opened()):
        for at in (180.0, 260.0, 270.0, 275.0):
            till = asked(till, at, ABSENT)  # noqa: PLW2901 - the next state
        found = rules.next_move(till, 275.0)
        assert (found == CheckoutEnd(CheckoutStatus.FAILED, CheckoutReason.NOT_FOUND)) is not (
            till.seen or till.suspect
        )


def test_a_doubtful_pay_answer_is_cancelled_only_when_seen_open() -> None:
    """M-24: it may be a MISMATCH, which is never cancelled."""
    till = asked(opened(suspect=True), 180.0, TROUBLE)
    assert isinstance(rules.next_move(till, 180.0), WaitUntil)
    assert isinstance(rules.next_move(asked(till, 181.0, OPEN), 181.0), SendCancel)


def test_an_order_in_refund_is_for_a_person() -> None:
    """It was paid, and perhaps only a part was given back."""
    till = asked(opened(), 5.0, Answer(Says.ENDED, PollStatus.REFUNDED, about_order=True))
    assert rules.next_move(till, 5.0) == CheckoutEnd(
        CheckoutStatus.UNKNOWN, CheckoutReason.REFUNDED
    )


@pytest.mark.parametrize(
    ("said", "news"),
    [
        (RequestNotSentError("x"), CancelNews.NOT_SENT),
        (ParameterError({}), CancelNews.NOT_SENT),
        (GatewayError("x", state="FAIL", code="20005"), CancelNews.REFUSED),
        (GatewayError("x", state="FAIL", code="20007"), CancelNews.ABSENT),
        (GatewayError("x", state="VER"), CancelNews.UNCLEAR),
        (OutcomeUnknownError("x"), CancelNews.UNCLEAR),
        (OSError(), CancelNews.UNCLEAR),
    ],
)
def test_what_a_cancels_end_means(said: Exception, news: CancelNews) -> None:
    """M-09: the left column moved nothing; everything unclear may have."""
    assert read_cancel(said) is news


def test_which_cancels_say_not_found() -> None:
    """M-24: 20007 and 20011, as the session reports them."""
    for code, news in (("20007", CancelNews.ABSENT), ("20011", CancelNews.ABSENT)):
        refused = GatewayError("x", state="FAIL", code=code)
        assert read_cancel(OutcomeUnknownError("x", refusal=refused)) is news
    refused = GatewayError("x", state="FAIL", code="20004")
    assert read_cancel(OutcomeUnknownError("x", refusal=refused)) is CancelNews.UNCLEAR


def test_what_a_pay_calls_error_means() -> None:
    """M-09: VER and codes of the right column are undecided, whoever raises them."""
    assert read_pay(PAY, RequestNotSentError("x")).news is PayNews.NOT_SENT
    refused = GatewayError("x", state="FAIL", code="20013")
    assert read_pay(PAY, refused).news is PayNews.REFUSED
    for state, code in (("FAIL", "20004"), ("FAIL", "20006"), ("VER", "20013"), ("FAIL", None)):
        error = GatewayError("x", state=state, code=code)
        assert read_pay(PAY, error).news is PayNews.UNDECIDED
    unclear = OutcomeUnknownError("x")
    unclear.__cause__ = ReplyMismatchError("x")
    assert read_pay(PAY, unclear).suspect
    unclear.__cause__ = MalformedMessageError("x")
    answer = read_pay(PAY, unclear)
    assert (answer.seen, answer.suspect) == (True, False)


def an_intent(**changes: Any) -> Intent:
    given: dict[str, Any] = {
        "mch_id": "00000001",
        "out_trade_no": "A100011",
        "order_no": "A10001",
        "total_fee": 100,
        "op_user_id": "op",
        "started": datetime(2026, 1, 1, tzinfo=UTC),
        "paytype": "WECHAT",
        "certain": True,
    }
    return Intent(**given | changes)


def test_an_intent_comes_back_as_it_was() -> None:
    """M-23: what is durable is everything that a restart needs."""
    paid = PaidOrder(
        mch_id="00000001",
        out_trade_no="A100011",
        payable=Fen(100),
        paid=Fen(90),
        time_end=datetime(2026, 1, 1, 8, tzinfo=GMT8),
        source=PaidSource.QUERY,
    )
    cancels = Cancels(tries=2, left=1, absent=1, last=CancelNews.ABSENT)
    for intent in (
        an_intent(),
        an_intent(paytype=None, certain=False, seen=True, suspect=True, cancels=cancels),
        an_intent(interrupted=True),
        an_intent(end=CheckoutEnd(CheckoutStatus.PAID), paid=paid),
        an_intent(end=CheckoutEnd(CheckoutStatus.FAILED, CheckoutReason.CLOSED)),
    ):
        assert intent_in(intent.text()) == intent
    for text in ("", "{}", "[]", "1", '{"cancels": 1}', an_intent().text().replace("+00:00", "")):
        with pytest.raises(ValueError, match=r"."):
            intent_in(text)


def test_refund_intents_and_order_records_come_back() -> None:
    """M-25: the whole request, since NOTSURE sends it again."""
    refund = Refund(
        paytype=Undocumented("ECNY"),
        out_trade_no="A100011",
        out_refund_no="R-1",
        total_fee=100,
        refund_fee=40,
        extra={"why": "cold tea"},
    )
    when = datetime(2026, 1, 1, tzinfo=UTC)
    kept = RefundIntent(refund=refund, mch_id="1", started=when, status=PollStatus.NOTSURE)
    assert refund_intent_in(kept.text()) == kept
    record = OrderRecord(out_trade_no="A1", attempt=3, started=when, status=None)
    assert order_record_in(record.text()) == record
    released = order_record_in(record.release(when).text())
    assert (released.free, released.released, released.was) == (True, when, None)
    assert released.release(when.replace(year=2027)) == released
    for read in (refund_intent_in, order_record_in):
        with pytest.raises(ValueError, match=r"."):
            read("{}")
    assert number_in(key_of("1", 'a"b')) == ("1", 'a"b')
    assert number_in("x") == ("", "")


def test_numbers_have_a_fixed_width_and_fit_every_endpoint() -> None:
    """C 50, C 49: A10001's 11th attempt is not A100011's first."""
    assert OrderNumbers("A10", width=2).next() == "A1001"
    for number, width in (("A1", 2), ("A" * 31, 2), ("A", 40)):
        with pytest.raises(ParameterError, match="5 to 32"):
            OrderNumbers(number, width=width)
    numbers = OrderNumbers("A10001")
    made = [numbers.next() for _ in range(11)]
    assert made[0] == "A1000101"
    assert made[10] == "A1000111"
    assert OrderNumbers("A100011").next() == "A10001101"
    assert (made[10].order_no, made[10].attempt) == ("A10001", 11)
    assert OrderNumbers("A10001", last=11).next() == "A1000112"
    assert "A10001" in repr(numbers)


def test_two_orders_never_meet() -> None:
    """C 50: over many orders that begin alike, no number comes twice."""
    orders = [f"A{'1' * ones}{digit}" for ones in range(5, 12) for digit in range(10)]
    made = [OrderNumbers(order, last=last).next() for order in orders for last in range(98)]
    assert len(set(made)) == len(made)


def test_numbers_that_would_be_refused_are_refused_at_once() -> None:
    """Every bad argument by name; and a sequence that is used up says so."""
    for order_no, width, bad in (
        ("A_10001", 2, "order_no"),
        ("A1", 2, "order_no"),
        ("A" * 31, 2, "order_no"),
        ("A10001", 0, "width"),
        ("A10001", True, "width"),
    ):
        with pytest.raises(ParameterError) as caught:
            OrderNumbers(order_no, width)
        assert set(caught.value.problems) == {bad}
    with pytest.raises(ParameterError):
        OrderNumbers("A10001", last=-1)
    numbers = OrderNumbers("A10001", 1, last=8)
    numbers.next()
    with pytest.raises(UsageError):
        numbers.next()


def test_an_attempt_number_remembers_its_order_in_a_request() -> None:
    """Through a request, a copy and a pickle; it is sent as plain text."""
    number = OrderNumbers("A10001").next()
    request = Pay(out_trade_no=number, body="b", total_fee=1, auth_code="1")
    assert getattr(request.out_trade_no, "order_no", None) == "A10001"
    evolved: Any = attrs.evolve(request, body="c")  # type: ignore[misc]
    assert evolved.out_trade_no.attempt == 1
    copied = pickle.loads(pickle.dumps(number))  # noqa: S301 - our own
    assert (copied, copied.order_no) == ("A1000101", "A10001")
    assert type(request.wire_fields()["out_trade_no"]) is str


def test_candidates_are_every_wallet_that_could_be_meant() -> None:
    """M-24: one that is known, or a guess and all the others."""
    assert opened().wallets.candidates == ("WECHAT",)
    assert opened(certain=False).wallets.candidates[0] == "WECHAT"
    assert set(opened(certain=False).wallets.candidates) == set(PayType)
    assert set(opened(paytype=None, certain=False).wallets.candidates) == set(PayType)


def test_a_slow_last_query_does_not_cost_the_cancel_its_window() -> None:
    """M-24: a query that took 30 s ended at 268 s; what leaves then is the cancel."""
    till = asked(opened(schedule=PollSchedule(until=3600, jitter=0)), 238.0, TROUBLE)
    assert rules.next_move(till, 268.0) == SendCancel("WECHAT", 270.0)
    assert isinstance(rules.next_move(till, 240.0), Ask | WaitUntil)


def restarted(**changes: Any) -> rules.Till:
    given: dict[str, Any] = {"age": 100.0, "paytype": "WECHAT", "certain": True, "seen": False}
    return rules.reopened(EXACT, **given | {"suspect": False, "cancels": Cancels()} | changes)


def test_an_old_payment_is_asked_about_for_a_minute_after_a_restart() -> None:
    """M-24: however long its process was dead, one query is not the last word."""
    asking = asked(restarted(age=1000.0), 1000.0, TROUBLE)
    assert rules.next_move(asking, 1059.0) == Ask("WECHAT")
    asking = asked(asking, 1060.0, TROUBLE)
    assert isinstance(rules.next_move(asking, 1060.0), CheckoutEnd)


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize("seen", [False, True])
def test_after_a_restart_the_wallet_is_certain_if_the_gateway_ever_said_so(
    answered: bool, seen: bool
) -> None:
    """M-24: a pay call that nobody saw answered may have been 20004, and the order another's."""
    till = restarted(answered=answered, seen=seen)
    assert till.wallets.certain is (answered or seen)


@pytest.mark.parametrize(
    ("answers", "is_open"),
    [((OPEN, TROUBLE), True), ((OPEN, CLOSED), False), ((TROUBLE,), False)],
    ids=str,
)
def test_an_order_stays_open_until_an_answer_says_otherwise(
    answers: tuple[Answer, ...], is_open: bool
) -> None:
    """A doubtful payment may be cancelled as long as the order was last seen open."""
    till = opened(suspect=True)
    for at, answer in enumerate(answers, start=1):
        till = asked(till, 178.0 + at, answer)
    assert till.open is is_open


def test_a_cancel_that_arrives_late_has_its_second_look_from_when_it_is_seen_closed() -> None:
    """Of one without an answer nobody knows when it closed the order; a payment may follow."""
    till = asked(opened(), 180.0, OPEN)
    till = rules.heard_cancel(till, CancelNews.UNCLEAR, ended=260.0)
    till = asked(till, 280.0, OPEN)
    till = rules.heard_query(till, CLOSED, sent=295.0, paytype="WECHAT", heard=299.0)
    assert rules.next_move(till, 299.0) == WaitUntil(329.0)
    assert rules.next_move(asked(till, 329.0, CLOSED), 329.0) == CheckoutEnd(
        CheckoutStatus.FAILED, CheckoutReason.CLOSED
    )
    assert not isinstance(rules.next_move(asked(till, 329.0, PAID), 329.0), CheckoutEnd)


@pytest.mark.parametrize("later", [OPEN, PAID], ids=["open", "paid"])
def test_what_is_seen_open_or_paid_is_over_no_more(later: Answer) -> None:
    """A closed order that is seen alive was not closed for good."""
    till = asked(opened(), 200.0, CLOSED)
    assert till.over is not None
    assert asked(till, 205.0, later).over is None


def test_an_ended_orders_cancel_is_tried_four_times() -> None:
    """Its own answer was never clear; more of them would say no more."""
    till, tries = asked(opened(), 180.0, OPEN), 0
    for second in range(180, 270):
        move = rules.next_move(till, float(second))
        if isinstance(move, SendCancel):
            tries += 1
            till = rules.heard_cancel(till, CancelNews.UNCLEAR, ended=float(second))
        elif isinstance(move, Ask):
            till = asked(till, float(second), CLOSED)
    assert tries == 4


@pytest.mark.parametrize("name", ["pay", "facepay"])
def test_another_currency_is_another_amount(name: str) -> None:
    """M-13: one fen of another currency is no fen; facepay may name one, though undocumented."""
    request: Any = every_request()[name]
    for currency, news in ((None, PayNews.PAID), ("CNY", PayNews.PAID), ("USD", PayNews.MISMATCH)):
        fields = factories.paid(
            out_trade_no=request.out_trade_no, base_fee=str(request.total_fee), fee_type=currency
        )
        reply = factories.read(request, factories.reply_body(fields))
        assert read_pay(request, reply).news is news


def test_keys_stay_what_they_are_in_every_version() -> None:
    """M-18, M-23: a store finds by them what an earlier version wrote."""
    assert key_of("商户1", "A1") == '["商户1", "A1"]'
    assert number_in('["商户1", "A1"]') == ("商户1", "A1")


def test_every_end_says_what_to_do() -> None:
    """Each status, each reason that says more, and each refusal that no other number helps."""
    more = {
        *("NOT_SENT", "REFUSED", "MISMATCH", "REFUNDED", "UNVERIFIED", "PAID_UNCONFIRMED"),
        *("AFTER_CANCEL", "UNREADABLE", "STORE_FAILED"),
    }
    assert ADVICE.keys() == {*CheckoutStatus, *map(CheckoutReason, more)}
    assert REFUSAL_ADVICE.keys() == {"20002", "20005", "20012", "20013"}


def test_of_a_refund_s_refusal_only_one_of_the_gateway_counts() -> None:
    """M-25: another error that a text names proves no refusal."""
    refund = Refund(
        paytype=PayType.WECHAT, out_trade_no="A10001", out_refund_no="R1", total_fee=2,
        refund_fee=1, op_user_id="1",
    )  # fmt: skip
    error = GatewayError("no", state="FAIL", code="20009")
    error.msg = "later"
    intent = RefundIntent(
        refund=refund, mch_id="1", started=datetime(2026, 1, 1, tzinfo=UTC), refusal=error
    )
    found = refund_intent_in(intent.text()).refusal
    assert found is not None
    assert (found.code, found.msg, found.quoted) == ("20009", "later", "later")
    other = json.loads(intent.text())
    other["refusal"] = {"type": "TransportError", "text": "no"}
    assert refund_intent_in(json.dumps(other)).refusal is None
    other["refusal"] = None
    assert refund_intent_in(json.dumps(other)).refusal is None


def test_words_that_a_store_keeps_are_their_names() -> None:
    """M-23: an earlier version, and a program in another language, reads them."""
    for each in (*CheckoutStatus, *CheckoutReason, *PollStatus):
        assert each.value == ("" if each is CheckoutReason.NONE else each.name)
