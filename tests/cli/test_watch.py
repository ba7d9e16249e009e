"""watch: against real sandbox processes, over real HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from chaoying_async import OrderQuery, PayType, RefundQuery
from chaoying_async.cli.exits import _STATUSES, Exit, after_outcome, worst
from chaoying_async.cli.watch.watch_list import OrderReader
from chaoying_async.polling import PollOutcome
from chaoying_async.sansio.polling.status import PollStatus
from tests.cli.processes import Process, begun, on_a_terminal
from tests.cli_calls import Running, call, environment, in_thread, said
from tests.sizes import FULL

CODE = "130000000000001111"
QUICK = ("--every", "0.05", "--until", "0.3")
WECHAT = ("--paytype", "WECHAT")


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """Five payments, each with another end; its tests only ask."""
    with in_thread() as made:
        for total in ("1000", "1405", "1406", "1412"):
            pay(made, f"A{total}", total)
        yield made


def pay(running: Running, number: str, total: str) -> None:
    fields = (f"out_trade_no={number}", "body=tea", f"total_fee={total}", f"auth_code={CODE}")
    running.call("send", "pay", *fields, "--yes")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def started(running: Running, *arguments: str) -> Process:
    return begun("watch", *arguments, env=environment(running.env), stdin=subprocess.PIPE)


class TestEnds:
    def test_each_has_its_line_and_the_table_adds_them_up(self, running: Running) -> None:
        """Status, number, amount, what to do; the exit code is that of the worst."""
        numbers = ("A1000=10.00", "A1405", "A1406", "A1412=1412", "NOSUCH")
        result = running.call("watch", *numbers, *WECHAT, *QUICK)
        assert result.exit_code == Exit.UNTRUSTED
        found = {line.split()[1]: line for line in result.stdout.splitlines()[:5]}
        assert found["A1000"].split()[:4] == ["PAID", "A1000", "10.00", "yuan"]
        assert "it may have been paid" in found["A1405"]
        assert "EXPIRED" in found["A1405"]
        assert "a new number" in found["A1406"]
        assert found["A1412"].split()[:3] == ["MISMATCH", "A1412", "14.13"]
        assert "NOT_FOUND" in found["NOSUCH"]
        assert [line.split()[:2] for line in result.stdout.splitlines()[6:]] == [
            [status, "1"] for status in ("EXPIRED", "FAILED", "MISMATCH", "NOT_FOUND", "PAID")
        ]

    @pytest.mark.parametrize(
        ("number", "code"),
        [
            ("A1000=1000", Exit.OK),
            ("A1000=10.01", Exit.UNTRUSTED),
            ("A1405", Exit.PENDING),
            ("A1406", Exit.REFUSED),
            ("NOSUCH", Exit.REFUSED),
        ],
        ids=["paid", "another amount", "undecided", "failed", "not found"],
    )
    def test_a_program_reads_a_line_an_outcome(
        self, running: Running, number: str, code: Exit
    ) -> None:
        """JSON on stdout and nothing else; the line's own code, and the command's."""
        result = running.call("watch", number, *WECHAT, *QUICK, "--json")
        (told,) = lines(result.stdout)
        assert result.exit_code == told["exit"] == code
        assert told["ok"] is (code is Exit.OK)
        assert told["out_trade_no"] == number.partition("=")[0]
        assert (told["paytype"], bool(told["next"])) == ("WECHAT", code is not Exit.OK)
        assert result.stderr == ""

    def test_refunds_go_by_their_own_number(self, running: Running) -> None:
        """--refunds: out_refund_no, and what was applied for as the amount."""
        pay(running, "B1000", "1000")
        refund = ("--out-trade-no", "B1000", "--out-refund-no", "TK1", "--total-fee", "1000")
        running.call("send", "Refund", *refund, "--refund-fee", "30", *WECHAT, "--yes")
        back = ("--every", "0.5", "--until", "20")
        result = running.call("watch", "--refunds", "TK1=0.30", *WECHAT, *back, "--json")
        (told,) = lines(result.stdout)
        assert (told["status"], told["payable"], result.exit_code) == ("REFUNDED", 30, 0)
        result = running.call("watch", "B1000", *WECHAT, *QUICK, "--json")
        (told,) = lines(result.stdout)
        assert (told["status"], result.exit_code) == ("REFUNDED", Exit.REFUSED)
        assert "deliver nothing" in told["next"]

    def test_nobody_there_is_undecided_not_failed(self, running: Running) -> None:
        """What could not be asked may have been paid: exit code 6, with the reason."""
        result = running.call(
            "watch", "A1000", *WECHAT, *QUICK, "--rate", "50", "--json", "--url", "http://[::1]:9"
        )
        (told,) = lines(result.stdout)
        assert (told["status"], result.exit_code) == ("EXPIRED", Exit.PENDING)
        assert told["error"] == "RequestNotSentError"

    def test_no_status_is_without_a_meaning(self) -> None:
        """Every way to end has an exit code, only good news goes without advice."""
        assert set(_STATUSES) == set(PollStatus)
        silent = {status for status, end in _STATUSES.items() if not end.then}
        assert silent == {PollStatus.PAID, PollStatus.REFUNDED}
        assert all((_STATUSES[each].exit is Exit.OK) is (each in silent) for each in PollStatus)

    def test_the_worst_counts(self) -> None:
        """Another amount, then undecided, then refused; nothing at all is fine."""
        every = (Exit.OK, Exit.REFUSED, Exit.PENDING, Exit.UNTRUSTED)
        for count in range(1, 5):
            assert worst(every[:count]) is every[count - 1]
        assert worst(()) is Exit.OK

    def test_a_refund_made_is_good_news_of_a_refund_only(self) -> None:
        """An order that has gone into refund was not paid for (C 23)."""
        order = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A1")
        refund = RefundQuery(paytype=PayType.WECHAT, out_refund_no="T1")
        found = [
            after_outcome(PollOutcome(query=query, status=PollStatus.REFUNDED)).exit
            for query in (order, refund)
        ]
        assert found == [Exit.REFUSED, Exit.OK]


class TestLists:
    READER = OrderReader(refunds=False, paytype="WECHAT", mch_id="00000001")

    @pytest.mark.parametrize(
        "text",
        [
            '{"out_trade_no": "A1", "expected": 1230}\n{"out_trade_no": "A2"}',
            '{"Out_Trade_No ": "A1", "expected": "12.30"}\n\n{"out_trade_no": "A2"}\n',
            "\ufeffA1,1230\nA2",
            'A1,"12.30"\n{"out_trade_no": "A2"}',
            "A1;12.30\r\nA2\r\n",
            "A1\t1230\nA2\n",
        ],
        ids=["json", "yuan, other spelling", "no header", "mixed", "semicolons", "tabs"],
    )
    def test_lines_of_either_kind(self, text: str) -> None:
        """JSON or CSV, with and without a header; amounts as in `send`."""
        found = [(query.out_trade_no, amount) for query, amount in self.rows(text)]
        assert found == [("A1", 1230), ("A2", None)]

    @pytest.mark.parametrize(
        "text",
        [
            "out_trade_no,expected\nA1,12.30\nA2,0.01\n",
            "mch_id,Expected, OUT_TRADE_NO\n1,1230,A1\n2,1,A2",
            "out_trade_no;expected\nA1;12.30\nA2;0.01\n",
            "expected\tmch_id\tout_trade_no\n1230\t\tA1\n1\t1\tA2",
        ],
        ids=["header", "any order", "semicolons", "tabs, any order"],
    )
    def test_lines_under_a_header(self, text: str) -> None:
        """By the names of the columns, in whatever order."""
        found = [(query.out_trade_no, amount) for query, amount in self.rows(text)]
        assert found == [("A1", 1230), ("A2", 1)]

    def test_a_line_may_name_its_wallet_and_merchant(self) -> None:
        """Which win over the options."""
        ((query, _),) = self.rows(
            '{"transaction_id": "42", "paytype": "ALIPAY", "mch_id": "00000002"}'
        )
        assert (query.transaction_id, query.paytype, query.mch_id) == ("42", "ALIPAY", "00000002")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("A1\n{not json", "line 2: not a JSON object"),
            ('{"number": "A1"}', "line 1: needs out_trade_no or transaction_id"),
            ("A1,12.3.4", "line 1, column 2 (expected): must be fen"),
            ('{"out_trade_no": "A1", "expected": 12.3}', "line 1: expected must be fen"),
            ('{"out_trade_no": "A1", "paytype": "WECHATT"}', "line 1: 'WECHATT'"),
            ("A1|12.30", "line 1, column 1 (out_trade_no): 'A1|12.30' is no number"),
            ("A1,12.30\nA2;12.30", "line 2, column 1 (out_trade_no): 'A2;12.30' is no number"),
            ("A1,12,30", "line 1, column 3: there are 2 columns"),
            ("A1;12,30", "line 1, column 2 (expected): must be fen"),
            ("mch_id,out_trade_no,expected\n1,A1,1O", "line 2, column 3 (expected): must be fen"),
            ("out_trade_no,paytype\nA1,WECHATT", "line 2, column 2 (paytype): 'WECHATT'"),
        ],
    )
    def test_what_is_wrong_is_told_with_its_line(
        self, running: Running, tmp_path: Path, text: str, words: str
    ) -> None:
        """Exit code 2."""
        file = tmp_path / "orders"
        file.write_text(text, encoding="utf-8")
        result = running.call("watch", "--file", str(file), *WECHAT, *QUICK)
        assert result.exit_code == Exit.USAGE
        assert words in result.stderr

    @pytest.mark.parametrize(
        "text",
        [
            "out_trade_no,paytype,amount\nA1000,WECHAT,0.01",
            "out_trade_no,paytype,total_fee\nA1000,WECHAT,1",
            "out_trade_no,expectd\nA1000,1",
            "Out_Trade_No , Amount \nA1000,1",
            "\ufeffout_trade_no,金额\nA1000,1",
            "商户订单号,金额\nA1000,1",
            "订单号\nA1000",
            "order_no\nA1000",
            "order_no,expected\nA1000,1",
            "out_trade_no;amount\nA1000;1",
            "out_trade_no\tamount\nA1000\t1",
            '{"out_trade_no": "A1000", "expectd": 1}',
            '{"out_trade_no": "A1000", "order": {"expected": 1}}',
            'A1000\n{"out_trade_no": "A1000", "total_fee": 1}',
        ],
    )
    def test_an_unknown_column_is_refused(
        self, running: Running, tmp_path: Path, text: str
    ) -> None:
        """It may say what is expected: exit code 2, the known ones named, and nothing is asked."""
        result = self.watched(running, tmp_path, text)
        assert (result.exit_code, result.stdout) == (Exit.USAGE, "")
        assert "known are out_trade_no, transaction_id, expected, paytype, mch_id" in result.stderr

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("out_trade_no,expected,expected\nA1000,1,2", "'expected' comes twice"),
            ('{"out_trade_no": "A1000", "expected": 2, "expected": 1}', "'expected' comes twice"),
            ('{"out_trade_no": "A1000", "Expected": 2, "expected": 1}', "'expected' comes twice"),
            ("out_trade_no,,expected\nA1000,7,1", "line 2, column 2: its column has no name"),
            ("out_trade_no,expected\nA1000,1,2", "line 2, column 3: there are 2 columns"),
            ('out_trade_no,expected\n"A1000,1', "line 2: not a row of CSV"),
            ("paytype,expected\nWECHAT,1", "needs out_trade_no or transaction_id as a column"),
            ('[{"out_trade_no": "A1000"}]', "one JSON object a line"),
            ('{"out_trade_no": ["A1000"]}', "out_trade_no must be a text"),
            ('{"a":' * 5000, "not a JSON object"),
            ("out_trade_no,expected\nA1000,12.30\nA1406,12", "line 3, column 2 (expected): '12'"),
            ("A1000,1230\nA1406,12.30", "line 2, column 2 (expected): '12.30' and '1230' (line 1)"),
            ('out_trade_no,expected\nA1000,"1,230.00"', "line 2, column 2 (expected): must be fen"),
            ("out_trade_no,expected\nA1000,１２３０", "line 2, column 2 (expected): must be fen"),
            ("out_trade_no,expected\nA1000,1.23E+03", "line 2, column 2 (expected): must be fen"),
        ],
        ids=str,
    )
    def test_a_column_that_could_be_read_twice(
        self, running: Running, tmp_path: Path, text: str, words: str
    ) -> None:
        """M-12: no amount is guessed, none is left out; nothing is asked."""
        result = self.watched(running, tmp_path, text)
        assert (result.exit_code, result.stdout) == (Exit.USAGE, "")
        assert words in result.stderr

    @pytest.mark.parametrize("under", ["out_trade_no", "transaction_id", "mch_id", "json"])
    @pytest.mark.parametrize(
        ("number", "words"),
        [
            ("1.49777E+14", "a spreadsheet has made a number of it"),
            ("1.49777e+14", "a spreadsheet has made a number of it"),
            ("1,49777E+14", "a spreadsheet has made a number of it"),
            ("1.0E14", "a spreadsheet has made a number of it"),
            ("1E+14", "a spreadsheet has made a number of it"),
            ("149777000000000.0", "written with a decimal point"),
            ("149777000000000.", "written with a decimal point"),
            ("'149777000000000", "mark for a text"),
            ('="149777000000000"', "mark for a text"),
            ("149,777,000", "separators of thousands"),
            ("149 777 000", "separators of thousands"),
            ("１４９７７７", "full-width"),
            ("14977７", "full-width"),
            ("A1\x000", "cannot be seen"),
            ("A1\x1b0", "cannot be seen"),
            ("A1\u200b0", "cannot be seen"),
            ("订单1", "plain letters and digits"),
        ],
    )
    def test_a_number_that_a_spreadsheet_has_damaged(
        self, running: Running, tmp_path: Path, under: str, number: str, words: str
    ) -> None:
        """Refused before anything is asked: which line, what happened to it, how to export it."""
        if under == "json":
            text = f'{{"out_trade_no": "A1000"}}\n{json.dumps({"out_trade_no": number})}'
        else:
            cell = '"' + number.replace('"', '""') + '"'
            text = f"out_trade_no,{under}\nA1000,\n{'A1000' if under == 'mch_id' else ''},{cell}"
            if under == "out_trade_no":
                text = f"out_trade_no\nA1000\n{cell}"
        result = self.watched(running, tmp_path, text)
        assert (result.exit_code, result.stdout) == (Exit.USAGE, "")
        assert f"line {2 if under == 'json' else 3}" in result.stderr
        assert words in result.stderr

    @pytest.mark.parametrize("number", ["149777", "1e14", "1.49777E+14", "true", "null", "[]"])
    def test_a_json_number_is_no_order_number(
        self, running: Running, tmp_path: Path, number: str
    ) -> None:
        """Leading zeros and the last digits of a long one are gone before anybody looks."""
        result = self.watched(running, tmp_path, f'{{"out_trade_no": {number}}}')
        assert result.exit_code == Exit.USAGE
        words = "needs out_trade_no" if number == "null" else "must be a text"
        assert words in result.stderr

    def test_an_encoding_that_a_spreadsheet_saves(self, running: Running, tmp_path: Path) -> None:
        """Told with the line, and how to save it instead; never guessed."""
        file = tmp_path / "orders"
        file.write_bytes("out_trade_no,备注\nA1000,茶".encode("gb18030"))
        result = running.call("watch", "--file", str(file), *WECHAT, *QUICK)
        assert (result.exit_code, result.stdout) == (Exit.USAGE, "")
        assert "line 1: not UTF-8 (perhaps GBK)" in result.stderr
        assert "CSV UTF-8" in result.stderr

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
    def test_a_list_that_powershell_wrote(
        self, running: Running, tmp_path: Path, encoding: str
    ) -> None:
        """Its encoding is no guess: a mark says so, or every other byte is zero."""
        file = tmp_path / "orders"
        file.write_bytes("out_trade_no\r\nA1000\r\n".encode(encoding))
        told = said(running.call("watch", "--file", str(file), *WECHAT, *QUICK, "--json"))
        assert (told["out_trade_no"], told["status"]) == ("A1000", "PAID")

    def test_stdin_is_read_as_a_file_is(self, running: Running) -> None:
        """The same refusals in a pipe, with the line; with ``FULL=1`` each in a process's."""
        for given, words in (
            (b"A1000\n1.49777E+14\n", "line 2, column 1 (out_trade_no): '1.49777E+14'"),
            (b"out_trade_no,amount\nA1000,1\n", "line 1: the column 'amount' is not known"),
            ("A1000\n茶\n".encode("gbk"), "line 2: not UTF-8"),
            (b"A1000\nA\x001\n", "cannot be seen"),
        ):
            here = running.call("watch", "--file", "-", *WECHAT, *QUICK, input=given)
            assert (here.exit_code, words in here.stderr) == (Exit.USAGE, True)
            if FULL or not given.isascii():
                watch = ("watch", "--file", "-", *WECHAT, *QUICK)
                env = environment(running.env)
                with begun(*watch, env=env, stdin=subprocess.PIPE, text=False) as process:
                    _, err = process.communicate(given)
                assert (process.returncode, words in err.decode()) == (Exit.USAGE, True)

    def test_what_may_be_rounded_is_asked_about(self, running: Running, tmp_path: Path) -> None:
        """A spreadsheet keeps 15 digits: zeros behind them are only remarked."""
        result = self.watched(running, tmp_path, "149777123456789000\n149777123456788000")
        assert result.exit_code == Exit.REFUSED
        assert result.stderr.count("is it whole?") == 1

    def test_empty_rows_and_columns_of_a_spreadsheet_say_nothing(self) -> None:
        """Commas without anything between them, blanks around a name."""
        text = "out_trade_no, expected ,,\nA1,1230,,\n,,,\n\u3000A2\u00a0,1,,\n"
        found = [(query.out_trade_no, amount) for query, amount in self.rows(text)]
        assert found == [("A1", 1230), ("A2", 1)]

    def watched(self, running: Running, tmp_path: Path, text: str) -> Result:
        file = tmp_path / "orders"
        file.write_bytes(text.encode())
        return running.call("watch", "--file", str(file), *WECHAT, *QUICK)

    def test_a_wallet_is_needed_somewhere(self, running: Running) -> None:
        """A "not found" means nothing under a wallet that was guessed (M-22)."""
        result = running.call("watch", "A1000", *QUICK)
        assert result.exit_code == Exit.USAGE
        assert "paytype" in result.stderr

    def test_nothing_to_watch(self, running: Running) -> None:
        """Exit code 2, and nothing is asked; a file of another encoding likewise."""
        assert running.call("watch", *WECHAT).exit_code == Exit.USAGE

    def test_stdin_need_not_be_a_pipe(self, running: Running) -> None:
        """A redirected file is read at once."""
        given = '{"out_trade_no": "A1000"}\n'
        result = running.call("watch", "--file", "-", *WECHAT, *QUICK, "--json", input=given)
        assert [told["status"] for told in lines(result.stdout)] == ["PAID"]

    def rows(self, text: str) -> list[Any]:
        return [each for each, _ in self.READER.rows(text.splitlines())]


class TestAtWork:
    def test_a_pipe_is_read_as_it_is_written(self, running: Running) -> None:
        """The first outcome comes before the second number does."""
        process = started(running, "--file", "-", *WECHAT, *QUICK, "--json")
        with process:
            for number, status in (("A1000", "PAID"), ("A1406", "FAILED")):
                process.stdin.write(f"{number}\n")
                process.stdin.flush()
                assert json.loads(process.stdout.readline())["status"] == status
            process.stdin.close()
            assert process.wait() == Exit.REFUSED
            assert process.stdout.read() == ""

    @pytest.mark.parametrize(
        ("sign", "options"), [(signal.SIGINT, ()), (signal.SIGTERM, ("--json",))]
    )
    def test_ctrl_c_says_what_is_pending(
        self, running: Running, sign: signal.Signals, options: tuple[str, ...]
    ) -> None:
        """What ended was shown; what did not is named on stderr; exit code 130."""
        process = started(running, "A1000", "A1405", *WECHAT, "--every", "0.05", *options)
        with process:
            assert "PAID" in process.stdout.readline()
            process.send_signal(sign)
            assert process.wait() == Exit.INTERRUPTED
            assert "interrupted; 1 still pending: A1405" in process.stderr.read()

    def test_a_store_takes_up_what_was_interrupted(self, running: Running, tmp_path: Path) -> None:
        """What was pending is asked about by the next watch, and told once; then the file is empty.

        M-23: nothing that was tracked is forgotten.
        """
        store = str(tmp_path / "watched.db")
        numbers = ("A1000", "A1405", *WECHAT, "--every", "0.05", "--until", "3")
        with started(running, *numbers, "--store", store, "--json") as process:
            assert "PAID" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait() == Exit.INTERRUPTED
            assert f"1 still pending: A1405; kept in {store}" in process.stderr.read()
        again = running.call("watch", "A1406", "A1405", *WECHAT, *QUICK, "--store", store, "--json")
        told = [(each["out_trade_no"], each["status"]) for each in lines(again.stdout)]
        assert sorted(told) == [("A1405", "EXPIRED"), ("A1406", "FAILED")]
        assert again.exit_code == Exit.PENDING
        nothing = running.call("watch", "--store", store, "--json")
        assert (nothing.stdout, nothing.exit_code) == ("", Exit.OK)

    def test_a_store_has_one_owner(self, running: Running, tmp_path: Path) -> None:
        """A second watch on the same file is told so: exit code 2."""
        store = str(tmp_path / "watched.db")
        numbers = ("A1000", "A1405", *WECHAT, "--every", "0.05")
        with started(running, *numbers, "--store", store) as process:
            assert "PAID" in process.stdout.readline()
            result = running.call("watch", "A1000", *WECHAT, "--store", store, "--json")
            process.terminate()
            assert process.wait() == Exit.INTERRUPTED
        assert (result.exit_code, said(result)["error"]) == (Exit.USAGE, "StoreInUseError")

    def test_a_terminal_shows_how_it_goes(self, running: Running) -> None:
        """The figures of `stats()`, the outcomes above them, the table at the end."""
        arguments = ("watch", "A1000", "A1405", *WECHAT, "--every", "0.05", "--until", "1")
        seen = on_a_terminal(arguments, running.env)
        for words in ("pending", "in flight", "due", "lag", "polls", "errors", "breaker closed"):
            assert words.split()[-1] in seen
        assert "PAID           A1000  10.00 yuan" in seen
        assert "How they ended" in seen
        assert f"exit code {int(Exit.PENDING)}" in seen

    def test_many_at_a_rate(self, running: Running, tmp_path: Path) -> None:
        """A few hundred numbers that nobody knows: each ends, none is asked about twice at once."""
        file = tmp_path / "orders.csv"
        file.write_text("\n".join(f"N{n:04d}" for n in range(300)), encoding="utf-8")
        options = ("--concurrency", "5", "--rate", "2000", "--json")
        result = running.call("watch", "--file", str(file), *WECHAT, *QUICK, *options)
        told = lines(result.stdout)
        assert {each["status"] for each in told} == {"NOT_FOUND"}
        assert len({each["out_trade_no"] for each in told}) == len(told) == 300
        assert result.exit_code == Exit.REFUSED

    def test_the_key_is_not_shown(self, running: Running) -> None:
        """Not even where everything is refused because of it (M-27)."""
        key = "another-key-of-the-tests"
        result = running.call("watch", "A1000", *WECHAT, *QUICK, env={"CHAOYING_KEY": key})
        assert result.exit_code in (Exit.REFUSED, Exit.PENDING)
        assert key not in result.output

    def test_help_says_what_the_codes_mean(self) -> None:
        """As for every command."""
        assert "6 not decided yet" in " ".join(call("watch", "--help").stdout.split())
