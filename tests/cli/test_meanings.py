"""What a reply says: query, refund-query and send, in words, exit codes and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from chaoying_async import (
    Cancel,
    Fen,
    MerchantConfigError,
    OrderQuery,
    Pay,
    PayType,
    PollOutcome,
    PollStatus,
    Refund,
    RefundQuery,
)
from chaoying_async.cli import reply_display, reply_status
from chaoying_async.cli.exits import Exit, after_error
from chaoying_async.cli.watch.progress import PlainProgress
from chaoying_async.sansio.api.details import RefundItem
from chaoying_async.sansio.api.endpoint import Reply, Request
from chaoying_async.sansio.api.follow_up import RefundQueryResult
from chaoying_async.sansio.meaning import Meaning, classify
from tests.cli.processes import on_a_terminal
from tests.cli_calls import Running, in_thread
from tests.sizes import cases
from tests.table import table

CODE = "130000000000001111"

#: refund_fee's last three digits, and what `watch --refunds` says of such a refund.
REFUNDS = [
    ("30", "REFUNDED", Exit.OK, ""),
    ("502", "REFUND_FAILED", Exit.REFUSED, "a new one takes a new number"),
    ("503", "NOTSURE", Exit.PENDING, "under the same number"),
    ("504", "CHANGED", Exit.REFUSED, "a person pays it out"),
    ("505", "PENDING", Exit.PENDING, "send no other refund meanwhile"),
]


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """One paid order with a refund of every kind; its tests only ask."""
    with in_thread(speed=200) as made:
        made.call(*pay("A100011", "1230"))
        made.call(*pay("A100013", "9000"))
        for fee, *_ in REFUNDS:
            accepted = made.ask(*refund("A100013", fee, "9000"))
            assert (accepted["status"], accepted["payable"]) == ("ACCEPTED", int(fee))
            wait_for(made, f"RR{fee}")
        yield made


def pay(number: str, total: str) -> tuple[str, ...]:
    fields = (f"out_trade_no={number}", "body=tea", f"total_fee={total}", f"auth_code={CODE}")
    return ("send", "pay", *fields, "--yes")


def refund(order: str, fee: str, total: str) -> tuple[str, ...]:
    fields = (f"out_trade_no={order}", f"out_refund_no=RR{fee}", f"refund_fee={fee}")
    return ("send", "refund", *fields, f"total_fee={total}", "paytype=WECHAT", "--yes")


def wait_for(running: Running, number: str) -> None:
    """Let the sandbox's clock pass the refund's PROCESSING, as `watch` would."""
    every = ("--every", "0.1", "--until", "1" if number == "RR505" else "20")
    running.call("watch", "--refunds", number, "--paytype", "WECHAT", *every)


class TestRefunds:
    """M-25: a refund is over by its own refund_status, and by nothing else."""

    @pytest.mark.parametrize(("fee", "status", "code", "words"), REFUNDS)
    def test_it_ends_as_watch_says(
        self, running: Running, fee: str, status: str, code: Exit, words: str
    ) -> None:
        """M-25: refund-query has the status, the words and the exit code of `watch --refunds`."""
        shown = running.call("refund-query", f"RR{fee}")
        first = shown.stdout.splitlines()[0]
        assert shown.exit_code == code
        assert first.startswith(f"refundquery 退款查询: {status} {Fen(int(fee)).yuan} yuan")
        assert words in shown.stdout
        assert "the call succeeded" not in shown.stdout
        told = running.ask("refund-query", f"RR{fee}")
        assert (told["ok"], told["exit"]) == (code is Exit.OK, code)
        assert (told["status"], told["payable"], told["meaning"]) == (status, int(fee), "RESULT")
        sent = running.ask("send", "refundquery", f"out_refund_no=RR{fee}", "paytype=WECHAT")
        assert (sent["status"], sent["exit"]) == (status, code)

    @pytest.mark.parametrize("columns", cases(["40"], more=["80", "200"]))
    @pytest.mark.parametrize(
        ("fee", "status"),
        cases([("502", "REFUND_FAILED")], more=[each[:2] for each in REFUNDS if each[0] != "502"]),
    )
    def test_no_width_cuts_what_matters(
        self, running: Running, columns: str, fee: str, status: str
    ) -> None:
        """Number, the longest status and the gateway's own numbers are whole on every terminal."""
        fields = running.ask("refund-query", f"RR{fee}")["fields"]
        seen = on_a_terminal(("refund-query", f"RR{fee}"), running.env, more={"COLUMNS": columns})
        numbers = (f"RR{fee}", status, fields["transaction_id"], fields["out_trade_no"])
        assert all(number in seen for number in numbers)
        assert "…" not in seen

    def test_a_number_that_nobody_knows_is_about_a_refund(self, running: Running) -> None:
        """M-25: the advice is never about charging, and the same number is sent again."""
        told = running.ask("refund-query", "NOSUCH")
        assert (told["error"], told["exit"]) == ("OrderNotFoundError", Exit.REFUSED)
        assert "charge" not in told["next"]
        assert "under the same number" in told["next"]

    @pytest.mark.parametrize("options", [(), ("--paytype", "WECHAT")], ids=["all", "one"])
    def test_a_query_that_failed_is_no_not_found(
        self, running: Running, options: tuple[str, ...]
    ) -> None:
        """M-11: one wallet answers 20010, the others 20007: undecided, and no refund is sent."""
        fee = 508 if options else 1508
        total = f"{fee}0"
        order = f"QE{fee}"
        running.call(*pay(order, total))
        assert running.ask(*refund(order, f"{fee}", total))["status"] == "ACCEPTED"
        told = running.ask("refund-query", f"RR{fee}", *options)
        assert (told["error"], told["exit"]) == ("QueryRefusedError", Exit.PENDING)
        assert "no such" not in told["next"]
        assert "send no other refund" in told["next"]

    def test_each_refund_of_the_list_has_its_row(self) -> None:
        """M-06, M-25: the one that was asked about decides; the others are shown beside it."""
        request = RefundQuery(paytype=PayType.WECHAT, out_refund_no="T2")
        items = tuple(
            RefundItem(
                out_refund_no=f"T{n}",
                refund_id=f"5{n}",
                refund_status=status,
                base_refund_fee=Fen(n),
                refund_fee=Fen(n),
            )
            for n, status in enumerate(("SUCCESS", "FAIL", "LATER", None), start=1)
        )
        reply = answered(request, Meaning.RESULT, result=RefundQueryResult(refund_list=items))
        rows = reply_status.refunds(request, reply)
        assert [(row.item.out_refund_no, row.status, row.asked) for row in rows] == [
            ("T1", "REFUNDED", False),
            ("T2", "REFUND_FAILED", True),
            ("T3", "PENDING", False),
            ("T4", "PENDING", False),
        ]
        assert reply_status.said(request, reply).end.exit is Exit.REFUSED

    def test_a_program_reads_every_refund(self, running: Running) -> None:
        """`refunds` has the same rows, the amounts in fen."""
        told = running.ask("refund-query", "RR502")
        (row,) = [each for each in told["refunds"] if each["asked"]]
        assert (row["ok"], row["status"], row["refund_status"]) == (False, "REFUND_FAILED", "FAIL")
        assert (row["out_refund_no"], row["base_refund_fee"]) == ("RR502", 502)


class TestOrders:
    @pytest.mark.parametrize("options", [(), ("--paytype", "WECHAT")], ids=["all", "one"])
    def test_a_query_that_failed_is_no_not_found(
        self, running: Running, options: tuple[str, ...]
    ) -> None:
        """M-11: one wallet answers 20009, the others 20007: undecided, and the next query knows."""
        order = f"QE0423{len(options)}"
        assert running.ask(*pay(order, "423"))["status"] == "PAID"
        shown = running.ask("query", order, *options)
        assert (shown["error"], shown["exit"]) == ("QueryRefusedError", Exit.PENDING)
        assert "no such number" not in shown["next"]
        assert "charge nothing again" in shown["next"]
        assert running.ask("query", order, *options)["status"] == "PAID"

    def test_not_found_is_said_by_all(self, running: Running) -> None:
        """M-11: every wallet answered 20007."""
        told = running.ask("query", "NOSUCH423")
        assert (told["error"], told["exit"]) == ("OrderNotFoundError", Exit.REFUSED)

    @pytest.mark.parametrize("command", ["query", "send orderquery paytype=WECHAT", "send pay"])
    def test_paid_is_said_with_its_amount(self, running: Running, command: str) -> None:
        """`PAID 12.30`, and never "the call succeeded"."""
        number = "A100012" if command == "send pay" else "A100011"
        words = {
            "query": ("query", number),
            "send pay": pay(number, "1230"),
        }.get(command, (*command.split(), f"out_trade_no={number}"))
        shown = running.call(*words)
        assert "PAID 12.30 yuan" in shown.stdout.splitlines()[0]
        assert "the call succeeded" not in shown.stdout
        told = running.ask("query", number)
        assert (told["status"], told["payable"], told["ok"]) == ("PAID", 1230, True)

    @pytest.mark.parametrize(
        ("total", "status", "code"),
        [("1405", "PENDING", Exit.PENDING), ("1406", "FAILED", Exit.REFUSED)],
    )
    def test_what_is_not_paid(self, running: Running, total: str, status: str, code: Exit) -> None:
        """pay and query say the same, and `ok` is not true of either."""
        told = [running.ask(*pay(f"A20{total}", total)), running.ask("query", f"A20{total}")]
        for each in told:
            assert (each["status"], each["ok"], each["exit"]) == (status, False, code)

    def test_revoked_and_in_refund(self, running: Running) -> None:
        """A cancel is not the end: the query that follows is; in refund is not paid (C 39)."""
        running.call(*pay("A100014", "1000"))
        cancel = ("send", "cancel", "out_trade_no=A100014", "paytype=WECHAT", "--yes")
        told = running.ask(*cancel)
        assert (told["status"], told["ok"]) == ("ACCEPTED", True)
        assert "chaoying query A100014" in told["next"]
        after = running.ask("query", "A100014")
        assert (after["status"], after["exit"]) == ("REVOKED", Exit.REFUSED)
        assert running.ask("query", "A100013")["status"] == "REFUNDED"

    def test_a_refund_is_only_accepted(self, running: Running) -> None:
        """C 40: a refund's own answer is no refund; the next command is named."""
        running.call(*pay("A100015", "1000"))
        shown = running.call(*refund("A100015", "31", "1000"))
        assert "ACCEPTED 0.31 yuan" in shown.stdout
        assert "not carried out yet: chaoying refund-query RR31" in shown.stdout

    def test_a_pre_order_is_not_paid(self, running: Running) -> None:
        """C 24: it exists, and somebody may pay it."""
        order = ("body=x", "total_fee=1405", "trade_type=NATIVE", "product_id=1", "--yes")
        told = running.ask("send", "WechatPreOrder", "out_trade_no=Q30001", *order)
        assert (told["status"], told["payable"], told["ok"]) == ("OPEN", 1405, True)
        assert "not yet: chaoying query Q30001" in told["next"]

    @pytest.mark.parametrize("columns", cases(["20"], more=["40", "80"]))
    def test_no_width_cuts_an_order(self, running: Running, columns: str) -> None:
        """What identifies an order or says its status is whole on every terminal."""
        fields = running.ask("query", "A100011")["fields"]
        seen = on_a_terminal(("query", "A100011"), running.env, more={"COLUMNS": columns})
        for words in ("PAID 12.30 yuan", "A100011", fields["transaction_id"], fields["time_end"]):
            assert words in seen
        assert "…" not in seen


def answered(request: Request[Any], meaning: Meaning, **more: Any) -> Reply[Any]:
    """A reply of that meaning."""
    fields: dict[str, Any] = {"state": "SUCCESS", "code": None, "trade_state": None} | more
    return Reply(
        endpoint=request.endpoint,
        meaning=meaning,
        msg=None,
        result=fields.pop("result", None),
        signed=True,
        raw={},
        **fields,
    )


class TestEveryMeaning:
    REQUESTS: tuple[Request[Any], ...] = (
        Pay(out_trade_no="A100011", body="b", total_fee=1, auth_code=CODE),
        OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011"),
        Refund(
            paytype=PayType.WECHAT,
            out_trade_no="A100011",
            out_refund_no="T1",
            total_fee=1,
            refund_fee=1,
        ),
        RefundQuery(paytype=PayType.WECHAT, out_refund_no="T1"),
        Cancel(paytype=PayType.WECHAT, out_trade_no="A100011"),
    )

    @table("request_", REQUESTS, ids=lambda each: each.endpoint.name)
    @table("code", ["10000", "10001", "10002", "10004", "10005", "10006", "9", None])
    @table("trade_state", ["SUCCESS", "REFUND", "FAIL", "NEED_QUERY", "NEW", None])
    def test_only_a_result_is_ok(
        self, request_: Request[Any], code: str | None, trade_state: str | None
    ) -> None:
        """M-07, M-11: whatever comes under state SUCCESS, nothing but a result ends with 0."""
        meaning = classify(request_.endpoint.family, "SUCCESS", code, trade_state)
        if meaning is Meaning.RESULT:
            return
        said = reply_status.said(
            request_, answered(request_, meaning, code=code, trade_state=trade_state)
        )
        assert said.end.exit in (Exit.REFUSED, Exit.PENDING)
        assert said.end.then
        pending = meaning is Meaning.PENDING
        assert (said.end.exit is Exit.PENDING) is (pending or said.status == "PENDING")

    def test_a_refund_is_never_advised_about_charging(self) -> None:
        """M-25: nor is a query of one."""
        for request in self.REQUESTS[2:4]:
            for code, state in (("10004", "FAIL"), ("10002", "REFUND"), ("10001", "NEED_QUERY")):
                meaning = classify(request.endpoint.family, "SUCCESS", code, state)
                reply = answered(request, meaning, code=code, trade_state=state)
                said = reply_status.said(request, reply)
                assert said.end.exit is Exit.PENDING
                assert "charge" not in said.end.then


class TestGatewaysWords:
    """Why it failed, as the gateway says it."""

    @staticmethod
    def failed(msg: str | None) -> tuple[Request[Any], Reply[Any]]:
        request = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011")
        reply = answered(request, Meaning.FAILED, code="10006", trade_state="FAIL")
        return request, attrs.evolve(reply, msg=msg, raw={"out_trade_no": "A100011"})

    @pytest.mark.parametrize("msg", ["SUCCESS", " success ", "", None])
    def test_no_failure_is_called_a_success(self, msg: str | None) -> None:
        """The document prints that msg under nearly every reply."""
        assert reply_status.said(*self.failed(msg)).msg is None

    @pytest.mark.parametrize("msg", ["5 yuan came back", "5 yuan came back; try", "余额不足"])
    def test_they_are_never_translated(
        self, msg: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Status and amount are ours, and so in Chinese; the words may look like ours."""
        monkeypatch.delenv("LANGUAGE", raising=False)
        monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
        request, reply = self.failed(msg)
        reply_display.show(request, reply)
        first, then, *_ = capsys.readouterr().out.splitlines()
        assert first == f"orderquery 订单查询: FAILED: {msg}  A100011"
        assert then.startswith("已结束，未支付")

    @pytest.mark.parametrize("msg", ["5 yuan came back; try"])
    def test_nor_by_watch(
        self, msg: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Of an order whose line is printed plainly."""
        monkeypatch.delenv("LANGUAGE", raising=False)
        monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
        request, reply = self.failed(msg)
        assert isinstance(request, OrderQuery)
        outcome = PollOutcome[Any](query=request, status=PollStatus.FAILED, reply=reply)
        PlainProgress().ended(outcome)
        assert f"  {msg}  已结束，未支付" in capsys.readouterr().out


@pytest.mark.parametrize("request_", TestEveryMeaning.REQUESTS, ids=lambda each: each.endpoint.name)
def test_another_wallet_is_advised_for_a_payment_only(request_: Request[Any]) -> None:
    """20013: what is queried, refunded or cancelled has the wallet that it was paid with."""
    error = MerchantConfigError("refused", state="FAIL", code="20013")
    code, then = after_error(error.about(request_.endpoint.name, "A100011"))
    assert code is Exit.REFUSED
    assert "this call moved nothing" in then
    assert ("another wallet" in then) is isinstance(request_, Pay)
    assert ("paid with" in then) is not isinstance(request_, Pay)


def test_amounts_are_shown_in_both_units() -> None:
    """Fen, as the gateway says it, and yuan."""
    assert reply_display.readable("base_fee", "1230") == "1230 fen = 12.30 yuan"
    assert json.loads(str(reply_display.readable("x", [1]))) == [1]
