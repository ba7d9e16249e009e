"""check, send, query, refund-query: against real sandbox processes, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chaoying_async import MchReg, Pay, PayBoxConfGet, QrConfGet
from chaoying_async.cli import fields
from chaoying_async.cli.exits import Exit
from chaoying_async.exceptions import ParameterError
from chaoying_async.sansio.api import REQUESTS
from chaoying_async.sansio.credentials import SortOrder
from chaoying_async.sansio.enums import Undocumented
from tests.cli.processes import on_a_terminal
from tests.cli_calls import Running, call, in_thread, said

CODE = "130000000000001111"
OPENID = "oHmbktxFlpoEPo2Ol5GOJniV2q-A"
PRODUCTION = "pay.storepos.cn"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """The document's world, for all tests of this file; each has order numbers of its own."""
    with in_thread() as made:
        yield made


def pay(number: str, total: str = "1000", *more: str) -> tuple[str, ...]:
    return (
        *("send", "pay", f"out_trade_no={number}", "body=tea", f"total_fee={total}"),
        *(f"auth_code={CODE}", *more),
    )


class TestCheck:
    """The four worlds, and everything that can be wrong, told in plain words."""

    @pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
    @pytest.mark.parametrize("order", ["ASCII", "IGNORE_CASE"])
    def test_it_tells_which_world_it_is(self, order: str, *, signed: bool) -> None:
        """Order of names and signing of failures; the configured order decides the exit code."""
        with in_thread(sort_order=SortOrder(order), sign_failures=signed) as world:
            told = world.ask("check")
            wanted = world.ask("check", "--order", order.lower().replace("_", "-"))
        assert told["sort_order"] == wanted["sort_order"] == order
        assert told["failures_signed"] is wanted["failures_signed"] is signed
        assert (told["ok"], told["exit"]) == ((True, 0) if order == "ASCII" else (False, 1))
        assert (wanted["ok"], wanted["exit"], wanted["algorithm"]) == (True, 0, "MD5")

    def test_each_answer_has_its_meaning(self, running: Running) -> None:
        """A table for a person: what was looked at, whether it fits, and what that means."""
        result = running.call("check")
        assert result.exit_code == 0
        for words in ("the gateway accepts our signature", "the merchant is known", "may trade"):
            assert words in result.stdout
        assert "NO" not in result.stdout.replace("NOSUCH", "")

    @pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
    def test_a_wrong_key_is_told(self, *, signed: bool) -> None:
        """Signed refusals do not verify, unsigned ones say so: both mean the key."""
        with in_thread(sign_failures=signed) as world:
            told = world.ask("check", env={"CHAOYING_KEY": "another-key-of-the-tests"})
        assert (told["ok"], told["exit"], told["algorithm"]) == (False, 1, None)
        (key,) = [each for each in told["checks"] if each["check"].startswith("key")]
        assert key["fine"] is False
        assert "another key" in key["means"]
        assert "another-key-of-the-tests" not in json.dumps(told)

    def test_a_wrong_algorithm_is_found(self, running: Running) -> None:
        """The key is right, and the gateway signs otherwise: that is tried, and said."""
        told = running.ask("check", env={"CHAOYING_ALGORITHM": "SHA256"})
        assert (told["ok"], told["algorithm"]) == (False, "MD5")
        assert any("signs with MD5" in each["means"] for each in told["checks"])

    @pytest.mark.parametrize(
        ("env", "words"),
        [
            ({"CHAOYING_AGENT_ID": "1"}, "agent number"),
            ({"CHAOYING_VERSION": "0.0"}, "CHAOYING_VERSION is too low"),
            ({"CHAOYING_MCH_ID": "99999999"}, "no merchant"),
            ({"CHAOYING_MCH_ID": "00000030"}, "not enabled"),
            ({"CHAOYING_MCH_ID": "00000013"}, "no trading configuration"),
        ],
        ids=["agent", "version", "merchant", "disabled", "not configured"],
    )
    def test_what_else_is_wrong(
        self, running: Running, env: dict[str, str | None], words: str
    ) -> None:
        """Agent, version, merchant and its configuration, each in its words; exit code 1."""
        told = running.ask("check", env=env)
        assert told["exit"] == 1
        assert any(words in each["means"] for each in told["checks"] if each["fine"] is False)

    def test_nobody_there(self) -> None:
        """Exit code 4, and the address that cannot be reached."""
        env = {"CHAOYING_KEY": "k", "CHAOYING_AGENT_ID": "1", "CHAOYING_PID": "p"}
        result = call("check", "--url", "http://[::1]:9", "--mch-id", "1", "--json", env={**env})
        assert result.exit_code == said(result)["exit"] == Exit.UNREACHED
        assert any("cannot be reached" in each["means"] for each in said(result)["checks"])
        shown = call("check", "--url", "http://[::1]:9", "--mch-id", "1", env={**env})
        assert "address [::1]:9" in shown.stdout

    def test_something_before_the_gateway(self) -> None:
        """A proxy's page is no gateway."""
        with in_thread("http-502") as world:
            told = world.ask("check")
        assert told["exit"] == Exit.UNREACHED
        assert any("HTTP 502" in each["means"] for each in told["checks"])

    def test_a_reply_that_is_signed_wrongly(self) -> None:
        """Exit code 5: believe nothing."""
        with in_thread("wrong-sign") as world:
            told = world.ask("check")
        assert told["exit"] == Exit.UNTRUSTED

    def test_nothing_was_moved(self) -> None:
        """Two reads, and no order afterwards."""
        with in_thread() as world:
            world.ask("check")
            books = world.call("trigger", "pays", "A1")
        assert books.exit_code == 2  # there is no order that could be paid


class TestSend:
    def test_a_payment_and_what_follows_from_it(self, running: Running) -> None:
        """pay, query, refund, refund-query: 0 all the way, personal values as ***."""
        paid = running.ask(*pay("A20001", "12.30", "--yes"))
        assert (paid["ok"], paid["meaning"], paid["signed"]) == (True, "RESULT", True)
        assert paid["fields"]["base_fee"] == "1230"
        assert paid["fields"]["openid"] == paid["fields"]["sign"] == "***"
        asked = running.ask("query", "A20001")
        assert asked["fields"]["transaction_id"] == paid["fields"]["transaction_id"]
        by_theirs = running.ask("query", "--transaction-id", paid["fields"]["transaction_id"])
        assert by_theirs["fields"]["out_trade_no"] == "A20001"
        refund = ("--out-trade-no", "A20001", "--out_refund_no", "TK-20001", "--total-fee", "1230")
        back = running.ask(
            *("send", "Refund", *refund, "--refund-fee", "30", "--paytype", "WECHAT", "--yes")
        )
        assert back["fields"]["base_refund_fee"] == "30"
        ended = running.ask("refund-query", "TK-20001")
        assert "TK-20001" in json.dumps(ended["fields"]["refund_list"])
        by_id = running.ask("refund-query", "--refund-id", back["fields"]["refund_id"])
        assert (by_id["status"], by_id["exit"]) == ("PENDING", Exit.PENDING)  # PROCESSING

    def test_why_it_was_not_paid_stands_in_the_first_line(self, running: Running) -> None:
        """What the cashier reads out, of a payment and of a query; no advice misleads."""
        failed = running.call(*pay("A20601", "1406", "--yes"))
        for shown in (failed, running.call("query", "A20601")):
            assert "FAILED" in shown.stdout.splitlines()[0]
            assert "余额不足" in shown.stdout.splitlines()[0]
        refused = running.call(*pay("A20602", "1416", "--yes"))
        assert "20013" in refused.stderr
        assert "not set up for this kind of payment" in refused.stderr
        assert "a new number" not in refused.stderr
        for merchant, words in (("99999999", "CHAOYING_MCH_ID"), ("00000013", "no other order")):
            env = {"CHAOYING_MCH_ID": merchant}
            assert words in running.call(*pay("A20603", "1000", "--yes"), env=env).stderr

    def test_what_nobody_sees_in_a_field_is_named_by_the_field(self, running: Running) -> None:
        """Not by the variable that would stand in for it; blanks are no body."""
        typed = running.ask("send", "orderquery", "paytype=WECHAT", "out_trade_no=A1", "mch_id=1\r")
        assert typed["exit"] == Exit.USAGE
        assert "mch_id: has blanks or a line end" in typed["message"]
        assert "CHAOYING" not in typed["message"] + typed["next"]
        asked = running.ask("query", "A20701\r")
        assert "out_trade_no: has blanks or a line end" in asked["message"]
        blank = ("out_trade_no=A20701", "body= ", "total_fee=1", f"auth_code={CODE}\r")
        told = running.ask("send", "pay", *blank, "--yes")["message"]
        assert "body: is required, and holds nothing but blanks" in told
        assert "auth_code: has blanks or a line end at an end, a carriage return" in told
        assert CODE not in told

    def test_any_name_of_an_endpoint_will_do(self, running: Running) -> None:
        """The document's, the class's, in any case."""
        for name in ("orderquery", "OrderQuery", "ORDERQUERY"):
            result = running.call("send", name, "paytype=WECHAT", "out_trade_no=NOSUCH1")
            assert result.exit_code == Exit.REFUSED
        for kind in REQUESTS:
            for name in (kind.endpoint.name, kind.__name__):
                assert call("send", name, "--help").exit_code == 0

    def test_reads_are_not_asked_about(self, running: Running) -> None:
        """Nothing to confirm where nothing moves."""
        told = running.ask("send", "GetMchInfo", "mch_id=00000001")
        assert told["fields"]["ShortName"]

    @pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 2), ("", 2)])
    def test_money_is_asked_about(self, running: Running, typed: str, code: int) -> None:
        """What moves, how much and where; without a yes nothing is sent."""
        number = f"A2100{len(typed)}{code}"
        result = running.call(*pay(number, "12.30"), input=typed)
        assert result.exit_code == code
        assert "12.30 yuan" in result.stderr
        assert running.url in result.stderr
        assert CODE not in result.output
        found = running.call("query", number).exit_code
        assert found == (Exit.OK if code == 0 else Exit.REFUSED)

    @pytest.mark.parametrize("url", [None, f"https://{PRODUCTION}", "https://proxy.example"])
    def test_real_money_needs_another_word(self, running: Running, url: str | None) -> None:
        """Anywhere but on this machine: --production, or nothing is sent, --yes or not."""
        result = running.call(*pay("A20002", "1000", "--yes"), env={"CHAOYING_URL": url})
        assert result.exit_code == 2
        assert "--production" in result.stderr

    def test_plain_http_to_another_machine_is_refused(self, running: Running) -> None:
        """A signed request does not travel in the open."""
        result = running.call("query", "A1", "--url", "http://gateway.example")
        assert result.exit_code == 2
        assert "https" in result.stderr

    @pytest.mark.parametrize(
        ("total", "code"),
        [("1405", Exit.PENDING), ("1406", Exit.REFUSED), ("1413", Exit.UNKNOWN)],
        ids=["pending", "failed", "unclear"],
    )
    def test_what_is_not_paid_has_its_exit_code(
        self, running: Running, total: str, code: Exit
    ) -> None:
        """Ask again, over, and unknown; as JSON and in words, with the next step."""
        told = running.ask(*pay(f"B{total}0", total, "--yes"))
        assert (told["ok"], told["exit"]) == (False, code)
        assert told["next"]
        result = running.call(*pay(f"B{total}1", total, "--yes"))
        assert result.exit_code == code
        assert told["next"] in result.output

    def test_an_unclear_end_names_the_query(self, running: Running) -> None:
        """The command to type next stands there, with the number."""
        result = running.call(*pay("C20001", "1413", "--yes"))
        assert "chaoying query C20001" in result.stderr
        assert running.call("query", "C20001").exit_code == 0
        refund = ("out_trade_no=C20001", "out_refund_no=TK-3", "total_fee=1413", "refund_fee=506")
        unclear = running.call("send", "refund", *refund, "paytype=WECHAT", "--yes")
        assert unclear.exit_code == Exit.UNKNOWN
        assert "chaoying refund-query TK-3" in unclear.stderr

    def test_a_number_that_was_used_before_is_told_as_that(self, running: Running) -> None:
        """M-24: the query will say PAID, and that may be the earlier sale's."""
        running.call(*pay("C20004", "1230", "--yes"))
        again = running.call(*pay("C20004", "1230", "--yes"))
        assert again.exit_code == Exit.UNKNOWN
        assert "your own record" in again.stderr
        assert "never cancel it" in again.stderr
        assert "your own record" not in running.call(*pay("C20005", "1413", "--yes")).stderr

    def test_a_refusal_as_json(self, running: Running) -> None:
        """Its class, code and message."""
        told = running.ask("query", "NOSUCH2", "--paytype", "ALIPAY")
        assert (told["error"], told["code"]) == ("OrderNotFoundError", "20007")
        assert told["exit"] == Exit.REFUSED
        assert "not known to be unpaid" in told["next"]

    def test_what_is_not_known_is_told_with_what_to_do(self, running: Running) -> None:
        """M-11: not decided is neither paid nor unpaid: deliver nothing, charge nothing again."""
        running.call(*pay("N20001", "1405", "--yes"))
        shown = running.call("query", "N20001")
        assert shown.exit_code == Exit.PENDING
        assert "the outcome is not known yet" in shown.stdout
        assert "neither paid nor unpaid: deliver nothing and charge nothing again" in shown.stdout
        running.call(*pay("N20002", "1418", "--yes"))
        other = running.ask("query", "N20002")
        assert (other["error"], other["exit"]) == ("ReplyMismatchError", Exit.UNTRUSTED)
        assert "something else than what was asked" in other["next"]

    def test_nobody_there(self, running: Running) -> None:
        """A payment that never left: exit code 4, and that it may be repeated."""
        told = running.ask(*pay("A20003", "1000", "--yes"), env={"CHAOYING_URL": "http://[::1]:9"})
        assert (told["error"], told["exit"]) == ("RequestNotSentError", Exit.UNREACHED)

    def test_every_bad_field_is_named_at_once(self, running: Running) -> None:
        """Missing, wrong, unknown: one message, and nothing was sent."""
        arguments = ("total_fee=1.2.3", "colour=red", "mch_create_ip=x", "out_trade_no=A1")
        told = running.ask("send", "pay", *arguments, "--yes")
        assert told["exit"] == 2
        for name in ("total_fee", "colour", "body", "auth_code"):
            assert name in told["message"]

    def test_a_field_twice_is_refused(self, running: Running) -> None:
        """As an option and as a word: nobody guesses which one counts."""
        result = running.call("send", "GetMchInfo", "--mch-id", "1", "mch_id=2")
        assert result.exit_code == 2
        assert "mch_id" in result.stderr

    def test_a_scanned_link(self, running: Running) -> None:
        """QrConfGet: the link is an option of its own, --url stays the gateway."""
        told = running.ask(
            *("send", "QrConfGet", "--link", f"{running.url}/qrpay/00000001?op_shop_id=1"),
            *("--device-info", "CySoftPayBox", "op_device_id=000063066004189990000194"),
        )
        assert (told["endpoint"], told["exit"]) == ("QrConfGet", 0)

    def test_undocumented_parameters(self, running: Running) -> None:
        """--extra, which is all that Mch_Reg takes."""
        told = running.ask("send", "MchReg", "--extra", "key1=aaa")
        assert told["endpoint"] == "Mch_Reg"

    def test_a_password_is_never_typed_here(self, running: Running) -> None:
        """It is asked for; what stands on the command line is refused and not repeated."""
        for words in (["password=hunter2hunter"], ["--password", "hunter2hunter"]):
            result = running.call("send", "GetMchId", "username=13800000000", *words)
            assert result.exit_code == 2
            assert "hunter2hunter" not in result.output
        asked = running.call("send", "GetMchId", "username=13800000000", "password=-")
        assert asked.exit_code == 2
        assert "no terminal" in asked.stderr

    def test_a_password_is_asked_for(self, running: Running) -> None:
        """On a terminal, and not echoed."""
        command = ["send", "GetMchId", "username=13800000000", "password=-"]
        seen = on_a_terminal(command, running.env, typed="12345678")
        assert "12345678" not in seen
        assert "00000001" in seen
        assert seen.endswith("exit code 0")


class TestQrCode:
    ORDER = ("body=x", "total_fee=1405", "trade_type=NATIVE", "product_id=1", "--yes")

    def test_it_is_drawn_on_a_terminal(self, running: Running) -> None:
        """code_url as half blocks, in a framed and coloured table."""
        seen = on_a_terminal(
            ["send", "WechatPreOrder", "out_trade_no=Q20001", *self.ORDER], running.env
        )
        assert "▄▄▄▄▄" in seen
        assert "╭" in seen
        assert "\x1b[" in seen
        assert OPENID not in seen

    def test_elsewhere_it_is_drawn_when_asked_for(self, running: Running) -> None:
        """Not into a pipe by itself; with --qr; never into JSON."""
        plain = running.call("send", "ALIPAY_PreOrder", "out_trade_no=Q20002", *self.ORDER)
        drawn = running.call("send", "ALIPAY_PreOrder", "out_trade_no=Q20003", *self.ORDER, "--qr")
        assert "▄▄▄▄▄" not in plain.stdout
        assert "▄▄▄▄▄" in drawn.stdout
        assert "code_url" in plain.stdout
        told = running.ask("send", "ALIPAY_PreOrder", "out_trade_no=Q20004", *self.ORDER, "--qr")
        assert told["fields"]["code_url"].startswith("https://qr.alipay.com/")

    def test_what_starts_a_wallet_is_masked(self, running: Running) -> None:
        """pay_info and token_id are as good as money."""
        order = ("body=x", "total_fee=1405", "trade_type=JSPAY", "buyer_id=o1", "sub_appid=wx1")
        told = running.ask("send", "WechatPreOrder", "out_trade_no=Q20005", *order, "--yes")
        assert told["fields"]["pay_info"] == told["fields"]["token_id"] == "***"


COMMON = {"out_trade_no": "A100011", "body": "tea", "auth_code": CODE}


class TestFields:
    """name=value to the request's own types."""

    @pytest.mark.parametrize(
        ("text", "amount"), [("1230", 1230), ("12.30", 1230), ("12.3", 1230), ("0.01", 1)]
    )
    def test_amounts(self, text: str, amount: int) -> None:
        """Digits are fen, a decimal point makes it yuan."""
        made = fields.made(Pay, {**COMMON, "total_fee": text}, {})
        assert isinstance(made, Pay)
        assert made.total_fee == amount

    @pytest.mark.parametrize("text", ["12.345", "-1", "1e3", "１２", "", "0"])
    def test_amounts_that_are_none(self, text: str) -> None:
        """Refused, never rounded."""
        with pytest.raises(ParameterError, match="total_fee"):
            fields.made(Pay, {**COMMON, "total_fee": text}, {})

    def test_everything_else(self) -> None:
        """Times, tables, values outside a table, goods, and a terminal's own pid."""
        kinds = {kind.__name__: kind for kind in REQUESTS}
        order: Any = fields.made(
            kinds["WechatPreOrder"],
            {
                "out_trade_no": "A100011",
                "body": "tea",
                "total_fee": "1",
                "trade_type": "NATIVE",
                "product_id": "1",
                "time_start": "20260101120000",
                "goods_detail": '[{"goods_id": "1", "quantity": 1, "price": 1}]',
            },
            {"later": "1"},
        )
        assert order.wire_fields()["time_start"] == "20260101120000"
        assert order.wire_fields()["goods_detail"].startswith('[{"goods_id":"1"')
        assert order.extra == {"later": "1"}
        query: Any = fields.made(
            kinds["OrderQuery"], {"paytype": "=ECNY", "out_trade_no": "A1"}, {}
        )
        assert query.paytype == Undocumented("ECNY")
        terminal: Any = fields.made(PayBoxConfGet, {"op_device_id": "1", "pid": "box"}, {})
        assert terminal.pid == "box"

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("time_start", "tomorrow"),
            ("goods_detail", "[1]"),
            ("goods_detail", "{"),
            ("goods_detail", "[" * 100_000),
            ("trade_type", "BARTER"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, name: str, text: str) -> None:
        """The field and its form, never the value."""
        kind = next(kind for kind in REQUESTS if kind.__name__ == "WechatPreOrder")
        given = {"out_trade_no": "A100011", "body": "b", "total_fee": "1", "trade_type": "NATIVE"}
        with pytest.raises(ParameterError, match=name) as caught:
            fields.made(kind, {**given, name: text}, {})
        assert text not in str(caught.value)

    def test_every_field_is_an_option_or_a_word(self) -> None:
        """Made from the classes: only names that mean something else are no options."""
        assert fields.options_of(MchReg, frozenset()) == []
        names = {option.opts[0] for option in fields.options_of(QrConfGet, frozenset({"--pid"}))}
        assert names == {"--device-info", "--op-device-id"}
