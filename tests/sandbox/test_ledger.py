from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoying_async.sandbox.bank.entities import Status, Wake
from chaoying_async.sandbox.bank.ledger import Deed, books, handle, opened, passed, unfinished
from chaoying_async.sandbox.bank.scenarios import REFUND_SCENARIOS, SCENARIOS
from chaoying_async.sandbox.bank.table import Table
from tests.sandbox_calls import (
    CLOSED,
    DONE,
    FAILED,
    PAID,
    REFUNDED,
    REVOKED,
    START,
    UNPAID,
    VALID,
    WAITING,
    Till,
    in_any_order,
    refused,
    said,
)


@pytest.fixture
def till() -> Till:
    return Till()


def refund_state(till: Till, number: str = "TK-1") -> str:
    entries = json.loads(till.call("refundquery", out_refund_no=number)["refund_list"])
    return str(next(e["refund_status"] for e in entries if e["out_refund_no"] == number))


class TestPayments:
    @pytest.mark.parametrize("total", ["1000", "1405", "1406"])
    def test_facepay_names_no_wallet_however_it_stands(self, total: str) -> None:
        """Paid, open or failed (C 33); who wants to query keeps the wallet that was asked for."""
        till = Till()
        reply = till.call("facepay", total_fee=total)
        assert reply["out_trade_no"] == "A100011"
        assert "paytype" not in reply
        assert till.call("orderquery")["paytype"] == "WECHAT"

    def test_a_payment_is_paid_at_once_and_stays_paid(self, till: Till) -> None:
        """The ordinary course: pay and every later query say paid, with the same numbers."""
        first = till.call("pay")
        again = till.call("orderquery")
        assert said(first) == said(again) == PAID
        assert (first["base_fee"], first["total_fee"]) == ("1000", "1000")
        assert again["transaction_id"] == first["transaction_id"]
        assert again["trade_type"] == "pay.wechat.micropay"

    def test_a_used_number_is_refused_and_changes_nothing(self, till: Till) -> None:
        """A used out_trade_no is 20004, whatever else the call says; the order stays as it was."""
        till.call("pay")
        before = till.gateway.ledger.order("A100011")
        assert said(till.call("pay", total_fee="5")) == refused("20004")
        assert said(till.call("facepay")) == refused("20004")
        assert said(till.call("WECHAT_PreOrder")) == refused("20004")
        assert till.gateway.ledger.order("A100011") == before

    def test_two_merchants_may_use_one_number(self, till: Till) -> None:
        """An order is identified by its merchant and its number together (M-18)."""
        till.call("pay")
        assert said(till.call("pay", mch_id="00000002")) == PAID
        assert len(till.gateway.ledger.orders) == 2

    @pytest.mark.parametrize(("total", "queries"), [("4403", 2), ("4404", 4)])
    def test_the_nth_query_finds_it_paid(self, till: Till, total: str, queries: int) -> None:
        """Until then every answer is "ask again"."""
        assert said(till.call("pay", total_fee=total)) == WAITING
        answers = [said(till.call("orderquery")) for _ in range(queries)]
        assert answers == [WAITING] * (queries - 1) + [PAID]

    def test_a_password_takes_its_time(self, till: Till) -> None:
        """The customer types for ten seconds; time_end is the moment of the payment."""
        till.call("pay", total_fee="401")
        till.later(seconds=9.9)
        assert said(till.call("orderquery")) == WAITING
        till.later(seconds=60)
        reply = till.call("orderquery")
        assert said(reply) == PAID
        assert reply["time_end"] == "20260101120010"

    @pytest.mark.parametrize("total", ["406", "407"])
    def test_a_payment_can_fail_at_once(self, till: Till, total: str) -> None:
        """Balance too low, code expired: over and unpaid (10006), and so it stays."""
        assert said(till.call("pay", total_fee=total)) == FAILED
        assert said(till.call("orderquery")) == FAILED
        assert said(till.call("pay", total_fee=total)) == refused("20004")

    def test_what_nobody_pays_is_closed_in_the_end(self, till: Till) -> None:
        """A till's order expires after ten minutes."""
        till.call("pay", total_fee="405")
        till.later(minutes=9)
        assert said(till.call("orderquery")) == WAITING
        till.later(minutes=1)
        assert said(till.call("orderquery")) == CLOSED

    def test_the_payment_code_chooses_before_the_amount(self, till: Till) -> None:
        """A code that ends in 0000 and a scenario's number wins over the amount."""
        assert said(till.call("pay", auth_code="130000000000000406")) == FAILED

    def test_an_error_may_hide_a_payment_or_none(self, till: Till) -> None:
        """20006 proves nothing: once the order was paid, once there is no order (M-09)."""
        assert said(till.call("pay", total_fee="413")) == refused("20006")
        assert said(till.call("orderquery")) == PAID
        assert said(till.call("pay", total_fee="414", out_trade_no="B100011")) == refused("20006")
        assert said(till.call("orderquery", out_trade_no="B100011")) == refused("20007")

    def test_a_coupon_parts_payable_and_paid(self, till: Till) -> None:
        """base_fee is the order amount, total_fee what was paid (C 42)."""
        reply = till.call("pay", total_fee="1409")
        assert (reply["base_fee"], reply["total_fee"], reply["coupon_fee"]) == (
            "1409",
            "1057",
            "352",
        )
        promotion = json.loads(reply["promotion_detail"])["promotion_detail"][0]
        assert promotion["amount"] == 352

    def test_an_order_is_found_under_its_own_wallet_only(self, till: Till) -> None:
        """Another paytype is "order does not exist" (M-22)."""
        till.call("pay")
        for endpoint in ("orderquery", "refund", "cancel"):
            assert said(till.call(endpoint, paytype="ALIPAY")) == refused("20007")

    def test_an_order_is_found_by_either_number(self, till: Till) -> None:
        """By transaction_id too; out_trade_no wins when both are sent (C 54)."""
        number = till.call("pay")["transaction_id"]
        assert said(till.call("orderquery", out_trade_no=None, transaction_id=number)) == PAID
        wrong = till.call("orderquery", out_trade_no="NOBODY", transaction_id=number)
        assert said(wrong) == refused("20007")
        other = till.call("orderquery", mch_id="00000002", out_trade_no=None, transaction_id=number)
        assert said(other) == refused("20007")


class TestCancels:
    def test_an_unpaid_order_is_closed_a_paid_one_given_back(self, till: Till) -> None:
        """Cancel closes or reverses (C 36), and says the same when it is sent again."""
        till.call("pay", total_fee="405")
        till.call("pay", out_trade_no="B100011")
        for number, standing in (("A100011", CLOSED), ("B100011", REVOKED)):
            assert said(till.call("cancel", out_trade_no=number)) == DONE
            assert said(till.call("cancel", out_trade_no=number)) == DONE
            assert said(till.call("orderquery", out_trade_no=number)) == standing
        totals = books(till.gateway.ledger, till.time)
        assert (totals.received, totals.reversed, totals.kept) == (1000, 1000, 0)

    def test_cancel_works_for_five_minutes(self, till: Till) -> None:
        """The last moment still counts, the next is 20011 and leaves the order alone (C 35)."""
        till.call("pay", total_fee="405")
        till.call("pay", out_trade_no="B100011")
        till.later(minutes=5)
        assert said(till.call("cancel")) == DONE
        till.later(seconds=1)
        assert said(till.call("cancel", out_trade_no="B100011")) == refused("20011")
        assert said(till.call("orderquery", out_trade_no="B100011")) == PAID

    def test_a_refunded_order_is_not_cancelled(self, till: Till) -> None:
        """What was given back in part cannot be given back as a whole (20011)."""
        till.call("pay")
        till.call("refund", refund_fee="1")
        assert said(till.call("cancel")) == refused("20011")

    def test_an_unknown_order_cannot_be_cancelled(self, till: Till) -> None:
        """20007, and no order comes of it."""
        assert said(till.call("cancel")) == refused("20007")
        assert len(till.gateway.ledger.orders) == 0

    def test_a_cancelled_order_may_be_paid_all_the_same(self, till: Till) -> None:
        """Late success: closed by the cancel, paid twenty seconds later."""
        till.call("pay", total_fee="411")
        till.later(seconds=15)
        assert said(till.call("cancel")) == DONE
        assert said(till.call("orderquery")) == CLOSED
        till.later(seconds=20)
        assert said(till.call("orderquery")) == PAID

    @pytest.mark.parametrize(
        ("total", "code", "standing"), [("420", "20006", WAITING), ("421", "30001", CLOSED)]
    )
    def test_a_refused_cancel_may_have_been_carried_out(
        self, till: Till, total: str, code: str, standing: Any
    ) -> None:
        """The first answer is an error either way; only the query tells (M-09)."""
        till.call("pay", total_fee=total)
        assert said(till.call("cancel")) == refused(code)
        assert said(till.call("orderquery")) == standing
        assert said(till.call("cancel")) == DONE


class TestRefunds:
    def test_a_refund_is_processed_and_then_made(self, till: Till) -> None:
        """PROCESSING first; the order has gone into refund from the beginning (C 39, C 40)."""
        till.call("pay")
        reply = till.call("refund", refund_fee="300")
        assert said(reply) == DONE
        assert (reply["base_refund_fee"], reply["refund_fee"]) == ("300", "300")
        assert refund_state(till) == "PROCESSING"
        assert said(till.call("orderquery")) == REFUNDED
        till.later(seconds=2)
        assert refund_state(till) == "SUCCESS"

    def test_parts_go_up_to_the_amount_and_no_further(self, till: Till) -> None:
        """The sum of all parts may reach the order amount; one fen more is 20008."""
        till.call("pay")
        assert said(till.call("refund", refund_fee="600")) == DONE
        assert said(till.call("refund", refund_fee="401", out_refund_no="TK-2")) == refused("20008")
        assert said(till.call("refund", refund_fee="400", out_refund_no="TK-3")) == DONE
        assert said(till.call("refund", refund_fee="1", out_refund_no="TK-4")) == refused("20008")
        summary = till.call("refundquery")
        assert (summary["refund_count"], summary["base_refund_fee_summary"]) == ("2", "1000")

    def test_the_same_refund_twice_is_one_refund(self, till: Till) -> None:
        """The same number with the same values moves money once; with others it is 20008."""
        till.call("pay")
        first = till.call("refund", refund_fee="100")
        assert till.call("refund", refund_fee="100")["refund_id"] == first["refund_id"]
        assert said(till.call("refund", refund_fee="101")) == refused("20008")
        till.call("pay", out_trade_no="B100011")
        other = till.call("refund", refund_fee="100", out_trade_no="B100011")
        assert said(other) == refused("20008")
        assert books(till.gateway.ledger, till.time).refunded == 100

    @pytest.mark.parametrize("total", ["999", "1001"])
    def test_total_fee_must_be_the_orders_amount(self, till: Till, total: str) -> None:
        """A refund that names another order amount is 20008 (C 42)."""
        till.call("pay")
        assert said(till.call("refund", total_fee=total, refund_fee="1")) == refused("20008")

    @pytest.mark.parametrize("total", ["405", "406"])
    def test_only_paid_orders_are_refunded(self, till: Till, total: str) -> None:
        """Open, failed: 20008. No such order: 20007."""
        till.call("pay", total_fee=total)
        assert said(till.call("refund", total_fee=total, refund_fee="1")) == refused("20008")
        assert said(till.call("refund", out_trade_no="NOBODY")) == refused("20007")

    def test_not_sure_is_sent_again_with_its_own_number(self, till: Till) -> None:
        """NOTSURE stays until the same refund comes again, and then ends (C 52)."""
        till.call("pay")
        till.call("refund", refund_fee="503")
        till.later(days=2)
        assert refund_state(till) == "NOTSURE"
        assert said(till.call("refund", refund_fee="503")) == DONE
        assert refund_state(till) == "PROCESSING"
        till.later(seconds=2)
        assert refund_state(till) == "SUCCESS"
        assert books(till.gateway.ledger, till.time).refunded == 503

    def test_a_failed_refund_frees_its_money_but_not_its_number(self, till: Till) -> None:
        """After FAIL the amount can be refunded again, under a new number only (C 52)."""
        till.call("pay", total_fee="502")
        till.call("refund", total_fee="502", refund_fee="502")
        till.later(seconds=5)
        assert refund_state(till) == "FAIL"
        assert said(till.call("orderquery")) == PAID
        again = till.call("refund", total_fee="502", refund_fee="502")
        assert said(again) == refused("20008")
        new = till.call("refund", total_fee="502", refund_fee="500", out_refund_no="TK-2")
        assert said(new) == DONE

    @pytest.mark.parametrize(
        ("part", "state"), [("504", "CHANGE"), ("501", "PROCESSING"), ("505", "PROCESSING")]
    )
    def test_refunds_can_take_other_ends(self, till: Till, part: str, state: str) -> None:
        """Turned into a payout by hand, or not ended for days."""
        till.call("pay")
        till.call("refund", refund_fee=part)
        till.later(days=2)
        assert refund_state(till) == state

    def test_a_refund_can_be_refused_and_made_or_refused_and_not(self, till: Till) -> None:
        """20006 hides a refund here; 20008 does not (M-09)."""
        till.call("pay")
        assert said(till.call("refund", refund_fee="506")) == refused("20006")
        assert refund_state(till) == "PROCESSING"
        assert said(till.call("refund", refund_fee="1", out_refund_no="TK-2")) == DONE
        till.call("pay", out_trade_no="B100011")
        short = till.call("refund", out_trade_no="B100011", refund_fee="507", out_refund_no="TK-3")
        assert said(short) == refused("20008")
        assert said(till.call("refundquery", out_refund_no="TK-3")) == refused("20007")

    def test_a_refund_is_found_by_its_platform_number(self, till: Till) -> None:
        """refundquery takes refund_id as well, and no other merchant's."""
        till.call("pay")
        number = till.call("refund")["refund_id"]
        found = till.call("refundquery", out_refund_no=None, refund_id=number)
        assert said(found) == DONE
        stranger = till.call("refundquery", out_refund_no=None, refund_id=number, mch_id="00000002")
        assert said(stranger) == refused("20007")

    @given(
        total=st.integers(1, 10_000).map(lambda n: n * 1000 + 409),
        cuts=st.lists(st.integers(1, 10_000_000), max_size=6),
    )
    def test_coupon_parts_add_up_to_the_fen(self, total: int, cuts: list[int]) -> None:
        """However an order is cut into refunds, cash and coupons end exactly at what was paid."""
        till = Till()
        paid = int(till.call("pay", total_fee=str(total))["total_fee"])
        left, cash, number = total, 0, 0
        for cut in [*cuts, total]:
            part = min(cut, left)
            if not part or 500 <= part % 1000 < 510:
                continue
            number += 1
            reply = till.call(
                "refund", total_fee=str(total), refund_fee=str(part), out_refund_no=f"TK-{number}"
            )
            assert said(reply) == DONE
            returned, coupon = int(reply["refund_fee"]), int(reply.get("coupon_refund_fee", 0))
            assert returned + coupon == part
            assert min(returned, coupon) >= 0
            left, cash = left - part, cash + returned
            assert cash <= paid
        assert left or cash == paid


class TestPreOrders:
    @pytest.mark.parametrize("endpoint", ["WECHAT_PreOrder", "ALIPAY_PreOrder"])
    def test_a_preorder_exists_before_anybody_pays(self, till: Till, endpoint: str) -> None:
        """trade_state SUCCESS is about the order, not the payment (C 24); replies are unsigned."""
        wallet = endpoint.partition("_")[0]
        reply = till.call(endpoint)
        assert said(reply) == DONE
        assert "sign" not in reply
        assert reply["code_url"]
        assert "pay_info" not in reply
        assert said(till.call("orderquery", paytype=wallet)) == UNPAID
        till.later(seconds=2)
        assert said(till.call("orderquery", paytype=wallet)) == PAID

    def test_inside_a_wallet_it_comes_with_pay_info(self, till: Till) -> None:
        """JSPAY brings JSON inside a string, and no QR code."""
        extra = {"trade_type": "JSPAY", "sub_appid": "wx1", "buyer_id": "o1"}
        reply = till.call("WECHAT_PreOrder", **extra)
        assert json.loads(reply["pay_info"])["package"].startswith("prepay_id=")
        assert "code_url" not in reply

    def test_a_paid_preorder_notifies_once(self, till: Till) -> None:
        """The payment is an event, whether somebody asks first or time passes first."""
        till.call("WECHAT_PreOrder", notify_url="http://shop.invalid/notify")
        wake = next(event for event in till.events if isinstance(event, Wake))
        assert (wake.at - START).total_seconds() == 2
        till.later(seconds=2)
        till.gateway.pass_time(wake.key)
        till.call("orderquery")
        till.gateway.pass_time(wake.key)
        assert till.notified() == ["A100011"]

    def test_a_preorder_expires(self, till: Till) -> None:
        """After time_expire it is closed and can no longer be paid; a past one is refused."""
        late = till.call("WECHAT_PreOrder", time_expire="20260101115959")
        assert said(late) == refused("20004")
        till.call("WECHAT_PreOrder", total_fee="405", time_expire="20260101121000")
        till.later(minutes=10)
        assert till.gateway.act(("00000001", "A100011"), Deed.CUSTOMER_PAYS).status is Status.CLOSED
        assert said(till.call("orderquery")) == CLOSED

    def test_the_customer_may_be_somebody_with_a_button(self, till: Till) -> None:
        """An open order is paid, declined or closed by hand; what is over stays."""
        for number, deed in enumerate(each for each in Deed if each.value is not None):
            till.call("WECHAT_PreOrder", total_fee="405", out_trade_no=f"A10000{number}")
            key = ("00000001", f"A10000{number}")
            assert till.gateway.act(key, deed).status is deed.value
            for other in Deed:
                assert till.gateway.act(key, other).status is deed.value


class TestPurity:
    def test_a_step_leaves_the_old_ledger_alone(self) -> None:
        """The ledger is a value: the same state, request and moment give the same step."""
        ledger = opened()
        fields = dict(VALID["pay"])
        first, second = (handle(ledger, "pay", fields, START) for _ in range(2))
        assert first == second
        assert len(ledger.orders) == 0
        assert passed(first.ledger, ("00000001", "A100011"), START).ledger == first.ledger

    @pytest.mark.parametrize("backwards", [False, True])
    def test_a_restart_takes_orders_up_in_the_order_they_were_made_in(
        self, till: Till, monkeypatch: pytest.MonkeyPatch, backwards: bool
    ) -> None:
        """Not in that of a table, which differs from one process to the next."""
        in_any_order(monkeypatch, backwards=backwards)
        numbers = ["A100012", "A100011", "A100013"]
        for number in numbers:
            url = "http://shop.invalid/notify"
            till.call("WECHAT_PreOrder", out_trade_no=number, notify_url=url)
        events = unfinished(till.gateway.ledger, till.now())
        assert [event.key[1] for event in events if isinstance(event, Wake)] == numbers

    def test_scenarios_are_told_apart_by_number_and_name(self) -> None:
        """Each table holds every scenario under its own number, and no name twice."""
        for table in (SCENARIOS, REFUND_SCENARIOS):
            named = {scenario.name for scenario in table.values()}
            assert len(named) == len(table)
            assert all(number == scenario.number for number, scenario in table.items())

    @given(st.lists(st.tuples(st.text(max_size=3), st.integers())))
    def test_a_table_is_a_mapping_that_never_changes(self, pairs: list[tuple[str, int]]) -> None:
        """It holds what a dict would hold, and tells what changed since an older one."""
        table: Table[str, int] = Table()
        plain: dict[str, int] = {}
        for key, value in pairs:
            older, before = table, dict(plain)
            table, plain[key] = table.put(key, value), value
            assert dict(older) == before
            changed = dict(table.changed_since(older))
            assert changed in ({}, {key: value})
            assert changed or before[key] is value
        assert dict(table) == plain
        assert len(table) == len(plain)
