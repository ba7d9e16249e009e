"""M-06: an end that names no order may be of another; it counts when a second query agrees."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chaoying_async import OrderQuery, PayType
from chaoying_async.cli.exits import Exit
from chaoying_async.testing import signed_reply
from tests.cli_calls import told_by
from tests.factories import AUTH_CODE, CREDENTIALS

ENDS = (("FAIL", "10006", "FAILED"), ("FAIL", "10004", "CLOSED"), ("REFUND", None, "REFUNDED"))
QUERY = "query A100011 --paytype WECHAT"


def answer(**fields: Any) -> bytes:
    query = OrderQuery(paytype=PayType.WECHAT, out_trade_no="A100011", mch_id="00000001")
    return signed_reply(query, CREDENTIALS, **fields)


def nameless(trade_state: str, code: str | None) -> bytes:
    return answer(trade_state=trade_state, code=code, out_trade_no=None, mch_id=None)


def asked(*answers: bytes, command: str = QUERY) -> Any:
    """What the command says as JSON; it asks as often as there are answers."""
    return json.loads(told_by(*answers, command=f"{command} --json").stdout)


@pytest.mark.parametrize(("trade_state", "code", "status"), ENDS)
def test_query_asks_a_second_time(trade_state: str, code: str | None, status: str) -> None:
    """Twice the same is the end, as `watch` and `explain` say."""
    one = nameless(trade_state, code)
    told = asked(one, one)
    assert (told["status"], told["exit"]) == (status, Exit.REFUSED)


def test_an_end_that_names_its_order_is_asked_about_once() -> None:
    """It is the order's own."""
    assert asked(answer(trade_state="FAIL", code="10006"))["status"] == "FAILED"


def test_the_second_answer_decides() -> None:
    """What the first said was another order's: this one is paid."""
    told = asked(nameless("FAIL", "10006"), answer(base_fee=1230, total_fee=1230))
    assert (told["status"], told["exit"]) == ("PAID", Exit.OK)


@pytest.mark.parametrize(
    "second",
    [
        answer(state="FAIL", code="20007", trade_state=None),
        answer(state="FAIL", code="20009", trade_state=None),
        nameless("FAIL", "10004"),
        answer(trade_state="NEED_QUERY", code="10001"),
    ],
    ids=["not found", "no news", "another end", "pending"],
)
def test_a_second_answer_that_says_otherwise_leaves_it_open(second: bytes) -> None:
    """They contradict each other, or the second says nothing (M-11)."""
    told = asked(nameless("FAIL", "10006"), second)
    assert (told["status"], told["exit"]) == ("PENDING", Exit.PENDING)


@pytest.mark.parametrize(("trade_state", "code", "_status"), ENDS)
@pytest.mark.parametrize(
    "fields",
    ["orderquery paytype=WECHAT", f"pay body=tea total_fee=1230 auth_code={AUTH_CODE} --yes"],
)
def test_what_sends_one_request_leaves_it_open(
    fields: str, trade_state: str, code: str | None, _status: str
) -> None:
    """`send` says what was heard, and that it decides nothing."""
    told = asked(nameless(trade_state, code), command=f"send {fields} out_trade_no=A100011")
    assert (told["status"], told["exit"], told["ok"]) == ("PENDING", Exit.PENDING, False)
    assert "before a second one says the same" in told["next"]


@pytest.mark.parametrize(
    ("language", "heard", "advice"),
    [
        ("C", "the answer says FAILED, and does not name the order", "neither deliver nor charge"),
        ("zh_CN.UTF-8", "响应说 FAILED，但没有写明是哪笔订单", "不要再次收款"),
    ],
)
def test_a_person_is_told_what_was_heard(language: str, heard: str, advice: str) -> None:
    """In both languages, and with what to do."""
    env = {"LC_ALL": language, "LANGUAGE": ""}
    command = "send orderquery paytype=WECHAT out_trade_no=A100011"
    first, then, *_ = told_by(
        nameless("FAIL", "10006"), command=command, env=env
    ).stdout.splitlines()
    assert f"PENDING: {heard}" in first
    assert advice in then
