"""M-13: a number of another currency is no fen, and is never shown as yuan."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chaoying_async import (
    Fen,
    OrderQuery,
    PaidOrder,
    PaidSource,
    PayType,
    PollOutcome,
    PollStatus,
)
from chaoying_async.cli.exits import Exit
from chaoying_async.cli.watch.progress import Tally
from chaoying_async.testing import signed_reply
from tests.cli_calls import told_by
from tests.factories import AUTH_CODE, CREDENTIALS

CHINESE = {"LC_ALL": "zh_CN.UTF-8", "LANGUAGE": ""}
ASKS = (
    "query A100011 --paytype WECHAT",
    "send orderquery paytype=WECHAT out_trade_no=A100011",
    f"send pay body=tea total_fee=730 auth_code={AUTH_CODE} --yes out_trade_no=A100011",
    "watch A100011 --paytype WECHAT --every 0.1",
    "watch A100011=730 --paytype WECHAT --every 0.1",
)


def paid(**more: Any) -> bytes:
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011", mch_id="00000001")
    fields = {"base_fee": 730, "total_fee": 730, "fee_type": "USD", "transaction_id": "T1"}
    return signed_reply(query, CREDENTIALS, **fields | more)


@pytest.mark.parametrize("zh", [False, True])
@pytest.mark.parametrize("command", ASKS)
def test_it_is_named_with_its_number(command: str, *, zh: bool) -> None:
    """In every row, sum and advice, in both languages."""
    shown = told_by(paid(), command=command, env=CHINESE if zh else {}).stdout
    assert ("730（fee_type USD）" if zh else "730 (fee_type USD)") in shown
    assert "7.30" not in shown


@pytest.mark.parametrize("command", ASKS)
def test_a_program_reads_it(command: str) -> None:
    """Beside the number; CNY where nothing is named."""
    told = json.loads(told_by(paid(), command=f"{command} --json").stdout)
    assert (told["payable"], told["fee_type"]) == (730, "USD")
    plain = json.loads(told_by(paid(fee_type=None), command=f"{command} --json").stdout)
    assert (plain["payable"], plain["fee_type"]) == (730, "CNY")


def test_a_payment_in_it_is_not_what_was_asked_for() -> None:
    """As a checkout says: the request was in fen."""
    told = json.loads(told_by(paid(), command=f"{ASKS[2]} --json").stdout)
    assert (told["status"], told["exit"], told["ok"]) == ("MISMATCH", Exit.UNTRUSTED, False)


def test_what_came_back_is_in_that_currency() -> None:
    """Of an order in refund: the advice names it."""
    reply = paid(trade_state="REFUND", code=None, refund_fee=400)
    shown = told_by(reply, command=ASKS[0]).stdout
    assert "4.00" not in shown
    assert "400 of 730 (fee_type USD) came back so far" in shown


def test_sums_of_two_currencies_are_two(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing adds dollars to yuan."""
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011")
    tally = Tally()
    for fee_type in ("USD", "CNY", "USD", None):
        order = PaidOrder(
            mch_id="1",
            out_trade_no="A100011",
            payable=Fen(123000),
            source=PaidSource.QUERY,
            fee_type=fee_type,
        )
        tally.add(PollOutcome[Any](query=query, status=PollStatus.PAID, paid=order))
    tally.show()
    assert "246,000 (fee_type USD) + 2,460.00 yuan" in capsys.readouterr().out


def test_what_is_no_code_is_not_shown() -> None:
    """Whatever a message has there."""
    shown = told_by(paid(fee_type="yuan) \x1b[2J"), command=ASKS[0]).stdout
    assert "PAID 730 (fee_type ?)" in shown
