"""What an explanation says of an order: tables, words, and what it must never say."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from chaoying_async import (
    MissingSignatureError,
    OrderNotFoundError,
    OrderQuery,
    PayType,
    QueryRefusedError,
    RefundQuery,
    ReplyMismatchError,
    RequestNotSentError,
    SignatureVerificationError,
    TransportError,
)
from chaoying_async.exceptions import SignatureRefusedError
from chaoying_async.sansio import explanation
from chaoying_async.sansio.audit import record
from chaoying_async.sansio.exchange import build_request, read_reply
from chaoying_async.sansio.explanation import (
    Explanation,
    Inquiry,
    OrderEvidence,
    OrderStanding,
    explain_order,
    lines_of,
    members_of_explanation,
)
from chaoying_async.sansio.explanation.from_audit_log import LONGEST_LINE, read_audit_log
from chaoying_async.sansio.explanation.from_gateway import (
    AskedQuery,
    GatewaySays,
    bearing_of,
    next_wallet,
)
from chaoying_async.sansio.explanation.from_inbox import InboxHolds, told_by_inbox
from chaoying_async.sansio.explanation.from_store import (
    KeptRecord,
    KeptText,
    checkout_bearing,
    kept_about,
)
from chaoying_async.sansio.explanation.standing import standing_of
from chaoying_async.sansio.explanation.telling import words
from chaoying_async.sansio.explanation.told import PAID_ONCE, Bearing, Statement, Witness
from chaoying_async.sansio.notifications.inbox_values import Entry, OrderKey, Record, SeenState
from chaoying_async.sansio.payments.intent import OrderRecord
from chaoying_async.sansio.payments.moves import CheckoutStatus
from chaoying_async.sansio.polling.status import PollStatus
from chaoying_async.sansio.signing import sign
from tests.factories import CANARIES, CREDENTIALS, KEY, MCH_ID, OPENID, ORDER, every_request

NOW = datetime(2026, 1, 1, 4, 0, tzinfo=UTC)
ROOM = Path(explanation.__file__).parent
RULES = Path(__file__).parents[2] / "docs" / "rules.md"


def evidence(*asked: Any, **more: Any) -> OrderEvidence:
    """OrderEvidence in which queries under WECHAT were answered so."""
    query = OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_trade_no=ORDER)
    made = tuple(AskedQuery(at=NOW, query=query, said=each) for each in asked)
    return OrderEvidence(mch_id=MCH_ID, out_trade_no=ORDER, now=NOW, asked=made, **more)


class TestWords:
    """Two files of words, and the names by which the code calls them."""

    @pytest.mark.parametrize("part", words("en"))
    def test_both_languages_have_the_same_words(self, part: str) -> None:
        """The same names, and the same values to be filled in."""
        english, chinese = words("en")[part], words("zh")[part]
        assert english.keys() == chinese.keys()
        for name, text in english.items():
            assert _holes(text) == _holes(chinese[name]), name

    def test_each_name_in_the_code_has_words_and_none_is_left_over(self) -> None:
        """Steps, phrases, what was told, and who was asked."""
        code = "".join(path.read_text("utf-8") for path in ROOM.glob("*.py"))
        steps = set(re.findall(r'NextStep\(\s*name="([a-z-]+)"', code))
        assert steps == words("en")["next"].keys()
        assert {each.value for each in OrderStanding} == words("en")["standing"].keys()
        assert {each.value for each in Witness} == words("en")["witness"].keys()
        for part in ("proven", "unproven", "against", "told", "frame"):
            lost = [n for n in words("en")[part] if f'"{n}"' not in code and not _made(n)]
            assert lost == [], part

    def test_each_way_of_asking_a_witness_has_words(self) -> None:
        """A fleet alone is never missing: it lies where the store does."""
        names = {"NOT_GIVEN": "not-given", "NOTHING": "nothing", "FOUND": "found"}
        names["FAILED"] = "failed"
        made = {
            f"{witness.value}-{names[inquiry]}"
            for witness, inquiry in itertools.product(Witness, Inquiry)
        }
        log = {"log-unreadable", "log-left-out"}
        assert words("en")["source"].keys() == made - {"fleet-not-given"} | log

    def test_each_rule_is_in_the_law_book(self) -> None:
        """A step names the rule that a reader can look up."""
        code = (ROOM / "next_steps.py").read_text("utf-8")
        cited = set(re.findall(r'rule="(M-[0-9]{2})"', code))
        assert cited
        law = RULES.read_text("utf-8")
        assert [rule for rule in cited if f"### {rule} " not in law] == []


def _made(name: str) -> bool:
    """Names that the code puts together: of an inbox's states."""
    return name.startswith("inbox-")


def _holes(text: Any) -> set[str]:
    return set(re.findall(r"\{([a-z_]+)\}", str(text)))


class TestStandings:
    """What is said of an order, by what the gateway and others say."""

    def test_nothing_that_may_be_paid_is_called_unpaid(self) -> None:
        """Every answer beside every record: UNPAID only where the gateway says so, alone."""
        for bearing, other in itertools.product(Bearing, Bearing):
            for proves in (True, False):
                told = Statement(
                    witness=Witness.INBOX, what="inbox-done", bearing=other, proves=proves
                )
                found = standing_of(GatewaySays(bearing=bearing), [told])
                paid_there = proves and other in PAID_ONCE
                unpaid = bearing is Bearing.UNPAID and not paid_there
                assert (found is OrderStanding.UNPAID) is unpaid, (bearing, other, proves)

    def test_nothing_is_called_paid_without_a_proof(self) -> None:
        """A log's "paid" is none; a record's is, where the gateway does not say otherwise."""
        for bearing, other in itertools.product(Bearing, Bearing):
            told = Statement(witness=Witness.AUDIT_LOG, what="logged", bearing=other)
            found = standing_of(GatewaySays(bearing=bearing), [told])
            paid = found in (OrderStanding.PAID, OrderStanding.WAS_PAID)
            assert paid is (bearing is Bearing.PAID), (bearing, other)

    @pytest.mark.parametrize(
        ("said", "standing"),
        [
            ([RequestNotSentError("no")], OrderStanding.NO_ANSWER),
            ([TransportError("no")], OrderStanding.NO_ANSWER),
            ([SignatureVerificationError("no")], OrderStanding.UNBELIEVED),
            ([MissingSignatureError("no")], OrderStanding.UNBELIEVED),
            ([ReplyMismatchError("no")], OrderStanding.UNBELIEVED),
            ([OrderNotFoundError("no", state="FAIL", code="20007")], OrderStanding.NOT_FOUND),
            ([QueryRefusedError("no", state="FAIL", code="20009")] * 2, OrderStanding.NO_NEWS),
            ([SignatureRefusedError("no", state="FAIL", code="20002")], OrderStanding.NOT_ASKED),
            ([], OrderStanding.NO_ANSWER),
        ],
    )
    def test_an_error_is_a_state_and_never_an_end(
        self, said: list[Exception], standing: OrderStanding
    ) -> None:
        """M-11: no answer, a refused query, a wrong signature, not found: none says unpaid."""
        found = explain_order(evidence(*said))
        assert found.standing is standing
        assert not found.is_settled
        assert found.next[0].rule
        assert [*lines_of(found)]
        assert [*lines_of(found, "zh")]

    def test_a_record_says_what_was_where_the_gateway_is_silent(self) -> None:
        """It was paid; whether it still is, nobody knows."""
        holds = held(SeenState.DONE)
        found = explain_order(evidence(TransportError("no"), inbox=holds))
        assert found.standing is OrderStanding.WAS_PAID
        assert [step.rule for step in found.next] == ["M-11"]

    def test_a_record_against_the_gateways_answer_is_for_a_person(self) -> None:
        """M-11: neither of the two is believed."""
        said = OrderNotFoundError("no", state="FAIL", code="20007")
        found = explain_order(evidence(said, inbox=held(SeenState.DONE)))
        assert found.standing is OrderStanding.CONTRADICTED
        assert [each.name for each in found.against] == ["paid-there"]
        assert {"contradicted", "effect-stands"} == {step.name for step in found.next}


def test_only_an_end_without_payment_is_one() -> None:
    """M-11: not found, expired and refused say nothing; a till's CANCELLED was confirmed (M-24)."""
    polls = {status for status in PollStatus if bearing_of(status) is Bearing.UNPAID}
    assert polls == {PollStatus.FAILED, PollStatus.CLOSED, PollStatus.REVOKED}
    tills = {status for status in CheckoutStatus if checkout_bearing(status) is Bearing.UNPAID}
    assert tills == {CheckoutStatus.FAILED, CheckoutStatus.CANCELLED}
    assert checkout_bearing("", "") is checkout_bearing("odd", "odd") is Bearing.OPEN
    assert checkout_bearing("UNKNOWN", "MISMATCH") is Bearing.OTHER_AMOUNT


def held(state: SeenState, **more: Any) -> InboxHolds:
    entry = Entry(payload="", first_seen=NOW - timedelta(minutes=1), payable=1000, **more)
    return InboxHolds(record=Record(key=OrderKey(MCH_ID, ORDER), state=state, entry=entry))


@pytest.mark.parametrize(
    ("state", "payload", "decision", "bearing"),
    [
        (SeenState.HELD, "", "APPLY", Bearing.PAID),
        (SeenState.HELD, "", "NOT_PAID", Bearing.NONE),
        (SeenState.HELD, "", "", Bearing.NONE),
        (SeenState.HELD, "paid", "", Bearing.PAID),
        (SeenState.HELD, "not paid", "", Bearing.OPEN),
        (SeenState.QUARANTINED, "paid", "", Bearing.PAID),
        (SeenState.QUARANTINED, "unclear", "", Bearing.NONE),
        (SeenState.QUARANTINED, "{", "", Bearing.NONE),
        (SeenState.NOT_PAID, "", "", Bearing.OPEN),
        (SeenState.DONE, "", "", Bearing.PAID),
    ],
)
def test_a_record_proves_a_payment_only_where_its_message_told_of_one(
    state: SeenState, payload: str, decision: str, bearing: Bearing
) -> None:
    """M-15: an order may be held, or in quarantine, for a message that says something else."""
    members = {"outcome": payload, "source": "NOTIFICATION", "mch_id": "1", "out_trade_no": "A1"}
    text = json.dumps(members) if payload not in ("", "{") else payload
    entry = Entry(payload=text, first_seen=NOW, source="NOTIFICATION", decision=decision)
    record_of = Record(key=OrderKey(MCH_ID, ORDER), state=state, entry=entry)
    holds = InboxHolds(record=record_of)
    (told,) = told_by_inbox(holds)
    assert told.bearing is bearing
    proven = {each.name for each in explain_order(evidence(inbox=holds)).proven}
    assert bool(proven & {"verified", "effect"}) is (bearing is Bearing.PAID)


def test_what_was_paid_after_the_shop_had_closed_it_is_for_a_person() -> None:
    """M-15: its hook ran, and the money is to go back, or the order is to be reopened."""
    holds = held(SeenState.DONE, decision="PAID_AFTER_CLOSE")
    found = explain_order(evidence(paid_reply(), inbox=holds))
    assert [step.name for step in found.next] == ["after-close"]
    assert not found.is_settled


class TestWhomToAsk:
    """The next query, decided by the answers so far."""

    WALLETS = ("WECHAT", "ALIPAY")

    def test_every_wallet_is_asked_that_may_be_meant(self) -> None:
        """Not found under one wallet leads to the next one."""
        absent = OrderNotFoundError("no", state="FAIL", code="20007")
        assert next_wallet([], self.WALLETS) == "WECHAT"
        assert next_wallet(evidence(absent).asked, self.WALLETS) == "ALIPAY"

    def test_a_query_without_news_is_sent_once_more(self) -> None:
        """And then the next wallet is asked."""
        refused = QueryRefusedError("no", state="FAIL", code="20009")
        assert next_wallet(evidence(refused).asked, self.WALLETS) == "WECHAT"
        assert next_wallet(evidence(refused, refused).asked, self.WALLETS) == "ALIPAY"

    @pytest.mark.parametrize("error", [TransportError("no"), ReplyMismatchError("no")])
    def test_nobody_is_asked_again_who_does_not_answer(self, error: Exception) -> None:
        """The next wallet would go the same way."""
        assert next_wallet(evidence(error).asked, self.WALLETS) is None


def line(call: str, reply: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A line of an audit log as the library writes it."""
    request = every_request()[call]
    outgoing = build_request(request, CREDENTIALS)
    body = None if reply is None else json.dumps(reply).encode()
    made = record(outgoing, CREDENTIALS, elapsed=0.2, status=200, body=body)
    members: dict[str, Any] = json.loads(made.line(NOW))
    return members | more


def as_lines(*members: Any) -> list[bytes]:
    return [json.dumps(each).encode() + b"\n" for each in members]


PAID_REPLY = {
    "state": "SUCCESS",
    "trade_state": "SUCCESS",
    "code": "10000",
    "out_trade_no": ORDER,
    "openid": OPENID,
}


class TestAuditLogs:
    """Lines that the library wrote, and lines that somebody else did."""

    def test_what_was_sent_is_read_back(self) -> None:
        """The amount, the wallet, the refund's number; of the buyer nothing is there."""
        lines = as_lines(line("pay", PAID_REPLY), line("refund"), line("orderquery"))
        log = read_audit_log(lines, ORDER, MCH_ID)
        assert [each.call for each in log.exchanges] == ["pay", "refund", "orderquery"]
        assert log.exchanges[0].charged == 100
        assert log.exchanges[1].refund == every_request()["refund"].out_refund_no  # type: ignore[attr-defined]
        assert b"".join(lines).count(OPENID.encode()) == 0

    def test_a_moment_needs_a_zone(self) -> None:
        """A time without one could be any hour of the day."""
        outgoing = build_request(every_request()["orderquery"], CREDENTIALS)
        made = record(outgoing, CREDENTIALS, elapsed=0.2)
        with pytest.raises(ValueError, match="time zone"):
            made.line(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point

    def test_of_another_order_nothing_is_kept(self) -> None:
        """By number and by merchant; a number that merely begins so is another one."""
        other = line("orderquery", request=f"mch_id={MCH_ID}&out_trade_no={ORDER}1")
        merchant = line("orderquery", request=f"mch_id=2&out_trade_no={ORDER}")
        mentioned = line("orderquery", request=f"mch_id={MCH_ID}&out_trade_no=B1&attach={ORDER}")
        log = read_audit_log(as_lines(other, merchant, mentioned), ORDER, MCH_ID)
        assert (log.exchanges, log.unreadable) == ((), 0)

    def test_hostile_lines_are_counted_and_nothing_of_them_is_shown(self) -> None:
        """Not JSON, huge, nested, of other types, with control characters."""
        hostile: list[bytes | None] = [
            b"not json " + ORDER.encode(),
            b"x" * (LONGEST_LINE + 1),
            None,
            b"[" * 100_000 + ORDER.encode(),
            *as_lines([ORDER], ORDER, {"endpoint": {}, "request": f"out_trade_no={ORDER}"}),
            *as_lines(line("orderquery", at="2026-13-99", request=f"out_trade_no={ORDER}")),
        ]
        named = f"mch_id={MCH_ID}&out_trade_no={ORDER}"
        evil = {
            "state": "\x1b[31mSUCCESS",
            "code": "<script>",
            "trade_state": KEY * 9,
            "out_trade_no": ORDER,
        }
        odd = line("orderquery", reply=None, request=named, status="200")
        painted = line("orderquery", request=named) | {"reply": json.dumps(evil)}
        log = read_audit_log([*hostile, *as_lines(odd, painted)], ORDER, MCH_ID)
        assert log.unreadable == len(hostile)
        assert len(log.exchanges) == 2
        text = "\n".join(lines_of(explain_order(evidence(log=log))))
        assert "\x1b" not in text
        assert "script" not in text
        assert not any(secret in text for secret in CANARIES)

    def test_a_log_that_says_paid_proves_nothing(self) -> None:
        """Its signatures are masked: anybody may have written it."""
        log = read_audit_log(as_lines(line("pay", PAID_REPLY)), ORDER, MCH_ID)
        found = explain_order(evidence(TransportError("no"), log=log))
        assert found.standing is OrderStanding.NO_ANSWER
        assert "charged" in {step.name for step in found.next}
        absent = explain_order(
            evidence(OrderNotFoundError("no", state="FAIL", code="20007"), log=log)
        )
        assert absent.standing is OrderStanding.NOT_FOUND
        assert [each.name for each in absent.against] == ["log-paid"]


class TestStores:
    """Texts that the library wrote, and texts that nobody can read."""

    def test_a_text_that_cannot_be_read_is_said_to_be_so(self) -> None:
        """Under the order's own key; of another key nobody can tell whose it is."""
        key = json.dumps([MCH_ID, ORDER])
        found = kept_about(_text("checkout", key, "{}"), ORDER, MCH_ID)
        assert found is not None
        assert found.unreadable
        assert kept_about(_text("checkout", "[1]", ORDER), ORDER, MCH_ID) is None
        told = explain_order(evidence(TransportError("no"), kept=(found,)))
        assert "unreadable" in {step.name for step in told.next}
        assert [*lines_of(told, "zh")]

    @pytest.mark.parametrize("kind", ["checkout", "refund", "checkout-order", "poll", "outcome"])
    @pytest.mark.parametrize("text", ["", "null", "[]", '"A100011"', "{", "9" * 5000])
    def test_no_text_is_a_crash(self, kind: str, text: str) -> None:
        """Whatever stands in a store."""
        key = json.dumps([MCH_ID, ORDER])
        for place in (key, ORDER, ""):
            kept_about(_text(kind, place, f"{text}"), ORDER, MCH_ID)

    def test_the_word_of_a_person_proves_nothing(self) -> None:
        """Released, an order that ended UNKNOWN still did; that it was released is said too."""
        ended = OrderRecord(
            out_trade_no=ORDER, attempt=1, started=NOW, status=CheckoutStatus.UNKNOWN
        )
        key = json.dumps([MCH_ID, "A10001"])
        text = ended.release(NOW + timedelta(days=1)).text()
        found = kept_about(_text("checkout-order", key, text), ORDER, MCH_ID)
        assert found is not None
        assert (found.status, found.bearing) == ("UNKNOWN", Bearing.OPEN)
        told = explain_order(evidence(TransportError("no"), kept=(found,)))
        assert told.standing is OrderStanding.NO_ANSWER
        assert any("may be charged again" in line for line in lines_of(told, "en"))
        assert any("可以再次收款" in line for line in lines_of(told, "zh"))

    def test_an_end_that_says_unpaid_beside_a_payment_is_a_contradiction(self) -> None:
        """Whichever of the two is newer."""
        ended = KeptRecord(
            witness=Witness.STORE,
            kind="checkout",
            ended=True,
            status="FAILED",
            bearing=Bearing.UNPAID,
        )
        found = explain_order(
            evidence(TransportError("no"), kept=(ended,), inbox=held(SeenState.DONE))
        )
        assert [each.name for each in found.against] == ["two-records"]
        assert found.next[0].name == "compare"


def test_nobody_delivers_an_order_whose_refund_was_begun() -> None:
    """M-25: paid it still is, says the gateway; but the shop meant to give the money back."""
    begun = KeptRecord(
        witness=Witness.STORE, kind="refund", ended=False, refund="R-1", expected=1000
    )
    paid = evidence(paid_reply(), kept=(begun,))
    assert [step.name for step in explain_order(paid).next] == ["refund-begun"]
    alone = explain_order(evidence(paid_reply(), wanted=1000))
    assert [step.name for step in alone.next] == ["deliver"]
    assert alone.is_settled


def paid_reply(**more: str) -> Any:
    """A signed answer that the order is paid, verified."""
    query = OrderQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_trade_no=ORDER)
    fields = PAID_REPLY | {"base_fee": "1000", "total_fee": "1000"} | more
    fields["sign"] = sign(fields, CREDENTIALS.key)
    outgoing = build_request(query, CREDENTIALS)
    return read_reply(outgoing, 200, json.dumps(fields).encode(), CREDENTIALS, now=NOW)


def _text(kind: str, key: str, text: str) -> KeptText:
    return KeptText(witness=Witness.STORE, kind=kind, key=key, text=text)


def test_what_is_a_program_s_is_complete_and_english() -> None:
    """Amounts in fen, moments at GMT+8, and every sentence beside its name."""
    members = members_of_explanation(explain_order(evidence(TransportError("no"))))
    assert members["status"] == "NO_ANSWER"
    assert members["asked_at"] == "2026-01-01T12:00:00+08:00"
    assert members["steps"][0]["rule"] == "M-10"
    assert members["next"] == members["steps"][0]["do"]
    assert json.loads(json.dumps(members)) == members


def test_an_explanation_shows_no_secret() -> None:
    """M-27: not of an inbox's payload, not of a reason that quotes."""
    holds = held(SeenState.QUARANTINED)
    assert holds.record is not None
    record_of = attrs.evolve(holds.record, reason="another amount: 1 fen expected, 2 found")
    found: Explanation = explain_order(
        evidence(TransportError("no"), inbox=attrs.evolve(holds, record=record_of))
    )
    assert not any(secret in f"{found!r}{[*lines_of(found)]}" for secret in CANARIES)


def refunds(*numbers: str) -> Iterator[RefundQuery]:
    for number in numbers:
        yield RefundQuery(paytype=PayType.WECHAT, mch_id=MCH_ID, out_refund_no=number)


def test_a_refund_that_is_not_known_is_not_said_to_have_failed() -> None:
    """M-25: what was sent minutes ago may still appear."""
    asked = tuple(
        AskedQuery(at=NOW, query=query, said=OrderNotFoundError("no", state="FAIL", code="20007"))
        for query in refunds("R-1")
    )
    found = explain_order(attrs.evolve(evidence(), asked=asked))
    assert [step.name for step in found.next if step.rule == "M-25"] == ["refund-absent"]
