"""watch: what only the poller could refuse is refused with its line, before anything is asked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import Result

from chaoying_async.cli.exits import Exit
from tests.cli.processes import begun
from tests.cli_calls import NOTHING, UsersProgram, call, environment
from tests.factories import CREDENTIALS, MCH_ID
from tests.sizes import cases

ENV = {
    **NOTHING,
    "CHAOYING_AGENT_ID": CREDENTIALS.agent_id,
    "CHAOYING_KEY": CREDENTIALS.key,
    "CHAOYING_PID": CREDENTIALS.pid,
}
OPTIONS = ("--paytype", "WECHAT", "--every", "0.05", "--until", "0.3")
#: More than the poller takes before it lets its queries run.
GOOD = [f"A{number},1230" for number in range(1000, 1250)]
GOOD_JSON = [f'{{"out_trade_no": "A{number}", "expected": 1230}}' for number in range(1000, 1250)]
RANGE = "must not be below 0, and have at most 15 digits in fen"
MERCHANT = {"CHAOYING_MCH_ID": MCH_ID}


def watched(*words: str, env: dict[str, str] | None = None) -> Result:
    """What the command says to whom the gateway must not be asked."""
    gateway = UsersProgram()
    with gateway.serving() as url:
        result = call("watch", *words, *OPTIONS, "--url", url, env={**ENV, **(env or {})})
    assert gateway.got == []
    assert (result.exit_code, result.stdout) == (Exit.USAGE, "")
    return result


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([*GOOD, "LAST,9999999999999999"], f"line 251, column 2 (expected): {RANGE}"),
        ([*GOOD, f"LAST,{'9' * 5000}"], "line 251, column 2 (expected): must be fen"),
        ([*GOOD_JSON, '{"out_trade_no": "LAST", "expected": -5}'], f"line 251: {RANGE}"),
        ([*GOOD_JSON, '{"out_trade_no": "LAST", "expected": 1000000000000000}'], RANGE),
        ([*GOOD_JSON, '{"out_trade_no": "LAST", "paytype": []}'], "line 251: [] is not a valid"),
        ([*GOOD_JSON, '{"out_trade_no": "LAST", "paytype": 0}'], "line 251: 0 is not a valid"),
        ([*GOOD, "A1000,1231"], "line 251, column 2 (expected): line 1 has another amount"),
        ([*GOOD_JSON, '{"out_trade_no": "A1000", "expected": 1}'], "line 251: line 1 has another"),
    ],
)
def test_a_line_at_the_end_of_a_file(tmp_path: Path, lines: list[str], words: str) -> None:
    """M-12: nothing is asked about the lines before it."""
    file = tmp_path / "orders"
    file.write_text("\n".join(lines))
    assert words in watched("--file", str(file), env=MERCHANT).stderr


def test_a_row_without_a_merchant(tmp_path: Path) -> None:
    """M-18: where neither the row nor the session names one."""
    file = tmp_path / "orders"
    named = (f"{row.partition(',')[0]},{MCH_ID}" for row in GOOD)
    file.write_text("\n".join(("out_trade_no,mch_id", *named, "LAST,")))
    assert "line 252, column 2 (mch_id): of which merchant?" in watched("--file", str(file)).stderr


@pytest.mark.parametrize("last", ["LAST=9999999999999999", "A1000=1231", "LAST="])
def test_a_word_at_the_end_of_many(last: str) -> None:
    """`xargs chaoying watch` gives thousands of them."""
    words = [row.replace(",", "=") for row in GOOD]
    assert last in watched(*words, last, env=MERCHANT).stderr


def test_a_file_beside_many_words(tmp_path: Path) -> None:
    """The file is read before the words are asked about; an order has one amount in both."""
    file = tmp_path / "orders"
    file.write_text("A9999,1\nA1000,1231")
    words = [row.replace(",", "=") for row in GOOD]
    result = watched(*words, "--file", str(file), env=MERCHANT)
    assert "line 2, column 2 (expected): A1000=1230 has another amount" in result.stderr


@pytest.mark.parametrize(
    ("lines", "words"),
    cases(
        [
            ("A1000,1\n" + "A" * 200_000, "line 2: is longer than 64 KiB"),
            ('A1000,1230\n{"out_trade_no": "A2", "expected": -5}\n', f"line 2: {RANGE}"),
        ],
        more=[
            ('{"out_trade_no": "A1000"}\n{"out_trade_no": "A2"' + " " * 70_000 + "}\n", "line 2: "),
            ("A1000,1230\nA1000,1231\n", "this order is waited for with another amount"),
            (f"A1000,1\nA2,{'9' * 5000}\n", "line 2, column 2 (expected): must be fen"),
        ],
    ),
    ids=cases(["too long, without an end", "below 0"], more=["too long", "two amounts", "digits"]),
)
def test_a_line_in_a_pipe(lines: str, words: str) -> None:
    """Exit code 2 and its line, no traceback; what stands before it was asked about."""
    watch = ("watch", "--file", "-", *OPTIONS, "--url", "http://127.0.0.1:9")
    env = environment({**ENV, **MERCHANT})
    with begun(*watch, env=env, stdin=subprocess.PIPE) as process:
        out, err = process.communicate(lines)
    assert (process.returncode, out) == (Exit.USAGE, "")
    assert words in err
    assert "Traceback" not in err
    assert "nothing was sent" not in err
