from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from chaoying_async import (
    OutcomeUnknownError,
    ParameterError,
    PayType,
    PollSchedule,
    PollTimeoutError,
    ReplyMismatchError,
    RequestNotSentError,
    TradeFailedError,
    TradePendingError,
)
from chaoying_async.exceptions import (
    AmbiguousSignatureError,
    AttemptInProgressError,
    MerchantConfigError,
    MissingSignatureError,
)
from chaoying_async.payments.checkout import checkout
from chaoying_async.sandbox.serving.faults import Fault
from chaoying_async.sansio.api.endpoint import Reply
from chaoying_async.sansio.meaning import SETTLED_REFUSALS, Family
from chaoying_async.sansio.payments.moves import REFUSAL_ADVICE, CheckoutReason, CheckoutStatus
from chaoying_async.sansio.payments.order_numbers import OrderNumbers
from tests.factories import OPENID
from tests.sandbox_calls import session_with
from tests.tills import EXACT, ORDER, WECHAT_CODE, Counter, a_till, facepay, pay

POLLS = [float(second) for second in range(5, 181, 5)]


@pytest.mark.parametrize(
    ("amount", "status", "reason", "books"),
    [
        (100, "PAID", "", "PAID"),
        (401, "PAID", "", "PAID"),
        (402, "PAID", "", "PAID"),
        (404, "PAID", "", "PAID"),
        (405, "CANCELLED", "", "CLOSED"),
        (406, "FAILED", "FAILED", "FAILED"),
        (408, "FAILED", "FAILED", "FAILED"),
        (409, "PAID", "", "PAID"),
        (411, "PAID_AFTER_CANCEL", "", "PAID"),
        (412, "UNKNOWN", "MISMATCH", "PAID"),
        (413, "PAID", "", "PAID"),
        (414, "FAILED", "NOT_FOUND", None),
        (415, "PAID", "", "PAID"),
        (416, "FAILED", "REFUSED", None),
        (417, "FAILED", "CLOSED", "CLOSED"),
        (418, "UNKNOWN", "NO_ANSWER", "PAID"),
        (419, "PAID", "", "PAID"),
        (420, "CANCELLED", "", "CLOSED"),
        (421, "CANCELLED", "", "CLOSED"),
        (422, "PAID", "", "PAID"),
    ],
)
async def test_every_scenario_ends_as_the_gateways_books_have_it(
    amount: int, status: str, reason: str, books: str | None
) -> None:
    """M-24: paid, failed, cancelled or unknown, and what the sandbox booked agrees."""
    async with a_till() as shop:
        outcome = await shop.checkout(amount)
        assert (outcome.status, outcome.reason) == (status, reason)
        assert shop.sandbox.requests["pay"] == 1
        orders = [order.status.value for order in shop.sandbox.ledger.orders.values()]
        assert orders == ([books] if books else [])
        assert len(outcome.replies) == len(shop.till.sent)


async def test_a_payment_nobody_makes_is_cancelled_at_the_exact_second() -> None:
    """M-24: asked every 5 s to 180 s, cancelled once, seen closed, and looked at again."""
    async with a_till() as shop:
        outcome = await shop.checkout(405)
        assert outcome.status is CheckoutStatus.CANCELLED
        assert shop.till.at("orderquery") == [*POLLS, 185, 210]
        assert shop.till.at("cancel") == [180]
        with pytest.raises(TradeFailedError):
            outcome.unwrap()


async def test_polling_ends_240_s_after_the_pay_call_started() -> None:
    """M-24: whatever the schedule says, and then the cancel leaves inside its window."""
    async with a_till() as shop:
        await shop.checkout(405, schedule=PollSchedule(until=3600, jitter=0))
        assert shop.till.at("cancel") == [240]
        assert shop.till.at("orderquery")[:48] == [float(second) for second in range(5, 241, 5)]


async def test_a_slow_pay_call_moves_the_cancel_not_its_limit() -> None:
    """M-24: not before 15 s after the pay call ended."""
    async with a_till() as shop:
        shop.sandbox.faults.add(Fault.SLOW, endpoints={"pay"}, seconds=20)
        await shop.checkout(405, schedule=PollSchedule(until=5, jitter=0))
        assert shop.till.at("cancel") == [35]


async def test_paid_after_a_cancel_is_asked_about_and_then_surfaced() -> None:
    """M-24: asked again after 5, 10, 30, 60 and 120 s; an unsent refund and advice."""
    async with a_till() as shop:
        outcome = await shop.checkout(411)
        assert outcome.status is CheckoutStatus.PAID_AFTER_CANCEL
        assert shop.till.at("orderquery")[-7:] == [185, 210, 215, 225, 255, 315, 435]
        assert "refund" not in shop.sandbox.requests
        refund = outcome.suggested_refund
        assert refund is not None
        assert (refund.total_fee, refund.refund_fee) == (411, 411)
        assert refund.out_refund_no == f"R-{ORDER}"
        assert "books" in outcome.advice
        with pytest.raises(TradePendingError):
            outcome.unwrap()
        await shop.till.send(refund)
        await shop.clock.advance(5)
        assert shop.sandbox.books.kept == 0


async def test_a_cancel_race_is_won_by_the_truth() -> None:
    """The customer pays in the very second of the cancel: reversed, and never called paid."""
    async with a_till() as shop:

        def pays_now(request: Any) -> None:
            if request.endpoint.name == "cancel":
                shop.sandbox.customer_pays(ORDER)

        shop.till.before = pays_now
        outcome = await shop.checkout(405)
        assert (outcome.status, shop.status()) == (CheckoutStatus.CANCELLED, "REVOKED")
        assert shop.sandbox.books.kept == 0
        assert outcome.paid is None


async def test_paid_while_every_cancel_was_refused_is_simply_paid() -> None:
    """M-24: M-09's left column refused each cancel, so nothing can be on its way back."""
    async with a_till() as shop:

        def refuses(request: Any) -> None:
            if request.endpoint.name == "cancel":
                shop.sandbox.customer_pays(ORDER)
                raise MerchantConfigError("20013", state="FAIL", code="20013")

        shop.till.before = refuses
        outcome = await shop.checkout(405)
        assert outcome.status is CheckoutStatus.PAID
        assert outcome.unwrap().payable == 405


async def test_cancels_are_repeated_inside_their_window_only() -> None:
    """M-24: every cancel's reply is lost before it is carried out; the last leaves by 270 s."""
    async with a_till() as shop:

        def lost(request: Any) -> None:
            if request.endpoint.name == "cancel":
                raise OutcomeUnknownError("lost")

        shop.till.before = lost
        outcome = await shop.checkout(405)
        assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.STILL_OPEN)
        assert shop.till.at("cancel") == [180, 195, 210, 225, 240, 255, 270]
        with pytest.raises(PollTimeoutError):
            outcome.unwrap()


async def test_an_order_that_never_arrived_is_failed_at_270_s_at_the_earliest() -> None:
    """M-24: not found under every wallet that could be meant, once it was guessed."""
    async with a_till() as shop:
        outcome = await shop.checkout(414)
        assert (outcome.status, outcome.reason) == ("FAILED", CheckoutReason.NOT_FOUND)
        assert shop.till.at("orderquery")[-6:] == [270] * 6
    async with a_till() as shop:
        outcome = await shop.checkout(414, paytype=PayType.WECHAT)
        assert outcome.reason is CheckoutReason.NOT_FOUND
        assert shop.till.at("orderquery")[-1:] == [270]


async def test_a_cancel_without_an_answer_forbids_never_arrived() -> None:
    """M-24: each cancel must have said 20007 or 20011."""
    async with a_till() as shop:
        lost: list[float] = []

        def loses_one(request: Any) -> None:
            if request.endpoint.name == "cancel" and not lost:
                lost.append(shop.clock.monotonic())
                raise OutcomeUnknownError("lost")

        shop.till.before = loses_one
        outcome = await shop.checkout(414, paytype="WECHAT")
        assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.NO_ANSWER)


async def test_a_wrong_key_is_named_and_none_of_its_answers_is_believed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """M-08, M-24: UNKNOWN to the end, cancels included; one warning, and what to do about it."""
    async with a_till() as shop:
        wrong = attrs.evolve(shop.sandbox.credentials, key="not-the-key-of-this-agent")
        async with session_with(shop.sandbox, credentials=wrong, read_retries=0) as session:
            shop.till = Counter(session, shop.clock)
            outcome = await shop.checkout(100)
    assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.UNVERIFIED)
    assert shop.clock.monotonic() >= 270
    assert "put the key right" in outcome.advice
    warned = [each.getMessage() for each in caplog.records if "failed its sign" in each.message]
    assert len(warned) == 1
    assert ORDER in warned[0]
    assert wrong.key not in caplog.text


@pytest.mark.parametrize("error", [MissingSignatureError, AmbiguousSignatureError])
async def test_what_does_not_speak_of_the_key_is_no_hint_at_it(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """M-04: no signature, or one that can be read in two ways, comes with the right key too."""
    async with a_till() as shop:

        def unreadable(request: Any) -> None:
            raise OutcomeUnknownError("unreadable") from error("so it is")

        shop.till.before = unreadable
        outcome = await shop.checkout(100)
    assert (outcome.status, outcome.reason) == ("UNKNOWN", CheckoutReason.NO_ANSWER)
    assert "failed its signature" not in caplog.text


async def test_what_never_left_is_failed_and_may_be_repeated() -> None:
    """M-01, M-24: the same number again, since it was never sent."""
    async with a_till() as shop:
        shop.sandbox.faults.add(Fault.REFUSED, endpoints={"pay"})
        outcome = await shop.checkout(100)
        assert (outcome.status, outcome.reason) == ("FAILED", CheckoutReason.NOT_SENT)
        with pytest.raises(RequestNotSentError):
            outcome.unwrap()
        shop.sandbox.faults.clear()
        assert (await shop.checkout(100)).status is CheckoutStatus.PAID


async def test_the_left_column_is_failed_with_what_the_gateway_said() -> None:
    """M-09: 20013 moved nothing; unwrap() raises the refusal itself."""
    async with a_till() as shop:
        outcome = await shop.checkout(416)
        assert shop.till.sent == [("pay", 0.0)]
        with pytest.raises(MerchantConfigError):
            outcome.unwrap()
    assert outcome.msg
    assert "not set up for this kind of payment" in outcome.advice
    for told in (outcome.advice, str(outcome)):
        assert "another out_trade_no" not in told
    restarted = attrs.evolve(outcome, replies=())  # as `resume` tells it
    assert restarted.msg is None
    assert "another out_trade_no" not in restarted.advice


@pytest.mark.parametrize(
    ("amount", "msg"), [(406, "余额不足"), (408, "支付密码错误"), (100, None), (418, None)]
)
async def test_the_cashier_hears_why_it_was_not_paid(amount: int, msg: str | None) -> None:
    """The gateway's words on the outcome, in its text and in what unwrap() raises."""
    async with a_till() as shop:
        outcome = await shop.checkout(amount)
    assert outcome.msg == msg
    if msg is not None:
        assert str(outcome).startswith(f"{ORDER} FAILED (FAILED): {msg}; not paid: another")
        with pytest.raises(TradeFailedError, match=msg):
            outcome.unwrap()


@pytest.mark.parametrize("msg", ["SUCCESS", " success "])
async def test_no_failure_is_called_a_success(msg: str) -> None:
    """The document prints that msg under nearly every reply, whatever became of the order."""
    async with a_till() as shop:
        outcome = await shop.checkout(406)
    told = [
        attrs.evolve(each, msg=msg) if isinstance(each, Reply) else each for each in outcome.replies
    ]
    changed = attrs.evolve(outcome, replies=tuple(told))
    assert changed.msg is None
    assert str(changed).startswith(f"{ORDER} FAILED (FAILED): not paid: another")


@pytest.mark.parametrize("code", sorted(SETTLED_REFUSALS[Family.PAY]))
def test_after_a_refusal_that_moved_nothing_no_number_is_advised(code: str) -> None:
    """M-09's left column is about key, agent and merchant: each has a sentence of its own."""
    assert "no other number helps" in REFUSAL_ADVICE[code]


async def test_another_amount_is_unknown_and_never_cancelled() -> None:
    """M-13, M-24: MISMATCH, with what was paid to look at."""
    async with a_till() as shop:
        outcome = await shop.checkout(412)
        assert shop.till.at("cancel") == []
        assert outcome.paid is not None
        assert outcome.paid.payable == 413
        with pytest.raises(ReplyMismatchError):
            outcome.unwrap()


async def test_a_wallet_that_nobody_names_is_refused_before_anything_is_sent() -> None:
    """M-24: no paytype, no cancel; so no payment, unless allow_no_cancel says so."""
    async with a_till() as shop:
        unknown = pay(405, auth_code="999999999999999999")
        with pytest.raises(ParameterError, match="paytype"):
            await shop.checkout(405, pay=unknown)
        assert shop.till.sent == []
        outcome = await shop.checkout(405, pay=unknown, allow_no_cancel=True)
        # The sandbox takes it for one of the wallets, and a query under that one finds it.
        assert outcome.status is CheckoutStatus.CANCELLED
        assert outcome.paytype in set(PayType)


async def test_a_wrong_guess_is_corrected_by_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """C 32: queries may try the other wallets; the cancel then goes to the right one."""
    monkeypatch.setattr(PayType, "from_auth_code", lambda _code: PayType.QQ)
    async with a_till() as shop:
        outcome = await shop.checkout(405)
        assert (outcome.status, outcome.paytype) == ("CANCELLED", PayType.WECHAT)
        assert shop.till.at("cancel") == [180]
    async with a_till() as shop:
        outcome = await shop.checkout(413)  # paid, and the answer was an error
        assert (outcome.status, outcome.paytype) == ("PAID", PayType.WECHAT)
        assert shop.till.at("orderquery") == [5, 10]


async def test_a_face_payment_keeps_its_requests_wallet() -> None:
    """C 33: the answer to facepay has none, and the outcome names it all the same."""
    async with a_till() as shop:
        outcome = await shop.checkout(100, pay=facepay(100))
        assert outcome.unwrap().paytype == "WECHAT"
        with pytest.raises(ParameterError, match="paytype"):
            await shop.checkout(100, pay=facepay(100, "A100012"), paytype=PayType.ALIPAY)


async def test_nothing_personal_shows() -> None:
    """M-27: not in the repr of an outcome that has many replies."""
    async with a_till() as shop:
        outcome = await shop.checkout(401, pay=facepay(401))
        for shown in (repr(outcome), repr(outcome.replies), str(outcome.unwrap())):
            assert OPENID not in shown
            assert WECHAT_CODE not in shown


async def test_a_second_attempt_waits_until_the_first_is_known_not_to_be_paid() -> None:
    """Refused while it is under way, after it was paid; free after it was cancelled."""
    numbers = OrderNumbers("A10001")
    async with a_till() as shop:
        first = numbers.next()
        running = asyncio.ensure_future(shop.charging(405, number=first))
        await shop.clock.advance(60)
        at_work = "is at work: wait for its outcome; do not charge again"
        with pytest.raises(AttemptInProgressError, match=f"another attempt of A10001 {at_work}"):
            await shop.charging(100, number=numbers.next())
        with pytest.raises(AttemptInProgressError, match=f"{first} {at_work}"):
            await shop.charging(100, number=str(first))
        await shop.clock.advance(200)
        assert (await running).status is CheckoutStatus.CANCELLED
        paid = await shop.checkout(100, number=numbers.next())
        assert (paid.status, paid.order_no, paid.out_trade_no) == ("PAID", "A10001", "A1000103")
        paid_already = "A10001 ended PAID: deliver it, once; do not charge again"
        with pytest.raises(AttemptInProgressError, match=paid_already):
            await shop.charging(100, number=numbers.next())
        with pytest.raises(AttemptInProgressError, match="another out_trade_no"):
            await shop.charging(100, number=str(first))
        assert shop.sandbox.requests["pay"] == 2


async def test_a_gateway_that_returns_no_reply_is_unknown_not_failed() -> None:
    """Whatever a gateway of the user's hands back, money is not guessed (M-11)."""

    class Odd:
        mch_id = None

        async def send(self, request: Any, *, timeout: Any = None) -> Any:
            return {"state": "SUCCESS"}

    async with a_till() as shop:
        running = checkout(
            Odd(), pay(100, mch_id="1"), schedule=EXACT, clock=shop.clock, paytype="WECHAT"
        )
        outcome = await shop.clock.run(running)
        assert outcome.status is CheckoutStatus.UNKNOWN
