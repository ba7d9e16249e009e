"""watch: lists that leave something out, and numbers that are none, are refused with their line."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import Result

from chaoying_async.cli.exits import Exit
from chaoying_async.cli.watch.watch_list import OrderReader
from tests.cli.processes import begun
from tests.cli_calls import Running, environment, in_thread
from tests.sizes import cases
from tests.table import table

CODE = "130000000000001111"
OPTIONS = ("--paytype", "WECHAT", "--every", "0.05", "--until", "0.3")


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """One order, A1000, which is paid; its tests only ask."""
    with in_thread() as made:
        fields = ("out_trade_no=A1000", "body=tea", "total_fee=1000", f"auth_code={CODE}")
        made.call("send", "pay", *fields, "--yes")
        yield made


def watched(running: Running, tmp_path: Path, text: str, *more: str) -> Result:
    file = tmp_path / "orders"
    file.write_bytes(text.encode())
    return running.call("watch", *more, "--file", str(file), *OPTIONS)


def rows(text: str, *, refunds: bool = False) -> list[Any]:
    reader = OrderReader(refunds=refunds, paytype="WECHAT", mch_id="00000001")
    return [each for each, _ in reader.rows(text.splitlines())]


class TestAmounts:
    """M-12: an amount that is left empty is not an order without one."""

    @pytest.mark.parametrize("word", ["A1000=", "A1000= ", "A1000=\u3000"])
    @pytest.mark.parametrize("more", [(), ("--refunds",)], ids=["orders", "refunds"])
    def test_nothing_behind_the_sign(
        self, running: Running, word: str, more: tuple[str, ...]
    ) -> None:
        """M-12: `$ORDER=$AMOUNT` with AMOUNT unset: exit code 2, and nothing is asked."""
        result = running.call("watch", word, *more, *OPTIONS)
        assert (result.exit_code, result.stdout) == (Exit.USAGE, "")
        assert word in result.stderr

    @pytest.mark.parametrize(
        "text",
        [
            "out_trade_no,expected\nA1000,10.00\nA1000,",
            "out_trade_no,expected\nA1000,10.00\nA1000",
            "out_trade_no,expected\nA1000,10.00\nA1000,\u3000",
            'out_trade_no,expected\nA1000,10.00\nA1000,""',
            "out_trade_no;expected;paytype\nA1000;1000;\nA1000;;WECHAT",
            "Expected\tout_trade_no\n1000\tA1000\n\tA1000",
            "out_trade_no,paytype,expected\nA1000,,1000\nA1000,WECHAT",
            "A1000,1000\nA1000,1000\nA1000,",
            "A1000;1000\nA1000;1000\nA1000;;",
            'A1000\nA1000\n{"out_trade_no": "A1000", "expected": ""}',
            'A1000\nA1000\n{"out_trade_no": "A1000", "expected": null}',
        ],
    )
    def test_an_empty_cell(self, running: Running, tmp_path: Path, text: str) -> None:
        """M-12: refused with its line, before anything is asked."""
        result = watched(running, tmp_path, text)
        assert (result.exit_code, result.stdout) == (Exit.USAGE, "")
        assert "line 3" in result.stderr
        assert "no amount is there" in result.stderr

    @pytest.mark.parametrize(
        "text", ["A1000", "out_trade_no\nA1000", "out_trade_no,mch_id\nA1000,", "A1000\n\n,\n"]
    )
    def test_left_out_altogether(self, text: str) -> None:
        """A list without amounts compares none."""
        assert [amount for _, amount in rows(text)] == [None]


class TestEmptyLists:
    @pytest.mark.parametrize(
        "text", ["", "\n", "\ufeff", "out_trade_no,expected\n", "out_trade_no\n\n", ",,\n,,\n"]
    )
    def test_nothing_in_a_file(self, running: Running, tmp_path: Path, text: str) -> None:
        """Exit code 2 and a sentence: 0 would say that all of it is paid."""
        result = watched(running, tmp_path, text)
        assert (result.exit_code, result.stdout) == (Exit.USAGE, "")
        assert "names no order" in result.stderr

    @pytest.mark.parametrize("text", cases([",,\n,,\n"], more=["", "\n", "\ufeff"]))
    def test_nothing_in_a_pipe(self, running: Running, text: str) -> None:
        """The same of what another program writes."""
        watch = ("watch", "--file", "-", *OPTIONS)
        with begun(*watch, env=environment(running.env), stdin=subprocess.PIPE) as process:
            out, err = process.communicate(text)
        assert (process.returncode, out) == (Exit.USAGE, "")
        assert "names no order" in err


class TestNumbers:
    @table(
        ("number", "words"),
        [
            ("########", "too narrow"),
            ("#N/A", "a spreadsheet's error"),
            ("#REF!", "a spreadsheet's error"),
            ("#DIV/0!", "a spreadsheet's error"),
            ("#NAME?", "a spreadsheet's error"),
            ("2024/1/5", "a date"),
            ("2024/1/5 0:00", "a date"),
            ("1/5/2024", "a date"),
            ("2024-01-05", "a date"),
            ("2024-01-05 00:00:00", "a date"),
            ("2024-01-05T00:00:00", "a date"),
            ("05-01-2024", "a date"),
            ("5.1.2024", "a date"),
            ("5-Jan", "a date"),
            ("Jan-24", "a date"),
            ("2024年1月5日", "a date"),
            ("1月5日", "a date"),
            ("12:30:00", "a date"),
            ("A1000=1", "a column of its own"),
            ("A1000:1", "a column of its own"),
            ("A1000=10.00", "a column of its own"),
            ("A1000-1", "letters, digits and underscores only"),
            ("A1000/1", "letters, digits and underscores only"),
            ("(A1000)", "letters, digits and underscores only"),
            ("+149777", "letters, digits and underscores only"),
            ("$1000", "letters, digits and underscores only"),
            ("A1000.", "letters, digits and underscores only"),
        ],
    )
    @table("form", ["column", "row", "json"])
    def test_what_no_order_number_can_be(self, number: str, words: str, form: str) -> None:
        """Refused with its line and what happened to it."""
        text = {
            "column": f"out_trade_no,expected\nA1000,1\n{number},1",
            "row": f"A1000\nA1000\n{number}",
            "json": f'A1000\nA1000\n{{"out_trade_no": "{number}"}}',
        }[form]
        with pytest.raises(click.UsageError) as caught:
            rows(text)
        assert caught.value.message.startswith("line 3")
        assert words in caught.value.message

    @pytest.mark.parametrize("number", ["2024-01-05", "5-Jan", "#N/A", "########", "2024/1/5"])
    def test_the_gateways_numbers(self, number: str) -> None:
        """A date is none of those either."""
        with pytest.raises(click.UsageError, match="line 2, column 1"):
            rows(f"transaction_id\n{number}")

    @pytest.mark.parametrize("number", ["1E14", "A_1000", "a1000", "0001230", "149777"])
    def test_what_an_order_number_can_be(self, number: str) -> None:
        """Whatever the document lets it be made of, however much it looks like a number."""
        assert [query.out_trade_no for query, _ in rows(number)] == [number]

    @pytest.mark.parametrize("number", ["TK-20001", "12-ABC", "2024-01-05", "TKA-20"])
    def test_a_refunds_number_has_hyphens(self, number: str) -> None:
        """C 53: hyphens are fine there, in whatever shape."""
        found = rows(number, refunds=True)
        assert [query.out_refund_no for query, _ in found] == [number]
