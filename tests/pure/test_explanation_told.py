"""What each witness tells of an order, and the sentences that the timeline makes of it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import attrs
import pytest

from chaoying_async import OrderNotFoundError, OrderQuery, PayType, QueryRefusedError, RefundQuery
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.follow_up import RefundQueryResult
from chaoying_async.sansio.audit import record as audited
from chaoying_async.sansio.exchange import build_request
from chaoying_async.sansio.explanation import (
    Explanation,
    explain_order,
    lines_of,
    members_of_explanation,
)
from chaoying_async.sansio.explanation.from_audit_log import read_audit_log
from chaoying_async.sansio.explanation.from_gateway import (
    AskedQuery,
    GatewaySays,
    RefundSays,
    Silence,
    bearing_of,
    next_refund,
)
from chaoying_async.sansio.explanation.from_inbox import InboxHolds, told_by_inbox
from chaoying_async.sansio.explanation.from_store import (
    KeptRecord,
    KeptText,
    kept_about,
    told_by_store,
)
from chaoying_async.sansio.explanation.told import Bearing, Witness
from chaoying_async.sansio.notifications.inbox_values import Aside, OrderKey
from chaoying_async.sansio.payments.intent import Intent, OrderRecord, key_of
from chaoying_async.sansio.payments.moves import CheckoutEnd, CheckoutReason, CheckoutStatus
from chaoying_async.sansio.payments.refunds import RefundIntent, full_refund_number
from chaoying_async.sansio.polling.record import EndedOrder, PendingOrder, record_key
from chaoying_async.sansio.polling.schedule import PollSchedule
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.sansio.values import Fen
from tests.factories import CREDENTIALS, MCH_ID, ORDER, every_request
from tests.pure.test_explanation import (
    NOW,
    PAID_REPLY,
    as_lines,
    evidence,
    line,
    paid_reply,
    refunds,
)
from tests.pure.test_explanation_overlooks import in_refund, kept_checkout

FAILED = {"state": "SUCCESS", "trade_state": "FAIL", "code": "10004", "out_trade_no": ORDER}
ABSENT = OrderNotFoundError("no", state="FAIL", code="20007")


def told(found: Explanation) -> list[str]:
    """The timeline in English, without moments."""
    return [each.split("  ", 1)[1] for each in lines_of(found) if each.startswith("2026-")]


class TestAuditLogTold:
    """What a line of a log becomes in the timeline."""

    @pytest.mark.parametrize(
        ("call", "reply", "more", "text"),
        [
            ("pay", PAID_REPLY, {}, "pay of 1.00 yuan was sent: answered SUCCESS SUCCESS 10000"),
            ("facepay", None, {}, "facepay of 1.00 yuan was sent: answered HTTP 200"),
            ("orderquery", FAILED, {}, "orderquery was sent: answered SUCCESS FAIL 10004"),
            ("orderquery", None, {"status": 502}, "orderquery was sent: answered HTTP 502"),
            ("orderquery", None, {"error": "TransportError"}, "orderquery was sent: answered -"),
            ("orderquery", None, {"status": None}, "orderquery was sent: answered -"),
            ("refund", {"state": "FAIL"}, {}, "refund R-100011 was sent: answered FAIL"),
            ("cancel", {"state": "VER", "code": "a b"}, {}, "cancel was sent: answered VER ?"),
        ],
    )
    def test_each_call_by_what_it_asked_and_was_answered(
        self, call: str, reply: Any, more: dict[str, Any], text: str
    ) -> None:
        """The amount of what charges, the number of a refund; else the call alone."""
        log = read_audit_log(as_lines(line(call, reply, **more)), ORDER, MCH_ID)
        found = explain_order(evidence(log=log))
        assert told(found) == [f"audit log: {text}"]
        assert len([*lines_of(found, "zh")]) == len([*lines_of(found)])

    def test_a_line_without_a_moment_is_told_last(self) -> None:
        """Nobody knows when: a moment without a zone could be any hour."""
        lines = as_lines(
            line("orderquery", at="2026-01-01T12:00:00"),
            line("orderquery", at=None),
            line("orderquery", at="2026-01-01T12:00:00.000+08:00"),
        )
        log = read_audit_log(lines, ORDER, MCH_ID)
        assert [each.at for each in log.exchanges] == [None, None, NOW]
        members = members_of_explanation(explain_order(evidence(log=log)))
        moments = [each["at"] for each in members["timeline"]]
        assert moments == ["2026-01-01T12:00:00+08:00", None, None]

    def test_the_first_amount_that_was_sent_is_the_order_s(self) -> None:
        """What a query or a refund sends is none, however early it stands."""
        log = read_audit_log(
            as_lines(line("orderquery"), line("refund"), line("pay")), ORDER, MCH_ID
        )
        assert evidence(log=log).expected == 100
        assert evidence(log=log, wanted=7).expected == 7
        assert evidence(log=log, kept=(kept_checkout(expected=8),)).expected == 8

    def test_what_a_log_quotes_is_said_to_be_unproven(self) -> None:
        """Its signatures are masked."""
        log = read_audit_log(as_lines(line("pay", PAID_REPLY)), ORDER, MCH_ID)
        for more, expected in (({"log": log}, True), ({}, False)):
            found = explain_order(evidence(paid_reply(), **more))
            assert ("logged-answers" in {each.name for each in found.unproven}) is expected


ORDER_KEY = json.dumps([MCH_ID, "B10001"])


def business_order(key: str = ORDER_KEY, number: str = ORDER, **more: Any) -> KeptText:
    record = OrderRecord(out_trade_no=number, attempt=1, started=NOW, **more)
    return KeptText(witness=Witness.STORE, kind="checkout-order", key=key, text=record.text())


def refund(**more: Any) -> KeptText:
    request: Any = every_request()["refund"]
    intent = RefundIntent(refund=request, mch_id=MCH_ID, started=NOW, **more)
    return KeptText(witness=Witness.STORE, kind="refund", key=intent.key, text=intent.text())


def outcome(**members: Any) -> KeptText:
    text = {"mch_id": MCH_ID, "out_trade_no": ORDER, "status": "PAID", "of": "order"} | members
    return KeptText(
        witness=Witness.FLEET, kind="outcome", text=json.dumps(text), key="[]", written=NOW, tries=3
    )


class TestStoresTold:
    """What the texts of a store become in the timeline."""

    @pytest.mark.parametrize(
        ("kept", "text", "bearing"),
        [
            (business_order(),
             "the last attempt of the business order is A100011; it has not ended", Bearing.NONE),
            (business_order(status=CheckoutStatus.PAID),
             "the last attempt of the business order is A100011; it ended PAID", Bearing.PAID),
            (business_order(json.dumps([MCH_ID, ORDER]), "A10001102", status=CheckoutStatus.PAID),
             "the last attempt of the business order is A10001102; it ended PAID", Bearing.NONE),
            (refund(), "refund R-100011 of 0.40 yuan was begun; it has not ended", Bearing.NONE),
            (refund(status=PollStatus.REFUND_FAILED),
             "refund R-100011 of 0.40 yuan was begun; it ended REFUND_FAILED", Bearing.NONE),
            (outcome(), "the outcome PAID is on its way to its task; failed deliveries: 3",
             Bearing.PAID),
            (outcome(of="checkout", status="CANCELLED"),
             "the outcome CANCELLED is on its way to its task; failed deliveries: 3",
             Bearing.UNPAID),
            (outcome(out_refund_no="R-1", status="REFUNDED"),
             "the outcome REFUNDED is on its way to its task; failed deliveries: 3", Bearing.NONE),
            (outcome(status="a stranger's"),
             "the outcome ? is on its way to its task; failed deliveries: 3", Bearing.NONE),
        ],
    )  # fmt: skip
    def test_each_text_by_its_kind(self, kept: KeptText, text: str, bearing: Bearing) -> None:
        """How it ended, and how that bears on whether the order was paid."""
        found = kept_about(kept, ORDER, MCH_ID)
        assert found is not None
        (statement,) = told_by_store(found)
        assert (statement.bearing, statement.proves) == (bearing, found.ended)
        assert bool(statement.status) is found.ended
        who = {Witness.STORE: "poll store", Witness.FLEET: "fleet"}[kept.witness]
        assert f"{who}: {text}" in "\n".join(lines_of(explain_order(evidence(kept=(found,)))))

    @pytest.mark.parametrize(
        "kept",
        [
            business_order(json.dumps(["2", "B10001"])),
            business_order(number=f"{ORDER}1"),
            outcome(mch_id="2"),
            outcome(out_trade_no=f"{ORDER}1"),
            attrs.evolve(outcome(), kind="another"),
        ],
    )
    def test_of_another_order_or_merchant_nothing_is_told(self, kept: KeptText) -> None:
        """M-18: a number that merely begins so is another one."""
        assert kept_about(kept, ORDER, MCH_ID) is None

    @pytest.mark.parametrize(
        ("kind", "ended", "text"),
        [
            ("checkout", False, "a payment of 10.00 yuan was begun; its checkout has not ended"),
            ("checkout", True, "a payment of 10.00 yuan was begun; its checkout ended PAID"),
            ("refund", False, "refund R-1 of 10.00 yuan was begun; it has not ended"),
            ("refund", True, "refund R-1 of 10.00 yuan was begun; it ended PAID"),
            ("poll", False, "a poller began to wait for it"),
            ("poll", True, "a poller's wait ended PAID; the outcome is not taken yet"),
        ],
    )
    def test_each_kind_has_its_sentences(self, kind: str, ended: bool, text: str) -> None:
        """While it has not ended, and once it has."""
        refund = "R-1" if kind == "refund" else None
        kept = kept_checkout(kind=kind, ended=ended, status="PAID", refund=refund, at=NOW)
        assert told(explain_order(evidence(kept=(kept,)))) == [f"poll store: {text}"]

    def test_a_record_that_cannot_be_read_is_no_end(self) -> None:
        """Somebody may be at work on it: it proves nothing, and nobody took its outcome."""
        key = json.dumps([MCH_ID, ORDER])
        text = KeptText(witness=Witness.STORE, kind="poll", key=key, text="{")
        found = kept_about(text, ORDER, MCH_ID)
        assert found == KeptRecord(witness=Witness.STORE, kind="poll", ended=False, unreadable=True)
        steps = [each.name for each in explain_order(evidence(ABSENT, kept=(found,))).next]
        assert "unreadable" in steps
        assert not {"waited-for", "untaken"} & {*steps}


def test_a_waiting_poll_and_an_ended_one_are_told_apart() -> None:
    """Its amount and its moment while it waits; how it ended afterwards. Of this merchant's."""
    query = OrderQuery(paytype=PayType.ALIPAY, mch_id=MCH_ID, out_trade_no=ORDER)
    waits = PendingOrder(query=query, expected=1000, schedule=PollSchedule(), started=NOW)
    ended = EndedOrder(
        query=query, status=PollStatus.FAILED, reply=None, paid=None, error=None, attempts=3,
        elapsed=9.0,
    )  # fmt: skip
    common: Any = {"witness": Witness.STORE, "kind": "poll", "paytype": "ALIPAY"}
    for record, expected in (
        (waits, KeptRecord(**common, ended=False, bearing=Bearing.OPEN, at=NOW, expected=1000)),
        (ended, KeptRecord(**common, ended=True, status="FAILED", bearing=Bearing.UNPAID)),
    ):
        key = json.dumps([MCH_ID, ORDER])
        text = KeptText(witness=Witness.STORE, kind="poll", key=key, text=record.text(MCH_ID))
        assert kept_about(text, ORDER, MCH_ID) == expected
        other = attrs.evolve(text, text=record.text("2"))
        assert kept_about(other, ORDER, MCH_ID) is None
        assert ORDER not in repr(text)


@pytest.mark.parametrize("number", ["订单1", 'A"1"', "A\\1", "POS7:A1"])
def test_an_order_of_any_characters_is_found_in_every_text(number: str) -> None:
    """Though its number is spelt another way inside JSON."""
    query = OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_trade_no=number)
    pending = PendingOrder(query=query, expected=1, schedule=PollSchedule(), started=NOW)
    key = record_key(("orderquery", MCH_ID, "WECHAT", "out_trade_no", number), 0)
    waiting = KeptText(witness=Witness.STORE, kind="poll", key=key, text=pending.text(MCH_ID))
    mine = business_order(key=key_of(MCH_ID, number))
    kept = [waiting, mine, business_order(number=number), outcome(out_trade_no=number)]
    assert all(kept_about(each, number, MCH_ID) for each in kept)
    logged = audited(build_request(query, CREDENTIALS), CREDENTIALS, elapsed=0.2).line(NOW)
    of_refund = RefundQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_refund_no="R1")
    replied = audited(
        *(build_request(of_refund, CREDENTIALS), CREDENTIALS),
        elapsed=0.2,
        body=json.dumps({"out_trade_no": number}).encode(),
    ).line(NOW)
    for line_ in (logged, replied, json.dumps(json.loads(replied))):
        assert len(read_audit_log([line_.encode()], number, MCH_ID).exchanges) == 1


def test_a_checkout_that_ended_says_how() -> None:
    """By its reason, where that says more than its status."""
    intent = Intent(
        mch_id=MCH_ID, out_trade_no=ORDER, order_no="A10001", total_fee=100, op_user_id="1",
        started=NOW, paytype="WECHAT", certain=True,
    )  # fmt: skip
    common: Any = {
        "witness": Witness.STORE, "kind": "checkout", "at": NOW, "paytype": "WECHAT",
        "expected": 100, "attempt": "A10001",
    }  # fmt: skip
    unknown = CheckoutEnd(status=CheckoutStatus.UNKNOWN, reason=CheckoutReason.MISMATCH)
    failed = CheckoutEnd(status=CheckoutStatus.FAILED)
    for end, expected in (
        (None, KeptRecord(**common, ended=False, bearing=Bearing.OPEN)),
        (failed, KeptRecord(**common, ended=True, status="FAILED", bearing=Bearing.UNPAID)),
        (
            unknown,
            KeptRecord(**common, ended=True, status="MISMATCH", bearing=Bearing.OTHER_AMOUNT),
        ),
    ):
        text = attrs.evolve(intent, end=end).text()
        kept = KeptText(witness=Witness.STORE, kind="checkout", key=intent.key, text=text)
        assert kept_about(kept, ORDER, MCH_ID) == expected


def test_an_outcome_s_reason_comes_before_its_status() -> None:
    """UNKNOWN alone says nothing."""
    for reason, bearing in (("MISMATCH", Bearing.OTHER_AMOUNT), (None, Bearing.OPEN)):
        kept = outcome(of="checkout", status="UNKNOWN", reason=reason)
        found = kept_about(kept, ORDER, MCH_ID)
        assert found is not None
        assert found.bearing is bearing


@pytest.mark.parametrize(
    ("source", "outcome_of", "bearing"),
    [("NOTIFICATION", "paid", Bearing.PAID), ("NOTIFICATION", "not paid", Bearing.OPEN)],
)
def test_what_was_set_aside_is_told_by_its_beginning(
    source: str, outcome_of: str, bearing: Bearing
) -> None:
    """Ten digits of its fingerprint, and the decision without what follows it."""
    members = {"outcome": outcome_of, "source": source, "mch_id": "1", "out_trade_no": "A1"}
    aside = Aside(
        key=OrderKey(MCH_ID, ORDER), fingerprint="0123456789abcdef" * 4, reason="no such order",
        decision="UNKNOWN_ORDER (untold)", payload=json.dumps(members), first_seen=NOW,
    )  # fmt: skip
    (statement,) = told_by_inbox(InboxHolds(asides=(aside,)))
    assert (statement.bearing, statement.status) == (bearing, "UNKNOWN_ORDER")
    found = explain_order(evidence(inbox=InboxHolds(asides=(aside,))))
    assert told(found) == ["inbox: message 0123456789 was set aside, UNKNOWN_ORDER: no such order"]
    assert {each.name for each in found.next} >= {"asides"}


class TestWhomToAskNext:
    """The wallets and the refunds that a query may be sent about."""

    def test_wallets_that_somebody_named_come_first(self) -> None:
        """A store, then a log; one that the caller named is asked alone."""
        log = read_audit_log(as_lines(line("orderquery", PAID_REPLY)), ORDER, MCH_ID)
        every = [each.value for each in PayType]
        kept = kept_checkout(paytype="ALIPAY")
        first = evidence(kept=(kept, kept_checkout(paytype="odd")), log=log).wallets()
        assert first[:2] == ("ALIPAY", "WECHAT")
        assert sorted(first) == sorted(every)
        assert evidence().wallets() == tuple(every)
        assert evidence(kept=(kept,), log=log).wallets("QQ") == ("QQ",)

    def test_a_refund_is_asked_about_until_its_answer_is_known(self) -> None:
        """Twice where nothing was said, and not at all where a list has it."""
        says = GatewaySays(bearing=Bearing.PAID)
        (query,) = refunds("R-1")
        no_news = QueryRefusedError("no", state="FAIL", code="20009")
        once = AskedQuery(at=NOW, query=query, said=no_news)
        assert next_refund((), says, ("R-1",), ORDER) == ("R-1", False)
        assert next_refund((once,), says, ("R-1",), ORDER) == ("R-1", False)
        assert next_refund((once, once), says, ("R-1",), ORDER) is None
        assert next_refund((once, once), says, ("R-1", "R-2"), ORDER) == ("R-2", False)
        for status, asked in ((PollStatus.REFUNDED, None), (PollStatus.NOT_FOUND, ("R-2", False))):
            listed = attrs.evolve(
                says, refunds_known=True, refunds=(RefundSays(number="R-2", status=status),)
            )
            assert next_refund((), listed, ("R-2",), ORDER) == asked

    def test_a_number_is_guessed_only_for_an_order_in_refund(self) -> None:
        """And only where nobody named one, and the gateway answers."""
        in_it = GatewaySays(bearing=Bearing.IN_REFUND)
        guess = next_refund((), in_it, (), ORDER)
        assert guess == (full_refund_number(ORDER), True)
        assert next_refund((), GatewaySays(bearing=Bearing.PAID), (), ORDER) is None
        assert next_refund((), in_it, ("R-1",), ORDER) == ("R-1", False)
        for silence in (Silence.UNREACHED, Silence.UNBELIEVED, Silence.REFUSED):
            silent = attrs.evolve(in_it, silence=silence)
            assert next_refund((), silent, ("R-1",), ORDER) is None


class TestGatewayTold:
    """What the gateway's answers become."""

    def test_another_amount_than_was_expected(self) -> None:
        """M-13: it is neither unpaid nor open."""
        found = explain_order(evidence(paid_reply(), wanted=900))
        assert found.standing.value == "OTHER_AMOUNT"
        assert [each.name for each in found.proven] == ["gateway-other-amount"]
        assert bearing_of(PollStatus.MISMATCH) is Bearing.OTHER_AMOUNT

    def test_when_the_payment_went_through_is_a_moment_of_its_own(self) -> None:
        """By the gateway's clock, before we asked; where it is another order's, not."""
        reply = paid_reply()
        at = NOW - timedelta(minutes=5)
        for number, times in ((ORDER, 1), ("A2", 0)):
            result = attrs.evolve(
                reply.result, time_end=at, out_trade_no=number, transaction_id="42"
            )
            dated = attrs.evolve(reply, result=result)
            texts = told(explain_order(evidence(dated, wanted=1000)))
            paid_at = "gateway: the payment of 10.00 yuan went through, transaction 42"
            assert texts.count(paid_at) == times

    @pytest.mark.parametrize(("signed", "words"), [(True, "signed"), (False, "not signed")])
    def test_whether_an_answer_was_signed_is_told(self, signed: bool, words: str) -> None:
        """In both languages."""
        found = explain_order(evidence(attrs.evolve(paid_reply(), signed=signed)))
        assert told(found) == [f"gateway: orderquery under WECHAT: SUCCESS SUCCESS 10000, {words}"]
        assert [*lines_of(found, "zh")]

    def test_a_refund_of_another_order_is_none_of_ours(self) -> None:
        """M-06: nothing of its list is told, and that it came speaks against the numbers."""
        item = RefundItem(out_refund_no="R-1", refund_status="SUCCESS", refund_fee=Fen(400))
        (query,) = refunds("R-1")
        for number, returned, against in ((f"{ORDER}1", None, 1), (ORDER, 400, 0), (None, 400, 0)):
            result = RefundQueryResult(out_trade_no=number, refund_list=(item,))
            said = AskedQuery(at=NOW, query=query, said=attrs.evolve(paid_reply(), result=result))
            found = explain_order(
                attrs.evolve(evidence(), asked=(*evidence(in_refund()).asked, said))
            )
            assert [each.returned for each in found.refunds] == [returned] * (returned is not None)
            names = [phrase.name for phrase in found.against]
            assert names.count("refund-of-another") == against

    def test_what_came_at_an_unknown_time_is_told_as_such(self) -> None:
        """The line of a record without a moment."""
        found = explain_order(evidence(kept=(kept_checkout(status="PAID", at=None),)))
        assert any(each.startswith("at an unknown time") for each in lines_of(found))

    @pytest.mark.parametrize(
        ("status", "name", "need"),
        [
            ("FAIL", "refund-failed", "PERSON"),
            ("CHANGE", "refund-changed", "PERSON"),
            ("NOTSURE", "refund-notsure", "PERSON"),
            ("PROCESSING", "refund-pending", "TIME"),
        ],
    )
    def test_each_end_of_a_refund_has_its_step(self, status: str, name: str, need: str) -> None:
        """M-25: money that came back to nobody is for a person; what goes on takes time."""
        item = RefundItem(out_refund_no="R-1", refund_status=status, base_refund_fee=Fen(400))
        result = RefundQueryResult(out_trade_no=ORDER, refund_list=(item,))
        (query,) = refunds("R-1")
        said = AskedQuery(at=NOW, query=query, said=attrs.evolve(paid_reply(), result=result))
        found = explain_order(attrs.evolve(evidence(), asked=(*evidence(in_refund()).asked, said)))
        assert (name, need) in {(step.name, step.need.value) for step in found.next}

    def test_each_refund_is_told_by_its_number_and_dated(self) -> None:
        """Its own number, or else the platform's; one that is not known yet has no moment."""
        common: Any = {"base_refund_fee": Fen(400), "refund_fee": Fen(300), "refund_time": NOW}
        items = (
            RefundItem(out_refund_no="R-1", refund_status="SUCCESS", **common),
            RefundItem(refund_id="5000", refund_status="SUCCESS", **common),
            RefundItem(out_refund_no="R-3", refund_status="PROCESSING", **common),
        )
        result = RefundQueryResult(out_trade_no=ORDER, refund_list=items)
        (query,) = refunds("R-1")
        asked = (
            *evidence(in_refund()).asked,
            AskedQuery(at=NOW, query=query, said=attrs.evolve(paid_reply(), result=result)),
        )
        members = members_of_explanation(explain_order(attrs.evolve(evidence(), asked=asked)))
        at = "2026-01-01T12:00:00+08:00"
        assert members["refunds"] == [
            {"out_refund_no": number, "status": "REFUNDED" if at else None,
             "base_refund_fee": 400, "refund_fee": back,
             "fee_type": "CNY", "refund_time": at}
            for number, back, at in (("R-1", 300, at), ("5000", 300, at), ("R-3", None, None))
        ]  # fmt: skip
        said = [each["says"] for each in members["timeline"]]
        assert [each for each in said if each.endswith("came back")] == [
            "refund R-1 of 4.00 yuan came back",
            "refund 5000 of 4.00 yuan came back",
        ]
        assert members["returned"] == 800
        proven = [each["says"] for each in members["proven"]]
        assert proven.count("Refund R-1 of 4.00 yuan: REFUNDED.") == 1
